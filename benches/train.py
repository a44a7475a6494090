"""Times training steps of a Gated PixelCNN in PyTorch, for the comparison of
`cargo xtask bench train --against-torch`.

The network has the sizes of the workspace's, but no masks between colours:
these would not change the sizes of the products. Prints one line of JSON.
"""

import argparse
import json
import resource
import statistics
import time

import torch
import torch.nn.functional as F
from torch import nn


class Block(nn.Module):
    """The two stacks of figure 2, with padding and cropping instead of masks."""

    def __init__(self, inputs, maps, kernel, first, last):
        super().__init__()
        half = kernel // 2
        self.first, self.last, self.half = first, last, half
        rows = half if first else half + 1
        self.vertical = nn.Conv2d(inputs, 2 * maps, (rows, kernel))
        self.horizontal = nn.Conv2d(inputs, 2 * maps, (1, half + 1))
        self.link = nn.Conv2d(2 * maps, 2 * maps, 1, bias=False)
        self.output = nn.Conv2d(maps, maps, 1)

    def forward(self, vertical, horizontal):
        half = self.half
        height = vertical.shape[2]
        above = self.vertical(F.pad(vertical, (half, half, half, 0)))[:, :, :height]
        row = self.horizontal(F.pad(horizontal, (half, 0, 0, 0))) + self.link(above)
        values, gates = row.chunk(2, 1)
        out = self.output(values.tanh() * gates.sigmoid())
        if not self.first:
            out = out + horizontal
        if self.last:
            return None, out
        values, gates = above.chunk(2, 1)
        return values.tanh() * gates.sigmoid(), out


class Network(nn.Module):
    def __init__(self, blocks, maps, head, first_kernel, kernel, levels=256):
        super().__init__()
        self.levels = levels
        sizes = [(3, first_kernel, True, False)]
        sizes += [(maps, kernel, False, index == blocks - 1) for index in range(blocks)]
        self.blocks = nn.ModuleList(
            Block(inputs, maps, size, first, last) for inputs, size, first, last in sizes
        )
        self.hidden = nn.Conv2d(maps, head, 1)
        self.logits = nn.Conv2d(head, 3 * levels, 1)

    def forward(self, image):
        vertical = horizontal = image
        for block in self.blocks:
            vertical, horizontal = block(vertical, horizontal)
        logits = self.logits(F.relu(self.hidden(F.relu(horizontal))))
        b, _, h, w = logits.shape
        return logits.view(b, 3, self.levels, h, w)


def main():
    parser = argparse.ArgumentParser()
    for name, value in [
        ("features", 128),
        ("blocks", 10),
        ("kernel", 3),
        ("first-kernel", 7),
        ("batch", 16),
        ("steps", 8),
        ("threads", 0),
    ]:
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--no-compile", action="store_true")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    network = Network(
        options.blocks, options.features, options.features, options.first_kernel, options.kernel
    ).to(memory_format=torch.channels_last)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    values = torch.randint(0, 256, (options.batch, 3, 32, 32))
    image = (values / 127.5 - 1).to(memory_format=torch.channels_last)

    def loss():
        logits = network(image)
        return F.cross_entropy(logits.transpose(1, 2), values)

    if not options.no_compile:
        loss = torch.compile(loss)
    seconds = []
    for step in range(options.steps + 2):
        start = time.perf_counter()
        optimiser.zero_grad()
        value = loss()
        value.backward()
        optimiser.step()
        value.item()
        if step >= 2:
            seconds.append(time.perf_counter() - start)
    result = {
        "seconds_per_step": statistics.median(seconds),
        "loss": value.item(),
        "parameters": sum(p.numel() for p in network.parameters()),
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "torch": torch.__version__,
        "compiled": not options.no_compile,
        "threads": torch.get_num_threads(),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
