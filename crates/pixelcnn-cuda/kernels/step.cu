// A training step: everything between the products of a network and back.
//
// Maps are rows here: [pixels, channels], a pixel's channels side by side, with `stride` numbers
// from one pixel to the next. A row of maps that convolutions read ends with a 1 after its
// channels and zeros up to the stride, so that the bias is one more column of the weight.
//
// Types: T is f32 or bf16; sums are in f32. Counts of numbers fit 32 bits, because divisions of 64
// bits take longer than the memory of these kernels.
#include "rows.cuh"

// The end of every row: a 1, then zeros.
template <typename T>
__device__ __forceinline__ void ends(unsigned rows, unsigned channels, unsigned stride, T *maps) {
    EACH32(i, rows) {
        for (unsigned c = channels; c < stride; c++)
            maps[size_t(i) * stride + c] = T(c == channels ? 1.0f : 0.0f);
    }
}

// Values [rows, channels] to numbers: 0 becomes `lowest`, each level adds `step`.
template <typename T>
__device__ __forceinline__ void image(unsigned count, unsigned channels, unsigned stride,
                                      const unsigned *values, float lowest, float step, T *maps) {
    EACH32(i, count) {
        const unsigned row = i / channels;
        maps[size_t(row) * stride + (i - row * channels)] = T(lowest + step * float(values[i]));
    }
}

// A convolution whose output has the size of its input. Output (y, x) sees at tap (r, s) the
// input (y + r dilation - top, x + s dilation - left), or zero outside.
struct Window {
    int height, width;
    int rows, columns;
    int top, left, dilation;
    unsigned maps;
    // Of the maps, and of the views.
    unsigned stride, view_stride;
};

// The views of `rows` pixels: for each tap, the channels that it sees; then 1 and zeros.
template <typename T>
__device__ __forceinline__ void row_views(unsigned rows, Window g, const T *maps, T *views) {
    const unsigned seen = g.rows * g.columns * g.maps;
    const unsigned each = g.view_stride / EIGHT, width = g.width, height = g.height;
    EACH32(i, rows * each) {
        const unsigned row = i / each, first = (i - row * each) * EIGHT;
        const unsigned line = row / width;
        const int x = int(row - line * width), y = int(line % height);
        float numbers[EIGHT];
        const auto of = [&](unsigned column, unsigned count, float *to) {
            const unsigned tap = column / g.maps, channel = column - tap * g.maps;
            const unsigned r = tap / unsigned(g.columns), s = tap - r * g.columns;
            const int dy = int(r) * g.dilation - g.top, dx = int(s) * g.dilation - g.left;
            const bool inside = y + dy >= 0 && y + dy < g.height && x + dx >= 0 && x + dx < g.width;
            if (inside) {
                const unsigned from = unsigned(int(row) + dy * g.width + dx);
                load(maps + size_t(from) * g.stride + channel, count, to);
            } else {
                for (unsigned j = 0; j < count; j++) to[j] = 0.0f;
            }
        };
        if (g.maps % EIGHT == 0 && first < seen) {
            of(first, EIGHT, numbers);
        } else {
            for (unsigned j = 0; j < EIGHT; j++) {
                const unsigned column = first + j;
                float one[EIGHT] = {column == seen ? 1.0f : 0.0f};
                if (column < seen) of(column, 1, one);
                numbers[j] = one[0];
            }
        }
        store(views + size_t(row) * g.view_stride + first, EIGHT, numbers);
    }
}

// The other direction: each number of the maps gets the sum of the gradients of its views.
template <typename T>
__device__ __forceinline__ void sums_of_row_views(unsigned rows, Window g, const T *views,
                                                  unsigned stride, unsigned adds, T *maps) {
    EACH32(i, rows * parts(g.maps)) {
        const Part part = part_of(i, g.maps);
        const unsigned line = part.row / unsigned(g.width);
        const int x = int(part.row - line * g.width), y = int(line % unsigned(g.height));
        T *to = maps + size_t(part.row) * stride + part.first;
        float sum[EIGHT] = {}, one[EIGHT];
        if (adds) load(to, part.count, sum);
        for (int r = 0; r < g.rows; r++) {
            const int dy = g.top - r * g.dilation;
            if (y + dy < 0 || y + dy >= g.height) continue;
            for (int s = 0; s < g.columns; s++) {
                const int dx = g.left - s * g.dilation;
                if (x + dx < 0 || x + dx >= g.width) continue;
                const unsigned from = unsigned(int(part.row) + dy * g.width + dx);
                const unsigned column = unsigned(r * g.columns + s) * g.maps + part.first;
                load(views + size_t(from) * g.view_stride + column, part.count, one);
#pragma unroll
                for (unsigned j = 0; j < EIGHT; j++) sum[j] += one[j];
            }
        }
        store(to, part.count, sum);
    }
}

// tanh and the sigmoid, to the precision of the type that the second argument points to. bf16 has 8
// bits, and the fast instruction gives 11.
__device__ __forceinline__ float bent(float x, const float *) { return tanhf(x); }
__device__ __forceinline__ float bent(float x, const bf16 *) {
#ifdef __CUDA_ARCH__
    float y;
    asm("tanh.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
#else
    return tanhf(x);
#endif
}
__device__ __forceinline__ float logistic(float x, const float *) {
    return 1.0f / (1.0f + expf(-x));
}
__device__ __forceinline__ float logistic(float x, const bf16 *type) {
    return 0.5f * bent(0.5f * x, type) + 0.5f;
}

// The gate: tanh of the first `channels` times the sigmoid of the next `channels`.
template <typename T>
__device__ __forceinline__ void row_gate(unsigned rows, unsigned channels, unsigned from_stride,
                                         unsigned to_stride, const T *sums, T *gated) {
    EACH32(i, rows * parts(channels)) {
        const Part part = part_of(i, channels);
        const T *from = sums + size_t(part.row) * from_stride + part.first;
        float value[EIGHT], open[EIGHT];
        load(from, part.count, value);
        load(from + channels, part.count, open);
#pragma unroll
        for (unsigned j = 0; j < EIGHT; j++) value[j] = bent(value[j], sums) * logistic(open[j], sums);
        store(gated + size_t(part.row) * to_stride + part.first, part.count, value);
    }
}

template <typename T>
__device__ __forceinline__ void row_gate_gradient(unsigned rows, unsigned channels,
                                                  unsigned sums_stride, unsigned incoming_stride,
                                                  unsigned stride, const T *sums,
                                                  const T *incoming, unsigned adds, T *gradient) {
    EACH32(i, rows * parts(channels)) {
        const Part part = part_of(i, channels);
        const T *from = sums + size_t(part.row) * sums_stride + part.first;
        T *to = gradient + size_t(part.row) * stride + part.first;
        float value[EIGHT], open[EIGHT], g[EIGHT], first[EIGHT] = {}, second[EIGHT] = {};
        load(from, part.count, value);
        load(from + channels, part.count, open);
        load(incoming + size_t(part.row) * incoming_stride + part.first, part.count, g);
        if (adds) {
            load(to, part.count, first);
            load(to + channels, part.count, second);
        }
#pragma unroll
        for (unsigned j = 0; j < EIGHT; j++) {
            const float v = bent(value[j], sums), o = logistic(open[j], sums);
            first[j] += g[j] * o * (1.0f - v * v);
            second[j] += g[j] * v * o * (1.0f - o);
        }
        store(to, part.count, first);
        store(to + channels, part.count, second);
    }
}

// The positive part (kind 0), or x above zero, else e^x - 1 (kind 1). NaN stays NaN, so that the
// loss shows it. Below zero, the positive part is -0, because the gradient passes at exactly zero,
// as with candle, but not below.
template <typename T>
__device__ __forceinline__ void row_unit(unsigned rows, unsigned channels, unsigned from_stride,
                                         unsigned to_stride, unsigned kind, const T *from, T *to) {
    EACH32(i, rows * parts(channels)) {
        const Part part = part_of(i, channels);
        float x[EIGHT];
        load(from + size_t(part.row) * from_stride + part.first, part.count, x);
#pragma unroll
        for (unsigned j = 0; j < EIGHT; j++)
            x[j] = !(x[j] < 0.0f) ? x[j] + 0.0f : kind == 0 ? -0.0f : expm1f(x[j]);
        store(to + size_t(part.row) * to_stride + part.first, part.count, x);
    }
}

// From the outputs, which tell the derivative.
template <typename T>
__device__ __forceinline__ void row_unit_gradient(unsigned rows, unsigned channels,
                                                  unsigned outputs_stride,
                                                  unsigned incoming_stride, unsigned stride,
                                                  unsigned kind, const T *outputs,
                                                  const T *incoming, unsigned adds, T *gradient) {
    EACH32(i, rows * parts(channels)) {
        const Part part = part_of(i, channels);
        T *to = gradient + size_t(part.row) * stride + part.first;
        float y[EIGHT], g[EIGHT], sum[EIGHT] = {};
        load(outputs + size_t(part.row) * outputs_stride + part.first, part.count, y);
        load(incoming + size_t(part.row) * incoming_stride + part.first, part.count, g);
        if (adds) load(to, part.count, sum);
#pragma unroll
        for (unsigned j = 0; j < EIGHT; j++) {
            const bool passes = copysignf(1.0f, y[j]) > 0.0f;
            sum[j] += g[j] * (passes ? 1.0f : kind == 0 ? 0.0f : y[j] + 1.0f);
        }
        store(to, part.count, sum);
    }
}

// The sum of two maps, or a copy if `b` is null. `to` may be one of them.
template <typename T>
__device__ __forceinline__ void row_sum(unsigned rows, unsigned channels, unsigned a_stride,
                                        unsigned b_stride, unsigned to_stride, const T *a,
                                        const T *b, T *to) {
    EACH32(i, rows * parts(channels)) {
        const Part part = part_of(i, channels);
        float sum[EIGHT], other[EIGHT];
        load(a + size_t(part.row) * a_stride + part.first, part.count, sum);
        if (b != nullptr) {
            load(b + size_t(part.row) * b_stride + part.first, part.count, other);
#pragma unroll
            for (unsigned j = 0; j < EIGHT; j++) sum[j] += other[j];
        }
        store(to + size_t(part.row) * to_stride + part.first, part.count, sum);
    }
}

// Numbers of f32 without gaps to rows of T.
template <typename T>
__device__ __forceinline__ void row_rounded(unsigned rows, unsigned channels, unsigned stride,
                                            const float *from, T *to) {
    EACH32(i, rows * channels) to[size_t(i / channels) * stride + i % channels] = T(from[i]);
}

#define WARP 32
#define WHOLE_WARP 0xffffffffu

// The nats of `count` values under the softmax of their logits [count, levels], and `scale` times
// the gradient of the logits, in rows of `channels` values. A warp has one value.
template <typename T>
__device__ __forceinline__ void softmax(size_t count, unsigned levels, unsigned channels,
                                        unsigned stride, const float *logits,
                                        const unsigned *values, float scale, float *nats,
                                        T *gradient) {
    const size_t warps = size_t(gridDim.x) * (blockDim.x / WARP);
    const unsigned lane = threadIdx.x % WARP;
    // All threads of a block take part in each turn, as exchanges between them need it.
    const size_t first = blockIdx.x * size_t(blockDim.x / WARP), turns = (count + warps - 1) / warps;
    for (size_t turn = 0; turn < turns; turn++) {
        const size_t i = turn * warps + first + threadIdx.x / WARP;
        const bool exists = i < count;
        const float *row = logits + (exists ? i : 0) * levels;
        // The least number, not -infinity: what is -infinity then adds nothing.
        float largest = -3.402823466e38f, sum = 0.0f;
        for (unsigned level = lane; level < levels; level += WARP) {
            const float logit = row[level];
            // Of two numbers of which one is NaN, fmaxf takes the other; NaN must stay.
            if (!(logit <= largest)) {
                sum = sum * expf(largest - logit) + 1.0f;
                largest = logit;
            } else {
                sum += expf(logit - largest);
            }
        }
        for (unsigned distance = WARP / 2; distance > 0; distance /= 2) {
            const float other = __shfl_xor_sync(WHOLE_WARP, largest, distance);
            const float others = __shfl_xor_sync(WHOLE_WARP, sum, distance);
            const float most = !(other <= largest) ? other : largest;
            sum = sum * expf(largest - most) + others * expf(other - most);
            largest = most;
        }
        if (!exists) continue;
        const unsigned value = values[i];
        // A value that does not exist has no likelihood.
        const float log_sum = value < levels ? logf(sum) : NAN;
        if (lane == 0) nats[i] = value < levels ? log_sum + (largest - row[value]) : NAN;
        T *to = gradient + i / channels * stride + i % channels * levels;
        for (unsigned level = lane; level < levels; level += WARP) {
            const float picked = level == value ? 1.0f : 0.0f;
            // The difference of logits first: the logarithm is small, and lost in a large logit.
            to[level] = T((expf(row[level] - largest - log_sum) - picked) * scale);
        }
    }
}

#define MANY 1024

// `scale` times the sum of numbers; one block of MANY threads.
extern "C" __global__ void __launch_bounds__(MANY)
scaled_sum(size_t count, const float *numbers, float scale, float *sum) {
    __shared__ double shared[MANY];
    double own = 0;
    for (size_t i = threadIdx.x; i < count; i += MANY) own += numbers[i];
    shared[threadIdx.x] = own;
    __syncthreads();
    for (unsigned half = MANY / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) shared[threadIdx.x] += shared[threadIdx.x + half];
        __syncthreads();
    }
    if (threadIdx.x == 0) *sum = float(shared[0] * scale);
}

// A convolution's parameters, and their form for products: [outputs, stride], a row's taps and
// inputs in the order of the views, then the bias, then zeros.
struct Weight {
    const float *weight; // [outputs, inputs, rows, columns]
    const float *mask;   // of the same shape, or null
    const float *bias;   // [outputs], or null
    void *prepared;
    const float *gradient; // of the prepared form
    float *of_weight;
    float *of_bias;
    unsigned outputs, inputs;
    unsigned rows, columns;
    // Without rows and columns that are masked everywhere.
    unsigned live_rows, live_columns;
    unsigned stride;
};

struct Piece {
    unsigned weight;
    unsigned number;
};

#define PIECE 4096

// Each block prepares PIECE numbers.
template <typename T>
__device__ __forceinline__ void prepare(const Weight *weights, const Piece *pieces) {
    const Piece piece = pieces[blockIdx.x];
    const Weight w = weights[piece.weight];
    const unsigned count = w.outputs * w.stride, start = piece.number * PIECE;
    const unsigned seen = w.live_rows * w.live_columns * w.inputs;
    for (unsigned i = start + threadIdx.x; i < min(count, start + PIECE); i += blockDim.x) {
        const unsigned output = i / w.stride, column = i % w.stride;
        float value = 0.0f;
        if (column < seen) {
            const unsigned tap = column / w.inputs, input = column % w.inputs;
            const unsigned r = tap / w.live_columns, s = tap % w.live_columns;
            const unsigned at = ((output * w.inputs + input) * w.rows + r) * w.columns + s;
            value = w.weight[at] * (w.mask == nullptr ? 1.0f : w.mask[at]);
        } else if (column == seen && w.bias != nullptr) {
            value = w.bias[output];
        }
        static_cast<T *>(w.prepared)[i] = T(value);
    }
}

// The gradients of weights and biases from those of the prepared forms. Each block writes PIECE.
extern "C" __global__ void gradients_of_weights(const Weight *weights, const Piece *pieces) {
    const Piece piece = pieces[blockIdx.x];
    const Weight w = weights[piece.weight];
    const unsigned area = w.rows * w.columns, entries = w.outputs * w.inputs * area;
    const unsigned count = entries + (w.bias == nullptr ? 0 : w.outputs);
    const unsigned start = piece.number * PIECE;
    const unsigned seen = w.live_rows * w.live_columns * w.inputs;
    for (unsigned i = start + threadIdx.x; i < min(count, start + PIECE); i += blockDim.x) {
        if (i >= entries) {
            w.of_bias[i - entries] = w.gradient[(i - entries) * w.stride + seen];
            continue;
        }
        const unsigned output = i / area / w.inputs, input = i / area % w.inputs;
        const unsigned r = i / w.columns % w.rows, s = i % w.columns;
        float value = 0.0f;
        if (r < w.live_rows && s < w.live_columns && (w.mask == nullptr || w.mask[i] != 0.0f))
            value = w.gradient[output * w.stride + (r * w.live_columns + s) * w.inputs + input];
        w.of_weight[i] = value;
    }
}

#define STEP(T, NAME)                                                                              \
    extern "C" __global__ void ends_##NAME(unsigned rows, unsigned channels, unsigned stride,        \
                                           T *maps) {                                              \
        ends(rows, channels, stride, maps);                                                        \
    }                                                                                              \
    extern "C" __global__ void image_##NAME(unsigned count, unsigned channels, unsigned stride,      \
                                            const unsigned *values, float lowest, float step,      \
                                            T *maps) {                                             \
        image(count, channels, stride, values, lowest, step, maps);                                \
    }                                                                                              \
    extern "C" __global__ void row_views_##NAME(unsigned rows, Window g, const T *maps, T *views) {  \
        row_views(rows, g, maps, views);                                                           \
    }                                                                                              \
    extern "C" __global__ void sums_of_row_views_##NAME(                                           \
        unsigned rows, Window g, const T *views, unsigned stride, unsigned adds, T *maps) {          \
        sums_of_row_views(rows, g, views, stride, adds, maps);                                     \
    }                                                                                              \
    extern "C" __global__ void row_gate_##NAME(unsigned rows, unsigned channels,                     \
                                               unsigned from_stride, unsigned to_stride,           \
                                               const T *sums, T *gated) {                          \
        row_gate(rows, channels, from_stride, to_stride, sums, gated);                             \
    }                                                                                              \
    extern "C" __global__ void row_gate_gradient_##NAME(                                           \
        unsigned rows, unsigned channels, unsigned sums_stride, unsigned incoming_stride,            \
        unsigned stride, const T *sums, const T *incoming, unsigned adds, T *gradient) {           \
        row_gate_gradient(rows, channels, sums_stride, incoming_stride, stride, sums, incoming,    \
                          adds, gradient);                                                         \
    }                                                                                              \
    extern "C" __global__ void row_unit_##NAME(unsigned rows, unsigned channels,                     \
                                               unsigned from_stride, unsigned to_stride,           \
                                               unsigned kind, const T *from, T *to) {              \
        row_unit(rows, channels, from_stride, to_stride, kind, from, to);                          \
    }                                                                                              \
    extern "C" __global__ void row_unit_gradient_##NAME(                                           \
        unsigned rows, unsigned channels, unsigned outputs_stride, unsigned incoming_stride,         \
        unsigned stride, unsigned kind, const T *outputs, const T *incoming, unsigned adds,        \
        T *gradient) {                                                                             \
        row_unit_gradient(rows, channels, outputs_stride, incoming_stride, stride, kind, outputs,  \
                          incoming, adds, gradient);                                               \
    }                                                                                              \
    extern "C" __global__ void row_sum_##NAME(unsigned rows, unsigned channels, unsigned a_stride,   \
                                              unsigned b_stride, unsigned to_stride, const T *a,   \
                                              const T *b, T *to) {                                 \
        row_sum(rows, channels, a_stride, b_stride, to_stride, a, b, to);                          \
    }                                                                                              \
    extern "C" __global__ void row_rounded_##NAME(unsigned rows, unsigned channels, unsigned stride, \
                                                  const float *from, T *to) {                      \
        row_rounded(rows, channels, stride, from, to);                                             \
    }                                                                                              \
    extern "C" __global__ void softmax_##NAME(size_t count, unsigned levels, unsigned channels,    \
                                              unsigned stride, const float *logits,                \
                                              const unsigned *values, float scale, float *nats,    \
                                              T *gradient) {                                       \
        softmax(count, levels, channels, stride, logits, values, scale, nats, gradient);           \
    }                                                                                              \
    extern "C" __global__ void prepare_##NAME(const Weight *weights, const Piece *pieces) {        \
        prepare<T>(weights, pieces);                                                               \
    }

STEP(float, f32)
STEP(bf16, bf16)
