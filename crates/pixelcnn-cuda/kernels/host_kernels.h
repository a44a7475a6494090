// What host.cpp and fibres.cpp offer to programs that run kernels on the CPU.
#pragma once
#include "host.h"

#include <vector>

struct ArgumentType {
    enum Kind { POINTER, INTEGER, REAL, STRUCT } kind;
    size_t bytes;
};

struct HostKernel {
    const char *name;
    // Runs one thread. As in CUDA, the arguments are the addresses of the values.
    void (*call)(void **arguments);
    std::vector<ArgumentType> arguments;
};

// Null if there is no such kernel.
const HostKernel *find_kernel(const char *name);

// The order in which the threads of a block run between barriers.
enum class Order { FORWARDS, REVERSED };

// Runs a thread for each place of a grid. One grid at a time.
void run_grid(dim3 grid, dim3 block, Order order, void (*call)(void **), void **arguments);

// Runs a kernel; 0 if there is none of this name. Grid and block are x, y and z.
extern "C" int run_kernel(const char *name, const unsigned *grid, const unsigned *block,
                          void **arguments);

// The size of an argument of a kernel; 0 if there is no such argument or kernel.
extern "C" size_t argument_bytes(const char *name, size_t index);
