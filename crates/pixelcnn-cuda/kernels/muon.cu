// Muon's step of all its weights, but for the products of matrices, which are cuBLAS's.
//
// A weight is a matrix X of rows and columns. X X^T, or X^T X if there are more rows than columns,
// is its square. The matrices of all weights are in one region of memory, their squares in
// another one.
#include "chunks.cuh"

// The pointers are those of the device; null where there is no average.
struct MuonWeight {
    float *weight;
    const float *gradient;
    float *momentum;
    float *average;
    // Where the matrix is in its region.
    unsigned long long offset;
    unsigned count;
    // Its chunks, among all.
    unsigned first_chunk;
    unsigned chunks;
    // The learning rate, what weight decay leaves of the weight, and the share of the weight that
    // the average takes.
    float rate;
    float keep;
    float share;
};

// Squares of the same size, one after the other.
struct MuonSquares {
    unsigned long long offset;
    unsigned count;
    unsigned side;
};

// The momentum, the matrices before their normalisation, and the sums of their squares in each
// chunk: in f64, because f32 squares overflow at 2e19. If the norm is not finite, nothing changes
// here and below.
extern "C" __global__ void __launch_bounds__(THREADS)
muon_directions(const MuonWeight *weights, const Chunk *chunks, const double *norm, double most,
                float kept, float *matrices, double *sums) {
    if (!(*norm < INFINITY)) return;
    __shared__ double shared[THREADS];
    const float scale = clip_factor(*norm, most);
    const Chunk chunk = chunks[blockIdx.x];
    const MuonWeight w = weights[chunk.tensor];
    float *matrix = matrices + w.offset;
    double sum = 0;
    for (unsigned i = threadIdx.x; i < CHUNK; i += THREADS) {
        const unsigned at = chunk.number * CHUNK + i;
        if (at >= w.count) break;
        const float gradient = w.gradient[at] * scale;
        const float momentum = w.momentum[at] * kept + gradient;
        w.momentum[at] = momentum;
        const float direction = gradient + momentum * kept;
        matrix[at] = direction;
        sum += double(direction) * direction;
    }
    sum = sum_of_block(shared, sum);
    if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

// Divides each matrix by its norm, or by the smallest normal number if the norm is smaller: zeros
// stay zeros.
extern "C" __global__ void __launch_bounds__(THREADS)
muon_normalised(const MuonWeight *weights, const Chunk *chunks, const double *norm,
                const double *sums, float *matrices) {
    if (!(*norm < INFINITY)) return;
    __shared__ double shared[THREADS];
    const Chunk chunk = chunks[blockIdx.x];
    const MuonWeight w = weights[chunk.tensor];
    double sum = 0;
    for (unsigned i = threadIdx.x; i < w.chunks; i += THREADS) sum += sums[w.first_chunk + i];
    const double inverse = 1 / fmax(sqrt(sum_of_block(shared, sum)), 1.17549435e-38);
    float *matrix = matrices + w.offset;
    for (unsigned i = threadIdx.x; i < CHUNK; i += THREADS) {
        const unsigned at = chunk.number * CHUNK + i;
        if (at >= w.count) break;
        matrix[at] = float(matrix[at] * inverse);
    }
}

// a I + b S of all squares S: what the product c S S is added to.
extern "C" __global__ void __launch_bounds__(THREADS)
muon_polynomials(const MuonSquares *all, const Chunk *chunks, float a, float b,
                 const float *squares, float *polynomials) {
    const Chunk chunk = chunks[blockIdx.x];
    const MuonSquares of = all[chunk.tensor];
    for (unsigned i = threadIdx.x; i < CHUNK; i += THREADS) {
        const unsigned at = chunk.number * CHUNK + i;
        if (at >= of.count) break;
        const bool diagonal = at % (of.side * of.side) % (of.side + 1) == 0;
        polynomials[of.offset + at] = b * squares[of.offset + at] + (diagonal ? a : 0.0f);
    }
}

// Weights and averages, from the orthogonalised matrices. These have no zeros, but where the
// momentum is exactly zero, as at masked entries, a weight must not move.
extern "C" __global__ void __launch_bounds__(THREADS)
muon_changes(const MuonWeight *weights, const Chunk *chunks, const double *norm,
             const float *matrices) {
    if (!(*norm < INFINITY)) return;
    const Chunk chunk = chunks[blockIdx.x];
    const MuonWeight w = weights[chunk.tensor];
    const float *matrix = matrices + w.offset;
    for (unsigned i = threadIdx.x; i < CHUNK; i += THREADS) {
        const unsigned at = chunk.number * CHUNK + i;
        if (at >= w.count) break;
        const float change = w.momentum[at] != 0 ? matrix[at] : 0.0f;
        const float weight = w.weight[at] * w.keep - change * w.rate;
        w.weight[at] = weight;
        if (w.average != nullptr) w.average[at] += (weight - w.average[at]) * w.share;
    }
}
