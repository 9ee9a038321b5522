"""Caffe's layers that pool, move, cut and compare, as ONNX's operators."""

from __future__ import annotations

import itertools
import math

from refq.importers.caffe_facts import one, pair, same
from refq.importers.caffe_layer import Layer
from refq.importers.caffe_weighted import Make, axis_of, reshaped
from refq.importers.contents import refuse
from refq.importers.shaped import Known, Place, UnsaidError
from refq.importers.stating import Facts
from refq.networks.layers.windows import pool_size

LARGEST = 1 << 14  # rows or columns


def _pooling(layer: Layer, facts: Facts, at: Place) -> list[Known]:
    kind = {0: "Max", 1: "Average"}.get(one(facts, "pool", 0))
    shape = at.x.sizes(layer.type)
    if kind is None or len(shape) != 4:
        raise UnsaidError("stochastic Pooling" if kind is None else "Pooling not of images")
    kernel, strides = pair(facts, "kernel_size", 0, "kernel"), pair(facts, "stride", 1)
    pads, up = pair(facts, "pad", 0), one(facts, "round_mode", 0) == 0
    up = up and bool(one(facts, "ceil_mode", 1))
    if one(facts, "global_pooling", 0):
        if strides != (1, 1) or pads != (0, 0):
            raise refuse(f"{layer.name}: a global pool with stride or pad", "neither")
        return [at.add(f"Global{kind}Pool", [at.x], (*shape[:2], 1, 1))]
    if min(*kernel, *strides) < 1 or min(pads) < 0:
        raise refuse(f"{layer.name}: a pool without a kernel", "kernel_size, or global_pooling")
    counts = []
    for axis in (0, 1):
        length, cells, stride, pad = shape[2 + axis], kernel[axis], strides[axis], pads[axis]
        count = pool_size(length, cells, stride, pad, pad, up)
        if count < 1 or pad >= cells:
            raise refuse(
                f"{layer.name}: a pool {kernel} over {shape[2]}x{shape[3]} padded by {pads}",
                "a kernel smaller than the image and larger than the pad",
            )
        # without pads Caffe lets a last window begin beyond the image
        if up and not any(pads) and count < -(-(length - cells) // stride) + 1:
            raise UnsaidError(f"Pooling with windows beyond the image, kernel {kernel}")
        counts.append(count)
    more = {"count_include_pad": 1} if kind == "Average" else {}
    down = [(shape[2 + axis] + 2 * pads[axis] - kernel[axis]) // strides[axis] for axis in (0, 1)]
    made = at.add(
        f"{kind}Pool",
        [at.x],
        (*shape[:2], counts[0], counts[1]),
        kernel_shape=kernel,
        strides=strides,
        pads=(*pads, *pads),
        ceil_mode=int(counts != [count + 1 for count in down]),
        **more,
    )
    return [made]


def _lrn(layer: Layer, facts: Facts, at: Place) -> list[Known]:
    size, alpha = one(facts, "local_size", 5), one(facts, "alpha", 1.0)
    beta, bias = one(facts, "beta", 0.75), one(facts, "k", 1.0)
    if one(facts, "norm_region", 0):
        raise UnsaidError("LRN within channels")
    if size < 1 or size % 2 == 0:
        raise refuse(f"{layer.name}: LRN over {size} channels", "an odd number")
    return [at.like("LRN", at.x, size=size, alpha=alpha, beta=beta, bias=bias)]


def _concat(layer: Layer, facts: Facts, at: Place) -> list[Known]:
    shapes = [each.sizes(layer.type) for each in at.inputs]
    axis = axis_of(facts, one(facts, "axis", one(facts, "concat_dim", 1)), len(at.x.shape or ()))
    for shape in shapes[1:]:
        rest = [each[:axis] + each[axis + 1 :] for each in (shapes[0], shape)]
        same(layer.name, "sizes beside the concatenated axis", rest[1], rest[0])
    total = sum(shape[axis] for shape in shapes)
    return [at.add("Concat", at.inputs, _with(shapes[0], axis, total), axis=axis)]


def _with(shape: tuple[int, ...], axis: int, size: int) -> tuple[int, ...]:
    return (*shape[:axis], size, *shape[axis + 1 :])


def _slice(layer: Layer, facts: Facts, at: Place) -> list[Known]:
    shape, tops = at.x.sizes(layer.type), len(layer.tops)
    axis = axis_of(facts, one(facts, "axis", one(facts, "slice_dim", 1)), len(shape))
    points = facts.value("slice_point", [])
    if not points and tops and shape[axis] % tops == 0:
        points = list(range(shape[axis] // tops, shape[axis], shape[axis] // tops))
    ends = [0, *points, shape[axis]]
    sizes = [end - begin for begin, end in itertools.pairwise(ends)]
    if len(sizes) != tops or min(sizes) < 1:
        raise refuse(
            f"{layer.name}: {tops} slices of {shape[axis]} at {points}", "in order, inside"
        )
    shapes = [_with(shape, axis, size) for size in sizes]
    if tops == 1:
        return [at.unchanged(at.x)]
    return at.split("Split", [at.x, at.whole_numbers("split", sizes)], shapes, axis=axis)


def _split(layer: Layer, facts: Facts, at: Place) -> list[Known]:
    return [at.unchanged(at.x) for _ in layer.tops]


def _flatten(layer: Layer, facts: Facts, at: Place) -> list[Known]:
    shape = at.x.sizes(layer.type)
    first = axis_of(facts, one(facts, "axis", 1), len(shape))
    last = axis_of(facts, one(facts, "end_axis", -1), len(shape))
    if last < first:
        raise refuse(f"{layer.name}: axes {first} to {last}", "in order")
    inner = math.prod(shape[first : last + 1])
    if (first, last) == (1, len(shape) - 1):
        return [at.add("Flatten", [at.x], (shape[0], inner), axis=1)]
    return [reshaped(at, at.x, (*shape[:first], inner, *shape[last + 1 :]))]


def _reshape(layer: Layer, facts: Facts, at: Place) -> list[Known]:
    shape, sizes = at.x.sizes(layer.type), facts.value("shape", [[]])[-1]
    axis, count = one(facts, "axis", 0), one(facts, "num_axes", -1)
    begin = axis if axis >= 0 else len(shape) + axis + 1
    end = len(shape) if count == -1 else begin + count
    if not 0 <= begin <= end <= len(shape):
        raise refuse(f"{layer.name}: axes {begin} to {end} of {len(shape)}", "axes of its input")
    found = list(shape[:begin])
    for index, size in enumerate(sizes):
        if size == 0 and begin + index >= len(shape):
            raise refuse(f"{layer.name}: a copy of axis {begin + index}", f"{len(shape)} axes")
        found.append(shape[begin + index] if size == 0 else size)
    found += shape[end:]
    if found.count(-1) == 1:
        known = math.prod(size for size in found if size != -1)
        found[found.index(-1)] = math.prod(shape) // known if known > 0 else 0
    if min(found, default=0) < 1:
        raise refuse(f"{layer.name}: a blob {shape} in the shape {found}", "sizes of 1 or more")
    return [reshaped(at, at.x, tuple(found))]


def _permute(layer: Layer, facts: Facts, at: Place) -> list[Known]:
    shape, order = at.x.sizes(layer.type), facts.value("order", [])
    order = [*order, *(axis for axis in range(len(shape)) if axis not in order)]
    if sorted(order) != list(range(len(shape))):
        raise refuse(f"{layer.name}: order {order}", f"each of {len(shape)} axes once")
    return [at.add("Transpose", [at.x], tuple(shape[axis] for axis in order), perm=tuple(order))]


def _crop(layer: Layer, facts: Facts, at: Place) -> list[Known]:
    if len(at.inputs) != 2:
        raise refuse(f"{layer.name}: reads {len(at.inputs)} blobs", "two")
    shape, like = (each.sizes(layer.type) for each in at.inputs)
    first = axis_of(facts, one(facts, "axis", 2), len(shape))
    offsets, axes = facts.value("offset", [0]), list(range(first, len(shape)))
    offsets = list(offsets) * len(axes) if len(offsets) == 1 else list(offsets)
    if len(offsets) != len(axes) or len(like) != len(shape):
        raise refuse(f"{layer.name}: {len(offsets)} offsets", f"1 or {len(axes)}")
    ends = [offset + like[axis] for offset, axis in zip(offsets, axes)]
    if any(end > shape[axis] for end, axis in zip(ends, axes)):
        raise refuse(f"{layer.name}: {like} at {offsets} out of {shape}", "a part of its input")
    return [_cut(at, at.x, {axis: (offset, end) for axis, offset, end in zip(axes, offsets, ends)})]


def _cut(at: Place, x: Known, ends: dict[int, tuple[int, int]]) -> Known:
    """x from a first place to an end, by axis."""
    shape = list(x.sizes("Slice"))
    for axis, (begin, end) in ends.items():
        shape[axis] = end - begin
    lists = {
        "starts": [begin for begin, _ in ends.values()],
        "ends": [end for _, end in ends.values()],
        "axes": list(ends),
    }
    numbers = [at.whole_numbers(role, values) for role, values in lists.items()]
    return at.add("Slice", [x, *numbers], tuple(shape))


def _softmax(layer: Layer, facts: Facts, at: Place) -> list[Known]:
    shape = at.x.sizes(layer.type)
    return [at.like("Softmax", at.x, axis=axis_of(facts, one(facts, "axis", 1), len(shape)))]


def _argmax(layer: Layer, facts: Facts, at: Place) -> list[Known]:
    shape, x = at.x.sizes(layer.type), at.x
    value, axis = bool(one(facts, "out_max_val", 0)), facts.value("axis")
    if one(facts, "top_k", 1) != 1 or (axis is None and value):
        raise UnsaidError("ArgMax of several values")
    if axis is None:
        inner = math.prod(shape[1:])
        x = at.add("Flatten", [x], (shape[0], inner), axis=1) if len(shape) > 2 else x
        place = at.add("ArgMax", [x], (shape[0], 1), axis=1, keepdims=1)
        return [reshaped(at, place, (shape[0], 1, 1))]
    along = axis_of(facts, axis[-1], len(shape))
    kept = _with(shape, along, 1)
    if value:
        axes = at.whole_numbers("axes", [along])
        return [at.add("ReduceMax", [x, axes], kept, keepdims=1)]
    return [at.add("ArgMax", [x], kept, axis=along, keepdims=1)]


def _reduction(layer: Layer, facts: Facts, at: Place) -> list[Known]:
    shape, operation = at.x.sizes(layer.type), one(facts, "operation", 1)
    kind = "ReduceMean" if operation == 4 else "ReduceSum"
    first, factor = axis_of(facts, one(facts, "axis", 0), len(shape)), one(facts, "coeff", 1.0)
    if operation not in range(1, 5) or first == 0:
        raise UnsaidError("Reduction over the batch" if first == 0 else f"Reduction {operation}")
    axes = at.whole_numbers("axes", range(first, len(shape)))
    # of absolute values, or of squares
    x = {2: lambda: at.like("Abs", at.x), 3: lambda: at.like("Mul", at.x, at.x)}.get(operation)
    inner = x() if x else at.x
    return [at.times(at.add(kind, [inner, axes], shape[:first], keepdims=0), factor)]


def _tile(layer: Layer, facts: Facts, at: Place) -> list[Known]:
    shape, count = at.x.sizes(layer.type), one(facts, "tiles", 1)
    axis = axis_of(facts, one(facts, "axis", 1), len(shape))
    repeats = _with((1,) * len(shape), axis, count)
    made = _with(shape, axis, shape[axis] * count)
    return [at.add("Tile", [at.x, at.whole_numbers("repeats", repeats)], made)]


def _interp(layer: Layer, facts: Facts, at: Place) -> list[Known]:
    """Bilinear, corners on corners: DeepLab's layer. A negative pad cuts."""
    shape, x = at.x.sizes(layer.type), at.x
    before, after = one(facts, "pad_beg", 0), one(facts, "pad_end", 0)
    zoom, shrink = one(facts, "zoom_factor", 1), one(facts, "shrink_factor", 1)
    stated = one(facts, "height", 0), one(facts, "width", 0)
    if len(shape) != 4 or before > 0 or after > 0:
        raise UnsaidError("Interp of a padded image")
    if before or after:
        ends = {axis: (-before, shape[axis] + after) for axis in (2, 3)}
        x = _cut(at, x, ends)
    sides = [size + before + after for size in shape[2:]]
    if len(at.inputs) == 2:
        sides = list(at.inputs[1].sizes(layer.type)[2:])
    elif min(stated) > 0:
        sides = list(stated)
    elif zoom > 0 and shrink > 0:
        sides = [(side - 1) // shrink + 1 for side in sides]
        sides = [side + (side - 1) * (zoom - 1) for side in sides]
    return [_resized(at, x, sides, mode="linear", coordinate_transformation_mode="align_corners")]


def _upsample(layer: Layer, facts: Facts, at: Place) -> list[Known]:
    """Each value becomes a square: YOLO's layer. SegNet's reads a mask, too."""
    shape, factor = at.x.sizes(layer.type), one(facts, "scale", 2)
    if len(at.inputs) != 1 or len(shape) != 4 or factor != int(factor):
        raise UnsaidError("Upsample by a mask, or not by a whole number")
    rule = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric"}
    sides = [size * int(factor) for size in shape[2:]]
    return [_resized(at, at.x, sides, nearest_mode="floor", **rule)]


def _resized(at: Place, x: Known, sides: list[int], **rule: str) -> Known:
    if len(sides) != 2 or not all(0 < side <= LARGEST for side in sides):
        raise refuse(f"{at.layer}: an image of {sides}", f"1 to {LARGEST} rows and columns")
    shape = (*x.sizes("Resize")[:2], *sides)
    sizes = [x, Known("", None), Known("", None), at.whole_numbers("sizes", sides)]
    return at.add("Resize", sizes, shape, axes=(2, 3), **rule)


def _shuffle(layer: Layer, facts: Facts, at: Place) -> list[Known]:
    shape, group = at.x.sizes(layer.type), one(facts, "group", 1)
    if len(shape) != 4 or group < 1 or shape[1] % group:
        raise refuse(f"{layer.name}: {group} groups of a blob {shape}", "equal groups of channels")
    apart = reshaped(at, at.x, (shape[0], group, shape[1] // group, *shape[2:]))
    turned = (shape[0], shape[1] // group, group, *shape[2:])
    return [reshaped(at, at.add("Transpose", [apart], turned, perm=(0, 2, 1, 3, 4)), shape)]


MAKE: dict[str, Make] = {
    "Pooling": _pooling,
    "LRN": _lrn,
    "Concat": _concat,
    "Slice": _slice,
    "Split": _split,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Permute": _permute,
    "Crop": _crop,
    "Softmax": _softmax,
    "ArgMax": _argmax,
    "Reduction": _reduction,
    "Tile": _tile,
    "Interp": _interp,
    "Upsample": _upsample,
    "ShuffleChannel": _shuffle,
}
