"""Operators that move values: shapes, orders of axes, parts, borders."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from refq.importers.building import END, Value
from refq.importers.tflite import spreading
from refq.importers.tflite.operation import Operation
from refq.importers.tflite.schema import REFLECT


def reshape(op: Operation) -> Value:
    """RESHAPE, SQUEEZE, EXPAND_DIMS: the output's shape says all, where it is not open. Where only
    axes of size 1 come or go between the batch and the channels, a turned tensor stays turned."""
    before, after = op.tensor(0), op.output()
    value = op.value()
    as_many = math.prod(before.shape) == math.prod(after.shape)
    if set(before.open + after.open) - {0} or not as_many:
        # what an open batch is folded into has one row in the file, whatever it holds
        if op.node.kind != "RESHAPE" or not before.open + after.open:
            raise op.refuse(f"{before.shape} as {after.shape}", "as many values")
        read = [op.builder.last(value), op.value(1)]
        return op.add("Reshape", read, Value("", len(after.shape)))
    if op.tensor(0).index in op.made.spread:
        return spreading.row(op, value)
    kept = before.shape[:1] == after.shape[:1] and len(after.shape) > 1
    inner = [[size for size in each.shape[1:-1] if size != 1] for each in (before, after)]
    same = kept and inner[0] == inner[1] and before.shape[-1] == after.shape[-1]
    short = len(before.shape) == 2 and len(after.shape) > 2
    if same and (value.turned or short):
        sizes = [0, after.shape[-1], *after.shape[1:-1]]
        rank = len(sizes)
        return op.add("Reshape", [value, op.numbers(sizes, "shape")], Value("", rank, rank > 2))
    sizes = [0, *after.shape[1:]] if kept else list(after.shape)
    return op.builder.reshape(op.name, op.builder.last(value), sizes)


def shape(op: Operation) -> Value:
    """Of a tensor whose sizes the file leaves open."""
    return op.add("Shape", [op.plain()], Value("", 1))


def transpose(op: Operation) -> Value:
    value, axes = op.plain(), op.whole(1)
    if sorted(axes) != [*range(value.rank)]:
        raise op.refuse(f"axes {axes}", f"0 to {value.rank - 1} in any order")
    return op.add("Transpose", [value], value, perm=tuple(axes))


def concat(op: Operation) -> Value:
    values = op.builder.alike([op.value(place) for place in range(len(op.node.inputs))])
    if not values or len({value.rank for value in values}) != 1:
        raise op.refuse("tensors of unlike axes", "equally many")
    axis = values[0].axis(op.axis(op.node.whole(0), values[0].rank))
    return op.followed(op.add("Concat", values, values[0], axis=axis), op.node.whole(1, "b"))


def pack(op: Operation) -> Value:
    """Tensors as rows of a new axis."""
    values = [op.plain(place) for place in range(len(op.node.inputs))]
    rank = max((value.rank for value in values), default=0) + 1
    axis = op.axis(op.node.whole(1), rank)
    like = Value("", rank)
    axes = op.numbers([axis], "axes")
    raised = [op.add("Unsqueeze", [value, axes], like) for value in values]
    return op.add("Concat", raised, like, axis=axis)


def _parts(op: Operation, value: Value, axis: int, sizes: list[int]) -> list[Value]:
    """A tensor along an axis of the file, in parts of such sizes."""
    if len(op.node.outputs) != len(sizes):
        raise op.refuse(f"{len(sizes)} parts for {len(op.node.outputs)} outputs", "equally many")
    if any(size < 1 for size in sizes):
        raise op.refuse(f"parts of {sizes}", "1 or more")
    builder = op.builder
    names = [builder.fresh(f"{op.name}/part") for _ in sizes]
    first = op.add("Split", [value, op.numbers(sizes, "sizes")], value, axis=value.axis(axis))
    builder.operators[-1] = replace(builder.operators[-1], outputs=tuple(names))
    builder.taken.discard(first.name)
    return [replace(value, name=name) for name in names]


def split(op: Operation) -> list[Value]:
    (axis,), value = op.whole(0)[:1] or (0,), op.value(1)
    axis = op.axis(axis, value.rank)
    count = len(op.node.outputs)
    length = op.tensor(1).shape[axis]
    if count < 1 or length % count:
        raise op.refuse(f"{length} in {count} parts", "parts of one size")
    return _parts(op, value, axis, [length // count] * count)


def split_sizes(op: Operation) -> list[Value]:
    value, sizes = op.value(), op.whole(1)
    (axis,) = op.whole(2)[:1] or (0,)
    axis = op.axis(axis, value.rank)
    rest = op.tensor(0).shape[axis] - sum(size for size in sizes if size >= 0)
    return _parts(op, value, axis, [rest if size < 0 else size for size in sizes])


def unpack(op: Operation) -> list[Value]:
    value = op.plain()
    axis = op.axis(op.node.whole(1), value.rank)
    rows = _parts(op, value, axis, [1] * len(op.node.outputs))
    axes, like = op.numbers([axis], "axes"), Value("", value.rank - 1)
    return [op.add("Squeeze", [row, axes], like) for row in rows]


def cut(op: Operation) -> Value:
    """SLICE: from begin, so many; -1 for all that are left."""
    value, begin, size = op.value(), op.whole(1), op.whole(2)
    if len(begin) != value.rank or len(size) != value.rank or min(begin, default=0) < 0:
        raise op.refuse(f"begin {begin}, size {size}", f"{value.rank} of each")
    end = [END if count < 0 else first + count for first, count in zip(begin, size)]
    return op.builder.slice(op.name, value, value.arranged(begin), value.arranged(end))


def strided(op: Operation) -> Value:
    """STRIDED_SLICE. Bits of its masks are of axes: whose begin, whose end is left out, which
    single place is taken and the axis dropped."""
    value = op.value()
    begin, end, steps = (op.whole(place) for place in (1, 2, 3))
    no_begin, no_end, ellipsis, added, dropped = (op.node.whole(field) for field in range(5))
    if ellipsis or added or op.node.whole(5, "b"):
        raise op.refuse("an ellipsis or new axes", "begin, end and strides of each axis")
    if not len(begin) == len(end) == len(steps) <= value.rank or 0 in steps:
        raise op.refuse(f"begin {begin}, end {end}, strides {steps}", f"{value.rank} of each")
    single = [axis for axis in range(len(begin)) if dropped >> axis & 1]
    for axis, step in enumerate(steps):
        if axis in single:
            end[axis] = begin[axis] + 1 if begin[axis] != -1 else END
            steps[axis] = 1
            continue
        if no_begin >> axis & 1:
            begin[axis] = 0 if step > 0 else END
        if no_end >> axis & 1:
            end[axis] = END if step > 0 else -END
    value = op.builder.last(value) if single else value
    axes = [value.axis(axis) for axis in range(len(begin))]
    limits = [
        op.numbers(numbers, word)
        for word, numbers in zip(("begin", "end", "axes", "steps"), (begin, end, axes, steps))
    ]
    made = op.add("Slice", [value, *limits], value)
    if single:
        like = Value("", value.rank - len(single))
        made = op.add("Squeeze", [made, op.numbers(single, "axes")], like)
    return made


def _paddings(op: Operation, rank: int) -> list[list[int]]:
    found = op.array(1)
    if found.shape != (rank, 2) or found.dtype.kind != "i" or found.min(initial=0) < 0:
        raise op.refuse(f"paddings {found.shape}", f"{rank} pairs of whole numbers of 0 or more")
    made: list[list[int]] = found.tolist()
    return made


def _padded(op: Operation, value: Value, said: list[list[int]], mode: str) -> list[Value]:
    """What a Pad reads."""
    order = value.arranged(said)
    sizes = [first for first, _ in order] + [last for _, last in order]
    return [value, op.numbers(sizes, "pads")]


def pad(op: Operation) -> Value:
    value = op.value()
    inputs = _padded(op, value, _paddings(op, value.rank), "constant")
    if op.has(2):
        filling = op.array(2)
        if filling.size != 1:
            raise op.refuse(f"{filling.size} values around", "1")
        inputs.append(op.numbers(filling.reshape(()).astype(np.float32), "value"))
    return op.add("Pad", inputs, value, mode="constant")


def mirrored(op: Operation) -> Value:
    """REFLECT leaves the border out. SYMMETRIC repeats it, which for one row is the edge."""
    value = op.value()
    said = _paddings(op, value.rank)
    mode = "reflect"
    if op.node.whole(0, "b") != REFLECT:
        mode = "edge"
        if max(each for pair in said for each in pair) > 1:
            raise op.refuse("paddings of more than 1, mirrored with the border", "REFLECT")
    return op.add("Pad", _padded(op, value, said, mode), value, mode=mode)


def to_space(op: Operation) -> Value:
    image = op.image()
    return op.add("DepthToSpace", [image], image, blocksize=_block(op), mode="DCR")


def to_depth(op: Operation) -> Value:
    image = op.image()
    return op.add("SpaceToDepth", [image], image, blocksize=_block(op))


def _block(op: Operation) -> int:
    size = op.node.whole(0)
    if not 0 < size < 1 << 16:
        raise op.refuse(f"blocks of {size}", "1 or more")
    return size


def gather(op: Operation) -> Value:
    value, places = op.plain(), op.plain(1)
    if op.node.whole(1):
        raise op.refuse("places of each image", "the same of all")
    axis = op.axis(op.node.whole(0), value.rank)
    like = Value("", value.rank - 1 + places.rank)
    return op.add("Gather", [value, places], like, axis=axis)


def tile(op: Operation) -> Value:
    """Behind EXPAND_DIMS it repeats rows or columns: a larger image, whose sizes are then split."""
    value, counts = op.plain(), op.whole(1)
    raised = op.made.maker(op.tensor(0).index, "EXPAND_DIMS")
    axes = [axis for axis, count in enumerate(counts) if count != 1]
    source = raised.tensor(0) if raised is not None else op.tensor(0)
    rank = len(source.shape)
    if raised is None or len(axes) != 1 or raised.whole(1) not in (axes, [axes[0] - rank - 1]):
        return op.add("Tile", [value, op.numbers(counts, "repeats")], value)
    (axis,) = axes
    sizes = [-1 if i in source.open else size for i, size in enumerate(source.shape)]
    if not 2 <= axis < rank or rank not in (3, 4) or sizes[1:].count(-1) > 1:
        return op.add("Tile", [value, op.numbers(counts, "repeats")], value)
    image = op.builder.first(raised.value())
    scales = np.ones(rank, np.float32)
    scales[image.axis(axis - 1)] = counts[axis]
    words = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    read = [image, Value("", 0), op.numbers(scales, "scales")]
    made = op.builder.last(op.add("Resize", read, image, mode="nearest", **words))
    return op.builder.reshape(op.name, made, [0, *sizes[1:axis], counts[axis], *sizes[axis:]])
