// CUDA's words for kernels, as C++ for a CPU. host.cpp runs the kernels.
//
// The threads of a block are fibres of one thread, so that __syncthreads can wait. Blocks run one
// after the other.
#pragma once
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#define __global__
#define __device__
#define __forceinline__ inline
#define __shared__ static
#define __launch_bounds__(threads)

struct dim3 {
    unsigned x = 1, y = 1, z = 1;
};
extern dim3 threadIdx, blockIdx, blockDim, gridDim;

void __syncthreads();

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
