"""Times training steps of a Gated PixelCNN or a PixelRNN in PyTorch, for the comparison of
`cargo xtask bench train --against-torch`.

The network has the sizes of the workspace's, but no masks between colours:
these would not change the sizes of the products. The LSTM layers are loops over rows or
diagonals, compiled step by step. Prints one line of JSON.
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


def lstm_step(sums, seen, weight, cell):
    """One step of an LSTM: all rows or columns of a diagonal or a row, of all images."""
    o, f, i, g = (sums + F.linear(seen, weight)).chunk(4, -1)
    cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
    return o.sigmoid() * cell.tanh(), cell


class Scan(nn.Module):
    """The states of an LSTM, from its sums `[b, 4 maps, h, w]`."""

    def __init__(self, maps, taps):
        super().__init__()
        self.taps = taps
        self.weight = nn.Parameter(torch.randn(4 * maps, taps * maps) * (taps * maps) ** -0.5)
        self.hidden = nn.Parameter(torch.zeros(maps))
        self.cell = nn.Parameter(torch.zeros(maps))

    def seen(self, hidden):
        """The hidden states that each place reads: before, its own, and after."""
        before = F.pad(hidden, (0, 0, 1, 0))[:, :-1]
        if self.taps == 2:
            return torch.cat([before, hidden], -1)
        return torch.cat([before, hidden, F.pad(hidden, (0, 0, 0, 1))[:, 1:]], -1)

    def rows(self, sums):
        b, _, height, width = sums.shape
        hidden = self.hidden.expand(b, width, -1)
        cell = self.cell.expand(b, width, -1)
        all_states = []
        for sums_of_row in sums.permute(2, 0, 3, 1).contiguous().unbind():
            hidden, cell = lstm_step(sums_of_row, self.seen(hidden), self.weight, cell)
            all_states.append(hidden)
        return torch.stack(all_states).permute(1, 3, 0, 2)

    def diagonals(self, sums):
        b, maps, height, width = sums.shape
        skewed = F.pad(sums, (0, height)).reshape(b, maps, -1)
        skewed = skewed[:, :, : height * (height + width - 1)]
        skewed = skewed.reshape(b, maps, height, height + width - 1)
        hidden = self.hidden.expand(b, height, -1)
        cell = self.cell.expand(b, height, -1)
        begun = torch.arange(height)[:, None]
        all_states = []
        for index, column in enumerate(skewed.permute(3, 0, 2, 1).contiguous().unbind()):
            new_hidden, new_cell = lstm_step(column, self.seen(hidden), self.weight, cell)
            all_states.append(new_hidden)
            hidden = torch.where(begun <= index, new_hidden, hidden)
            cell = torch.where(begun <= index, new_cell, cell)
        states = torch.stack(all_states).permute(1, 3, 2, 0).contiguous()
        states = F.pad(states.reshape(b, maps // 4, -1), (0, height))
        return states.reshape(b, maps // 4, height, height + width)[:, :, :, :width]


class RecurrentLayer(nn.Module):
    def __init__(self, maps, diagonal):
        super().__init__()
        self.diagonal = diagonal
        if diagonal:
            self.inputs = nn.ModuleList(nn.Conv2d(2 * maps, 4 * maps, 1) for _ in range(2))
        else:
            self.inputs = nn.ModuleList([nn.Conv2d(2 * maps, 4 * maps, (1, 2))])
        self.scans = nn.ModuleList(Scan(maps, 2 if diagonal else 3) for _ in self.inputs)
        self.output = nn.Conv2d(maps, 2 * maps, 1)

    def forward(self, stream):
        if self.diagonal:
            right = self.scans[0].diagonals(self.inputs[0](stream))
            left = self.scans[1].diagonals(self.inputs[1](stream).flip(3)).flip(3)
            states = right + F.pad(left, (0, 0, 1, 0))[:, :, :-1]
        else:
            states = self.scans[0].rows(self.inputs[0](F.pad(stream, (1, 0))))
        return stream + self.output(states)


class RecurrentNetwork(nn.Module):
    def __init__(self, blocks, maps, head, first_kernel, diagonal, levels=256):
        super().__init__()
        self.levels = levels
        self.first = nn.Conv2d(3, 2 * maps, first_kernel, padding=first_kernel // 2)
        mask = torch.ones(first_kernel * first_kernel)
        mask[first_kernel * first_kernel // 2 :] = 0
        self.register_buffer("mask", mask.reshape(1, 1, first_kernel, first_kernel))
        self.blocks = nn.ModuleList(RecurrentLayer(maps, diagonal) for _ in range(blocks))
        self.hidden = nn.Conv2d(2 * maps, head, 1)
        self.logits = nn.Conv2d(head, 3 * levels, 1)

    def forward(self, image):
        weight, padding = self.first.weight * self.mask, self.first.padding
        stream = F.conv2d(image, weight, self.first.bias, padding=padding)
        for block in self.blocks:
            stream = block(stream)
        logits = self.logits(F.relu(self.hidden(F.relu(stream))))
        b, _, h, w = logits.shape
        return logits.view(b, 3, self.levels, h, w)


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
        ("maps", 128),
        ("blocks", 10),
        ("kernel", 3),
        ("first-kernel", 7),
        ("batch", 16),
        ("steps", 8),
        ("threads", 0),
    ]:
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--recurrent", choices=["row-lstm", "diagonal-bilstm"])
    parser.add_argument("--no-compile", action="store_true")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    blocks, maps, first_kernel = options.blocks, options.maps, options.first_kernel
    if options.recurrent:
        diagonal = options.recurrent == "diagonal-bilstm"
        network = RecurrentNetwork(blocks, maps, maps, first_kernel, diagonal)
    else:
        network = Network(blocks, maps, maps, first_kernel, options.kernel)
    network = network.to(memory_format=torch.channels_last)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    values = torch.randint(0, 256, (options.batch, 3, 32, 32))
    image = (values / 127.5 - 1).to(memory_format=torch.channels_last)

    def loss():
        logits = network(image)
        return F.cross_entropy(logits.transpose(1, 2), values)

    if not options.no_compile and options.recurrent:
        # A whole network of unrolled loops takes too long to compile.
        global lstm_step
        lstm_step = torch.compile(lstm_step)
    elif not options.no_compile:
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
