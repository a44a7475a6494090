// The condition of a network in a training step.
//
// A condition is rows as maps are: for each pixel if it is maps, and for each image if it is a
// vector, which counts for all pixels of the image.
#include "rows.cuh"

// The condition of f32 [images, channels, area] to rows, one for each of `rows` = images times
// area. Neighbouring threads have neighbouring pixels.
template <typename T>
__device__ __forceinline__ void condition_rows(unsigned rows, unsigned area, unsigned channels,
                                               unsigned stride, const float *condition, T *to) {
    EACH32(i, rows * parts(channels)) {
        const unsigned row = i % rows, first = i / rows * EIGHT;
        const unsigned count = min(unsigned(EIGHT), channels - first);
        const float *from = condition + (size_t(row / area) * channels + first) * area + row % area;
        float numbers[EIGHT];
#pragma unroll
        for (unsigned j = 0; j < EIGHT; j++) numbers[j] = j < count ? from[size_t(j) * area] : 0.0f;
        store(to + size_t(row) * stride + first, count, numbers);
    }
}

// The other direction, for the gradient.
template <typename T>
__device__ __forceinline__ void condition_gradient(unsigned rows, unsigned area, unsigned channels,
                                                   unsigned stride, const T *gradient, float *to) {
    EACH32(i, rows * parts(channels)) {
        const unsigned row = i % rows, first = i / rows * EIGHT;
        const unsigned count = min(unsigned(EIGHT), channels - first);
        float *of = to + (size_t(row / area) * channels + first) * area + row % area;
        float numbers[EIGHT];
        load(gradient + size_t(row) * stride + first, count, numbers);
#pragma unroll
        for (unsigned j = 0; j < EIGHT; j++)
            if (j < count) of[size_t(j) * area] = numbers[j];
    }
}

// Adds the row of its image to each row of `maps`, or copies it there if `maps` is null. `to` may
// be `maps`.
template <typename T>
__device__ __forceinline__ void sum_with_images(unsigned rows, unsigned channels,
                                                unsigned maps_stride, unsigned images_stride,
                                                unsigned to_stride, unsigned area, const T *maps,
                                                const T *images, T *to) {
    EACH32(i, rows * parts(channels)) {
        const Part part = part_of(i, channels);
        const unsigned image = part.row / area;
        float sum[EIGHT], other[EIGHT];
        load(images + size_t(image) * images_stride + part.first, part.count, sum);
        if (maps != nullptr) {
            load(maps + size_t(part.row) * maps_stride + part.first, part.count, other);
#pragma unroll
            for (unsigned j = 0; j < EIGHT; j++) sum[j] += other[j];
        }
        store(to + size_t(part.row) * to_stride + part.first, part.count, sum);
    }
}

// The threads of a block: PARTS of a row, and SLICES of the rows.
#define PARTS 4
#define SLICES 64
#define SUMMED (PARTS * EIGHT)

// The sums of the rows of each image. A block has SUMMED channels of an image.
template <typename T>
__device__ __forceinline__ void sums_of_images(unsigned area, unsigned channels, unsigned stride,
                                               const T *maps, unsigned to_stride, unsigned adds,
                                               T *to) {
    __shared__ float shared[SLICES][SUMMED];
    const unsigned within = threadIdx.x % PARTS * EIGHT, slice = threadIdx.x / PARTS;
    const unsigned blocks = (channels + SUMMED - 1) / SUMMED, image = blockIdx.x / blocks;
    const unsigned first = blockIdx.x % blocks * SUMMED + within;
    const unsigned count = first < channels ? min(unsigned(EIGHT), channels - first) : 0;
    float sum[EIGHT] = {}, one[EIGHT];
    if (count > 0) {
        for (unsigned pixel = slice; pixel < area; pixel += SLICES) {
            const size_t row = size_t(image) * area + pixel;
            load(maps + row * stride + first, count, one);
#pragma unroll
            for (unsigned j = 0; j < EIGHT; j++) sum[j] += one[j];
        }
    }
#pragma unroll
    for (unsigned j = 0; j < EIGHT; j++) shared[slice][within + j] = sum[j];
    __syncthreads();
    for (unsigned half = SLICES / 2; half > 0; half /= 2) {
        if (slice < half) {
#pragma unroll
            for (unsigned j = 0; j < EIGHT; j++)
                shared[slice][within + j] += shared[slice + half][within + j];
        }
        __syncthreads();
    }
    if (slice > 0 || count == 0) return;
    T *own = to + size_t(image) * to_stride + first;
    float before[EIGHT] = {};
    if (adds) load(own, count, before);
#pragma unroll
    for (unsigned j = 0; j < EIGHT; j++) sum[j] = before[j] + shared[0][within + j];
    store(own, count, sum);
}

#define CONDITION(T, NAME)                                                                         \
    extern "C" __global__ void condition_rows_##NAME(unsigned rows, unsigned area,                   \
                                                     unsigned channels, unsigned stride,           \
                                                     const float *condition, T *to) {              \
        condition_rows(rows, area, channels, stride, condition, to);                               \
    }                                                                                              \
    extern "C" __global__ void condition_gradient_##NAME(unsigned rows, unsigned area,               \
                                                         unsigned channels, unsigned stride,       \
                                                         const T *gradient, float *to) {           \
        condition_gradient(rows, area, channels, stride, gradient, to);                            \
    }                                                                                              \
    extern "C" __global__ void sum_with_images_##NAME(                                             \
        unsigned rows, unsigned channels, unsigned maps_stride, unsigned images_stride,              \
        unsigned to_stride, unsigned area, const T *maps, const T *images, T *to) {                \
        sum_with_images(rows, channels, maps_stride, images_stride, to_stride, area, maps, images, \
                        to);                                                                       \
    }                                                                                              \
    extern "C" __global__ void __launch_bounds__(PARTS *SLICES)                                    \
        sums_of_images_##NAME(unsigned area, unsigned channels, unsigned stride, const T *maps,    \
                              unsigned to_stride, unsigned adds, T *to) {                          \
        sums_of_images(area, channels, stride, maps, to_stride, adds, to);                         \
    }

CONDITION(float, f32)
CONDITION(bf16, bf16)
