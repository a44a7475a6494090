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

Without logits, the results for the images of --records are compared with the
output of the program, a file that ends in .csv or .json:

    pixelcnn eval --model MODEL --csv nats.csv             mixtures, baselines
    pixelcnn eval --model MODEL --json > result.json       auto-encoder, embedding
    pixelcnn classify --model MODEL --json > result.json   classifier

Needs the packages numpy and safetensors.
"""

import argparse
import csv
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


def gate(maps):
    p = maps.shape[1] // 2
    return numpy.tanh(maps[:, :p]) * sigmoid(maps[:, p:])


def elu(maps):
    return numpy.where(maps > 0, maps, numpy.expm1(numpy.minimum(maps, 0)))


ACTIVATIONS = {"gate": gate, "relu": relu, "elu": elu}

KINDS = "uniform gaussian pixelcnn gated-pixelcnn pixelrnn auto-encoder embedding classifier"
# A key that is not one of these may change the computation.
KEYS = """kind image model_type format_version first_kernel kernel blocks maps head distribution
    dilations activation vertical_residual skips linear_first one_stack head_shortcut input_embedding
    conditioning layer length encoder_maps encoder hidden margin classes"""


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
        if self.config["kind"] not in KINDS.split():
            sys.exit(f"config.json: {self.config['kind']} is not computed here, only {KINDS}")
        if unknown := set(self.config) - set(KEYS.split()):
            sys.exit(f"config.json: unknown keys {', '.join(sorted(unknown))}")
        self.tensors = load_file(self.directory / "model.safetensors")
        self.channels = self.config["image"]["channels"]
        self.mixture = self.config.get("distribution", {"kind": "softmax"})
        if self.mixture["kind"] == "softmax":
            self.mixture = None
        self.coupled = self.mixture is not None and self.mixture.get("coupled", False)
        # Coupled colours depend on each other only through the distribution.
        self.colours = 1 if self.coupled else self.channels

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
        """ReLU, 1x1, ReLU, 1x1, to the logits or the parameters of the mixtures."""
        hidden = groups(self.colours, self.config["head"])
        last = "head.logits" if self.mixture is None else "head.mixture"
        outputs = groups(self.colours, len(self.tensors[last + ".weight"]))
        result = self.masked("head.hidden", relu(maps), "B", hidden, inputs)
        result = self.masked(last, relu(result), "B", outputs, hidden)
        if self.config.get("head_shortcut"):
            result = result + self.masked("head.shortcut", maps, "B", outputs, inputs)
        return result

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

    def embedded(self, image):
        """The vectors [b, c t, h, w] of the values of an image."""
        tables = self.tensors["embedding.weight"].astype(numpy.float64)
        values = ((image + 1) / 2 * (self.config["image"]["levels"] - 1)).round().astype(int)
        maps = [tables[j][values[:, j]].transpose(0, 3, 1, 2) for j in range(self.channels)]
        return numpy.concatenate(maps, axis=1)

    def gated_pixelcnn(self, image, condition):
        config, p = self.config, self.config["maps"]
        activation = config.get("activation", "gate")
        activate, halves = ACTIVATIONS[activation], 2 if activation == "gate" else 1
        stream = groups(self.colours, p)
        inputs = groups(self.colours, self.channels)
        if "input_embedding" in config:
            image = self.embedded(image)
            inputs = groups(self.colours, image.shape[1])
        vertical = horizontal = image
        skipped = 0
        for index in range(config["blocks"] + 1):
            first, last = index == 0, index == config["blocks"]
            linear = first and config.get("linear_first", False)
            name = "first" if first else f"blocks.{index - 1}"
            kernel = config["first_kernel" if first else "kernel"]
            dilations = config.get("dilations", [1])
            dilation = 1 if first else dilations[(index - 1) % len(dilations)]
            mask, half = "A" if first else "B", kernel // 2
            sums = stream if linear else groups(self.colours, p, halves)
            if config.get("skips") and not first:
                skipped = skipped + self.masked(name + ".skip", horizontal, "B", stream, stream)
            if config.get("one_stack"):
                above = 0
                row = self.masked(name + ".horizontal", horizontal, mask, sums, inputs)
            else:
                above = self.convolve(name + ".vertical", vertical, half, half, dilation)
                row = self.horizontal(
                    name + ".horizontal", horizontal, mask, dilation, sums, inputs
                )
                row = row + self.convolve(name + ".link", above, 0, 0)
            inputs = stream
            if linear:
                vertical, horizontal = above, row
                continue
            row = row + self.term(name + ".horizontal_condition", condition)
            row = self.masked(name + ".output", activate(row), "B", stream, stream)
            horizontal = row if first else horizontal + row
            if not last and not config.get("one_stack"):
                after = activate(above + self.term(name + ".vertical_condition", condition))
                keeps = config.get("vertical_residual") and not first
                vertical = vertical + after if keeps else after
        return self.head(horizontal + skipped, stream)

    def pixelcnn(self, image):
        p = self.config["maps"]
        stream, inside = groups(self.colours, 2 * p), groups(self.colours, p)
        colours = groups(self.colours, self.channels)
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
        stream, inside = groups(self.colours, 2 * p), groups(self.colours, p)
        gates, colours = groups(self.colours, p, halves=4), groups(self.colours, self.channels)
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

    def outputs(self, values, given):
        """Integers [b, c, h, w] to the output of the head [b, o, h, w]."""
        image, kind = self.scale(values), self.config["kind"]
        if kind == "pixelcnn":
            return self.pixelcnn(image)
        conditioned = "conditioning" in self.config
        condition = self.condition(values, given) if conditioned else None
        return {"gated-pixelcnn": self.gated_pixelcnn, "pixelrnn": self.pixelrnn}[kind](
            image, condition
        )

    def logits(self, values, given):
        """Integers [b, c, h, w] to logits [b, c, levels, h, w]."""
        outputs = self.outputs(values, given)
        b, _, h, w = outputs.shape
        return outputs.reshape(b, self.channels, -1, h, w)

    def nats(self, values, given):
        """The nats of each image."""
        kind, levels = self.config["kind"], self.config["image"]["levels"]
        if kind == "uniform":
            return numpy.full(len(values), values[0].size * numpy.log(levels))
        if kind == "gaussian":
            return self.gaussian_nats(values)
        if self.mixture is None:
            logits = log_softmax(self.logits(values, given), 2)
            chosen = values[:, :, None].astype(int)
            nats = -numpy.take_along_axis(logits, chosen, axis=2)
        else:
            nats = self.mixture_nats(self.outputs(values, given), values)
        return nats.reshape(len(values), -1).sum(axis=1)

    def gaussian_nats(self, values):
        """The nats of each image under the Gaussian; the channel is the fastest index."""
        mean, whitening = (self.tensors[it].astype(numpy.float64) for it in ("mean", "whitening"))
        x = values.transpose(0, 2, 3, 1).reshape(len(values), -1) + 0.5
        z = (x - mean) @ whitening.T
        constant = numpy.log(2 * numpy.pi) / 2 - numpy.log(numpy.diag(whitening))
        noise = (whitening**2).sum(axis=1) / 24
        return (constant + noise + z**2 / 2).sum(axis=1)

    def mixture_nats(self, outputs, values):
        """The nats [b, c, h, w] of values under the mixtures of logistics."""
        b, c, h, w = values.shape
        k, levels = self.mixture["components"], self.config["image"]["levels"]
        planes = outputs.reshape(b, -1, k, h, w)
        least = -7 - numpy.log((levels - 1) / 255)
        x, half = self.scale(values), 1 / (levels - 1)
        log_weights, nats = log_softmax(planes[:, 0], 1), numpy.zeros((b, c, h, w))
        for j in range(c):
            if self.coupled:
                mean, log_scale = planes[:, 1 + j], planes[:, 1 + c + j]
                for i in range(j):
                    coefficient = planes[:, 1 + 2 * c + j * (j - 1) // 2 + i]
                    mean = mean + numpy.tanh(coefficient) * x[:, i, None]
            else:
                log_weights = log_softmax(planes[:, 3 * j], 1)
                mean, log_scale = planes[:, 3 * j + 1], planes[:, 3 * j + 2]
            scale = numpy.exp(numpy.maximum(log_scale, least))
            start, end = ((x[:, j, None] + side - mean) / scale for side in (-half, half))
            value = values[:, j, None]
            start = numpy.where(value == 0, -numpy.inf, start)
            end = numpy.where(value == levels - 1, numpy.inf, end)
            # ln(F(end) - F(start)) without the difference of nearly equal numbers.
            log_mass = numpy.log(-numpy.expm1(start - end))
            log_mass = log_mass - numpy.logaddexp(0, start) - numpy.logaddexp(0, -end)
            joint = log_weights + log_mass
            largest = joint.max(axis=1, keepdims=True)
            total = largest + numpy.log(numpy.exp(joint - largest).sum(axis=1, keepdims=True))
            nats[:, j] = -total[:, 0]
            log_weights = joint - total
        return nats

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


def condition_of(network, count, arguments):
    """The conditions that are not in the values of the first `count` images."""
    if arguments.captions:
        captions = pathlib.Path(arguments.captions).read_text().splitlines()
        return network.tokens(captions[:count])
    if arguments.given:
        return numpy.load(arguments.given)[:count]
    if arguments.records:
        return network.records(arguments.records)[0][:count]
    return None


def compare_nats(network, lines, arguments):
    """The largest difference from the listed nats, per dimension."""
    values = network.records(arguments.records)[1][[int(line["image"]) for line in lines]]
    nats = network.nats(values, condition_of(network, len(values), arguments))
    size = values[0].size
    print(f"{nats.mean() / size / numpy.log(2):.6f} bits/dim of {len(values)} images")
    return abs(nats - [float(line["nats"]) for line in lines]).max() / size


def compare_logits(network, dump, arguments):
    """The largest difference from the dumped logits, scaled for logits above 10."""
    values = dump["values"]
    logits = network.logits(values, condition_of(network, len(values), arguments))
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
    elif arguments.dump.endswith(".csv"):
        with open(arguments.dump, newline="") as file:
            difference = compare_nats(network, list(csv.DictReader(file)), arguments)
    else:
        difference = compare_logits(network, load_file(arguments.dump), arguments)
    print(f"largest difference {difference:.1e}")
    return 0 if difference < 1e-4 else 1


if __name__ == "__main__":
    sys.exit(main())
