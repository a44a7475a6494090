// What the kernels that go through the numbers of many tensors share: the numbers of each tensor
// are divided into chunks of CHUNK, and block i works on chunk i.
#pragma once
#include "device.cuh"

struct Chunk {
    unsigned tensor;
    unsigned number;
};

#define CHUNK 2048
#define THREADS 256

// The sum of THREADS numbers, in an order that is always the same.
__device__ __forceinline__ double sum_of_block(double *numbers, double number) {
    numbers[threadIdx.x] = number;
    __syncthreads();
    for (unsigned half = THREADS / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) numbers[threadIdx.x] += numbers[threadIdx.x + half];
        __syncthreads();
    }
    return numbers[0];
}

// The factor that makes a norm at most `most`.
__device__ __forceinline__ float clip_factor(double norm, double most) {
    return norm > most ? float(most / norm) : 1.0f;
}
