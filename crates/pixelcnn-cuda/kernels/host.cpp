// The kernels as functions of the CPU, by name.
//
// A new kernel needs its source and its name below.
#include "host_kernels.h"

#include "columns.cu"
#include "condition.cu"
#include "cross_entropy.cu"
#include "gate.cu"
#include "mixture.cu"
#include "muon.cu"
#include "step.cu"
#include "update.cu"

#include <type_traits>
#include <utility>

template <typename T> static ArgumentType type_of() {
    const auto kind = std::is_pointer_v<T>    ? ArgumentType::POINTER
                      : std::is_integral_v<T> ? ArgumentType::INTEGER
                      : std::is_floating_point_v<T> ? ArgumentType::REAL
                                                    : ArgumentType::STRUCT;
    return {kind, sizeof(T)};
}

template <typename... A, size_t... I>
static void call_with(void (*kernel)(A...), void **arguments, std::index_sequence<I...>) {
    kernel(*static_cast<A *>(arguments[I])...);
}

template <auto kernel, typename... A>
static HostKernel host_kernel(const char *name, void (*)(A...)) {
    const auto call = [](void **arguments) {
        call_with(kernel, arguments, std::index_sequence_for<A...>{});
    };
    return {name, call, {type_of<A>()...}};
}

#define KERNEL(name) host_kernel<name>(#name, name)
static const HostKernel kernels[] = {
    KERNEL(sums_of_squares), KERNEL(norm_of_sums), KERNEL(update),
    KERNEL(muon_directions), KERNEL(muon_normalised), KERNEL(muon_polynomials),
    KERNEL(muon_changes),
    KERNEL(gate_f32), KERNEL(gate_bf16), KERNEL(gate_gradient_f32), KERNEL(gate_gradient_bf16),
    KERNEL(cross_entropy_f32), KERNEL(cross_entropy_bf16),
    KERNEL(cross_entropy_gradient_f32), KERNEL(cross_entropy_gradient_bf16),
    KERNEL(mixture_f32), KERNEL(mixture_gradient_f32),
    KERNEL(scaled_sum), KERNEL(gradients_of_weights),
    KERNEL(ends_f32), KERNEL(ends_bf16),
    KERNEL(image_f32), KERNEL(image_bf16),
    KERNEL(row_views_f32), KERNEL(row_views_bf16),
    KERNEL(sums_of_row_views_f32), KERNEL(sums_of_row_views_bf16),
    KERNEL(row_gate_f32), KERNEL(row_gate_bf16),
    KERNEL(row_gate_gradient_f32), KERNEL(row_gate_gradient_bf16),
    KERNEL(row_unit_f32), KERNEL(row_unit_bf16),
    KERNEL(row_unit_gradient_f32), KERNEL(row_unit_gradient_bf16),
    KERNEL(row_sum_f32), KERNEL(row_sum_bf16),
    KERNEL(row_rounded_f32), KERNEL(row_rounded_bf16),
    KERNEL(softmax_f32), KERNEL(softmax_bf16),
    KERNEL(prepare_f32), KERNEL(prepare_bf16),
    KERNEL(condition_rows_f32), KERNEL(condition_rows_bf16),
    KERNEL(condition_gradient_f32), KERNEL(condition_gradient_bf16),
    KERNEL(sum_with_images_f32), KERNEL(sum_with_images_bf16),
    KERNEL(sums_of_images_f32), KERNEL(sums_of_images_bf16),
    KERNEL(views_f32), KERNEL(views_bf16), KERNEL(sums_of_views_f32), KERNEL(sums_of_views_bf16),
};

const HostKernel *find_kernel(const char *name) {
    for (const HostKernel &kernel : kernels)
        if (!strcmp(kernel.name, name)) return &kernel;
    return nullptr;
}

extern "C" int run_kernel(const char *name, const unsigned *grid, const unsigned *block,
                          void **arguments) {
    const HostKernel *kernel = find_kernel(name);
    if (!kernel) return 0;
    run_grid({grid[0], grid[1], grid[2]}, {block[0], block[1], block[2]}, Order::FORWARDS,
             kernel->call, arguments);
    return 1;
}

extern "C" size_t argument_bytes(const char *name, size_t index) {
    const HostKernel *kernel = find_kernel(name);
    return kernel && index < kernel->arguments.size() ? kernel->arguments[index].bytes : 0;
}
