#!/usr/bin/env bash
# Everything that is checked and measured on a machine with a GPU, from the folder that
# `cargo xtask cuda pack` writes: bash device.sh [OUT]
#
# Needs the driver, and libcublas and libcurand of CUDA 13: from /usr/local/cuda, or from the
# packages that come with PyTorch. PyTorch is measured too if it is installed. Each part has a
# time limit, says how it ended, and does not stop the next one. All limits together are below 10
# minutes. The first kernels wait until the driver has compiled them.
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$PWD/device}
mkdir -p "$out"
exec > >(tee "$out/log") 2>&1

from_python=$(python3 -c 'import nvidia; print(":".join(p + "/cu13/lib" for p in nvidia.__path__))' 2>/dev/null)
export LD_LIBRARY_PATH=$from_python:/usr/local/cuda/lib64:/usr/local/nvidia/lib64:$LD_LIBRARY_PATH
work=$(mktemp -d)
export CUDA_CACHE_PATH=$work/cache PIXELCNN_FIXTURES=$work/fixtures RUST_LOG=warn
for name in pixelcnn device-tests; do
    gunzip -c "$here/$name.gz" >"$work/$name"
    chmod +x "$work/$name"
done
tar -C "$work" -xzf "$here/fixtures.tar.gz"
pixelcnn=$work/pixelcnn
config=$here/gated-pixelcnn.toml

# part SECONDS COMMAND...
part() {
    local limit=$1 start=$SECONDS
    shift
    echo "=== $*"
    timeout "$limit" "$@"
    echo "--- status $?, $((SECONDS - start)) s"
}

part 10 nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
part 10 ldd "$pixelcnn"

# The same weights on both devices: logits first, because all else depends on them.
part 20 "$pixelcnn" train --config "$config" --out "$work/model" --steps 2 --json
for device in cpu cuda:0; do
    part 40 "$pixelcnn" eval --model "$work/model" --limit 8 --device $device \
        --dump-logits "$work/$device.safetensors" --json
done
part 20 python3 - "$work" <<'PYTHON'
import sys
from safetensors.torch import load_file
a, b = (load_file(f"{sys.argv[1]}/{d}.safetensors")["logits"].double() for d in ("cpu", "cuda:0"))
print("relative difference of the logits:", float((a - b).norm() / a.norm()), "(at most 1e-3)")
PYTHON
PIXELCNN_DEVICE=cuda:0 part 90 "$work/device-tests" --test-threads 1

# Steps, ours and PyTorch's. T is the network of docs/benchmarks.md.
for precision in f32 tf32 bf16; do
    part 15 "$pixelcnn" bench train --device cuda:0 --precision $precision --steps 20 --json
    part 15 "$pixelcnn" bench train --device cuda:0 --precision $precision \
        --maps 384 --blocks 20 --batch 32 --steps 5 --json
done
part 15 "$pixelcnn" bench train --device cuda:0 --precision bf16 --optimiser muon --steps 20 --json
PIXELCNN_PORTABLE=1 part 20 "$pixelcnn" bench train --device cuda:0 --steps 5 --json
if python3 -c 'import torch; torch.zeros(1, device="cuda")' 2>/dev/null; then
    part 80 python3 "$here/pytorch.py"
    part 60 python3 "$here/pytorch.py" --maps 384 --blocks 20 --batch 32 --steps 5 \
        --precisions bf16,bf16+compile
else
    echo "skipped: PyTorch sees no GPU"
fi

# A whole run, also in bf16, what it learned, and pictures.
sed 's/^\[training\]$/&\nprecision = "bf16"/' "$config" >"$work/bf16.toml"
part 25 "$pixelcnn" train --config "$config" --out "$work/run" --steps 200 --device cuda:0 --json
part 25 "$pixelcnn" train --config "$work/bf16.toml" --out "$work/bf16" --steps 200 \
    --device cuda:0 --json
part 20 "$pixelcnn" audit --model "$work/run"
part 20 "$pixelcnn" sample --model "$work/run" --count 16 --device cuda:0 --out "$out/samples.png"
rm -rf "$work"
