"""Dilated convolutions as TensorFlow 1 spelled them: images spread over many, gathered again."""

from __future__ import annotations

from refq.importers.building import END, Value
from refq.importers.tflite.operation import Operation

MOST_BETWEEN = 6  # operators between the two: a row, a convolution, its bias, a function


def row(op: Operation, value: Value) -> Value:
    """Between SPACE_TO_BATCH_ND and BATCH_TO_SPACE_ND, where lengths are not the whole's: a signal
    as an image of one row or column, and back."""
    shapes = [op.tensor(0).shape, op.output().shape]
    spread, image = op.made.spread[op.tensor(0).index], op.builder.first(value)
    short, long = sorted(shapes, key=len)
    places = [axis for axis in (1, 2) if (*long[:axis], *long[axis + 1 :]) == short]
    if len(short) != 3 or not places:
        raise op.refuse(f"{shapes[0]} as {shapes[1]}", "one row of a signal")
    axis = op.numbers([places[0] + 1], "axes")
    if len(shapes[1]) == 4:
        both = (1, spread[0]) if places[0] == 1 else (spread[0], 1)
        op.made.spread[op.output().index] = both
        return op.add("Unsqueeze", [image, axis], Value("", 4, turned=True))
    op.made.spread[op.output().index] = (max(spread),)
    return op.add("Squeeze", [image, axis], Value("", 3, turned=True))


def spread(op: Operation) -> Value:
    """SPACE_TO_BATCH_ND: rows and columns of each block become images of their own, for a
    convolution that then sees every second one: a dilated convolution of the whole. What the
    operator at its end cuts off need not be padded."""
    value, block, around = op.builder.first(op.value()), op.whole(1), _pairs(op)
    end, axes = _end_of(op), range(len(block))
    if len(block) != value.rank - 2 or value.rank not in (3, 4):
        raise op.refuse(f"blocks of {block}", "one for each axis of an image")
    if not all(0 < each < 1 << 16 for each in block) or end is None:
        raise op.refuse(f"blocks of {block}", "a convolution and BATCH_TO_SPACE_ND behind it")
    op.made.spread[op.output().index] = tuple(block)
    less = _pairs(end)
    if len(less) != len(around):
        raise op.refuse(f"crops {less} behind", f"{len(around)} pairs")
    if all(less[axis][0] == 0 and around[axis][1] >= less[axis][1] for axis in axes):
        around = [[around[axis][0], around[axis][1] - less[axis][1]] for axis in axes]
        less = [[0, 0] for _ in axes]
    op.made.crops[end.node.index] = less
    sizes = [0, 0, *(first for first, _ in around), 0, 0, *(last for _, last in around)]
    return op.add("Pad", [value, op.numbers(sizes, "pads")], value, mode="constant")


def gathered(op: Operation) -> Value:
    """BATCH_TO_SPACE_ND."""
    value, less = op.builder.first(op.value()), op.made.crops.get(op.node.index)
    if less is None or op.made.spread.get(op.tensor(0).index) != tuple(op.whole(1)):
        raise op.refuse("images that SPACE_TO_BATCH_ND has not made", "it, and a convolution")
    if not any(each for pair in less for each in pair):
        return value
    begin = [0, 0, *(first for first, _ in less)]
    end = [END, END, *(-last if last else END for _, last in less)]
    return op.builder.slice(op.name, value, begin, end)


def _pairs(op: Operation) -> list[list[int]]:
    found = op.array(2)
    if found.shape not in ((1, 2), (2, 2)) or found.dtype.kind != "i" or found.min() < 0:
        raise op.refuse(f"paddings or crops {found.shape}", "a pair for each axis of an image")
    made: list[list[int]] = found.tolist()
    return made


def _end_of(op: Operation) -> Operation | None:
    """The BATCH_TO_SPACE_ND that a SPACE_TO_BATCH_ND leads to, read by one operator after the
    other."""
    node = op.node
    for _ in range(MOST_BETWEEN + 1):
        readers = op.made.readers.get(node.outputs[0], []) if node.outputs else []
        if len(readers) != 1 or node.outputs[0] in op.made.model.outputs:
            return None
        node = readers[0]
        if node.kind == "BATCH_TO_SPACE_ND":
            return Operation(node, op.made)
    return None
