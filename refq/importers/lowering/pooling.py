"""Handlers of pools, means, maxima, normalisation across channels and shares."""

from __future__ import annotations

import math
from collections.abc import Sequence

from refq.errors import ShapeError
from refq.importers.lowering.values import Held, Value
from refq.importers.lowering.walking import Step, Unheld, handles
from refq.importers.lowering.weighted import padding, pair
from refq.networks.layers import (
    LRN,
    ArgMax,
    AvgPool,
    GlobalAvgPool,
    GlobalMaxPool,
    MaxPool,
    Softmax,
)
from refq.networks.layers.expressions import Expression


@handles("MaxPool", "AveragePool")
def pooled(step: Step) -> Value:
    x = step.held()
    image, rank = step.image(x), len(x.dims) - 2
    if not step.attributes.get("kernel_shape"):
        raise ShapeError("no kernel_shape", "rows and columns")
    kernel, strides = pair(step, "kernel_shape", rank), pair(step, "strides", rank)
    if pair(step, "dilations", rank) != (1, 1):
        raise Unheld("dilated windows")
    if len(step.operator.outputs) > 1 and step.operator.outputs[1]:
        raise Unheld("it tells where maxima are")
    pads = padding(step, rank, image.shape[1:], kernel, strides, (1, 1))
    ceil_mode = bool(step.attributes.get("ceil_mode", 0))
    if step.operator.kind == "MaxPool":
        made = step.add(MaxPool(kernel, strides, pads, ceil_mode), image)
    else:
        # without padding there is none to count
        counted = bool(step.attributes.get("count_include_pad", 0)) or not any(pads)
        made = step.add(AvgPool(kernel, strides, pads, ceil_mode, counted), image)
    shape = made.shape
    return made if rank == 2 else made.viewed((1, shape[0], shape[2]))


@handles("GlobalAveragePool", "GlobalMaxPool")
def whole(step: Step) -> Value:
    x = step.held()
    if len(x.dims) < 3:
        raise Unheld(f"it reads a tensor of shape {x.dims}")
    axes = list(range(2, len(x.dims)))
    return _reduced(step, x, axes, step.operator.kind == "GlobalAveragePool", True)


SQUARE: Expression = ("mul", "x", "x")
# (what is computed of each value, whether of that the mean, sum or maximum, and what of this)
REDUCED: dict[str, tuple[Expression, str, Expression]] = {
    "ReduceL1": (("abs", "x"), "sum", "x"),
    "ReduceL2": (SQUARE, "sum", ("sqrt", "x")),
    "ReduceMax": ("x", "max", "x"),
    "ReduceMean": ("x", "mean", "x"),
    "ReduceMin": (("neg", "x"), "max", ("neg", "x")),
    "ReduceSum": ("x", "sum", "x"),
    "ReduceSumSquare": (SQUARE, "sum", "x"),
}


@handles(*REDUCED)
def reduced(step: Step) -> Value:
    x, axes = step.held(), step.whole(1, "axes")
    before, what, after = REDUCED[step.operator.kind]
    each = step.applied(before, x)
    if not axes and step.attributes.get("noop_with_empty_axes", 0):
        return step.applied(after, each)
    found = sorted({x.axis(axis) for axis in axes or range(len(x.dims))})
    keep = bool(step.attributes.get("keepdims", 1))
    if x.batched and 0 in found and step.walker.batch != 1:
        raise Unheld("it goes over the images of a batch")
    made = _reduced(step, each, found, what != "max", keep)
    if what == "sum":
        made = step.applied(("mul", "x", float(math.prod(x.dims[axis] for axis in found))), made)
    return step.applied(after, made)


def _reduced(step: Step, x: Held, axes: Sequence[int], mean: bool, keep: bool) -> Held:
    """Means or maxima over axes of the file, which are brought to the end, as rows and columns."""
    dims = tuple(1 if n in axes else size for n, size in enumerate(x.dims) if keep or n not in axes)
    own = [axis - x.first for axis in axes if axis >= x.first]
    if not own:
        return x.viewed(dims)
    shape = x.shape
    rest = [axis for axis in range(len(shape)) if axis not in own]
    moved = step.moved(x, (*rest, *own))
    maps = 1
    for axis in rest:
        maps *= shape[axis]
    sizes = [shape[axis] for axis in own]
    pixels = (1, sizes[0]) if len(sizes) == 1 else (sizes[0], 1)
    for size in sizes[1:]:
        pixels = (pixels[0], pixels[1] * size)
    image = step.shaped(moved, (maps, *pixels))
    layer = GlobalAvgPool(keepdims=True) if mean else GlobalMaxPool(keepdims=True)
    return step.add(layer, image, dims=dims)


@handles("Softmax")
def softmax(step: Step) -> Value:
    x = step.held()
    axis = x.axis(step.attributes.get("axis", -1))
    if axis < x.first:
        raise Unheld("shares of a batch")
    return step.add(Softmax(axis - x.first), step.plain(x), dims=x.dims)


@handles("ArgMax")
def argmax(step: Step) -> Value:
    x = step.held()
    axis, keep = x.axis(step.attributes.get("axis", 0)), bool(step.attributes.get("keepdims", 1))
    if axis < x.first or step.attributes.get("select_last_index", 0):
        raise Unheld("places in a batch, or of the last of equal values")
    dims = tuple(1 if n == axis else d for n, d in enumerate(x.dims) if keep or n != axis)
    return step.add(ArgMax(axis - x.first, True), step.plain(x), dims=dims)


@handles("LRN")
def lrn(step: Step) -> Value:
    given = step.attributes
    numbers = {name: float(given.get(name, usual)) for name, usual in USUAL.items()}
    layer = LRN(int(given["size"]), numbers["alpha"], numbers["beta"], numbers["bias"])
    return step.add(layer, step.image(step.held()))


USUAL = {"alpha": 1e-4, "beta": 0.75, "bias": 1.0}
