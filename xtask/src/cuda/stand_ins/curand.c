// A libcurand that writes nothing: the memory reads as zeros.
#include <stddef.h>
void stand_in_count(const char *name, double amount);

int curandCreateGenerator(void **generator, int kind) { *generator = (void *)96; return 0; }
int curandDestroyGenerator(void *generator) { return 0; }
int curandSetPseudoRandomGeneratorSeed(void *generator, unsigned long long seed) { return 0; }
int curandSetStream(void *generator, void *stream) { return 0; }
int curandGenerateUniform(void *generator, float *to, size_t count) {
    stand_in_count("random numbers", count);
    return 0;
}
int curandGenerateNormal(void *generator, float *to, size_t count, float mean, float deviation) {
    stand_in_count("random numbers", count);
    return 0;
}
