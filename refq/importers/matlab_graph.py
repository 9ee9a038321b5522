"""What the layers of MatConvNet's networks compute: SimpleNN's fields, DagNN's blocks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from refq.importers import graphs
from refq.importers.contents import Tensor, Unit, Window, refuse
from refq.importers.stating import NORMALISATION, NOTHING, SOFTMAX, Facts, Stated
from refq.networks.graph import INPUT

# of training, of how fast a layer is computed, or of what was kept from the last image
WITHOUT_EFFECT = {
    "name",
    "type",
    "weights",
    "filters",
    "biases",
    "size",
    "hasBias",
    "opts",
    "learningRate",
    "weightDecay",
    "filtersLearningRate",
    "biasesLearningRate",
    "filtersWeightDecay",
    "biasesWeightDecay",
    "momentum",
    "filtersMomentum",
    "biasesMomentum",
    "precious",
    "rate",
    "frozen",
    "epsilon",
    "numChannels",
    "moments",
    "numInputs",
    "useShortCircuit",
    "rememberOutput",
    "disableDropout",
    "class",
    "loss",
    "ignoreAverage",
    "average",
    "numAveraged",
}
LARGEST = 64  # numbers of a field


@dataclass(frozen=True)
class Layer:
    """fields: of a SimpleNN layer or of a DagNN block. inputs, outputs: names of variables.
    arrays: in MATLAB's axes; unit: what they are, where somebody says it."""

    name: str
    type: str
    fields: Mapping[str, Any]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    arrays: tuple[Tensor, ...] = ()
    unit: Unit | None = None


def stated(layers: Sequence[Layer], empty: Callable[[Any], bool]) -> list[Stated]:
    """empty: whether a field holds nothing."""
    reader = _Reader()
    for layer in layers:
        reader.enter(replace(layer, fields={k: v for k, v in layer.fields.items() if not empty(v)}))
    return reader.stated


@dataclass
class _Reader:
    """tensors: which layer's output a variable is. channels: of what each layer makes; how many
    groups a convolution has is told by them alone."""

    tensors: dict[str, str] = field(default_factory=dict)
    channels: dict[str, int] = field(default_factory=lambda: {INPUT: 3})
    stated: list[Stated] = field(default_factory=list)

    def enter(self, layer: Layer) -> None:
        kind = layer.type.rpartition(".")[2].lower()
        if kind in ENDS:
            return
        if not self.stated and layer.inputs:
            self.tensors[layer.inputs[0]] = INPUT
        sources = tuple(self.tensors.get(name, f"variable {name}") for name in layer.inputs)
        made = Stated(layer.name, layer.type or "a layer without a type", sources, unit=layer.unit)
        make = KINDS.get(kind)
        if make is not None and len(layer.outputs) == 1:
            facts = Facts.of(layer.name, layer.type, layer.fields)
            made = make(facts, made, self.channels.get(sources[0], 0) if sources else 0)
            facts.finish(WITHOUT_EFFECT)
        known = [self.channels.get(name, 0) for name in sources]
        count = sum(known) if made.kind == "concat" else next(iter(known), 0)
        if made.unit and "weight" in made.unit.arrays:
            count = made.unit.arrays["weight"].shape[0]
        if layer.name in self.channels:
            raise refuse(f"two layers named {layer.name}", "a name for each")
        self.channels[layer.name] = count
        self.stated.append(made)
        for name in layer.outputs:
            self.tensors[name] = layer.name


def numbers(facts: Facts, name: str, default: Sequence[float]) -> list[float]:
    value = facts.value(name)
    if value is None:
        return list(default)
    if not isinstance(value, Tensor) or not 0 < len(value.load().reshape(-1)) <= LARGEST:
        raise refuse(f"{facts.layer}: {name} that is no short list of numbers")
    return [float(each) for each in value.load().reshape(-1, order="F")]


def whole(facts: Facts, name: str, default: int, counts: tuple[int, ...]) -> list[int]:
    """A field of one whole number for all sides, or one each."""
    found = numbers(facts, name, [default])
    if len(found) not in counts or any(number != int(number) for number in found):
        raise refuse(f"{facts.layer}: {name} {found}", f"{' or '.join(map(str, counts))} numbers")
    sides = [int(number) for number in found]
    return sides * counts[-1] if len(sides) == 1 else sides


def window(facts: Facts, kernel: Sequence[int]) -> Window:
    down, right = whole(facts, "stride", 1, (1, 2))
    top, bottom, left, right_pad = whole(facts, "pad", 0, (1, 4))
    rows, columns = whole(facts, "dilate", 1, (1, 2))
    return Window(
        (kernel[0], kernel[1]),
        (down, right),
        (top, left, bottom, right_pad),
        dilations=(rows, columns),
    )


def _convolution(facts: Facts, made: Stated, channels: int) -> Stated:
    if made.unit is None or "weight" not in made.unit.arrays:
        return made
    shape = made.unit.arrays["weight"].shape
    group, rest = divmod(channels, shape[1])
    size = numbers(facts, "size", [])
    stored = [*shape[2:], shape[1], shape[0]]
    if facts.form.startswith("dagnn") and len(size) == 4 and any(size) and size != stored:
        raise refuse(f"{facts.layer}: states size {size}", f"{stored}, as its array has")
    slid = window(facts, shape[2:])
    # how many channels an unknown layer makes nobody knows
    return replace(made, kind=graphs.conv(1 if rest or not group else group), window=slid)


def _pool(facts: Facts, made: Stated, channels: int) -> Stated:
    name = "poolSize" if facts.value("poolSize") is not None else "pool"
    method = facts.value("method", "max")
    kind = {"max": "max", "avg": graphs.mean(False)}.get(str(method), f"pooling by {method}")
    return replace(made, kind=kind, window=window(facts, whole(facts, name, 1, (1, 2))))


def _relu(facts: Facts, made: Stated, channels: int) -> Stated:
    (leak,) = numbers(facts, "leak", [0.0])[:1]
    return replace(made, kind=f"ReLU with leak {leak:.4g}" if leak else "ReLU")


def _lrn(facts: Facts, made: Stated, channels: int) -> Stated:
    return replace(made, kind=graphs.lrn(*lrn(facts)))


def lrn(facts: Facts) -> tuple[int, float, float, float]:
    """(channels, alpha, beta, kappa) of param, which says kappa before alpha; alpha is not divided
    by the channels there."""
    found = numbers(facts, "param", [5.0, 1.0, 2e-5, 0.75])
    if len(found) != 4 or not 1 <= found[0] < 1 << 16:
        raise refuse(f"{facts.layer}: param {found}", "channels, kappa, alpha and beta")
    size, kappa, alpha, beta = found
    return int(size), alpha * size, beta, kappa


def _normalisation(facts: Facts, made: Stated, channels: int) -> Stated:
    return replace(made, kind=NORMALISATION) if made.unit else made


def _add(facts: Facts, made: Stated, channels: int) -> Stated:
    return replace(made, kind="add")


def _concat(facts: Facts, made: Stated, channels: int) -> Stated:
    (axis,) = numbers(facts, "dim", [3.0])[:1]
    return replace(made, kind="concat" if axis == 3 else f"concat of dimension {axis:g}")


def _softmax(facts: Facts, made: Stated, channels: int) -> Stated:
    return replace(made, kind=SOFTMAX)


def _nothing(facts: Facts, made: Stated, channels: int) -> Stated:
    return replace(made, kind=NOTHING)


# they end a network that was saved as it was trained
ENDS = {"softmaxloss", "loss", "error", "pdist"}
KINDS: dict[str, Callable[[Facts, Stated, int], Stated]] = {
    "conv": _convolution,
    "pool": _pool,
    "pooling": _pool,
    "relu": _relu,
    "normalize": _lrn,
    "lrn": _lrn,
    "bnorm": _normalisation,
    "batchnorm": _normalisation,
    "sum": _add,
    "concat": _concat,
    "softmax": _softmax,
    "dropout": _nothing,
}
