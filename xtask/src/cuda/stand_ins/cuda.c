// A libcuda without a device. Allocations are address space that reads as zeros, and kernels do
// not run, so that all results are zeros. What it does check: kernels exist in the PTX that was
// loaded, the PTX is old enough for the driver, grids are valid, and memory is freed once.
//
// If it executes, the kernels of pixelcnn-cuda, products, fills and copies are computed on the
// CPU, and anything else is an error. Fresh memory is full of NaN, so that results show whether
// a program reads what nothing wrote.
//
// Environment:
//   STAND_IN_EXECUTES 1: it executes
//   STAND_IN_DEVICES  how many devices there are: 1 if unset
//   STAND_IN_COUNTS   a file that gets, at exit, lines `NAME<tab>CALLS<tab>AMOUNT`. The amount is
//                     threads for a kernel, bytes for memory.
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

// The results of the driver's functions.
enum { OK = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NO_DEVICE = 100, INVALID_DEVICE = 101,
       NO_KERNEL_IMAGE = 209, UNSUPPORTED_PTX = 222, NOT_FOUND = 500, ILLEGAL_ADDRESS = 700,
       NOT_SUPPORTED = 801, CAPTURE_UNSUPPORTED = 900 };

// host.cpp of pixelcnn-cuda: 0 if it has no kernel of this name, or no such argument.
int run_kernel(const char *name, const unsigned *grid, const unsigned *block, void **arguments);
size_t argument_bytes(const char *name, size_t index);

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

struct counter {
    struct counter *next;
    long calls;
    double amount;
    char name[];
};
static struct counter *counters;

static struct counter *counter(const char *name) {
    for (struct counter *c = counters; c; c = c->next)
        if (!strcmp(c->name, name)) return c;
    struct counter *c = calloc(1, sizeof *c + strlen(name) + 1);
    strcpy(c->name, name);
    c->next = counters;
    return counters = c;
}

// The other libraries count here as well.
void stand_in_count(const char *name, double amount) {
    pthread_mutex_lock(&lock);
    struct counter *c = counter(name);
    c->calls++;
    c->amount += amount;
    pthread_mutex_unlock(&lock);
}

// Reports an error, and returns it.
int stand_in_wrong(int result, const char *what, const char *name) {
    fprintf(stderr, "stand-in driver: %s: %s\n", what, name);
    stand_in_count("errors", 0);
    return result;
}
#define wrong stand_in_wrong

int stand_in_executes(void) {
    const char *value = getenv("STAND_IN_EXECUTES");
    return value && !strcmp(value, "1");
}

// Graphs. While a stream is captured, launches and products are recorded, with copies of their
// arguments, and not done. To launch the graph does them.
struct node {
    struct node *next;
    int (*run)(void *);
    char data[];
};
struct graph {
    struct node *first, **end;
};
static __thread struct graph *capturing; // of this thread

// Whether it was recorded. The other libraries record here as well.
int stand_in_record(int (*run)(void *), const void *data, size_t bytes) {
    if (!capturing) return 0;
    struct node *node = malloc(sizeof *node + bytes);
    *node = (struct node){0, run};
    memcpy(node->data, data, bytes);
    *capturing->end = node;
    capturing->end = &node->next;
    return 1;
}
int cuStreamBeginCapture_v2(void *stream, int mode) {
    if (capturing) return wrong(CAPTURE_UNSUPPORTED, "a second capture", "");
    capturing = malloc(sizeof *capturing);
    *capturing = (struct graph){0, &capturing->first};
    return OK;
}
int cuStreamEndCapture(void *stream, void **graph) {
    *graph = capturing;
    capturing = 0;
    return *graph ? OK : wrong(INVALID_VALUE, "no capture to end", "");
}
int cuStreamIsCapturing(void *stream, int *status) { *status = capturing != 0; return OK; }
int cuGraphInstantiateWithFlags(void **executable, void *graph, unsigned long long flags) {
    *executable = graph;
    return OK;
}
int cuGraphLaunch(void *executable, void *stream) {
    stand_in_count("graph", 0);
    int result = OK;
    for (struct node *node = ((struct graph *)executable)->first; node && result == OK; node = node->next)
        result = node->run(node->data);
    return result;
}
int cuGraphExecDestroy(void *executable) { return OK; }
int cuGraphDestroy(void *graph) {
    for (struct node *node = ((struct graph *)graph)->first; node;) {
        struct node *next = node->next;
        free(node);
        node = next;
    }
    free(graph);
    return OK;
}

// Live allocations in a list: a program has a few thousand, and frees young ones first.
struct block {
    struct block *next;
    size_t bytes, rounded, mapped;
    char *start;
};
static struct block *blocks;
static double live, peak;

// If kernels run, such bytes follow each allocation: they are NaN too, and not those of fresh
// memory, so that a copy of fresh memory to here shows.
enum { GUARD = 512 };
static const char GUARD_BYTES[2] = {(char)0xa5, (char)0xff};

static void fill_guard(struct block *block) {
    for (size_t i = 0; i < GUARD; i++) block->start[block->bytes + i] = GUARD_BYTES[i % 2];
}

static int guard_is_whole(const struct block *block) {
    const char *guard = block->start + block->bytes;
    return !memcmp(guard, GUARD_BYTES, 2) && !memcmp(guard, guard + 2, GUARD - 2);
}

// After a kernel: whether it left everything beyond the allocations alone.
static int check_guards(const char *kernel) {
    int result = OK;
    pthread_mutex_lock(&lock);
    for (struct block *block = blocks; block; block = block->next) {
        if (guard_is_whole(block)) continue;
        fill_guard(block); // reported once
        result = ILLEGAL_ADDRESS;
    }
    pthread_mutex_unlock(&lock);
    return result == OK ? OK : wrong(result, "a write beyond an allocation", kernel);
}

// Whether bytes are inside one allocation.
int stand_in_inside(const void *start, size_t bytes) {
    const char *from = start;
    pthread_mutex_lock(&lock);
    struct block *block = blocks;
    while (block && (from < block->start || from > block->start + block->bytes ||
                     bytes > (size_t)(block->start + block->bytes - from)))
        block = block->next;
    pthread_mutex_unlock(&lock);
    return block || !bytes;
}

static int allocate(uint64_t *pointer, size_t bytes) {
    if (capturing) return wrong(CAPTURE_UNSUPPORTED, "while a stream is captured", "allocation");
    size_t rounded = (bytes + 511) & ~(size_t)511;
    size_t mapped = stand_in_executes() ? rounded + GUARD : rounded ? rounded : 512;
    void *start = mmap(0, mapped, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (start == MAP_FAILED) return OUT_OF_MEMORY;
    struct block *block = malloc(sizeof *block);
    *block = (struct block){0, bytes, rounded, mapped, start};
    if (stand_in_executes()) {
        memset(start, 0xff, bytes);
        fill_guard(block);
    }
    pthread_mutex_lock(&lock);
    block->next = blocks;
    blocks = block;
    live += rounded;
    if (live > peak) peak = live;
    pthread_mutex_unlock(&lock);
    stand_in_count("allocation", bytes);
    *pointer = (uint64_t)start;
    return OK;
}

static int release(uint64_t pointer) {
    pthread_mutex_lock(&lock);
    struct block **at = &blocks;
    while (*at && (*at)->start != (char *)pointer) at = &(*at)->next;
    struct block *block = *at;
    if (block) {
        *at = block->next;
        live -= block->rounded;
    }
    pthread_mutex_unlock(&lock);
    if (!block) return wrong(INVALID_VALUE, "a free of memory that is not allocated", "");
    munmap(block->start, block->mapped);
    free(block);
    return OK;
}

static void report(void) {
    const char *path = getenv("STAND_IN_COUNTS");
    FILE *file = path ? fopen(path, "w") : 0;
    if (!file) return;
    for (struct counter *c = counters; c; c = c->next)
        fprintf(file, "%s\t%ld\t%.0f\n", c->name, c->calls, c->amount);
    fprintf(file, "peak\t1\t%.0f\n", peak);
    fclose(file);
}

static int devices(void) {
    const char *number = getenv("STAND_IN_DEVICES");
    return number ? atoi(number) : 1;
}

int cuInit(unsigned flags) {
    static int registered;
    if (!devices()) return NO_DEVICE;
    if (!registered++) atexit(report);
    return OK;
}
int cuGetErrorName(int result, const char **text) {
    *text = result == NO_DEVICE ? "CUDA_ERROR_NO_DEVICE" : "CUDA_ERROR";
    return OK;
}
int cuGetErrorString(int result, const char **text) {
    *text = result == NO_DEVICE ? "no CUDA-capable device is detected" : "see the line above";
    return OK;
}
int cuDeviceGet(int *device, int number) {
    if (number >= devices()) return INVALID_DEVICE;
    *device = number;
    return OK;
}
int cuDeviceGetCount(int *count) { *count = devices(); return OK; }
int cuDeviceGetName(char *name, int length, int device) {
    snprintf(name, length, "stand-in");
    return OK;
}
// As a device of compute capability 9.0 answers; 1 where a yes is all that is asked.
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    switch (attribute) {
    case 75: *value = 9; break;         // compute capability, major
    case 76: *value = 0; break;         // and minor
    case 16: *value = 132; break;       // multiprocessors
    case 1: *value = 1024; break;       // threads of a block
    case 10: *value = 32; break;        // threads of a warp
    case 8: *value = 49152; break;      // shared memory of a block
    case 97: *value = 232448; break;    // shared memory of a block that asks for it
    default: *value = 1;
    }
    return OK;
}
// Handles are never followed.
int cuDevicePrimaryCtxRetain(void **context, int device) { *context = (void *)16; return OK; }
int cuDevicePrimaryCtxRelease_v2(int device) { return OK; }
int cuCtxSetCurrent(void *context) { return OK; }
int cuCtxGetCurrent(void **context) { *context = (void *)16; return OK; }
int cuCtxSynchronize(void) { stand_in_count("wait", 0); return OK; }
int cuStreamCreate(void **stream, unsigned flags) { *stream = (void *)32; return OK; }
int cuStreamDestroy_v2(void *stream) { return OK; }
int cuStreamSynchronize(void *stream) { stand_in_count("wait", 0); return OK; }
int cuStreamWaitEvent(void *stream, void *event, unsigned flags) { stand_in_count("event", 0); return OK; }
int cuEventCreate(void **event, unsigned flags) { stand_in_count("event", 0); *event = (void *)48; return OK; }
int cuEventDestroy_v2(void *event) { return OK; }
int cuEventRecord(void *event, void *stream) { stand_in_count("event", 0); return OK; }
int cuEventSynchronize(void *event) { stand_in_count("wait", 0); return OK; }
int cuEventQuery(void *event) { return OK; }

int cuMemAllocAsync(uint64_t *pointer, size_t bytes, void *stream) { return allocate(pointer, bytes); }
int cuMemAlloc_v2(uint64_t *pointer, size_t bytes) { return allocate(pointer, bytes); }
int cuMemFreeAsync(uint64_t pointer, void *stream) { return release(pointer); }
int cuMemFree_v2(uint64_t pointer) { return release(pointer); }
int cuMemGetInfo_v2(size_t *unused, size_t *total) { *unused = *total = (size_t)80 << 30; return OK; }
int cuDeviceGetDefaultMemPool(void **pool, int device) { *pool = (void *)64; return OK; }
int cuDeviceGetMemPool(void **pool, int device) { *pool = (void *)64; return OK; }
int cuMemPoolSetAttribute(void *pool, int attribute, void *value) { return OK; }

// Whether a copy or fill is done: only if the driver executes, and only inside an allocation.
static int done(const char *what, uint64_t memory, size_t bytes, int *result) {
    stand_in_count(what, bytes);
    *result = capturing ? wrong(CAPTURE_UNSUPPORTED, "while a stream is captured", what) : OK;
    if (*result != OK) return 0;
    if (!stand_in_executes()) return 0;
    if (stand_in_inside((void *)memory, bytes)) return 1;
    *result = wrong(INVALID_VALUE, "beyond an allocation", what);
    return 0;
}
int cuMemsetD8Async(uint64_t to, unsigned char value, size_t bytes, void *stream) {
    int result;
    if (done("fill", to, bytes, &result)) memset((void *)to, value, bytes);
    return result;
}
int cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t bytes, void *stream) {
    int result;
    if (done("copy to the device", to, bytes, &result)) memcpy((void *)to, from, bytes);
    return result;
}
int cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t bytes, void *stream) {
    int result;
    if (done("copy from the device", from, bytes, &result)) memcpy(to, (void *)from, bytes);
    else memset(to, 0, bytes);
    return result;
}
int cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t bytes, void *stream) {
    int result;
    if (!done("copy on the device", to, bytes, &result)) return result;
    if (!stand_in_inside((void *)from, bytes))
        return wrong(INVALID_VALUE, "beyond an allocation", "copy on the device");
    memmove((void *)to, (void *)from, bytes);
    return OK;
}

// PTX. The number is that of the language: 9.0 is CUDA 13.0, which drivers from 580 on read.
int cuModuleLoadData(void **module, const void *image) {
    const char *version = strstr(image, ".version ");
    int major = 0, minor = 0;
    if (!version || sscanf(version, ".version %d.%d", &major, &minor) != 2 ||
        !strstr(image, ".target sm_"))
        return wrong(NO_KERNEL_IMAGE, "this is no PTX", "");
    if (major > 9 || (major == 9 && minor > 0))
        return wrong(UNSUPPORTED_PTX, "driver 580 does not read this PTX", "");
    *module = strdup(image);
    return OK;
}
int cuModuleUnload(void *module) { return OK; }
#define KERNEL "kernel " // what the name of its counter starts with
int cuModuleGetFunction(void **function, void *module, const char *name) {
    char entry[300];
    snprintf(entry, sizeof entry, ".entry %s(", name);
    if (!strstr(module, entry)) return wrong(NOT_FOUND, "no kernel in the PTX", name);
    char kernel[300];
    snprintf(kernel, sizeof kernel, KERNEL "%s", name);
    pthread_mutex_lock(&lock);
    *function = counter(kernel);
    pthread_mutex_unlock(&lock);
    return OK;
}
int cuFuncGetAttribute(int *value, int attribute, void *function) { *value = 0; return OK; }
int cuFuncSetAttribute(void *function, int attribute, int value) { return OK; }
// One after the other, as on one stream.
static int execute(const char *name, const unsigned *grid, const unsigned *block, unsigned shared,
                   void **arguments) {
    static pthread_mutex_t running = PTHREAD_MUTEX_INITIALIZER;
    if (shared) return wrong(NOT_SUPPORTED, "cannot execute with dynamic shared memory", name);
    pthread_mutex_lock(&running);
    int found = run_kernel(name, grid, block, arguments);
    pthread_mutex_unlock(&running);
    return found ? check_guards(name) : wrong(NOT_SUPPORTED, "cannot execute", name);
}
// A launch with its arguments, for a graph.
struct launch {
    struct counter *function;
    unsigned grid[3], block[3], shared;
    int arguments;
    char values[32][64];
};
static int run_launch(struct launch *launch, void **arguments) {
    const unsigned *grid = launch->grid, *block = launch->block;
    const char *name = launch->function->name;
    stand_in_count(name, (double)grid[0] * grid[1] * grid[2] * block[0] * block[1] * block[2]);
    if (!stand_in_executes()) return OK;
    return execute(name + strlen(KERNEL), grid, block, launch->shared, arguments);
}
static int run_recorded(void *data) {
    struct launch *launch = data;
    void *arguments[32];
    for (int i = 0; i < launch->arguments; i++) arguments[i] = launch->values[i];
    return run_launch(launch, arguments);
}
// Copies the arguments, whose sizes only our own kernels tell.
static int copy_arguments(struct launch *launch, void **arguments) {
    const char *name = launch->function->name + strlen(KERNEL);
    size_t bytes;
    for (int i = 0; (bytes = argument_bytes(name, i)); i++) {
        if (i >= 32 || bytes > sizeof launch->values[i])
            return wrong(NOT_SUPPORTED, "too many or too large arguments for a graph", name);
        memcpy(launch->values[i], arguments[i], bytes);
        launch->arguments = i + 1;
    }
    return OK;
}
int cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                   unsigned bz, unsigned shared, void *stream, void **arguments, void **extra) {
    const char *name = ((struct counter *)function)->name;
    double grid = (double)gx * gy * gz, block = (double)bx * by * bz;
    if (grid == 0 || block == 0) return wrong(INVALID_VALUE, "an empty grid", name);
    if (block > 1024 || gx > 2147483647u || gy > 65535 || gz > 65535 || shared > 232448)
        return wrong(INVALID_VALUE, "a grid that no device has", name);
    struct launch launch = {function, {gx, gy, gz}, {bx, by, bz}, shared};
    if (!capturing) return run_launch(&launch, arguments);
    int result = copy_arguments(&launch, arguments);
    if (result == OK) stand_in_record(run_recorded, &launch, sizeof launch);
    return result;
}
