// Tests the libraries that execute: computes on them as a program with CUDA does, and compares.
//
//   test NAME   one of the tests below, with STAND_IN_EXECUTES=1 for all but the last; what the
//               driver says goes to standard error
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int cuInit(unsigned);
int cuMemAlloc_v2(uint64_t *, size_t);
int cuMemFree_v2(uint64_t);
int cuMemsetD8Async(uint64_t, unsigned char, size_t, void *);
int cuMemcpyHtoDAsync_v2(uint64_t, const void *, size_t, void *);
int cuMemcpyDtoHAsync_v2(void *, uint64_t, size_t, void *);
int cuMemcpyDtoDAsync_v2(uint64_t, uint64_t, size_t, void *);
int cuModuleLoadData(void **, const void *);
int cuModuleGetFunction(void **, void *, const char *);
int cuLaunchKernel(void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
                   void *, void **, void **);
int cublasGemmStridedBatchedEx(void *, int, int, int, int, int, const void *, const void *, int,
                               int, long long, const void *, int, int, long long, const void *,
                               void *, int, int, long long, int, int, int);

enum { F32 = 0, BF16 = 14 };

#define CHECK(condition)                                                                      \
    do {                                                                                      \
        if (!(condition)) {                                                                   \
            fprintf(stderr, "line %d: %s\n", __LINE__, #condition);                           \
            exit(1);                                                                          \
        }                                                                                     \
    } while (0)

static uint64_t allocate(size_t bytes) {
    uint64_t pointer;
    CHECK(cuMemAlloc_v2(&pointer, bytes) == 0);
    return pointer;
}

static float random_number(void) {
    static uint32_t state = 1;
    state = state * 1664525 + 1013904223;
    return (float)(state >> 8) / (1 << 23) - 1;
}

// --- kernels

static void *kernel(const char *name) {
    char ptx[200];
    snprintf(ptx, sizeof ptx, ".version 9.0\n.target sm_80\n.visible .entry %s(\n", name);
    void *module, *function;
    CHECK(cuModuleLoadData(&module, ptx) == 0 && cuModuleGetFunction(&function, module, name) == 0);
    return function;
}

// The gate of one image to memory of `room` numbers.
enum { COUNT = 1000 };
static int gate(size_t room, float *maps, float *gated) {
    uint64_t from = allocate(2 * COUNT * sizeof *maps), to = allocate(room * sizeof *gated);
    CHECK(cuMemcpyHtoDAsync_v2(from, maps, 2 * COUNT * sizeof *maps, 0) == 0);
    size_t count = COUNT, per_image = COUNT;
    void *arguments[] = {&count, &per_image, &from, &to};
    int result = cuLaunchKernel(kernel("gate_f32"), 3, 1, 1, 128, 1, 1, 0, 0, arguments, 0);
    CHECK(cuMemcpyDtoHAsync_v2(gated, to, room * sizeof *gated, 0) == 0);
    CHECK(cuMemFree_v2(from) == 0 && cuMemFree_v2(to) == 0);
    return result;
}

static void a_kernel_runs(void) {
    float maps[2 * COUNT], gated[COUNT];
    for (int i = 0; i < 2 * COUNT; i++) maps[i] = 4 * random_number();
    CHECK(gate(COUNT, maps, gated) == 0);
    for (int i = 0; i < COUNT; i++) {
        double expected = tanh(maps[i]) / (1 + exp(-maps[COUNT + i]));
        CHECK(fabs(gated[i] - expected) < 1e-6);
    }
}

static void a_write_beyond_an_allocation_is_reported(void) {
    float maps[2 * COUNT] = {0}, gated[COUNT];
    CHECK(gate(COUNT - 1, maps, gated) == 700);
}

static void an_unknown_kernel_is_refused(void) {
    void *arguments[] = {0};
    CHECK(cuLaunchKernel(kernel("uexp_f32"), 1, 1, 1, 32, 1, 1, 0, 0, arguments, 0) == 801);
}

// --- memory

static void memory_holds_what_was_written(void) {
    float numbers[4] = {1, 2, 3, 4}, found[4];
    uint64_t a = allocate(sizeof numbers), b = allocate(sizeof numbers);
    CHECK(cuMemcpyDtoHAsync_v2(found, a, sizeof found, 0) == 0);
    for (int i = 0; i < 4; i++) CHECK(isnan(found[i]));
    CHECK(cuMemcpyHtoDAsync_v2(a, numbers, sizeof numbers, 0) == 0);
    CHECK(cuMemcpyDtoDAsync_v2(b + 4, a + 4, 8, 0) == 0);
    CHECK(cuMemsetD8Async(b, 0, 4, 0) == 0);
    CHECK(cuMemcpyDtoHAsync_v2(found, b, sizeof found, 0) == 0);
    CHECK(found[0] == 0 && found[1] == 2 && found[2] == 3 && isnan(found[3]));
    // Not a byte beyond: of a copy in either direction, and of a fill.
    CHECK(cuMemcpyHtoDAsync_v2(a + 4, numbers, 13, 0) == 1);
    CHECK(cuMemcpyDtoHAsync_v2(found, a + 15, 2, 0) == 1);
    CHECK(cuMemcpyDtoDAsync_v2(b, a + 12, 5, 0) == 1);
    CHECK(cuMemcpyDtoDAsync_v2(b + 12, a, 5, 0) == 1);
    CHECK(cuMemsetD8Async(a, 0, 17, 0) == 1);
}

// --- products

static float widened(uint16_t bits) {
    uint32_t whole = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &whole, 4);
    return value;
}

// Random numbers of a type on the device, and the same ones here.
struct numbers {
    uint64_t device;
    float *values;
    int type;
};
static size_t bytes_of(int type) { return type == BF16 ? 2 : 4; }
static struct numbers numbers(int type, size_t count) {
    struct numbers made = {allocate(count * bytes_of(type)), malloc(count * sizeof(float)), type};
    char *bytes = malloc(count * bytes_of(type));
    for (size_t i = 0; i < count; i++) {
        made.values[i] = random_number();
        uint32_t whole;
        memcpy(&whole, &made.values[i], 4);
        uint16_t upper = whole >> 16;
        if (type == BF16) made.values[i] = widened(upper);
        memcpy(bytes + i * bytes_of(type), type == BF16 ? (void *)&upper : &made.values[i],
               bytes_of(type));
    }
    CHECK(cuMemcpyHtoDAsync_v2(made.device, bytes, count * bytes_of(type), 0) == 0);
    free(bytes);
    return made;
}

struct sizes {
    int m, n, k, batch;
};

// Leading dimensions and strides are larger than they must be, by odd numbers. With beta 0, C is
// NaN before.
static void product(struct sizes g, int ta, int tb, int type, int c_type, int compute,
                    float beta) {
    int lda = (ta ? g.k : g.m) + 3, ldb = (tb ? g.n : g.k) + 1, ldc = g.m + 5;
    long long sa = (long long)lda * (ta ? g.m : g.k) + 7, sb = (long long)ldb * (tb ? g.k : g.n);
    long long sc = (long long)ldc * g.n + 1;
    struct numbers a = numbers(type, sa * g.batch), b = numbers(type, sb * g.batch);
    struct numbers c = numbers(c_type, sc * g.batch);
    const size_t c_bytes = sc * g.batch * bytes_of(c_type);
    if (beta == 0) CHECK(cuMemsetD8Async(c.device, 0xff, c_bytes, 0) == 0);
    float alpha = 0.5f;
    CHECK(cublasGemmStridedBatchedEx(0, ta, tb, g.m, g.n, g.k, &alpha, (void *)a.device, type, lda,
                                     sa, (void *)b.device, type, ldb, sb, &beta, (void *)c.device,
                                     c_type, ldc, sc, g.batch, compute, 0) == 0);
    char *found = malloc(c_bytes);
    CHECK(cuMemcpyDtoHAsync_v2(found, c.device, c_bytes, 0) == 0);
    for (long long at = 0; at < sc * g.batch; at++) {
        int image = at / sc, i = at % sc % ldc, j = at % sc / ldc;
        float value = c_type == BF16 ? widened(((uint16_t *)found)[at]) : ((float *)found)[at];
        if (i >= g.m || j >= g.n) { // between columns and matrices nothing is written
            CHECK(beta == 0 ? isnan(value) : value == c.values[at]);
            continue;
        }
        double sum = 0;
        for (int p = 0; p < g.k; p++)
            sum += (double)a.values[sa * image + (ta ? p + i * lda : i + p * lda)] *
                   b.values[sb * image + (tb ? j + p * ldb : p + j * ldb)];
        double expected = alpha * sum + (beta == 0 ? 0 : beta * c.values[at]);
        // f32 sums, and half of the last bit of bf16.
        double allowed = 1e-5 * sqrt(g.k) + (c_type == BF16 ? fabs(expected) / 256 : 0);
        CHECK(fabs(value - expected) <= allowed);
    }
    CHECK(cuMemFree_v2(a.device) == 0 && cuMemFree_v2(b.device) == 0);
    CHECK(cuMemFree_v2(c.device) == 0);
    free(a.values), free(b.values), free(c.values), free(found);
}

static void products_are_those_of_a_plain_loop(void) {
    const struct sizes sizes[] = {{1, 1, 1, 1}, {17, 5, 3, 2}, {40, 13, 800, 1}, {3, 70, 33, 3}};
    const int types[][3] = {{F32, F32, 68}, {F32, F32, 69}, {F32, F32, 77}, {BF16, BF16, 68},
                            {BF16, F32, 68}};
    for (int size = 0; size < 4; size++)
        for (int type = 0; type < 5; type++)
            for (int operations = 0; operations < 4; operations++)
                for (int beta = 0; beta < 2; beta++)
                    product(sizes[size], operations & 1, operations >> 1, types[type][0],
                            types[type][1], types[type][2], beta * -1.5f);
}

static void bf16_is_rounded_to_the_nearest_and_ties_to_even(void) {
    // 1 + 1/256 and 1 + 3/256 are between two numbers.
    const uint16_t ones[2] = {0x3f80, 0x3f80}, added[2][2] = {{0x3f80, 0x3b80}, {0x3f80, 0x3c40}};
    const uint16_t expected[2] = {0x3f80, 0x3f82};
    uint64_t a = allocate(4), b = allocate(8), c = allocate(4);
    float alpha = 1, beta = 0;
    uint16_t found[2];
    CHECK(cuMemcpyHtoDAsync_v2(a, ones, 4, 0) == 0 && cuMemcpyHtoDAsync_v2(b, added, 8, 0) == 0);
    CHECK(cublasGemmStridedBatchedEx(0, 0, 0, 1, 2, 2, &alpha, (void *)a, BF16, 1, 0, (void *)b,
                                     BF16, 2, 0, &beta, (void *)c, BF16, 1, 0, 1, 68, 0) == 0);
    CHECK(cuMemcpyDtoHAsync_v2(found, c, 4, 0) == 0);
    CHECK(found[0] == expected[0] && found[1] == expected[1]);
}

static int small_product(int ta, int tb, int lda, int ldb, int ldc, int at, int bt, int ct,
                         int compute) {
    // 4 x 2 from k = 3.
    uint64_t a = allocate(12 * 4), b = allocate(6 * 4), c = allocate(8 * 4);
    float alpha = 1, beta = 0;
    return cublasGemmStridedBatchedEx(0, ta, tb, 4, 2, 3, &alpha, (void *)a, at, lda, 0, (void *)b,
                                      bt, ldb, 0, &beta, (void *)c, ct, ldc, 0, 1, compute, 0);
}

static void products_that_cublas_refuses_are_refused(void) {
    CHECK(small_product(0, 0, 4, 3, 4, F32, F32, F32, 68) == 0);
    CHECK(small_product(1, 1, 3, 2, 4, F32, F32, F32, 68) == 0);
    CHECK(small_product(0, 0, 3, 3, 4, F32, F32, F32, 68) == 7);
    CHECK(small_product(1, 0, 2, 3, 4, F32, F32, F32, 68) == 7);
    CHECK(small_product(0, 0, 4, 2, 4, F32, F32, F32, 68) == 7);
    CHECK(small_product(0, 1, 4, 1, 4, F32, F32, F32, 68) == 7);
    CHECK(small_product(0, 0, 4, 3, 3, F32, F32, F32, 68) == 7);
    CHECK(small_product(0, 0, 4, 3, 4, F32, BF16, F32, 68) == 15);
    CHECK(small_product(0, 0, 4, 3, 4, F32, F32, BF16, 68) == 15);
    CHECK(small_product(0, 0, 4, 3, 4, BF16, BF16, BF16, 77) == 15);
    CHECK(small_product(0, 0, 4, 3, 4, F32, F32, F32, 64) == 15);
}

static void a_product_beyond_an_allocation_is_refused(void) {
    CHECK(small_product(0, 0, 5, 3, 4, F32, F32, F32, 68) == 7);
    CHECK(small_product(0, 0, 4, 4, 4, F32, F32, F32, 68) == 7);
    CHECK(small_product(0, 0, 4, 3, 5, F32, F32, F32, 68) == 7);
}

// --- without the variable

static void results_are_zeros(void) {
    float maps[2 * COUNT] = {1}, gated[COUNT] = {1};
    CHECK(gate(COUNT - 1, maps, gated) == 0);
    for (int i = 0; i < COUNT - 1; i++) CHECK(gated[i] == 0);
    CHECK(small_product(0, 0, 4, 3, 5, F32, BF16, BF16, 64) == 0);
    void *arguments[] = {0};
    CHECK(cuLaunchKernel(kernel("uexp_f32"), 1, 1, 1, 32, 1, 1, 0, 0, arguments, 0) == 0);
}

#define TEST(name) {#name, name}
static const struct {
    const char *name;
    void (*run)(void);
} tests[] = {
    TEST(a_kernel_runs), TEST(a_write_beyond_an_allocation_is_reported),
    TEST(an_unknown_kernel_is_refused), TEST(memory_holds_what_was_written),
    TEST(products_are_those_of_a_plain_loop), TEST(bf16_is_rounded_to_the_nearest_and_ties_to_even),
    TEST(products_that_cublas_refuses_are_refused),
    TEST(a_product_beyond_an_allocation_is_refused), TEST(results_are_zeros),
};

int main(int count, char **arguments) {
    CHECK(count == 2 && cuInit(0) == 0);
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        if (!strcmp(tests[i].name, arguments[1])) {
            tests[i].run();
            return 0;
        }
    fprintf(stderr, "no test %s\n", arguments[1]);
    return 2;
}
