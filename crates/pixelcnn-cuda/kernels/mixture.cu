// The discretised mixture of logistics: nats of values, and the gradient of the parameters.
//
// parameters [groups, planes, area], values and nats [groups, channels, area]. A group is the
// channels of a pixel that share a mixture. Its planes, `components` each: the logits, the means
// and the logarithms of the scales of each channel, and the coefficients of each pair of a
// channel and an earlier one.
//
// A thread has one pixel of one group. `count` is groups * area.
#include "device.cuh"

#define MOST_COMPONENTS 64

struct Mixture {
    unsigned components;
    unsigned channels;
    // The last level, half of it, and the least logarithm of a scale.
    unsigned last;
    float half;
    float least;
};

// The largest inverse of a scale, in levels: 2 e^7 / 255; and its logarithm.
#define MOST_INVERSE 8.601044379831047f
#define LN_MOST_INVERSE 2.151883635401519f

// What a component gives a value: the logarithm of its mass, and the derivatives of that by the
// mean (in levels) and by the logarithm of the scale.
struct Mass {
    float log;
    float by_mean;
    float by_log_scale;
};

// The mass of a value `distance` levels above the mean. `side` is the open side of the value's
// bin: 1 for the first value, -1 for the last one, else 0.
//
// With t = |d| i, E = e^-t and w = e^(-i / 2), where i is the inverse of the scale, the mass
// between two ends is e^-t (1 - w^2) / (w (1 + E^2) + E (1 + w^2)): nothing cancels in it, and
// nothing overflows.
__device__ __forceinline__ Mass mass_of(const Mixture &m, float distance, float side,
                                        float log_scale) {
    const float below = fminf(m.least - log_scale, 0.0f);
    // Below this inverse, only its logarithm matters.
    const float inverse = fmaxf(MOST_INVERSE * expf(below), 1e-30f);
    Mass mass;
    bool outside;
    if (side == 0.0f) {
        const float fall = fabsf(distance * inverse);
        // e^-40 is nothing beside 1 and beside the least w.
        const float e = expf(-fminf(fall, 40.0f)), less = -expm1f(-fminf(fall, 40.0f));
        const float root = expf(-0.5f * inverse), inside = -expm1f(-inverse);
        const float outer = root * (1.0f + e * e);
        const float all = e * (1.0f + root * root) + outer;
        mass.log = LN_MOST_INVERSE + below - fall + logf(inside / (inverse * all));
        const float steep = root * less * (1.0f + e) / all;
        const float narrow = (2.0f * root * root * e + outer) / all;
        mass.by_mean = copysignf(inverse * steep, distance);
        mass.by_log_scale =
            fall * steep - (0.5f * inverse * narrow + inverse * root * root / inside);
        outside = fabsf(distance) > 0.5f;
    } else {
        // How far the mean is inside the bin.
        const float within = side * distance + 0.5f, z = inverse * within;
        const float e = expf(-fabsf(z));
        mass.log = fminf(z, 0.0f) - log1pf(e);
        const float steep = (z < 0.0f ? 1.0f : e) / (1.0f + e);
        mass.by_mean = -side * inverse * steep;
        mass.by_log_scale = -z * steep;
        outside = within < 0.0f;
    }
    // The least scale: the gradient passes where a larger scale makes the value likelier.
    if (log_scale < m.least && !outside) mass.by_log_scale = 0.0f;
    return mass;
}

// The numbers of one pixel.
struct Pixel {
    Mixture m;
    size_t area;
    const float *parameters;
    const unsigned *values;

    __device__ float plane(unsigned plane) const { return parameters[plane * area]; }
    __device__ unsigned means(unsigned channel) const { return m.components * (1 + channel); }
    __device__ unsigned log_scales(unsigned channel) const {
        return m.components * (1 + m.channels + channel);
    }
    __device__ unsigned coefficients(unsigned channel, unsigned earlier) const {
        return m.components * (1 + 2 * m.channels + channel * (channel - 1) / 2 + earlier);
    }
    __device__ float centre(unsigned channel) const {
        return float(int(values[channel * area])) - m.half;
    }

    __device__ Mass mass(unsigned channel, unsigned k) const {
        // In f64: a mean may be many thousands of scales away from 0.
        double distance = double(centre(channel)) - double(m.half) * plane(means(channel) + k);
        for (unsigned earlier = 0; earlier < channel; earlier++) {
            const double coefficient = plane(coefficients(channel, earlier) + k);
            distance -= tanh(coefficient) * centre(earlier);
        }
        const unsigned value = values[channel * area];
        const float side = value == 0 ? 1.0f : value == m.last ? -1.0f : 0.0f;
        return mass_of(m, float(distance), side, plane(log_scales(channel) + k));
    }
};

__device__ __forceinline__ Pixel pixel_of(size_t i, size_t area, const Mixture &m,
                                          const float *parameters, const unsigned *values) {
    const size_t pairs = size_t(m.channels) * (m.channels - 1) / 2;
    const size_t planes = m.components * (1 + 2 * m.channels + pairs);
    const size_t group = i / area, at = i % area;
    return {m, area, parameters + group * planes * area + at,
            values + group * m.channels * area + at};
}

// Makes the logarithms of weights those of weights that sum to 1; returns what was subtracted.
__device__ __forceinline__ float normalise(unsigned count, float *logs) {
    float largest = -INFINITY, sum = 0.0f;
    for (unsigned k = 0; k < count; k++) largest = fmaxf(largest, logs[k]);
    for (unsigned k = 0; k < count; k++) sum += expf(logs[k] - largest);
    const float total = largest + logf(sum);
    for (unsigned k = 0; k < count; k++) logs[k] -= total;
    return total;
}

extern "C" __global__ void mixture_f32(size_t count, size_t area, Mixture m,
                                       const float *parameters, const unsigned *values,
                                       float *nats) {
    EACH(i, count) {
        const Pixel pixel = pixel_of(i, area, m, parameters, values);
        float *to = nats + i / area * m.channels * area + i % area;
        float logs[MOST_COMPONENTS];
        for (unsigned k = 0; k < m.components; k++) logs[k] = pixel.plane(k);
        normalise(m.components, logs);
        for (unsigned channel = 0; channel < m.channels; channel++) {
            for (unsigned k = 0; k < m.components; k++) logs[k] += pixel.mass(channel, k).log;
            const float total = normalise(m.components, logs);
            // A value that does not exist has no likelihood.
            to[channel * area] = pixel.values[channel * area] > m.last ? NAN : -total;
        }
    }
}

// With r_j the weights given the channels up to j, and incoming gradients g_j: from the last
// channel to the first, the derivative by the logarithm of the mass in channel j is what is
// carried - g_j r_j, and g_j (r_(j-1) - r_j) is added to what is carried. At the end that is the
// gradient of the logits.
//
// r_j waits in the gradient's planes of the means of channel j.
extern "C" __global__ void mixture_gradient_f32(size_t count, size_t area, Mixture m,
                                                const float *parameters, const unsigned *values,
                                                const float *incoming, float *gradient) {
    EACH(i, count) {
        const Pixel pixel = pixel_of(i, area, m, parameters, values);
        float *to = gradient + (pixel.parameters - parameters);
        const float *from = incoming + i / area * m.channels * area + i % area;
        float logs[MOST_COMPONENTS], carried[MOST_COMPONENTS];
        for (unsigned k = 0; k < m.components; k++) logs[k] = pixel.plane(k);
        normalise(m.components, logs);
        for (unsigned k = 0; k < m.components; k++) {
            to[k * area] = expf(logs[k]); // r before the first channel
            carried[k] = 0.0f;
        }
        for (unsigned channel = 0; channel < m.channels; channel++) {
            for (unsigned k = 0; k < m.components; k++) logs[k] += pixel.mass(channel, k).log;
            normalise(m.components, logs);
            for (unsigned k = 0; k < m.components; k++)
                to[(pixel.means(channel) + k) * area] = expf(logs[k]);
        }
        for (unsigned channel = m.channels; channel-- > 0;) {
            const bool beyond = pixel.values[channel * area] > m.last;
            const float g = beyond ? 0.0f : from[channel * area];
            const unsigned previous = channel > 0 ? pixel.means(channel - 1) : 0;
            for (unsigned k = 0; k < m.components; k++) {
                const float after = to[(pixel.means(channel) + k) * area];
                const float before = to[(previous + k) * area];
                const float by_mass = carried[k] - g * after;
                carried[k] += g * (before - after);
                const Mass mass = pixel.mass(channel, k);
                const float by_mean = by_mass * mass.by_mean;
                to[(pixel.means(channel) + k) * area] = m.half * by_mean;
                to[(pixel.log_scales(channel) + k) * area] = by_mass * mass.by_log_scale;
                for (unsigned earlier = 0; earlier < channel; earlier++) {
                    const unsigned plane = pixel.coefficients(channel, earlier) + k;
                    const float coupling = tanhf(pixel.plane(plane));
                    const float slope = (1.0f - coupling) * (1.0f + coupling);
                    to[plane * area] = slope * pixel.centre(earlier) * by_mean;
                }
            }
        }
        for (unsigned k = 0; k < m.components; k++) to[k * area] = carried[k];
    }
}
