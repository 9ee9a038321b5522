"""What the layers of a .caffemodel compute: their types and parameters, as caffe.proto has them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from refq.importers import caffe_images, graphs, wire
from refq.importers import caffe_schema as schema
from refq.importers.caffe_layer import Layer
from refq.importers.contents import Contents, Tensor, Unit, Window, refuse
from refq.importers.stating import NORMALISATION, NOTHING, SOFTMAX, Facts, Stated, joined
from refq.networks.graph import INPUT
from refq.networks.layers import Pair, Shape

EPS = 1e-5  # of BatchNormParameter
TRAIN, TEST = 0, 1
BARE = "the file does not say what its layers read: names decide"


def contents(
    data: wire.Data, form: str, layers: Sequence[Layer], net: Mapping[str, list[wire.Field]]
) -> Contents:
    """layers: as they stand in the file. net: its fields of inputs."""
    reader = _Reader(data)
    kept = [layer for layer in layers if layer.is_data or _in_test(data, layer)]
    images = [wire.text(data, each) for each in net.get("input", [])]
    reader.begin(kept, images)
    for layer in kept:
        reader.enter(layer)
    units, graph = joined(reader.stated)
    order = tuple(layer.name for layer in layers)
    size = caffe_images.size(data, [layer for layer in kept if layer.is_data], net)
    mean, scale, notes = caffe_images.prepared(data, [layer for layer in kept if layer.is_data])
    left = tuple(layer.name for layer in layers if layer.is_loss or layer not in kept)
    more = (*notes, *reader.notes)
    found = Contents("caffe", form, units, order, left, graph, mean=mean, size=size, notes=more)
    return replace(found, scale=scale)


def bare(data: wire.Data, form: str, layers: Sequence[Layer]) -> Contents:
    """Of layers that say nothing but their names and arrays."""
    units: dict[str, Unit] = {}
    for layer in layers:
        if layer.parameters.keys() & {"convolution_param", "pooling_param"}:
            raise refuse(
                f"{layer.name}: states what it computes, and not what it reads",
                "bottom and top of each layer",
            )
        if layer.blobs:
            if layer.name in units:
                raise refuse(f"two layers with weights named {layer.name}")
            layer.check_known()
            units[layer.name] = unit(layer.name, layer.blobs, _eps(data, layer))
    order = tuple(layer.name for layer in layers)
    return Contents("caffe", form, units, order, notes=(BARE,) if units else ())


def unit(name: str, blobs: Sequence[Tensor], eps: float = EPS) -> Unit:
    """A layer by its blobs: BatchNorm has three one-dimensional ones, the last a single number;
    Scale has one or two; others have a weight with more dimensions, and a bias."""
    blobs = [Tensor.reshaped(blob, plain_shape(blob.shape)) for blob in blobs]
    flat = len(blobs[0].shape) == 1
    if flat and len(blobs) == 3 and blobs[2].shape == (1,):
        return Unit(name, dict(zip(("mean", "variance", "factor"), blobs)), eps)
    if len(blobs) > 2:
        raise refuse(f"{name}: a layer of {len(blobs)} arrays", "a weight and a bias")
    return Unit(name, dict(zip(("gamma", "beta") if flat else ("weight", "bias"), blobs)))


def plain_shape(shape: Shape) -> Shape:
    """Old blobs always have four dimensions: (1, 1, 1, O) for biases, (1, 1, O, K) dense."""
    if len(shape) == 4 and shape[:3] == (1, 1, 1):
        return shape[3:]
    return shape[2:] if len(shape) == 4 and shape[:2] == (1, 1) else shape


def _eps(data: wire.Data, layer: Layer) -> float:
    parts = layer.parameters.get("batch_norm_param", [])
    return float(schema.stated(data, "batch_norm_param", parts).get("eps", [EPS])[-1])


def _in_test(data: wire.Data, layer: Layer) -> bool:
    """Whether the network has the layer when it is run: include and exclude name a phase."""
    for message, wanted in (("include", True), ("exclude", False)):
        rules = [schema.stated(data, message, [part]) for part in layer.parameters.get(message, [])]
        if any(rule.keys() - {"phase"} for rule in rules):
            raise refuse(f"{layer.name}: {message} by level or stage", "by phase")
        if rules and any(rule.get("phase", [TEST])[-1] == TEST for rule in rules) != wanted:
            return False
    return True


class _Reader:
    """Goes through the layers. A blob that is computed in its place gets the name of the layer that
    made it last."""

    def __init__(self, data: wire.Data) -> None:
        self.data = data
        self.tensors: dict[str, str] = {}  # which layer's output a blob is
        self.stated: list[Stated] = []
        self.names = {INPUT}
        self.notes: list[str] = []

    def begin(self, layers: Sequence[Layer], images: Sequence[str]) -> None:
        """Finds the image: an input of the network, a data layer's first top, or, where nothing is
        stated, what the first layer reads."""
        tops = [layer.tops[0] for layer in layers if layer.is_data and layer.tops]
        read = [layer.bottoms[0] for layer in layers if layer.bottoms]
        for name in (list(images) or tops or read)[:1]:
            self.tensors[name] = INPUT

    def enter(self, layer: Layer) -> None:
        if layer.is_data or layer.is_loss:
            return
        layer.check_known()
        if not layer.bottoms:
            raise refuse(
                f"{layer.name}: a layer of type {layer.type} that does not say what it reads",
                "bottom and top of each layer",
            )
        sources = tuple(self.tensors.get(name, f"blob {name}") for name in layer.bottoms)
        name = layer.name
        if name in self.names:
            name = f"{name} (layer {len(self.names)})"
        made = self._made(layer)
        self.names.add(name)
        self.stated.append(replace(made, name=name, inputs=sources))
        for top in layer.tops:
            self.tensors[top] = name

    def _made(self, layer: Layer) -> Stated:
        """What a layer computes; name and inputs are entered behind."""
        make = KINDS.get(layer.type)
        blobs = unit(layer.name, layer.blobs) if layer.blobs else None
        several = len(layer.tops) > 1 and layer.type != "Split"
        if make is None or several or (layer.type in WEIGHTED and blobs is None):
            return Stated("", layer.type or "a layer without a type", (), unit=blobs)
        if layer.type == "Split":
            return Stated("", NOTHING, ())
        facts = layer.facts(self.data) if layer.type in schema.OF_TYPE else None
        made = make(layer, facts, blobs)
        if layer.type == "BatchNorm" and facts and facts.value("use_global_stats") == [0]:
            # a net that was saved while it was trained says so of every layer
            if layer.phase != TRAIN:
                made = replace(made, kind="normalisation by each batch", unit=None)
            elif TRAINED not in self.notes:
                self.notes.append(TRAINED)
        if facts:
            facts.finish(schema.WITHOUT_EFFECT)
        return made


TRAINED = "the file is of training; stored means and variances are taken"


def _one(facts: Facts, name: str, default: Any) -> Any:
    return facts.value(name, [default])[-1]


def _pair(facts: Facts, name: str, default: int, prefix: str = "") -> Pair:
    """A field that is stated once, for rows and columns, or as name_h and name_w."""
    listed = facts.value(name, [])
    rows, columns = (facts.value(f"{prefix or name}_{side}", []) for side in "hw")
    if len(listed) > 2 or (listed and (rows or columns)):
        raise refuse(f"{facts.layer}: {name} {[*listed, *rows, *columns]}", "rows and columns")
    first, last = (listed[0], listed[-1]) if listed else (default, default)
    return (rows or [first])[-1], (columns or [last])[-1]


def _same(layer: str, fact: str, stated: object, stored: object) -> None:
    if stated != stored:
        raise refuse(f"{layer}: states {fact} {stated}", f"{stored}, as its arrays are")


def _convolution(layer: Layer, facts: Facts, unit: Unit) -> Stated:
    weight = unit.arrays["weight"]
    if len(weight.shape) == 2:  # an old blob of one output or one input
        weight = weight.reshaped((*weight.shape, 1, 1))
        unit = replace(unit, arrays={**unit.arrays, "weight": weight})
    kernel = _pair(facts, "kernel_size", 0, "kernel")
    (down, right), (top, left) = _pair(facts, "stride", 1), _pair(facts, "pad", 0)
    holes = _pair(facts, "dilation", 1)
    group = _one(facts, "group", 1)
    _same(layer.name, "kernel", kernel, weight.shape[2:])
    _outputs(layer, facts, unit)
    if len(weight.shape) != 4 or _one(facts, "axis", 1) not in CHANNELS:
        return Stated("", "a convolution not of images", (), unit=unit)
    window = Window(kernel, (down, right), (top, left, top, left), dilations=holes)
    return Stated("", graphs.conv(group), (), window, unit)


def _outputs(layer: Layer, facts: Facts, unit: Unit) -> None:
    outputs = unit.arrays["weight"].shape[0]
    _same(layer.name, "num_output", _one(facts, "num_output", outputs), outputs)
    _same(layer.name, "bias_term", bool(_one(facts, "bias_term", 1)), "bias" in unit.arrays)


def _dense(layer: Layer, facts: Facts, unit: Unit) -> Stated:
    weight = unit.arrays["weight"]
    if _one(facts, "transpose", 0) and len(weight.shape) == 2:
        weight = weight.transposed(1, 0)
    unit = replace(unit, arrays={**unit.arrays, "weight": weight})
    _outputs(layer, facts, unit)
    kind = "dense" if _one(facts, "axis", 1) == 1 else "a dense layer over another axis"
    return Stated("", kind, (), unit=unit)


def _pooling(layer: Layer, facts: Facts, unit: Unit | None) -> Stated:
    pool = _one(facts, "pool", 0)
    kind = {0: "max", 1: graphs.mean(True)}.get(pool, f"pooling of kind {pool}")
    ceil = _one(facts, "round_mode", 0) == 0
    kernel, (down, right) = _pair(facts, "kernel_size", 0, "kernel"), _pair(facts, "stride", 1)
    top, left = _pair(facts, "pad", 0)
    if _one(facts, "global_pooling", 0):
        return Stated("", "global mean" if pool == 1 else f"global {kind}", ())
    if min(kernel) < 1:
        raise refuse(f"{layer.name}: a pool without a kernel", "kernel_size, or global_pooling")
    return Stated("", kind, (), Window(kernel, (down, right), (top, left, top, left), ceil))


def _lrn(layer: Layer, facts: Facts, unit: Unit | None) -> Stated:
    numbers = [_one(facts, name, own) for name, own in LRN.items()]
    kind = graphs.lrn(*numbers)
    return Stated("", kind if not _one(facts, "norm_region", 0) else f"{kind} within channels", ())


def _relu(layer: Layer, facts: Facts, unit: Unit | None) -> Stated:
    slope = _one(facts, "negative_slope", 0.0)
    return Stated("", f"ReLU with negative slope {slope:.4g}" if slope else "ReLU", ())


def _batch_norm(layer: Layer, facts: Facts, unit: Unit) -> Stated:
    return Stated("", NORMALISATION, (), unit=replace(unit, eps=float(_one(facts, "eps", EPS))))


def _scale(layer: Layer, facts: Facts, unit: Unit) -> Stated:
    plain = _one(facts, "axis", 1) in CHANNELS and _one(facts, "num_axes", 1) == 1
    _same(layer.name, "bias_term", bool(_one(facts, "bias_term", 0)), "beta" in unit.arrays)
    return Stated("", NORMALISATION if plain else "a scale over other axes", (), unit=unit)


def _eltwise(layer: Layer, facts: Facts, unit: Unit | None) -> Stated:
    operation, factors = _one(facts, "operation", 1), facts.value("coeff", [])
    if operation != 1 or set(factors) - {1.0}:
        numbers = f" by {', '.join(f'{each:g}' for each in factors)}" if factors else ""
        name = {0: "product", 1: "sum", 2: "maximum"}.get(operation, f"operation {operation}")
        return Stated("", f"{name}{numbers}", ())
    return Stated("", "add", ())


def _concat(layer: Layer, facts: Facts, unit: Unit | None) -> Stated:
    axes = {_one(facts, "axis", 1), _one(facts, "concat_dim", 1)}
    return Stated("", "concat" if axes <= {*CHANNELS} else f"concat of axis {min(axes - {1})}", ())


def _softmax(layer: Layer, facts: Facts, unit: Unit | None) -> Stated:
    axis = _one(facts, "axis", 1)
    return Stated("", SOFTMAX if axis in (*CHANNELS, -1) else f"softmax of axis {axis}", ())


def _flatten(layer: Layer, facts: Facts, unit: Unit | None) -> Stated:
    axes = _one(facts, "axis", 1), _one(facts, "end_axis", -1)
    return Stated("", NOTHING if axes == (1, -1) else f"flatten from {axes[0]} to {axes[1]}", ())


def _reshape(layer: Layer, facts: Facts, unit: Unit | None) -> Stated:
    sizes = facts.value("shape", [])
    whole = _one(facts, "axis", 0) == 0 and _one(facts, "num_axes", -1) == -1
    return Stated("", NOTHING if whole and sizes == [0, -1] else f"reshape to {sizes}", ())


def _power(layer: Layer, facts: Facts, unit: Unit | None) -> Stated:
    numbers = tuple(_one(facts, name, own) for name, own in POWER.items())
    plain = numbers == tuple(POWER.values())
    return Stated("", NOTHING if plain else f"power, scale, shift {numbers}", ())


def _nothing(layer: Layer, facts: Facts | None, unit: Unit | None) -> Stated:
    if facts:
        facts.value("dropout_ratio")
    return Stated("", NOTHING, ())


CHANNELS = (1, -3)  # of four axes
LRN = {"local_size": 5, "alpha": 1.0, "beta": 0.75, "k": 1.0}
POWER = {"power": 1.0, "scale": 1.0, "shift": 0.0}
WEIGHTED = {"Convolution", "InnerProduct", "BatchNorm", "Scale"}
KINDS: dict[str, Callable[..., Stated]] = {
    "Convolution": _convolution,
    "InnerProduct": _dense,
    "Pooling": _pooling,
    "LRN": _lrn,
    "ReLU": _relu,
    "BatchNorm": _batch_norm,
    "Scale": _scale,
    "Eltwise": _eltwise,
    "Concat": _concat,
    "Softmax": _softmax,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Power": _power,
    "Dropout": _nothing,
    "Split": _nothing,
}
