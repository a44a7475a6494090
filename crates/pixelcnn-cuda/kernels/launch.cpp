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
//   again BUFFER                   (a pointer to an earlier buffer, by number, from 0)
//   or, as no argument,
//   memory COUNT, COUNT bytes      (a buffer that only addresses in other buffers name)
//   addresses N, N lines "OFFSET BUFFER": puts the addresses of earlier buffers into the last
//   one
//   end
#include "host_kernels.h"

#include <deque>
#include <iostream>
#include <string>

using Bytes = std::vector<char>;

// Bytes after each buffer that a kernel must leave alone.
static const size_t GUARD = 64;
static const char UNTOUCHED = 0x5a;

[[noreturn]] static void refuse(const std::string &what) {
    std::cerr << what << "\n";
    exit(2);
}

template <typename T> static Bytes bytes_of(T value) {
    const char *start = reinterpret_cast<const char *>(&value);
    return {start, start + sizeof value};
}

// A number as the kernel takes it; processors are little-endian.
static Bytes number(const ArgumentType &type, const std::string &text) {
    Bytes bytes;
    if (type.kind == ArgumentType::INTEGER) bytes = bytes_of(std::stoull(text));
    else if (type.kind != ArgumentType::REAL) refuse("a number where the kernel takes none");
    else if (type.bytes == sizeof(float)) bytes = bytes_of(float(std::stod(text)));
    else bytes = bytes_of(std::stod(text));
    bytes.resize(type.bytes);
    return bytes;
}

int main() {
    std::string name, word;
    dim3 grid, block;
    unsigned reversed = 0;
    std::cin >> name >> grid.x >> block.x >> reversed;
    const HostKernel *kernel = find_kernel(name.c_str());
    if (!kernel) refuse("no kernel " + name);
    std::vector<Bytes> arguments;
    std::deque<Bytes> buffers;
    std::vector<char *> addresses; // where buffers hold addresses
    while (std::cin >> word && word != "end") {
        if (word == "number") {
            std::cin >> word;
            if (arguments.size() >= kernel->arguments.size()) refuse("too many arguments");
            arguments.push_back(number(kernel->arguments[arguments.size()], word));
            continue;
        }
        size_t count;
        std::cin >> count;
        if (word == "again") {
            arguments.push_back(bytes_of(buffers.at(count).data()));
            continue;
        }
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
            arguments.push_back(std::move(bytes));
            continue;
        }
        bytes.resize(count + GUARD, UNTOUCHED);
        buffers.push_back(std::move(bytes));
        if (word == "buffer") arguments.push_back(bytes_of(buffers.back().data()));
    }
    if (arguments.size() != kernel->arguments.size())
        refuse(std::to_string(kernel->arguments.size()) + " arguments expected, found " +
               std::to_string(arguments.size()));
    std::vector<void *> values;
    for (size_t i = 0; i < arguments.size(); i++) {
        const size_t expected = kernel->arguments[i].bytes, found = arguments[i].size();
        if (expected != found)
            refuse("argument " + std::to_string(i) + ": " + std::to_string(expected) +
                   " bytes expected, found " + std::to_string(found));
        values.push_back(arguments[i].data());
    }
    run_grid(grid, block, reversed ? Order::REVERSED : Order::FORWARDS, kernel->call,
             values.data());
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
