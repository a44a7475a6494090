// Softmax cross-entropy: logits [groups, levels, area] and values [groups, area] to nats
// [groups, area], and the gradient of the logits. No probabilities are stored.
//
// A thread has one position of one group. Neighbouring threads read neighbouring logits.
// `count` is groups * area.
#include "device.cuh"

template <typename T>
__device__ __forceinline__ void nats_of(size_t count, size_t levels, size_t area, const T *logits,
                                        const unsigned *values, float *nats) {
    EACH(i, count) {
        const T *column = logits + i / area * levels * area + i % area;
        // One pass: the sum is that of exp(logit - largest), with the largest logit so far.
        // It begins with the least number, so that what is -infinity adds nothing.
        float largest = -3.402823466e38f, sum = 0.0f;
        for (size_t level = 0; level < levels; level++) {
            const float logit = number(column[level * area]);
            if (logit > largest) {
                sum = sum * expf(largest - logit) + 1.0f;
                largest = logit;
            } else {
                sum += expf(logit - largest);
            }
        }
        const unsigned value = values[i];
        // As where candle computes it: a value that does not exist has no likelihood.
        nats[i] = value < levels ? logf(sum) + (largest - number(column[value * area])) : NAN;
    }
}

template <typename T>
__device__ __forceinline__ void gradient_of(size_t count, size_t levels, size_t area,
                                            const T *logits, const unsigned *values,
                                            const float *nats, const float *incoming,
                                            T *gradient) {
    EACH(i, count) {
        const size_t offset = i / area * levels * area + i % area;
        const T *column = logits + offset;
        const unsigned value = values[i];
        const float g = incoming[i];
        // The difference of logits first: nats are small, and lost in a large logit.
        const float own = value < levels ? number(column[value * area]) : NAN, own_nats = nats[i];
        for (size_t level = 0; level < levels; level++) {
            const float probability = expf(number(column[level * area]) - own - own_nats);
            const float picked = level == value ? 1.0f : 0.0f;
            gradient[offset + level * area] = T((probability - picked) * g);
        }
    }
}

#define CROSS_ENTROPY(TYPE, NAME)                                                             \
    extern "C" __global__ void cross_entropy_##NAME(size_t count, size_t levels, size_t area, \
                                                    const TYPE *logits,                       \
                                                    const unsigned *values, float *nats) {    \
        nats_of(count, levels, area, logits, values, nats);                                   \
    }                                                                                         \
    extern "C" __global__ void cross_entropy_gradient_##NAME(                                 \
        size_t count, size_t levels, size_t area, const TYPE *logits, const unsigned *values, \
        const float *nats, const float *incoming, TYPE *gradient) {                           \
        gradient_of(count, levels, area, logits, values, nats, incoming, gradient);           \
    }

CROSS_ENTROPY(float, f32)
CROSS_ENTROPY(bf16, bf16)
