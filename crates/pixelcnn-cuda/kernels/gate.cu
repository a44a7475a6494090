// The gate of maps [b, 2p, area]: tanh(first half) * sigmoid(second half), to [b, p, area].
//
// `count` is b * p * area, and `per_image` is p * area.
#include "device.cuh"

__device__ __forceinline__ float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

template <typename T>
__device__ __forceinline__ void gate(size_t count, size_t per_image, const T *maps, T *gated) {
    EACH(i, count) {
        const size_t at = i + i / per_image * per_image;
        gated[i] = T(tanhf(number(maps[at])) * sigmoid(number(maps[at + per_image])));
    }
}

// The gradient of the maps. tanh and sigmoid are computed again: the maps are kept anyway.
template <typename T>
__device__ __forceinline__ void gate_gradient(size_t count, size_t per_image, const T *maps,
                                              const T *incoming, T *gradient) {
    EACH(i, count) {
        const size_t at = i + i / per_image * per_image;
        const float value = tanhf(number(maps[at]));
        const float open = sigmoid(number(maps[at + per_image]));
        const float g = number(incoming[i]);
        gradient[at] = T(g * open * (1.0f - value * value));
        gradient[at + per_image] = T(g * value * open * (1.0f - open));
    }
}

#define GATE(TYPE, NAME)                                                                      \
    extern "C" __global__ void gate_##NAME(size_t count, size_t per_image, const TYPE *maps,  \
                                           TYPE *gated) {                                     \
        gate(count, per_image, maps, gated);                                                  \
    }                                                                                         \
    extern "C" __global__ void gate_gradient_##NAME(size_t count, size_t per_image,           \
                                                    const TYPE *maps, const TYPE *incoming,   \
                                                    TYPE *gradient) {                         \
        gate_gradient(count, per_image, maps, incoming, gradient);                            \
    }

GATE(float, f32)
GATE(bf16, bf16)
