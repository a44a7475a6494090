// One optimiser step of all parameters: the norm of all gradients in two launches, and the update
// of weights, moments and averages in one.
#include "chunks.cuh"

// The pointers are those of the device; null where a step keeps no such number.
struct Parameter {
    float *weight;
    const float *gradient;
    float *first;
    float *second;
    float *average;
    unsigned long long count;
    // The learning rate, and what weight decay leaves of the weight.
    float rate;
    float keep;
};

// The sum of squares of each chunk, in f64: f32 squares overflow at 2e19.
extern "C" __global__ void __launch_bounds__(THREADS)
sums_of_squares(const Parameter *parameters, const Chunk *chunks, double *sums) {
    __shared__ double shared[THREADS];
    const Chunk chunk = chunks[blockIdx.x];
    const Parameter *parameter = parameters + chunk.tensor;
    const unsigned long long start = (unsigned long long)chunk.number * CHUNK;
    double sum = 0;
    for (unsigned i = threadIdx.x; i < CHUNK; i += THREADS) {
        if (start + i < parameter->count) {
            const double gradient = parameter->gradient[start + i];
            sum += gradient * gradient;
        }
    }
    sum = sum_of_block(shared, sum);
    if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

// The norm, from the sums of squares; one block.
extern "C" __global__ void __launch_bounds__(THREADS)
norm_of_sums(unsigned count, const double *sums, double *norm) {
    __shared__ double shared[THREADS];
    double sum = 0;
    for (unsigned i = threadIdx.x; i < count; i += THREADS) sum += sums[i];
    sum = sum_of_block(shared, sum);
    if (threadIdx.x == 0) *norm = sqrt(sum);
}

// The constants of a rule: Adam (kind 0), RMSProp (kind 1).
struct Rule {
    unsigned kind;
    float keep_first;
    float add_first;
    float keep_second;
    float add_second;
    // Adam's corrections: of the mean, and of the root.
    float mean;
    float root;
    float epsilon;
    // The share of the weight that the average takes.
    float average;
};

// The gradient is scaled so that its norm is at most `most`. If the norm is not finite, nothing
// changes: the host reads it later, and ends the run with weights that are still good.
extern "C" __global__ void __launch_bounds__(THREADS)
update(const Parameter *parameters, const Chunk *chunks, const double *norm, double most,
       Rule rule) {
    if (!(*norm < INFINITY)) return;
    const float scale = clip_factor(*norm, most);
    const Chunk chunk = chunks[blockIdx.x];
    const Parameter p = parameters[chunk.tensor];
    const unsigned long long start = (unsigned long long)chunk.number * CHUNK;
    for (unsigned i = threadIdx.x; i < CHUNK; i += THREADS) {
        const unsigned long long at = start + i;
        if (at >= p.count) return;
        const float gradient = p.gradient[at] * scale;
        const float second = p.second[at] * rule.keep_second + gradient * gradient * rule.add_second;
        p.second[at] = second;
        const float divisor = sqrtf(second) * rule.root + rule.epsilon;
        float change;
        if (p.first == nullptr) {
            change = gradient / divisor;
        } else if (rule.kind == 0) {
            const float first = p.first[at] * rule.keep_first + gradient * rule.add_first;
            p.first[at] = first;
            change = first / divisor * rule.mean;
        } else {
            change = p.first[at] * rule.keep_first + gradient / divisor;
            p.first[at] = change;
        }
        const float weight = p.weight[at] * p.keep - change * p.rate;
        p.weight[at] = weight;
        if (p.average != nullptr) p.average[at] += (weight - p.average[at]) * rule.average;
    }
}
