#!/usr/bin/env bash
# Stands before the real nvcc, which NVCC_REAL names, while candle's kernels are built.
#
# The kernels for quantised weights and for mixtures of experts take two thirds of that time, and
# no model of this workspace calls them. For their files this script writes empty PTX, or an
# object in which each function of the package's src/ffi.rs ends the program.
#
# With CANDLE_KERNELS=declared, the PTX of candle's other files only declares their kernels:
# enough for a driver that runs none. Every other call goes to the real nvcc unchanged.
set -euo pipefail

source=${!#}

# The value that follows option $1 in the other arguments.
value_of() {
    local option=$1
    shift
    while [ $# -gt 1 ]; do
        if [ "$1" = "$option" ]; then
            echo "$2"
            return
        fi
        shift
    done
}

# PTX with an empty kernel for each name of the input.
ptx() {
    printf '.version 9.0\n.target sm_80\n.address_size 64\n'
    sed 's/.*/.visible .entry &()\n{\n ret;\n}/'
}

# The kernels of a file. Without nvcc, `__global__` is empty.
kernels() {
    g++ -E -P -x c++ -D__CUDA_ARCH__=800 -I"$CUDA_HOME/include" -I"$CUDA_HOME/include/cccl" "$1" |
        tr '\n' ' ' | grep -oE 'extern "C" +void +[A-Za-z0-9_]+ *\(' |
        sed -E 's/.* ([A-Za-z0-9_]+) *\($/\1/' | sort -u
}

case "$PWD/$source" in
*/candle-kernels-*/quantized.cu)
    ptx </dev/null >"$(value_of --output-directory "$@")/quantized.ptx"
    ;;
*/candle-kernels-*/mmq_gguf/*.cu | */candle-kernels-*/mmvq_gguf.cu | */candle-kernels-*/moe/*.cu)
    {
        echo '#include <stdlib.h>'
        # Several objects define the same functions: weak, so that they link.
        sed -nE 's/.*pub fn ([A-Za-z0-9_]+)\(.*/__attribute__((weak)) void \1(void) { abort(); }/p' src/ffi.rs
    } | cc -c -fPIC -x c - -o "$(value_of -o "$@")"
    ;;
*/candle-kernels-*/*.cu)
    if [ "${CANDLE_KERNELS:-}" = declared ]; then
        name=$(basename "$source" .cu)
        kernels "$source" | ptx >"$(value_of --output-directory "$@")/$name.ptx"
    else
        exec "$NVCC_REAL" "$@"
    fi
    ;;
*) exec "$NVCC_REAL" "$@" ;;
esac
