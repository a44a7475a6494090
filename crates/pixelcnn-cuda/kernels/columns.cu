// The views of a convolution: what each tap of the kernel sees, so that the convolution is a
// matrix product. Maps are [b, maps, h, w], views [b, maps, kh, kw, out_h, out_w].
//
// Output (y, x) sees at tap (r, s) the input (y + r * dilation - top, x + s * dilation - left),
// or zero outside.
#include "device.cuh"

struct Geometry {
    int maps, height, width;
    int kernel_height, kernel_width;
    int out_height, out_width;
    int top, left, dilation;
};

// `count` numbers of the views are written.
template <typename T>
__device__ __forceinline__ void views_of(size_t count, Geometry g, const T *maps, T *views) {
    EACH(i, count) {
        size_t rest = i;
        const int x = int(rest % g.out_width);
        rest /= g.out_width;
        const int y = int(rest % g.out_height);
        rest /= g.out_height;
        const int s = int(rest % g.kernel_width);
        rest /= g.kernel_width;
        const int r = int(rest % g.kernel_height);
        rest /= g.kernel_height; // image and map
        const int row = y + r * g.dilation - g.top, column = x + s * g.dilation - g.left;
        const bool inside = row >= 0 && row < g.height && column >= 0 && column < g.width;
        views[i] = inside ? maps[(rest * g.height + row) * g.width + column] : T(0.0f);
    }
}

// The other direction: each number of the maps gets the sum of its `count` views' gradients.
// `count` numbers of the maps are written, each by one thread, in a fixed order of taps.
template <typename T>
__device__ __forceinline__ void sums_of(size_t count, Geometry g, const T *views, T *maps) {
    EACH(i, count) {
        const int column = int(i % g.width), row = int(i / g.width % g.height);
        const size_t map = i / g.width / g.height; // and image
        float sum = 0.0f;
        for (int r = 0; r < g.kernel_height; r++) {
            const int y = row + g.top - r * g.dilation;
            if (y < 0 || y >= g.out_height) continue;
            for (int s = 0; s < g.kernel_width; s++) {
                const int x = column + g.left - s * g.dilation;
                if (x < 0 || x >= g.out_width) continue;
                const size_t tap = (map * g.kernel_height + r) * g.kernel_width + s;
                sum += number(views[(tap * g.out_height + y) * g.out_width + x]);
            }
        }
        maps[i] = T(sum);
    }
}

#define COLUMNS(TYPE, NAME)                                                                   \
    extern "C" __global__ void views_##NAME(size_t count, Geometry g, const TYPE *maps,       \
                                            TYPE *views) {                                    \
        views_of(count, g, maps, views);                                                      \
    }                                                                                         \
    extern "C" __global__ void sums_of_views_##NAME(size_t count, Geometry g,                 \
                                                    const TYPE *views, TYPE *maps) {          \
        sums_of(count, g, views, maps);                                                       \
    }

COLUMNS(float, f32)
COLUMNS(bf16, bf16)
