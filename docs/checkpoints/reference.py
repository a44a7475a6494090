"""The networks in NumPy, written from docs/checkpoints.md alone.

    pixelcnn eval --model MODEL --limit 4 --dump-logits dump.safetensors
    python docs/checkpoints/reference.py MODEL dump.safetensors

Computes the logits of the dumped values in float64 and compares them with the
dumped logits. Exits non-zero if a difference is more than 1e-4, or more than
1e-5 of the largest logit if that is larger.
MODEL is a model directory. Some conditions need more than the values:

    --records FILE   labels: records of a label byte and the values, may end in .gz
    --captions FILE  a caption on each line; needs the package tokenizers
    --given FILE     vectors or maps, .npy

For a kind without a likelihood, the results for the images of --records are
compared with the output of the program, in a file that ends in .json:

    pixelcnn eval --model MODEL --json > result.json       auto-encoder, embedding
    pixelcnn classify --model MODEL --json > result.json   classifier

Needs the packages numpy and safetensors.
"""

import argparse
import gzip
import json
import pathlib
import sys

import numpy
from safetensors.numpy import load_file


def relu(maps):
    return numpy.maximum(maps, 0)


def sigmoid(maps):
    return 1 / (1 + numpy.exp(-maps))


def silu(maps):
    return maps * sigmoid(maps)


def groups(channels, maps, halves=1):
    """The colour group of each map."""
    return numpy.tile(numpy.arange(maps) * channels // maps, halves)


def centre(mask, outputs, inputs):
    """Whether an output map sees an input map at the centre, [out, in]."""
    outputs, inputs = outputs[:, None], inputs[None, :]
    return inputs < outputs if mask == "A" else inputs <= outputs


def encoder_maps(config):
    """Maps after each halving; earlier versions called the list `encoder`."""
    return config.get("encoder_maps", config.get("encoder"))


def reduction(config):
    """The reduction of the image; earlier versions called it `given`."""
    return config.get("reduction", config.get("given"))


class Network:
    """The network of a model directory."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.config = json.loads((self.directory / "config.json").read_text())
        self.tensors = load_file(self.directory / "model.safetensors")
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

    def centred(self, name, maps):
        """The convolution of encoders and decoders: no mask, equal padding on all sides."""
        _, _, rows, columns = self.tensors[name + ".weight"].shape
        return self.convolve(name, maps, rows // 2, columns // 2)

    def masked(self, name, maps, mask, outputs, inputs):
        """The k x k masked convolution; for k = 1 that of the stacks and the head."""
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
        maps = self.masked("head.hidden", relu(maps), "B", hidden, inputs)
        maps = self.masked("head.logits", relu(maps), "B", outputs, hidden)
        b, _, h, w = maps.shape
        return maps.reshape(b, self.channels, levels, h, w)

    def encode(self, prefix, stages, image):
        """Images [b, c, h, w] to vectors [b, n]."""
        maps = image
        for stage in range(stages):
            b, p, h, w = maps.shape
            maps = numpy.pad(maps, [(0, 0), (0, 0), (0, h % 2), (0, w % 2)])
            h, w = (h + 1) // 2, (w + 1) // 2
            maps = maps.reshape(b, p, h, 2, w, 2).transpose(0, 3, 5, 1, 2, 4)
            maps = maps.reshape(b, 4 * p, h, w)
            maps = silu(self.centred(f"{prefix}stages.{stage}.0", maps))
            maps = silu(self.centred(f"{prefix}stages.{stage}.1", maps))
        maps = maps.reshape(len(maps), -1, 1, 1)
        return self.centred(prefix + "linear", maps).reshape(len(maps), -1)

    def decode(self, prefix, given, height, width, factor=None):
        """Vectors [b, d], or maps that are smaller by `factor`, to maps [b, s, h, w]."""
        if given.ndim == 2:
            factor = 1
            while max(height, width) > 4 * factor:
                factor *= 2
            maps = self.centred(prefix + "first", given[:, :, None, None])
            maps = maps.reshape(len(maps), -1, -(-height // factor), -(-width // factor))
        else:
            maps = self.centred(prefix + "first", given)
        maps = silu(maps)
        for doubling in range(factor.bit_length() - 1):
            maps = self.centred(f"{prefix}doublings.{doubling}", maps)
            b, u, h, w = maps.shape
            maps = maps.reshape(b, 2, 2, u // 4, h, w).transpose(0, 3, 4, 1, 5, 2)
            maps = silu(maps.reshape(b, u // 4, 2 * h, 2 * w))
        return self.centred(prefix + "last", maps[:, :, :height, :width])

    def embed(self, prefix, stages, image):
        """Vectors of length 1."""
        vectors = self.encode(prefix, stages, image)
        return vectors / numpy.sqrt((vectors**2).sum(axis=1, keepdims=True) + 1e-12)

    def caption(self, tokens):
        """The token ids of one caption to its vector [d]."""
        tokens = [token for token in tokens if token != 0]
        embeddings = self.tensors["condition.caption.embeddings"].astype(numpy.float64)
        maps = embeddings[tokens].T[None, :, None, :]
        maps = silu(self.centred("condition.caption.neighbours", maps))
        mean = maps.sum(axis=3, keepdims=True) / max(len(tokens), 1)
        return self.centred("condition.caption.linear", mean).reshape(-1)

    def reduce(self, values, given):
        """The grey or the small image, integers."""
        if given["kind"] == "grey":
            r, g, b = numpy.moveaxis(values.astype(int), 1, 0)
            return (299 * r + 587 * g + 114 * b + 500)[:, None] // 1000
        f, (height, width) = given["factor"], values.shape[2:]
        result = numpy.zeros((*values.shape[:2], -(-height // f), -(-width // f)))
        for y in range(result.shape[2]):
            for x in range(result.shape[3]):
                square = values[:, :, f * y : f * (y + 1), f * x : f * (x + 1)]
                result[:, :, y, x] = numpy.floor(square.mean(axis=(2, 3)) + 0.5)
        return result

    def condition(self, values, given):
        """h [b, d] or s [b, s, h, w]; `given` is the condition that is not in the values."""
        config = self.config["conditioning"]
        kind, factor = config["kind"], None
        if kind == "class":
            classes = config["classes"]  # their number or their names
            count = classes if isinstance(classes, int) else len(classes)
            h = numpy.eye(count)[given]
        elif kind in ("vector", "map"):
            h = given.astype(numpy.float64)
        elif kind == "caption":
            h = numpy.stack([self.caption(tokens) for tokens in given])
        elif kind == "image":
            h = self.scale(self.reduce(values, reduction(config)))
            factor = reduction(config).get("factor", 1)
        elif kind == "code":  # the means for a Gaussian bottleneck
            code = self.encode("condition.code.", len(encoder_maps(config)), self.scale(values))
            h = code[:, : config["length"]]
        elif kind == "embedding":
            unit = self.embed("condition.embedding.", len(encoder_maps(config)), self.scale(values))
            h = unit * numpy.sqrt(config["length"])
        if "spatial" not in config:
            return h
        return self.decode("condition.spatial.", h, *values.shape[2:], factor)

    def term(self, name, condition):
        """The term that a condition adds to the maps before a gate."""
        if condition is None:
            return 0
        if condition.ndim == 4:
            return self.convolve(name, condition, 0, 0)
        weight = self.tensors[name + ".weight"].astype(numpy.float64)
        return (condition @ weight.T)[:, :, None, None]

    def gated_pixelcnn(self, image, condition):
        config, p = self.config, self.config["maps"]
        stream, doubled = groups(self.channels, p), groups(self.channels, p, halves=2)
        gate = lambda maps: numpy.tanh(maps[:, :p]) / (1 + numpy.exp(-maps[:, p:]))
        vertical = horizontal = image
        for index in range(config["blocks"] + 1):
            first = index == 0
            name = "first" if first else f"blocks.{index - 1}"
            kernel = config["first_kernel" if first else "kernel"]
            dilations = config.get("dilations", [1])
            dilation = 1 if first else dilations[(index - 1) % len(dilations)]
            last = index == config["blocks"]
            inputs = groups(self.channels, self.channels) if first else stream
            mask, half = "A" if first else "B", kernel // 2
            above = self.convolve(name + ".vertical", vertical, half, half, dilation)
            row = self.horizontal(name + ".horizontal", horizontal, mask, dilation, doubled, inputs)
            row = row + self.convolve(name + ".link", above, 0, 0)
            row = row + self.term(name + ".horizontal_condition", condition)
            row = self.masked(name + ".output", gate(row), "B", stream, stream)
            horizontal = row if first else horizontal + row
            if not last:
                vertical = gate(above + self.term(name + ".vertical_condition", condition))
        return self.head(horizontal, stream)

    def pixelcnn(self, image):
        p = self.config["maps"]
        stream, inside = groups(self.channels, 2 * p), groups(self.channels, p)
        colours = groups(self.channels, self.channels)
        maps = self.masked("first", image, "A", stream, colours)
        for block in range(self.config["blocks"]):
            name = f"blocks.{block}"
            new = self.masked(name + ".narrow", relu(maps), "B", inside, stream)
            new = self.masked(name + ".convolve", relu(new), "B", inside, inside)
            maps = maps + self.masked(name + ".widen", relu(new), "B", stream, inside)
        return self.head(maps, stream)

    def states(self, name, direction, sums):
        """The hidden states [b, p, h, w] of a scan, from its sums [b, 4p, h, w]."""
        weight = self.tensors[name + ".weight"].astype(numpy.float64)
        hidden, cell = (self.tensors[f"{name}.{it}"][None, :] for it in ("hidden", "cell"))
        b, _, h, w = sums.shape
        p = hidden.shape[1]
        zeros = numpy.zeros((b, p))
        states, cells = {}, {}
        columns = range(w - 1, -1, -1) if direction == "left" else range(w)
        for y in range(h):
            for x in columns:
                if direction == "down":
                    outside = hidden if y == 0 else zeros
                    above = lambda s: states.get((y - 1, s), outside) if 0 <= s < w else zeros
                    seen = [above(s) for s in (x - 1, x, x + 1)]
                    before = cells.get((y - 1, x), cell)
                    taps = weight[:, :, 0, :]
                else:
                    side = x - 1 if direction == "right" else x + 1
                    seen = [states.get((y - 1, x), zeros), states.get((y, side), hidden)]
                    before = cells.get((y, side), cell)
                    taps = weight[:, :, :, 0]
                gates = sums[:, :, y, x]
                for tap, state in enumerate(seen):
                    gates = gates + numpy.broadcast_to(state, (b, p)) @ taps[:, :, tap].T
                o, f, i, g = (gates[:, n * p : (n + 1) * p] for n in range(4))
                cells[y, x] = sigmoid(f) * before + sigmoid(i) * numpy.tanh(g)
                states[y, x] = sigmoid(o) * numpy.tanh(cells[y, x])
        result = numpy.zeros((b, p, h, w))
        for (y, x), state in states.items():
            result[:, :, y, x] = state
        return result

    def pixelrnn(self, image, condition):
        p = self.config["maps"]
        stream, inside = groups(self.channels, 2 * p), groups(self.channels, p)
        gates, colours = groups(self.channels, p, halves=4), groups(self.channels, self.channels)
        maps = self.masked("first", image, "A", stream, colours)
        names = ["down"] if self.config["layer"] == "row-lstm" else ["right", "left"]
        for block in range(self.config["blocks"]):
            total = 0
            for direction in names:
                name = f"blocks.{block}.{direction}"
                sums = self.horizontal(name + ".input", maps, "B", 1, gates, stream)
                sums = sums + self.term(name + ".condition", condition)
                states = self.states(name + ".state", direction, sums)
                if direction == "left":
                    states = numpy.pad(states, [(0, 0), (0, 0), (1, 0), (0, 0)])[:, :, :-1]
                total = total + states
            maps = maps + self.masked(f"blocks.{block}.output", total, "B", stream, inside)
        return self.head(maps, stream)

    def scale(self, values):
        return 2 * values.astype(numpy.float64) / (self.config["image"]["levels"] - 1) - 1

    def logits(self, values, given):
        """Integers [b, c, h, w] to logits [b, c, levels, h, w]."""
        image = self.scale(values)
        if self.config["kind"] == "pixelcnn":
            return self.pixelcnn(image)
        conditioned = "conditioning" in self.config
        condition = self.condition(values, given) if conditioned else None
        if self.config["kind"] == "pixelrnn":
            return self.pixelrnn(image, condition)
        return self.gated_pixelcnn(image, condition)

    def tokens(self, captions):
        """The token ids of each caption."""
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(self.directory / "tokenizer.json"))
        # Settings of the file that cut, add or randomly change tokens are ignored.
        tokenizer.no_truncation()
        tokenizer.no_padding()
        if getattr(tokenizer.model, "dropout", None) is not None:
            tokenizer.model.dropout = None
        encoded = [tokenizer.encode(caption, add_special_tokens=False) for caption in captions]
        return [encoding.ids for encoding in encoded]

    def records(self, file):
        """Labels [n] and values [n, c, h, w]."""
        content = (gzip.open if file.endswith(".gz") else open)(file, "rb").read()
        shape = [self.config["image"][side] for side in ("channels", "height", "width")]
        records = numpy.frombuffer(content, numpy.uint8).reshape(-1, 1 + numpy.prod(shape))
        return records[:, 0], records[:, 1:].reshape(-1, *shape)


def log_softmax(logits, axis):
    logits = logits - logits.max(axis=axis, keepdims=True)
    return logits - numpy.log(numpy.exp(logits).sum(axis=axis, keepdims=True))


def bits_per_dim(logits, values):
    """The mean of -log2 of the probabilities of all values."""
    chosen = numpy.take_along_axis(log_softmax(logits, 2), values[:, :, None].astype(int), axis=2)
    return float(-chosen.mean() / numpy.log(2))


def area_under_curve(vectors, labels):
    """How often a pair with equal labels is nearer than a pair with different labels."""
    first, second = numpy.triu_indices(len(labels), 1)
    distances = ((vectors[first] - vectors[second]) ** 2).sum(axis=1)
    same = labels[first] == labels[second]
    near, far = distances[same][:, None], distances[~same][None, :]
    return (near < far).mean() + (near == far).mean() / 2


def compare_result(network, result, records):
    """The largest difference from a result without a likelihood."""
    labels, values = (part[: result["images"]] for part in network.records(records))
    image, stages = network.scale(values), len(encoder_maps(network.config))
    kind = network.config["kind"]
    if kind == "classifier":
        key, ours = "log_probabilities", log_softmax(network.encode("", stages, image), 1)
    elif kind == "embedding":
        vectors = network.embed("", stages, image)
        key, ours = "area_under_curve", area_under_curve(vectors, labels)
    else:
        codes = network.encode("encoder.", stages, image)
        means = network.decode("decoder.", codes, *image.shape[2:]).clip(-1, 1)
        key, ours = "mean_squared_error", (((means - image) / 2) ** 2).mean()
    print(f"{key} of {len(values)} images")
    return abs(ours - numpy.array(result[key])).max()


def compare_logits(network, dump, arguments):
    """The largest difference from the dumped logits, scaled for logits above 10."""
    values, given = dump["values"], None
    if arguments.records:
        given = network.records(arguments.records)[0][: len(values)]
    if arguments.captions:
        captions = pathlib.Path(arguments.captions).read_text().splitlines()
        given = network.tokens(captions[: len(values)])
    if arguments.given:
        given = numpy.load(arguments.given)[: len(values)]
    logits = network.logits(values, given)
    print(f"largest logit {abs(logits).max():.3g}, {bits_per_dim(logits, values):.6f} bits/dim")
    return abs(logits - dump["logits"]).max() / max(1, abs(logits).max() / 10)


def main():
    usage = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=usage)
    parser.add_argument("model")
    parser.add_argument("dump")
    for name in ("--records", "--captions", "--given"):
        parser.add_argument(name, metavar="FILE")
    arguments = parser.parse_args()
    network = Network(arguments.model)
    if arguments.dump.endswith(".json"):
        result = json.loads(pathlib.Path(arguments.dump).read_text())
        difference = compare_result(network, result, arguments.records)
    else:
        difference = compare_logits(network, load_file(arguments.dump), arguments)
    print(f"largest difference {difference:.1e}")
    return 0 if difference < 1e-4 else 1


if __name__ == "__main__":
    sys.exit(main())
