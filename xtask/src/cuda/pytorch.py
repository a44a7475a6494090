"""Times the training step of `pixelcnn bench train` in PyTorch on a GPU.

Prints one line of JSON for each precision: f32 without TF32, tf32, bf16 (autocast),
bf16+compile, and bf16+graphs, which is torch.compile with CUDA graphs ("reduce-overhead"). The network is that of train.py beside this file.
"""

import argparse
import json
import statistics
import time

import torch
import torch.nn.functional as F

import train


def step_of(network, optimiser, values, precision):
    """A function that makes one step and returns its loss, without waiting for it."""
    image = (values / 127.5 - 1).to(memory_format=torch.channels_last)

    def loss():
        with torch.autocast("cuda", torch.bfloat16, enabled=precision.startswith("bf16")):
            logits = network(image)
        return F.cross_entropy(logits.float().transpose(1, 2), values)

    forward = loss
    if precision.endswith("+compile"):
        forward = torch.compile(loss)
    elif precision.endswith("+graphs"):
        forward = torch.compile(loss, mode="reduce-overhead")

    def step():
        optimiser.zero_grad()
        value = forward()
        value.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0, foreach=True)
        optimiser.step()
        return value

    return step


def measure(options, precision):
    torch.manual_seed(1)
    torch.backends.cuda.matmul.allow_tf32 = precision != "f32"
    torch.backends.cudnn.allow_tf32 = precision != "f32"
    torch.backends.cudnn.benchmark = True
    network = train.Network(options.blocks, options.maps, options.maps, 7, options.kernel)
    network = network.to("cuda", memory_format=torch.channels_last)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)
    values = torch.randint(0, 256, (options.batch, 3, 32, 32), device="cuda")
    step = step_of(network, optimiser, values, precision)
    torch.cuda.reset_peak_memory_stats()
    for _ in range(5):  # compiles, and chooses algorithms
        step()
    seconds = []
    for _ in range(options.steps):
        torch.cuda.synchronize()
        start = time.perf_counter()
        loss = step()
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return {
        "torch": precision,
        "device": torch.cuda.get_device_name(),
        "seconds_per_step": statistics.median(seconds),
        "peak_memory_mib": torch.cuda.max_memory_allocated() / 2**20,
        "loss": loss.item(),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    sizes = {"maps": 128, "blocks": 10, "kernel": 3, "batch": 16, "steps": 20}
    for name, default in sizes.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--precisions", default="f32,tf32,bf16,bf16+compile,bf16+graphs")
    options = parser.parse_args()
    for precision in options.precisions.split(","):
        print(json.dumps(measure(options, precision)), flush=True)


if __name__ == "__main__":
    main()
