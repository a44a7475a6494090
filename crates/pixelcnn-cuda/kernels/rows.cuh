// Rows of numbers of type T, f32 or bf16, as f32, up to eight neighbouring channels at a time.
#pragma once
#include "device.cuh"

// Threads take up to eight neighbouring channels: 16 bytes of bf16.
#define EIGHT 8

__device__ __forceinline__ bool is_aligned(const void *address) {
    return (reinterpret_cast<size_t>(address) & 15) == 0;
}

__device__ __forceinline__ void load(const float *from, unsigned count, float *to) {
    if (count == EIGHT && is_aligned(from)) {
        const float4 a = reinterpret_cast<const float4 *>(from)[0];
        const float4 b = reinterpret_cast<const float4 *>(from)[1];
        to[0] = a.x, to[1] = a.y, to[2] = a.z, to[3] = a.w;
        to[4] = b.x, to[5] = b.y, to[6] = b.z, to[7] = b.w;
        return;
    }
#pragma unroll
    for (unsigned i = 0; i < EIGHT; i++) to[i] = i < count ? from[i] : 0.0f;
}

__device__ __forceinline__ void load(const bf16 *from, unsigned count, float *to) {
    if (count == EIGHT && is_aligned(from)) {
        const uint4 raw = *reinterpret_cast<const uint4 *>(from);
        const unsigned words[4] = {raw.x, raw.y, raw.z, raw.w};
#pragma unroll
        for (unsigned i = 0; i < 4; i++) {
            to[2 * i] = __uint_as_float(words[i] << 16);
            to[2 * i + 1] = __uint_as_float(words[i] & 0xffff0000u);
        }
        return;
    }
#pragma unroll
    for (unsigned i = 0; i < EIGHT; i++) to[i] = i < count ? number(from[i]) : 0.0f;
}

__device__ __forceinline__ void store(float *to, unsigned count, const float *from) {
    if (count == EIGHT && is_aligned(to)) {
        reinterpret_cast<float4 *>(to)[0] = make_float4(from[0], from[1], from[2], from[3]);
        reinterpret_cast<float4 *>(to)[1] = make_float4(from[4], from[5], from[6], from[7]);
        return;
    }
#pragma unroll
    for (unsigned i = 0; i < EIGHT; i++)
        if (i < count) to[i] = from[i];
}

__device__ __forceinline__ unsigned bits_of(float value) {
    const bf16 rounded = bf16(value);
    return *reinterpret_cast<const unsigned short *>(&rounded);
}

__device__ __forceinline__ void store(bf16 *to, unsigned count, const float *from) {
    if (count == EIGHT && is_aligned(to)) {
        uint4 raw;
        raw.x = bits_of(from[0]) | bits_of(from[1]) << 16;
        raw.y = bits_of(from[2]) | bits_of(from[3]) << 16;
        raw.z = bits_of(from[4]) | bits_of(from[5]) << 16;
        raw.w = bits_of(from[6]) | bits_of(from[7]) << 16;
        *reinterpret_cast<uint4 *>(to) = raw;
        return;
    }
#pragma unroll
    for (unsigned i = 0; i < EIGHT; i++)
        if (i < count) to[i] = bf16(from[i]);
}

// A thread's part of a row: the pixel, the first channel, and how many channels.
struct Part {
    size_t row;
    unsigned first;
    unsigned count;
};

__device__ __forceinline__ unsigned parts(unsigned channels) {
    return (channels + EIGHT - 1) / EIGHT;
}

__device__ __forceinline__ Part part_of(size_t i, unsigned channels) {
    const unsigned each = parts(channels);
    const unsigned first = unsigned(i % each) * EIGHT;
    return {i / each, first, min(unsigned(EIGHT), channels - first)};
}
