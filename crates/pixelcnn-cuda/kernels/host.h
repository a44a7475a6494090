// CUDA's words for kernels, as C++ for a CPU. fibres.cpp runs the threads.
//
// The threads of a block are fibres of one thread of the CPU, so that they can wait for each
// other. Blocks run one after the other. Shared memory is static; it must have a size.
#pragma once
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#define __global__
#define __device__
#define __forceinline__ inline
#define __shared__ static
#define __launch_bounds__(...)

struct dim3 {
    unsigned x = 1, y = 1, z = 1;
};
extern dim3 threadIdx, blockIdx, blockDim, gridDim;

// A barrier of a block or a warp waits for its threads that have not ended. Only the mask of
// all threads is supported: another one ends the program.
#define ALL_LANES 0xffffffffu
void __syncthreads();
void __syncwarp(unsigned mask = ALL_LANES);

// The place of this thread in its warp, and what the thread at `lane` shows when all threads of
// the warp show something: all ones if there is no such thread.
unsigned lane_of_thread();
uint64_t shown_by(unsigned mask, unsigned lane, uint64_t mine);

template <typename T> T __shfl_sync(unsigned mask, T value, int lane) {
    static_assert(sizeof(T) <= sizeof(uint64_t), "a number");
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof value);
    bits = shown_by(mask, unsigned(lane) % 32, bits);
    memcpy(&value, &bits, sizeof value);
    return value;
}
template <typename T> T __shfl_xor_sync(unsigned mask, T value, int lane_mask) {
    return __shfl_sync(mask, value, int(lane_of_thread()) ^ lane_mask);
}
// The last threads of a warp have none above them: they get their own value.
template <typename T> T __shfl_down_sync(unsigned mask, T value, unsigned delta) {
    const unsigned lane = lane_of_thread(), above = lane + delta;
    return __shfl_sync(mask, value, int(above < 32 ? above : lane));
}

inline unsigned min(unsigned a, unsigned b) { return a < b ? a : b; }
inline float __uint_as_float(unsigned bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

template <typename T> T __ldg(const T *at) { return *at; }

struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

// A macro, because newer C libraries declare a function of this name.
inline float reciprocal_root(float value) { return 1.0f / sqrtf(value); }
#define rsqrtf reciprocal_root

// Round to nearest, ties to even, as a device does.
struct bf16 {
    uint16_t bits;
    bf16() = default;
    explicit bf16(float value) {
        uint32_t whole;
        memcpy(&whole, &value, 4);
        const bool nan = value != value;
        bits = nan ? uint16_t(whole >> 16 | 64) : uint16_t((whole + 0x7fff + (whole >> 16 & 1)) >> 16);
    }
    explicit operator float() const {
        const uint32_t whole = uint32_t(bits) << 16;
        float value;
        memcpy(&value, &whole, 4);
        return value;
    }
};
