"""What the layers of a .caffemodel compute: their types and parameters, as caffe.proto has them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from refq.importers import caffe_images, graphs
from refq.importers import caffe_schema as schema
from refq.importers.caffe_facts import check_outputs, one, pair, same
from refq.importers.caffe_layer import TRAIN, Layer, Net
from refq.importers.caffe_messages import WITHOUT_EFFECT
from refq.importers.contents import Contents, Tensor, Unit, Window, refuse
from refq.importers.stating import NORMALISATION, NOTHING, SOFTMAX, Facts, Stated, joined
from refq.networks.graph import INPUT
from refq.networks.layers import Shape

EPS = 1e-5  # of BatchNormParameter
BARE = "the file does not say what its layers read: names decide"


def contents(form: str, net: Net) -> Contents:
    reader, layers = _Reader(), net.layers
    kept = [layer for layer in layers if layer.is_data or layer.in_test]
    reader.begin(kept, net.inputs)
    for layer in kept:
        reader.enter(layer)
    units, graph = joined(reader.stated)
    order = tuple(layer.name for layer in layers)
    data = [layer for layer in kept if layer.is_data]
    size = caffe_images.size(net, data)
    mean, scale, notes = caffe_images.prepared(data)
    left = tuple(layer.name for layer in layers if _ends(layer) or layer not in kept)
    more = (*notes, *reader.notes)
    found = Contents("caffe", form, units, order, left, graph, mean=mean, size=size, notes=more)
    return replace(found, scale=scale)


def _ends(layer: Layer) -> bool:
    """Whether no layer of a classifier reads what it makes."""
    return layer.is_loss or layer.type == "ArgMax"


def bare(form: str, layers: Sequence[Layer]) -> Contents:
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
            units[layer.name] = unit(layer.name, layer.blobs, _eps(layer))
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


def _eps(layer: Layer) -> float:
    return float(layer.parameters.get("batch_norm_param", {}).get("eps", [EPS])[-1])


class _Reader:
    """Goes through the layers. A blob that is computed in its place gets the name of the layer that
    made it last."""

    def __init__(self) -> None:
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
        if layer.is_data or _ends(layer):
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
        if make is None or several or (layer.type in schema.WEIGHTED and blobs is None):
            return Stated("", layer.type or "a layer without a type", (), unit=blobs)
        if layer.type == "Split":
            return Stated("", NOTHING, ())
        facts = layer.facts() if layer.type in schema.OF_TYPE else None
        made = make(layer, facts, blobs)
        if layer.type == "BatchNorm" and facts and facts.value("use_global_stats") == [0]:
            # a net that was saved while it was trained says so of every layer
            if layer.phase != TRAIN:
                made = replace(made, kind="normalisation by each batch", unit=None)
            elif TRAINED not in self.notes:
                self.notes.append(TRAINED)
        if facts:
            facts.finish(WITHOUT_EFFECT)
        return made


TRAINED = "the file is of training; stored means and variances are taken"


def _convolution(layer: Layer, facts: Facts, unit: Unit) -> Stated:
    weight = unit.arrays["weight"]
    if len(weight.shape) == 2:  # an old blob of one output or one input
        weight = weight.reshaped((*weight.shape, 1, 1))
        unit = replace(unit, arrays={**unit.arrays, "weight": weight})
    kernel = pair(facts, "kernel_size", 0, "kernel")
    (down, right), (top, left) = pair(facts, "stride", 1), pair(facts, "pad", 0)
    holes = pair(facts, "dilation", 1)
    group = one(facts, "group", 1)
    same(layer.name, "kernel", kernel, weight.shape[2:])
    check_outputs(facts, unit.arrays["weight"].shape[0], "bias" in unit.arrays)
    if len(weight.shape) != 4 or one(facts, "axis", 1) not in CHANNELS:
        return Stated("", "a convolution not of images", (), unit=unit)
    window = Window(kernel, (down, right), (top, left, top, left), dilations=holes)
    return Stated("", graphs.conv(group), (), window, unit)


def _dense(layer: Layer, facts: Facts, unit: Unit) -> Stated:
    weight = unit.arrays["weight"]
    if one(facts, "transpose", 0) and len(weight.shape) == 2:
        weight = weight.transposed(1, 0)
    unit = replace(unit, arrays={**unit.arrays, "weight": weight})
    check_outputs(facts, unit.arrays["weight"].shape[0], "bias" in unit.arrays)
    kind = "dense" if one(facts, "axis", 1) == 1 else "a dense layer over another axis"
    return Stated("", kind, (), unit=unit)


def _pooling(layer: Layer, facts: Facts, unit: Unit | None) -> Stated:
    pool = one(facts, "pool", 0)
    kind = {0: "max", 1: graphs.mean(True)}.get(pool, f"pooling of kind {pool}")
    ceil = one(facts, "round_mode", 0) == 0
    kernel, (down, right) = pair(facts, "kernel_size", 0, "kernel"), pair(facts, "stride", 1)
    top, left = pair(facts, "pad", 0)
    if one(facts, "global_pooling", 0):
        return Stated("", "global mean" if pool == 1 else f"global {kind}", ())
    if min(kernel) < 1:
        raise refuse(f"{layer.name}: a pool without a kernel", "kernel_size, or global_pooling")
    return Stated("", kind, (), Window(kernel, (down, right), (top, left, top, left), ceil))


def _lrn(layer: Layer, facts: Facts, unit: Unit | None) -> Stated:
    numbers = [one(facts, name, own) for name, own in LRN.items()]
    kind = graphs.lrn(*numbers)
    return Stated("", kind if not one(facts, "norm_region", 0) else f"{kind} within channels", ())


def _relu(layer: Layer, facts: Facts, unit: Unit | None) -> Stated:
    slope = one(facts, "negative_slope", 0.0)
    return Stated("", f"ReLU with negative slope {slope:.4g}" if slope else "ReLU", ())


def _batch_norm(layer: Layer, facts: Facts, unit: Unit) -> Stated:
    return Stated("", NORMALISATION, (), unit=replace(unit, eps=float(one(facts, "eps", EPS))))


def _scale(layer: Layer, facts: Facts, unit: Unit) -> Stated:
    plain = one(facts, "axis", 1) in CHANNELS and one(facts, "num_axes", 1) == 1
    same(layer.name, "bias_term", bool(one(facts, "bias_term", 0)), "beta" in unit.arrays)
    return Stated("", NORMALISATION if plain else "a scale over other axes", (), unit=unit)


def _eltwise(layer: Layer, facts: Facts, unit: Unit | None) -> Stated:
    operation, factors = one(facts, "operation", 1), facts.value("coeff", [])
    if operation != 1 or set(factors) - {1.0}:
        numbers = f" by {', '.join(f'{each:g}' for each in factors)}" if factors else ""
        name = {0: "product", 1: "sum", 2: "maximum"}.get(operation, f"operation {operation}")
        return Stated("", f"{name}{numbers}", ())
    return Stated("", "add", ())


def _concat(layer: Layer, facts: Facts, unit: Unit | None) -> Stated:
    axes = {one(facts, "axis", 1), one(facts, "concat_dim", 1)}
    return Stated("", "concat" if axes <= {*CHANNELS} else f"concat of axis {min(axes - {1})}", ())


def _softmax(layer: Layer, facts: Facts, unit: Unit | None) -> Stated:
    axis = one(facts, "axis", 1)
    return Stated("", SOFTMAX if axis in (*CHANNELS, -1) else f"softmax of axis {axis}", ())


def _flatten(layer: Layer, facts: Facts, unit: Unit | None) -> Stated:
    axes = one(facts, "axis", 1), one(facts, "end_axis", -1)
    return Stated("", NOTHING if axes == (1, -1) else f"flatten from {axes[0]} to {axes[1]}", ())


def _reshape(layer: Layer, facts: Facts, unit: Unit | None) -> Stated:
    sizes = facts.value("shape", [[]])[-1]
    whole = one(facts, "axis", 0) == 0 and one(facts, "num_axes", -1) == -1
    return Stated("", NOTHING if whole and sizes == [0, -1] else f"reshape to {sizes}", ())


def _power(layer: Layer, facts: Facts, unit: Unit | None) -> Stated:
    numbers = tuple(one(facts, name, own) for name, own in POWER.items())
    plain = numbers == tuple(POWER.values())
    return Stated("", NOTHING if plain else f"power, scale, shift {numbers}", ())


def _nothing(layer: Layer, facts: Facts | None, unit: Unit | None) -> Stated:
    if facts:
        facts.value("dropout_ratio")
    return Stated("", NOTHING, ())


CHANNELS = (1, -3)  # of four axes
LRN = {"local_size": 5, "alpha": 1.0, "beta": 0.75, "k": 1.0}
POWER = {"power": 1.0, "scale": 1.0, "shift": 0.0}
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
