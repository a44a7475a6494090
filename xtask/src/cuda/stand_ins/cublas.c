// A libcublas that counts its products: the amount is floating-point operations. If the driver
// executes, it computes those of f32 and bf16.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int stand_in_record(int (*run)(void *), const void *data, size_t bytes);
void stand_in_count(const char *name, double amount);
int stand_in_wrong(int result, const char *what, const char *name);
int stand_in_executes(void);
int stand_in_inside(const void *start, size_t bytes);

// The results of the library's functions, its operations, types, and ways to compute.
enum { OK = 0, ALLOC_FAILED = 3, INVALID_VALUE = 7, NOT_SUPPORTED = 15 };
enum { N = 0, T = 1 };
enum { F32 = 0, BF16 = 14 };
enum { COMPUTE_32F = 68, COMPUTE_32F_PEDANTIC = 69, COMPUTE_32F_FAST_TF32 = 77 };

int cublasCreate_v2(void **handle) { *handle = (void *)80; return 0; }
int cublasDestroy_v2(void *handle) { return 0; }
int cublasSetStream_v2(void *handle, void *stream) { return 0; }
int cublasSetMathMode(void *handle, int mode) { return 0; }
int cublasSetWorkspace_v2(void *handle, void *workspace, unsigned long bytes) { return 0; }

// Columns follow each other at a distance of `leading` numbers, matrices at `stride`.
struct matrix {
    char *start;
    int type, leading;
    long long stride;
};
struct product {
    int transpose_a, transpose_b, m, n, k, batch;
    float alpha, beta;
    struct matrix a, b, c;
};

static size_t size_of(int type) { return type == BF16 ? 2 : 4; }

static float get(const struct matrix *matrix, size_t at) {
    if (matrix->type == F32) return ((const float *)matrix->start)[at];
    uint32_t bits = (uint32_t)((const uint16_t *)matrix->start)[at] << 16;
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

// Rounds to nearest, ties to even.
static void set(const struct matrix *matrix, size_t at, float value) {
    if (matrix->type == F32) {
        ((float *)matrix->start)[at] = value;
        return;
    }
    uint32_t bits;
    memcpy(&bits, &value, 4);
    bits = value != value ? bits >> 16 | 64 : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    ((uint16_t *)matrix->start)[at] = bits;
}

// The sums are computed in tiles of ROWS rows, in two vectors, and a few columns: they stay in
// registers, over DEPTH of the k terms at a time.
enum { ROWS = 16, COLUMNS = 6, DEPTH = 384 };
typedef float half __attribute__((vector_size(2 * ROWS)));
typedef struct {
    half upper, lower;
} rows;

static void add_tile(int depth, const rows *a, const float *b, rows *sums) {
    half upper[COLUMNS] = {0}, lower[COLUMNS] = {0};
    for (int p = 0; p < depth; p++)
#pragma GCC unroll 6
        for (int j = 0; j < COLUMNS; j++) {
            upper[j] += a[p].upper * b[p * COLUMNS + j];
            lower[j] += a[p].lower * b[p * COLUMNS + j];
        }
#pragma GCC unroll 6
    for (int j = 0; j < COLUMNS; j++) {
        sums[j].upper += upper[j];
        sums[j].lower += lower[j];
    }
}

// A panel has `width` rows of op(A), or columns of op(B), of DEPTH terms; the numbers of a term
// are neighbours. Beyond the matrix are zeros. `step` leads to the next row, `term` to the next
// term.
static void pack(const struct matrix *from, size_t step, size_t term, int lines, int width,
                 int first, int depth, float *to) {
    for (int line = 0; line < lines; line += width)
        for (int p = 0; p < depth; p++)
            for (int i = line; i < line + width; i++)
                *to++ = i < lines ? get(from, i * step + (first + p) * term) : 0;
}

static int blocks(int count, int size) { return (count + size - 1) / size; }

// One product of matrices; `buffer` has room for the panels and the sums.
static void multiply(const struct product *g, rows *buffer) {
    const int high = blocks(g->m, ROWS), wide = blocks(g->n, COLUMNS);
    rows *sums = buffer, *left = sums + (size_t)high * wide * COLUMNS;
    float *right = (float *)(left + (size_t)high * DEPTH);
    const size_t lda = g->a.leading, ldb = g->b.leading, ldc = g->c.leading;
    memset(sums, 0, sizeof(rows) * high * wide * COLUMNS);
    for (int first = 0; first < g->k; first += DEPTH) {
        const int depth = g->k - first < DEPTH ? g->k - first : DEPTH;
        pack(&g->a, g->transpose_a ? lda : 1, g->transpose_a ? 1 : lda, g->m, ROWS, first, depth,
             (float *)left);
        pack(&g->b, g->transpose_b ? 1 : ldb, g->transpose_b ? ldb : 1, g->n, COLUMNS, first,
             depth, right);
        for (int j = 0; j < wide; j++)
            for (int i = 0; i < high; i++)
                add_tile(depth, left + (size_t)i * depth, right + (size_t)j * depth * COLUMNS,
                         sums + ((size_t)j * high + i) * COLUMNS);
    }
    for (int j = 0; j < g->n; j++)
        for (int i = 0; i < g->m; i++) {
            const rows *tile = sums + ((size_t)(j / COLUMNS) * high + i / ROWS) * COLUMNS;
            float value = g->alpha * ((const float *)&tile[j % COLUMNS])[i % ROWS];
            // With beta 0, what C holds does not matter, even NaN.
            if (g->beta != 0) value += g->beta * get(&g->c, i + j * ldc);
            set(&g->c, i + j * ldc, value);
        }
}

// Whether all matrices of a batch are in one allocation.
static int inside(const struct matrix *matrix, int rows, int columns, int batch) {
    size_t count = (size_t)(columns - 1) * matrix->leading + rows;
    return stand_in_inside(matrix->start,
                           (count + (batch - 1) * matrix->stride) * size_of(matrix->type));
}

static int execute(const struct product *product) {
    struct product g = *product;
    if (!inside(&g.a, g.transpose_a ? g.k : g.m, g.transpose_a ? g.m : g.k, g.batch) ||
        !inside(&g.b, g.transpose_b ? g.n : g.k, g.transpose_b ? g.k : g.n, g.batch) ||
        !inside(&g.c, g.m, g.n, g.batch))
        return stand_in_wrong(INVALID_VALUE, "beyond an allocation", "product");
    const size_t high = blocks(g.m, ROWS), wide = blocks(g.n, COLUMNS);
    const size_t right = blocks(wide * COLUMNS * DEPTH, ROWS);
    rows *buffer = aligned_alloc(sizeof(rows),
                                 (high * wide * COLUMNS + high * DEPTH + right) * sizeof(rows));
    if (!buffer) return ALLOC_FAILED;
    struct matrix *matrices[] = {&g.a, &g.b, &g.c};
    for (int i = 0; i < g.batch; i++) {
        multiply(&g, buffer);
        for (int j = 0; j < 3; j++)
            matrices[j]->start += matrices[j]->stride * (long long)size_of(matrices[j]->type);
    }
    free(buffer);
    return OK;
}

// What cuBLAS has for these types: A and B are alike; C is f32 or as they are.
static int supported(int a, int b, int c, int compute) {
    if (a != b || (c != a && c != F32)) return 0;
    if (a == F32 && compute == COMPUTE_32F_FAST_TF32) return 1; // computed in f32
    return (a == F32 || a == BF16) && (compute == COMPUTE_32F || compute == COMPUTE_32F_PEDANTIC);
}

static int check(int ta, int tb, int m, int n, int k, int lda, int ldb, int ldc, int batch) {
    if (m <= 0 || n <= 0 || k <= 0 || batch <= 0 || ta < N || ta > T || tb < N || tb > T)
        return INVALID_VALUE;
    if (lda < (ta ? k : m) || ldb < (tb ? n : k) || ldc < m)
        return stand_in_wrong(INVALID_VALUE, "a leading dimension is too small", "product");
    return OK;
}

// Counts a product, and computes it if the driver executes.
static int run(void *data) {
    const struct product *g = data;
    stand_in_count("product", 2.0 * g->m * g->n * g->k * g->batch);
    return stand_in_executes() ? execute(g) : OK;
}

int cublasGemmStridedBatchedEx(void *handle, int ta, int tb, int m, int n, int k,
                               const void *alpha, const void *a, int a_type, int lda, long long sa,
                               const void *b, int b_type, int ldb, long long sb, const void *beta,
                               void *c, int c_type, int ldc, long long sc, int batch, int compute,
                               int algorithm) {
    int result = check(ta, tb, m, n, k, lda, ldb, ldc, batch);
    if (result != OK) return result;
    if (stand_in_executes() && !supported(a_type, b_type, c_type, compute))
        return stand_in_wrong(NOT_SUPPORTED, "cannot execute", "product of these types");
    struct product product = {
        ta, tb, m, n, k, batch, *(const float *)alpha, *(const float *)beta,
        {(char *)a, a_type, lda, sa}, {(char *)b, b_type, ldb, sb}, {c, c_type, ldc, sc}};
    return stand_in_record(run, &product, sizeof product) ? OK : run(&product);
}
int cublasGemmEx(void *handle, int ta, int tb, int m, int n, int k, const void *alpha,
                 const void *a, int a_type, int lda, const void *b, int b_type, int ldb,
                 const void *beta, void *c, int c_type, int ldc, int compute, int algorithm) {
    return cublasGemmStridedBatchedEx(handle, ta, tb, m, n, k, alpha, a, a_type, lda, 0, b, b_type,
                                      ldb, 0, beta, c, c_type, ldc, 0, 1, compute, algorithm);
}
int cublasDgemmStridedBatched(void *handle, int ta, int tb, int m, int n, int k,
                              const void *alpha, const void *a, int lda, long long sa,
                              const void *b, int ldb, long long sb, const void *beta, void *c,
                              int ldc, long long sc, int batch) {
    int result = check(ta, tb, m, n, k, lda, ldb, ldc, batch);
    if (result != OK) return result;
    stand_in_count("product", 2.0 * m * n * k * batch);
    if (!stand_in_executes()) return OK;
    return stand_in_wrong(NOT_SUPPORTED, "cannot execute", "product in f64");
}
