"""Which layer of a network each layer of a file's graph is, by what it reads and who reads it.

Exporters rename and reorder layers, so neither names nor order say anything. Each tensor gets a
number for what computes it, from the image on: kinds of steps, and their windows, where they begin
and how many there are. Layers of equal numbers (the first 1x1 convolutions of an inception module)
differ by what follows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from refq.importers.contents import Step, Window
from refq.networks import Network
from refq.networks.graph import INPUT
from refq.networks.layers import LRN, AvgPool, Conv, Pair, Subsample

Labels = dict[tuple[object, ...], int]
AHEAD = 4  # steps that are looked at behind a layer: its ReLU, and two layers with theirs


@dataclass(frozen=True)
class Places:
    """of[layer]: what computes it, then what follows, one number for each step further.

    computed[step]: what computes it, also in words; reads[step]: what computes its inputs; called:
    names of steps' layers, where they have one; ends: what computes the outputs.
    """

    of: Mapping[str, tuple[int, ...]]
    computed: Mapping[str, tuple[int, str]]
    reads: Mapping[str, tuple[int, ...]]
    called: Mapping[str, str]
    ends: frozenset[int]

    def lacking(self, file: Places) -> tuple[int, str]:
        """How many of the network's steps the file has, and the first that it has not, in words,
        with what the file has in its place."""
        there = {label for label, _ in file.computed.values()}
        gone = [step for step, (label, _) in self.computed.items() if label not in there]
        have = len(self.computed) - len(gone)
        if not gone:
            return have, ""
        first = gone[0]
        known = {label for label, _ in self.computed.values()}
        wanted = set(self.reads[first])
        instead = (
            f"; in its place it has {file.called.get(step, step)} ({kind})"
            for step, (label, kind) in file.computed.items()
            if not wanted.isdisjoint(file.reads[step]) and label not in known
        )
        return have, f"{first} ({self.computed[first][1]}){next(instead, '')}"


def steps_of(network: Network) -> list[Step]:
    """The network as an ONNX graph would have it; layers named kind=name."""
    steps = []
    for node in network.nodes:
        layer, inputs, window = node.layer, node.inputs, None
        if layer.subsamples:
            for axis, stride in enumerate(layer.strides):
                steps.append(every(f"{node.name} axis {axis}", inputs, axis, stride))
                inputs = (f"{node.name} axis {axis}",)
        elif layer.windows:
            window = Window(layer.kernel, layer.strides, layer.pads, layer.ceil_mode)
        kind = f"{layer.words}={node.name}" if layer.weighted else layer.words
        steps.append(Step(node.name, kind, inputs, window))
    return [*steps, Step("", "output", (network.output,))]


# kinds of steps, in the words that an error uses; "" is a step that changes nothing
def conv(group: int) -> str:
    return Conv(group, (1, 1), group=group).words


def mean(padding_counts: bool) -> str:
    return AvgPool((1, 1), (1, 1), count_include_pad=padding_counts).words


def lrn(size: int, alpha: float, beta: float, bias: float) -> str:
    return LRN(size, alpha, beta, bias).words


def every(name: str, inputs: tuple[str, ...], axis: int, stride: int) -> Step:
    """Of every so many rows (axis 0) or columns the first."""
    strides = (stride, 1) if axis == 0 else (1, stride)
    return Step(name, "every" if stride > 1 else "", inputs, Window((1, 1), strides))


def more_channels(before: int, after: int) -> str:
    """How many there are follows from the convolution behind them."""
    return Subsample((1, 1), (before, after)).words


def places(steps: Sequence[Step], labels: Labels, size: Pair) -> Places:
    """labels: shared between graphs that are compared. size: rows and columns of the image."""
    alias: dict[str, str] = {}
    sizes: dict[str, Pair | None] = {INPUT: size}
    computed: dict[str, tuple[int, str]] = {}
    reads: dict[str, tuple[int, ...]] = {}
    readers: dict[str, list[tuple[Step, int]]] = {}
    layers: dict[str, str] = {}
    ends = set()
    made = {step.name for step in steps}
    for step in steps:
        # whatever no step makes is the image
        sources = [alias.get(name, name) if name in made else INPUT for name in step.inputs]
        values = [computed[name][0] if name in computed else -1 for name in sources]
        if step.kind == "output":
            ends.update(values)
            continue
        if not step.kind and len(sources) == 1:
            alias[step.name] = sources[0]
            continue
        kind, _, layer = step.kind.partition("=")
        sizes[step.name] = {"dense": None, "global mean": (1, 1)}.get(kind, sizes.get(sources[0]))
        if step.window is not None:
            kind, sizes[step.name] = _swept(kind, step.window, sizes.get(sources[0]))
        if kind == "add":
            values.sort()
        reads[step.name] = tuple(values)
        computed[step.name] = labels.setdefault((kind, *values), len(labels)), kind
        if layer:
            layers[step.name] = layer
        for position, name in enumerate(sources):
            readers.setdefault(name, []).append((step, position))
    follows = [dict.fromkeys(computed, 0)]
    for _ in range(AHEAD):
        follows.append(
            {
                name: _following(readers.get(name, ()), computed, follows[-1], labels)
                for name in computed
            }
        )
    of = {
        layer: (computed[name][0], *(after[name] for after in follows[1:]))
        for name, layer in layers.items()
    }
    return Places(of, computed, reads, layers, frozenset(ends))


def _swept(kind: str, window: Window, size: Pair | None) -> tuple[str, Pair | None]:
    """(kind with the windows over an image of that size, size of the output)."""
    (rows, columns), (down, right) = window.kernel, window.strides
    if size is None:
        return f"{kind} {rows}x{columns} over an unknown size", None
    before, count = window.over(size)
    covers = rows >= size[0] and columns >= size[1]
    if covers and count == (1, 1) and before == (0, 0):
        if kind in ("mean", "mean with padding"):
            return "global mean", (1, 1)
        if kind == "convolution" and size == (rows, columns):
            return "dense", (1, 1)
    if before == (0, 0) and not any(window.pads):
        kind = kind.removesuffix(" with padding")
    padded = f", {before[0]}x{before[1]} before" if any(before) else ""
    holes = window.dilations
    dilated = f", dilation {holes[0]}x{holes[1]}" if holes != (1, 1) else ""
    return (
        f"{kind} {rows}x{columns}{dilated}, stride {down}x{right}{padded},"
        f" to {count[0]}x{count[1]}",
        count,
    )


def _following(
    readers: Iterable[tuple[Step, int]],
    computed: Mapping[str, tuple[int, str]],
    follows: Mapping[str, int],
    labels: Labels,
) -> int:
    seen = []
    for step, position in readers:
        if step.name in computed:
            kind = computed[step.name][1]
            seen.append((kind, 0 if kind == "add" else position, follows[step.name]))
    return labels.setdefault(("readers", *sorted(seen)), len(labels))


def same_layers(network: Places, file: Places) -> dict[str, tuple[str, ...]]:
    """{the network's layer: (the file's,)} as far as both have one and the same such layer."""
    found: dict[str, tuple[str, ...]] = {}
    # where one network goes on and the other ends, a layer may still be the only one
    for ahead in range(AHEAD, -1, -1):
        own, other = _by_place(network, ahead), _by_place(file, ahead)
        for place, names in own.items():
            if len(names) == 1 and len(other.get(place, ())) == 1:
                found.setdefault(names[0], (other[place][0],))
    return found


def _by_place(places: Places, ahead: int) -> dict[tuple[int, ...], list[str]]:
    found: dict[tuple[int, ...], list[str]] = {}
    for layer, place in places.of.items():
        found.setdefault(place[: ahead + 1], []).append(layer)
    return found
