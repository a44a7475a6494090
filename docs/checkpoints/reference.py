"""Both networks in NumPy, written from docs/checkpoints.md alone.

    pixelcnn eval --model MODEL --limit 4 --dump-logits dump.safetensors
    python docs/checkpoints/reference.py MODEL dump.safetensors

Computes the logits of the dumped values in float64, compares them with the
dumped logits, and exits non-zero where they differ by more than 1e-4.
MODEL is a model directory. Needs the packages numpy and safetensors.
"""

import json
import pathlib
import sys

import numpy
from safetensors.numpy import load_file


def groups(channels, maps, halves=1):
    """The colour group of each map."""
    return numpy.tile(numpy.arange(maps) * channels // maps, halves)


def centre(mask, outputs, inputs):
    """1 where an output map sees an input map at the centre, [out, in]."""
    outputs, inputs = outputs[:, None], inputs[None, :]
    return inputs < outputs if mask == "A" else inputs <= outputs


class Network:
    """The network of a model directory."""

    def __init__(self, directory):
        directory = pathlib.Path(directory)
        self.config = json.loads((directory / "config.json").read_text())
        self.tensors = load_file(directory / "model.safetensors")
        self.channels = self.config["image"]["channels"]

    def convolve(self, name, maps, above, left, dilation=1, closed=None):
        """out[y, x] = bias + sum of weight[r, s] maps[y + (r - above) dilation, ...]."""
        weight = self.tensors[name + ".weight"].astype(numpy.float64)
        if closed is not None:
            weight = numpy.where(closed, 0.0, weight)
        b, _, h, w = maps.shape
        out, _, rows, columns = weight.shape
        result = numpy.zeros((b, out, h, w))
        edge = max(rows, columns) * dilation
        padded = numpy.pad(maps, [(0, 0), (0, 0), (edge, edge), (edge, edge)])
        for r in range(rows):
            for s in range(columns):
                y, x = edge + (r - above) * dilation, edge + (s - left) * dilation
                view = padded[:, :, y : y + h, x : x + w]
                result += numpy.einsum("oi,biyx->boyx", weight[:, :, r, s], view)
        bias = self.tensors.get(name + ".bias")
        return result if bias is None else result + bias[None, :, None, None]

    def masked(self, name, maps, mask, outputs, inputs):
        """The k x k masked convolution; with k = 1 that of the stacks and the head."""
        weight = self.tensors[name + ".weight"]
        half = weight.shape[2] // 2
        closed = numpy.zeros(weight.shape, bool)
        closed[:, :, half + 1 :, :] = True
        closed[:, :, half, half + 1 :] = True
        closed[:, :, half, half] = ~centre(mask, outputs, inputs)
        return self.convolve(name, maps, half, half, closed=closed)

    def horizontal(self, name, maps, mask, dilation, outputs, inputs):
        """The 1 x k convolution of the horizontal stack."""
        weight = self.tensors[name + ".weight"]
        half = weight.shape[3] - 1
        closed = numpy.zeros(weight.shape, bool)
        closed[:, :, 0, half] = ~centre(mask, outputs, inputs)
        return self.convolve(name, maps, 0, half, dilation, closed)

    def head(self, maps, inputs):
        """ReLU, 1x1, ReLU, 1x1, to logits [b, c, levels, h, w]."""
        hidden = groups(self.channels, self.config["head"])
        levels = self.config["image"]["levels"]
        outputs = groups(self.channels, self.channels * levels)
        maps = self.masked("head.hidden", numpy.maximum(maps, 0), "B", hidden, inputs)
        maps = self.masked("head.logits", numpy.maximum(maps, 0), "B", outputs, hidden)
        b, _, h, w = maps.shape
        return maps.reshape(b, self.channels, levels, h, w)

    def gated_pixelcnn(self, image):
        config, p = self.config, self.config["maps"]
        assert config["conditioning"]["kind"] == "none", "conditions are not implemented"
        stream, doubled = groups(self.channels, p), groups(self.channels, p, halves=2)
        gate = lambda maps: numpy.tanh(maps[:, :p]) / (1 + numpy.exp(-maps[:, p:]))
        vertical = horizontal = image
        for index in range(config["blocks"] + 1):
            first = index == 0
            name = "first" if first else f"blocks.{index - 1}"
            kernel = config["first_kernel" if first else "kernel"]
            dilations = config["dilations"]
            dilation = 1 if first else dilations[(index - 1) % len(dilations)]
            inputs = groups(self.channels, self.channels) if first else stream
            mask, half = "A" if first else "B", kernel // 2
            above = self.convolve(name + ".vertical", vertical, half, half, dilation)
            row = self.horizontal(name + ".horizontal", horizontal, mask, dilation, doubled, inputs)
            row = row + self.convolve(name + ".link", above, 0, 0)
            row = self.masked(name + ".output", gate(row), "B", stream, stream)
            horizontal = row if first else horizontal + row
            vertical = gate(above)  # of the last block nobody reads it
        return self.head(horizontal, stream)

    def pixelcnn(self, image):
        p = self.config["maps"]
        stream, inside = groups(self.channels, 2 * p), groups(self.channels, p)
        colours = groups(self.channels, self.channels)
        relu = lambda maps: numpy.maximum(maps, 0)
        maps = self.masked("first", image, "A", stream, colours)
        for block in range(self.config["blocks"]):
            name = f"blocks.{block}"
            new = self.masked(name + ".narrow", relu(maps), "B", inside, stream)
            new = self.masked(name + ".convolve", relu(new), "B", inside, inside)
            maps = maps + self.masked(name + ".widen", relu(new), "B", stream, inside)
        return self.head(maps, stream)

    def logits(self, values):
        """Integers [b, c, h, w] to logits [b, c, levels, h, w]."""
        image = 2 * values.astype(numpy.float64) / (self.config["image"]["levels"] - 1) - 1
        kinds = {"gated-pixelcnn": self.gated_pixelcnn, "pixelcnn": self.pixelcnn}
        return kinds[self.config["kind"]](image)


def bits_per_dim(logits, values):
    """Mean over all values of -log2 of the probability of each."""
    largest = logits.max(axis=2, keepdims=True)
    total = numpy.log(numpy.exp(logits - largest).sum(axis=2)) + largest.squeeze(2)
    chosen = numpy.take_along_axis(logits, values[:, :, None].astype(int), axis=2).squeeze(2)
    return float((total - chosen).mean() / numpy.log(2))


def main(directory, dump):
    dump = load_file(dump)
    logits = Network(directory).logits(dump["values"])
    difference = float(abs(logits - dump["logits"]).max())
    print(f"largest logit {abs(logits).max():.3g}, largest difference {difference:.1e}")
    print(f"{bits_per_dim(logits, dump['values']):.6f} bits/dim")
    return 0 if difference < 1e-4 else 1


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
