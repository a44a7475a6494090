// The threads of a block, as fibres: stacks between which one thread of the CPU changes.
//
// A fibre runs one thread after the other until one of them waits at a barrier. Then another
// fibre goes on with the next threads. So a kernel without barriers needs one fibre and no
// changes.
//
// setjmp and longjmp change between stacks without system calls. The hardened longjmp refuses
// that, hence:
#undef _FORTIFY_SOURCE

#include "host_kernels.h"

#include <algorithm>
#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <ucontext.h>

dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace {

const size_t STACK = 256 << 10;
const unsigned WARP = 32, MOST_THREADS = 1024;

struct Fibre {
    ucontext_t start;
    jmp_buf at;
    bool started;
};

enum class State { ENDED, AT_WARP, AT_BLOCK };

// A thread that waits has a fibre of its own.
struct Thread {
    State state;
    Fibre *fibre;
    uint64_t shown;
};

const uint64_t NOTHING = ~uint64_t(0);

Thread threads[MOST_THREADS];
unsigned count, begun, live; // threads of the block: all, those that have begun, not ended
unsigned current;            // the thread that runs
bool reversed;
void (*body)(void **);
void **values;

jmp_buf scheduler;
Fibre *running;
std::vector<Fibre *> idle;

[[noreturn]] void fail(const char *what) {
    fprintf(stderr, "a kernel on the CPU: %s\n", what);
    abort();
}

void make_current(unsigned thread) {
    current = thread;
    threadIdx = {thread % blockDim.x, thread / blockDim.x % blockDim.y,
                 thread / blockDim.x / blockDim.y};
}

// What every fibre does, for ever.
void run_threads() {
    for (;;) {
        while (begun < count) {
            make_current(reversed ? count - 1 - begun : begun);
            begun++;
            body(values);
            threads[current] = {State::ENDED, nullptr, NOTHING};
            live--;
        }
        idle.push_back(running);
        if (!_setjmp(running->at)) _longjmp(scheduler, 1);
    }
}

Fibre *idle_fibre() {
    if (idle.empty()) {
        Fibre *fibre = new Fibre();
        getcontext(&fibre->start);
        fibre->start.uc_stack.ss_sp = malloc(STACK);
        fibre->start.uc_stack.ss_size = STACK;
        if (!fibre->start.uc_stack.ss_sp) fail("no memory for a stack");
        makecontext(&fibre->start, run_threads, 0);
        return fibre;
    }
    Fibre *fibre = idle.back();
    idle.pop_back();
    return fibre;
}

// Returns when the fibre waits or is idle.
void go_on(Fibre *fibre) {
    running = fibre;
    if (_setjmp(scheduler)) return;
    if (fibre->started) _longjmp(fibre->at, 1);
    fibre->started = true;
    setcontext(&fibre->start);
}

void wait_at(State barrier) {
    threads[current].state = barrier;
    threads[current].fibre = running;
    if (!_setjmp(running->at)) _longjmp(scheduler, 1);
}

// Lets threads pass a barrier, if all of them that have not ended wait there.
bool pass(unsigned from, unsigned to, State barrier) {
    bool any = false;
    for (unsigned t = from; t < to; t++) {
        if (threads[t].state != State::ENDED && threads[t].state != barrier) return false;
        any = any || threads[t].state == barrier;
    }
    for (unsigned i = from; i < to; i++) {
        const unsigned t = reversed ? to - 1 - (i - from) : i;
        if (threads[t].state == State::ENDED) continue;
        make_current(t);
        go_on(threads[t].fibre);
    }
    return any;
}

void run_block() {
    const unsigned lanes = (count + WARP - 1) / WARP * WARP;
    std::fill(threads, threads + lanes, Thread{State::ENDED, nullptr, NOTHING});
    begun = 0;
    live = count;
    while (begun < count) go_on(idle_fibre());
    while (live > 0) {
        bool passed = false;
        for (unsigned warp = 0; warp < lanes; warp += WARP) {
            const unsigned from = reversed ? lanes - WARP - warp : warp;
            passed = pass(from, std::min(from + WARP, count), State::AT_WARP) || passed;
        }
        if (!passed && !pass(0, count, State::AT_BLOCK))
            fail("threads wait for each other at different barriers");
    }
}

} // namespace

void __syncthreads() { wait_at(State::AT_BLOCK); }

void __syncwarp(unsigned mask) {
    if (mask != ALL_LANES) fail("a mask without all threads of the warp");
    wait_at(State::AT_WARP);
}

unsigned lane_of_thread() { return current % WARP; }

uint64_t shown_by(unsigned mask, unsigned lane, uint64_t mine) {
    threads[current].shown = mine;
    __syncwarp(mask);
    const uint64_t shown = threads[current / WARP * WARP + lane].shown;
    __syncwarp(mask); // nobody shows something else before all have read
    return shown;
}

void run_grid(dim3 grid, dim3 block, Order order, void (*call)(void **), void **arguments) {
    gridDim = grid;
    blockDim = block;
    count = block.x * block.y * block.z;
    if (count > MOST_THREADS) fail("a block of too many threads");
    reversed = order == Order::REVERSED;
    body = call;
    values = arguments;
    for (blockIdx.z = 0; blockIdx.z < grid.z; blockIdx.z++)
        for (blockIdx.y = 0; blockIdx.y < grid.y; blockIdx.y++)
            for (blockIdx.x = 0; blockIdx.x < grid.x; blockIdx.x++) run_block();
}
