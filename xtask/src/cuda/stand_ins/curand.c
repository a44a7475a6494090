// A libcurand that writes nothing: the memory reads as zeros. If the driver executes, random
// numbers are an error.
#include <stddef.h>
void stand_in_count(const char *name, double amount);
int stand_in_wrong(int result, const char *what, const char *name);
int stand_in_executes(void);

int curandCreateGenerator(void **generator, int kind) { *generator = (void *)96; return 0; }
int curandDestroyGenerator(void *generator) { return 0; }
int curandSetPseudoRandomGeneratorSeed(void *generator, unsigned long long seed) { return 0; }
int curandSetStream(void *generator, void *stream) { return 0; }

static int random_numbers(size_t count) {
    stand_in_count("random numbers", count);
    // 201: CURAND_STATUS_LAUNCH_FAILURE
    return stand_in_executes() ? stand_in_wrong(201, "cannot execute", "random numbers") : 0;
}
int curandGenerateUniform(void *generator, float *to, size_t count) {
    return random_numbers(count);
}
int curandGenerateNormal(void *generator, float *to, size_t count, float mean, float deviation) {
    return random_numbers(count);
}
