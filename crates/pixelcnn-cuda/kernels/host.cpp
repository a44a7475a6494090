// Runs one kernel on the CPU: reads the launch from standard input, and writes the buffers as
// the kernel leaves them to standard output.
//
// Input, one line each unless it has bytes:
//   NAME
//   BLOCKS THREADS ORDER           (ORDER 1: the threads of a block run in reverse)
//   then for each argument one of
//   number VALUE                   (an integer or a real number)
//   bytes COUNT, COUNT bytes       (a struct that is passed by value)
//   buffer COUNT, COUNT bytes      (a pointer to them)
//   or, as no argument,
//   memory COUNT, COUNT bytes      (a buffer that only addresses in other buffers name)
//   addresses N, N lines "OFFSET BUFFER": puts the addresses of earlier buffers (by number, from
//   0) into the last one
//   end
#include "columns.cu"
#include "cross_entropy.cu"
#include "gate.cu"
#include "mixture.cu"
#include "update.cu"

#include <deque>
#include <functional>
#include <iostream>
#include <map>
#include <string>
#include <tuple>
#include <ucontext.h>
#include <vector>

dim3 threadIdx, blockIdx, blockDim, gridDim;

// A fibre for each thread of a block. Each runs until its end or __syncthreads.
static const size_t STACK = 64 << 10;
static ucontext_t scheduler;
static std::vector<ucontext_t> fibres;
static std::vector<bool> ended;
static std::function<void()> body;

void __syncthreads() { swapcontext(&fibres[threadIdx.x], &scheduler); }

static void run_body() {
    body();
    ended[threadIdx.x] = true;
}

static void run_block(unsigned threads, bool reverse, std::vector<char> &stacks) {
    fibres.assign(threads, {});
    ended.assign(threads, false);
    for (unsigned t = 0; t < threads; t++) {
        getcontext(&fibres[t]);
        fibres[t].uc_stack.ss_sp = &stacks[t * STACK];
        fibres[t].uc_stack.ss_size = STACK;
        fibres[t].uc_link = &scheduler;
        makecontext(&fibres[t], run_body, 0);
    }
    for (bool going = true; going;) {
        going = false;
        for (unsigned i = 0; i < threads; i++) {
            const unsigned t = reverse ? threads - 1 - i : i;
            if (ended[t]) continue;
            threadIdx.x = t;
            swapcontext(&scheduler, &fibres[t]);
            going = going || !ended[t];
        }
    }
}

using Bytes = std::vector<char>;

// Bytes after each buffer that a kernel must leave alone.
static const size_t GUARD = 64;
static const char UNTOUCHED = 0x5a;

struct Argument {
    Bytes *buffer; // null for a struct or a number
    Bytes bytes;   // a struct, or the text of a number
};

template <typename T> static T value(Argument &argument) {
    if constexpr (std::is_pointer_v<T>) {
        return reinterpret_cast<T>(argument.buffer->data());
    } else if constexpr (std::is_arithmetic_v<T>) {
        const std::string text(argument.bytes.begin(), argument.bytes.end());
        if constexpr (std::is_integral_v<T>) return T(std::stoull(text));
        else return T(std::stod(text));
    } else {
        if (argument.bytes.size() != sizeof(T)) {
            std::cerr << "a struct of " << sizeof(T) << " bytes expected, found "
                      << argument.bytes.size() << "\n";
            exit(2);
        }
        T found;
        memcpy(&found, argument.bytes.data(), sizeof found);
        return found;
    }
}

using Call = std::function<void(std::vector<Argument> &)>;

template <typename... A, size_t... I>
static Call bound(void (*kernel)(A...), std::index_sequence<I...>) {
    return [kernel](std::vector<Argument> &arguments) {
        if (arguments.size() != sizeof...(A)) {
            std::cerr << sizeof...(A) << " arguments expected, found " << arguments.size() << "\n";
            exit(2);
        }
        kernel(value<A>(arguments[I])...);
    };
}
template <typename... A> static Call call(void (*kernel)(A...)) {
    return bound(kernel, std::index_sequence_for<A...>{});
}

#define KERNEL(name) {#name, call(name)}
static const std::map<std::string, Call> kernels = {
    KERNEL(sums_of_squares), KERNEL(norm_of_sums), KERNEL(update),
    KERNEL(gate_f32), KERNEL(gate_bf16), KERNEL(gate_gradient_f32), KERNEL(gate_gradient_bf16),
    KERNEL(cross_entropy_f32), KERNEL(cross_entropy_bf16),
    KERNEL(cross_entropy_gradient_f32), KERNEL(cross_entropy_gradient_bf16),
    KERNEL(mixture_f32), KERNEL(mixture_gradient_f32),
    KERNEL(views_f32), KERNEL(views_bf16), KERNEL(sums_of_views_f32), KERNEL(sums_of_views_bf16),
};

int main() {
    std::string name, word;
    unsigned reverse = 0;
    std::cin >> name >> gridDim.x >> blockDim.x >> reverse;
    const auto kernel = kernels.find(name);
    if (kernel == kernels.end()) {
        std::cerr << "no kernel " << name << "\n";
        return 2;
    }
    std::vector<Argument> arguments;
    std::deque<Bytes> buffers;
    std::vector<char *> addresses; // where buffers hold addresses
    while (std::cin >> word && word != "end") {
        if (word == "number") {
            std::cin >> word;
            arguments.push_back({nullptr, {word.begin(), word.end()}});
            continue;
        }
        size_t count;
        std::cin >> count;
        if (word == "addresses") {
            for (; count > 0; count--) {
                size_t offset, buffer;
                std::cin >> offset >> buffer;
                const char *address = buffers.at(buffer).data();
                addresses.push_back(&buffers.back().at(offset));
                memcpy(addresses.back(), &address, sizeof address);
            }
            continue;
        }
        std::cin.get(); // the line's end
        Bytes bytes(count);
        std::cin.read(bytes.data(), std::streamsize(count));
        if (word == "bytes") {
            arguments.push_back({nullptr, std::move(bytes)});
            continue;
        }
        bytes.resize(count + GUARD, UNTOUCHED);
        buffers.push_back(std::move(bytes));
        if (word == "buffer") arguments.push_back({&buffers.back(), {}});
    }
    body = [&] { kernel->second(arguments); };
    std::vector<char> stacks(blockDim.x * STACK);
    for (unsigned block = 0; block < gridDim.x; block++) {
        blockIdx.x = block;
        run_block(blockDim.x, reverse != 0, stacks);
    }
    // Addresses differ from run to run.
    for (char *address : addresses) memset(address, 0, sizeof(char *));
    for (const Bytes &buffer : buffers) {
        for (size_t i = buffer.size() - GUARD; i < buffer.size(); i++)
            if (buffer[i] != UNTOUCHED) {
                std::cerr << name << " writes beyond a buffer\n";
                return 3;
            }
        std::cout.write(buffer.data(), std::streamsize(buffer.size() - GUARD));
    }
    return std::cout.flush() ? 0 : 1;
}
