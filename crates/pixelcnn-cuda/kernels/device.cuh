// What the kernels include: on a device nothing more than CUDA, on a CPU host.h.
#pragma once
#ifdef __CUDACC__
#include <cuda_bf16.h>
typedef __nv_bfloat16 bf16;
#else
#include "host.h"
#endif

__device__ __forceinline__ float number(float value) { return value; }
__device__ __forceinline__ float number(bf16 value) { return float(value); }

// The first element of a thread, and the step to its next one, in a grid of one dimension.
#define EACH(i, count)                                                                        \
    for (size_t i = blockIdx.x * size_t(blockDim.x) + threadIdx.x; i < (count);               \
         i += size_t(gridDim.x) * blockDim.x)
