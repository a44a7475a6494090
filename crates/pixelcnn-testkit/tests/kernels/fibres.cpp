// Kernels that use every way in which threads wait for each other, on the fibres of the CPU.
//
//   fibres            compares what they compute in both orders with plain loops
//   fibres NAME       does what fibres.cpp must refuse: `mask` or `barriers`
#include "host_kernels.h"

#include <cstdio>
#include <cstdlib>
#include <string>

#define CHECK(condition)                                                                      \
    do {                                                                                      \
        if (!(condition)) {                                                                   \
            fprintf(stderr, "line %d: %s\n", __LINE__, #condition);                           \
            exit(1);                                                                          \
        }                                                                                     \
    } while (0)

static double out[4096];
static unsigned threads;

// A sum over a block: in each warp by shuffles, then over the warps in the first one only. The
// others are at a barrier meanwhile.
static void sum_of_block(void **) {
    __shared__ float sums[32];
    float sum = float(threadIdx.x + 1);
    for (int half = 16; half > 0; half /= 2) sum += __shfl_xor_sync(ALL_LANES, sum, half);
    if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = sum;
    __syncthreads();
    if (threadIdx.x < 32) {
        float all = threadIdx.x < blockDim.x / 32 ? sums[threadIdx.x] : 0.0f;
        for (int half = 16; half > 0; half /= 2) all += __shfl_xor_sync(ALL_LANES, all, half);
        if (threadIdx.x == 0) sums[0] = all;
    }
    __syncthreads();
    out[blockIdx.x * blockDim.x + threadIdx.x] = sums[0];
}

// Several shuffles without anything between them: a value must not be replaced before it is read.
static void shifted(void **) {
    const unsigned lane = threadIdx.x % 32;
    const double first = __shfl_down_sync(ALL_LANES, 1.0 / (threadIdx.x + 1), 3);
    const unsigned second = __shfl_down_sync(ALL_LANES, threadIdx.x * 7u, 1);
    const float third = __shfl_sync(ALL_LANES, threadIdx.x * 0.5f, 5);
    const unsigned start = threadIdx.x - lane;
    const bool right = first == 1.0 / (threadIdx.x + (lane + 3 < 32 ? 3 : 0) + 1) &&
                       second == (threadIdx.x + (lane + 1 < 32 ? 1 : 0)) * 7u &&
                       third == (start + 5) * 0.5f;
    out[threadIdx.x] = right;
}

// A thread that has ended is not waited for, and shows all ones: NaN.
static void without_the_last(void **) {
    __shared__ unsigned written[64];
    __shfl_xor_sync(ALL_LANES, 1.0f, 1);
    if (threadIdx.x >= 40) return;
    written[threadIdx.x] = threadIdx.x;
    __syncwarp();
    const unsigned neighbour = written[threadIdx.x ^ 1];
    const float above = __shfl_down_sync(ALL_LANES, float(threadIdx.x), 8);
    __syncthreads();
    const bool there = (threadIdx.x + 8) / 32 == threadIdx.x / 32 && threadIdx.x + 8 < 40;
    const bool right = there                       ? above == threadIdx.x + 8
                       : threadIdx.x % 32 + 8 < 32 ? above != above
                                                   : above == threadIdx.x;
    const unsigned other = 39 - threadIdx.x;
    out[threadIdx.x] = right && neighbour == (threadIdx.x ^ 1) && written[other] == other;
}

static void places(void **) {
    const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
    const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
    out[block * threads + thread] += 1;
}

static void some_lanes(void **) { __shfl_xor_sync(0xffff, 1.0f, 1); }
static void different_barriers(void **) {
    if (threadIdx.x < 16) __syncwarp();
    else __syncthreads();
}

static void run(dim3 grid, dim3 block, Order order, void (*call)(void **)) {
    memset(out, 0, sizeof out);
    threads = block.x * block.y * block.z;
    run_grid(grid, block, order, call, nullptr);
}

static void words() {
    alignas(16) const float numbers[4] = {1, 2, 3, 4};
    const float4 four = __ldg(reinterpret_cast<const float4 *>(numbers));
    CHECK(four.x == 1 && four.y == 2 && four.z == 3 && four.w == 4);
    CHECK(sizeof(uint4) == 16 && alignof(float4) == 16 && make_uint4(1, 2, 3, 4).w == 4);
    CHECK(rsqrtf(4.0f) == 0.5f && make_float4(1, 2, 3, 4).z == 3 && sizeof(bf16) == 2);
}

int main(int count, char **arguments) {
    const std::string refused = count > 1 ? arguments[1] : "";
    if (refused == "mask") run({}, {32, 1, 1}, Order::FORWARDS, some_lanes);
    if (refused == "barriers") run({}, {32, 1, 1}, Order::FORWARDS, different_barriers);
    for (Order order : {Order::FORWARDS, Order::REVERSED}) {
        run({3, 1, 1}, {128, 1, 1}, order, sum_of_block);
        for (int i = 0; i < 3 * 128; i++) CHECK(out[i] == 128 * 129 / 2);
        run({}, {64, 1, 1}, order, shifted);
        for (int i = 0; i < 64; i++) CHECK(out[i] == 1);
        run({}, {50, 1, 1}, order, without_the_last);
        for (int i = 0; i < 50; i++) CHECK(out[i] == (i < 40));
        run({2, 3, 4}, {4, 4, 3}, order, places);
        for (int i = 0; i < 4096; i++) CHECK(out[i] == (i < 24 * 48));
    }
    words();
}
