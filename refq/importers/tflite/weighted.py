"""Convolutions of every kind, and layers that are fully connected."""

from __future__ import annotations

import numpy as np

from refq.importers.building import Value
from refq.importers.tflite.operation import Operation
from refq.importers.tflite.schema import SAME, VALID


def _filter(op: Operation, place: int, axes: int) -> np.ndarray:
    array = op.array(place)
    if array.ndim != axes or array.dtype.kind != "f" or not array.size:
        raise op.refuse(
            f"a filter {array.shape} of {op.tensor(place).kind}", f"{axes} axes, floats"
        )
    return array


def _arrays(op: Operation, weight: np.ndarray, bias: int) -> list[Value]:
    made = [op.numbers(weight, "weight")]
    if op.has(bias):
        array = op.array(bias)
        if array.shape not in ((len(weight),), (1,)):
            raise op.refuse(f"a bias {array.shape}", f"{len(weight)} values")
        made.append(op.numbers(np.broadcast_to(array, len(weight)).astype(np.float32), "bias"))
    return made


def _steps(op: Operation, rows: int, columns: int, default: int = 1) -> tuple[int, int]:
    """Options for rows and columns, each 1 or more."""
    found = op.node.whole(rows, "i", default), op.node.whole(columns, "i", default)
    if min(found) < 1 or max(found) >= 1 << 20:
        raise op.refuse(f"{found} for rows and columns", "1 or more")
    return found


def pads(
    op: Operation, kernel: tuple[int, ...], strides: tuple[int, int], holes: tuple[int, int]
) -> dict[str, object]:
    """What SAME puts around an image: what is odd at the end; VALID nothing."""
    padding = op.node.whole(0, "b")
    if padding not in (SAME, VALID):
        raise op.refuse(f"padding {padding}", "SAME or VALID")
    if padding == VALID:
        return {}
    tensor = op.tensor(0)
    if {1, 2} & set(tensor.open) and max(strides) > 1:
        if max(holes) > 1:
            raise op.refuse("strides and dilations over an image of any size", "one of them")
        return {"auto_pad": "SAME_UPPER"}
    before, after = [], []
    for size, stride, hole, length in zip(kernel, strides, holes, tensor.shape[1:3]):
        # without a stride it does not depend on the image
        reach = (size - 1) * hole + 1
        whole = max((-(-length // stride) - 1) * stride + reach - length, 0)
        whole = reach - 1 if stride == 1 else whole
        before.append(whole // 2)
        after.append(whole - whole // 2)
    return {"pads": (*before, *after)}


def _convolved(op: Operation, weight: np.ndarray, group: int, dilations: tuple[int, int]) -> Value:
    """weight: (outputs, inputs of a group, rows, columns)."""
    image, spread = op.image(), op.made.spread.get(op.tensor(0).index)
    strides, kernel = _steps(op, 2, 1), weight.shape[2:]
    if spread:
        if strides != (1, 1) or dilations != (1, 1):
            raise op.refuse("strides within SPACE_TO_BATCH_ND", "a convolution without")
        dilations = spread[0], spread[-1]
        op.made.spread[op.output().index] = spread
    return op.add(
        "Conv",
        [image, *_arrays(op, weight, 2)],
        image,
        kernel_shape=tuple(kernel),
        strides=strides,
        dilations=dilations,
        group=group,
        **pads(op, kernel, strides, dilations),
    )


def convolution(op: Operation) -> Value:
    """Filters are (outputs, rows, columns, inputs of a group)."""
    weight = _filter(op, 1, 4).transpose(0, 3, 1, 2)
    inputs = op.tensor(0).shape[-1:]
    if 3 in op.tensor(0).open:
        inputs = weight.shape[1:2]
    group, rest = divmod(inputs[0] if inputs else 0, weight.shape[1])
    if rest or group < 1:
        raise op.refuse(f"{inputs} channels for filters of {weight.shape[1]}", "a multiple")
    made = _convolved(op, weight, group, _steps(op, 5, 4))
    return op.followed(made, op.node.whole(3, "b"))


def depthwise(op: Operation) -> Value:
    """Filters are (1, rows, columns, outputs); outputs of one input follow each other."""
    array = _filter(op, 1, 4)
    inputs = op.tensor(0).shape[-1:]
    group = inputs[0] if inputs else 0
    if array.shape[0] != 1 or group < 1 or array.shape[3] % group:
        raise op.refuse(
            f"a filter {array.shape} for {inputs} channels", "1, and a multiple of them"
        )
    made = _convolved(op, array.transpose(3, 0, 1, 2), group, _steps(op, 6, 5))
    return op.followed(made, op.node.whole(4, "b"))


def transposed(op: Operation) -> Value:
    """Filters are (outputs, rows, columns, inputs); the first input tells the size of the
    output."""
    array = _filter(op, 1, 4)
    image = op.image(2)
    read, strides = op.tensor(2), _steps(op, 2, 1)
    shape = op.maybe(0)
    size = (
        [int(each) for each in shape.ravel()[1:3]] if shape is not None else op.output().shape[1:3]
    )
    padding = op.node.whole(0, "b")
    if padding not in (SAME, VALID) or len(size) != 2 or {1, 2} & set(read.open):
        raise op.refuse(f"padding {padding}, output {size}", "SAME or VALID, a known size")
    before, after, spare = [], [], []
    for axis in (0, 1):
        whole = (read.shape[1 + axis] - 1) * strides[axis] + array.shape[1 + axis]
        cut = max(whole - size[axis], 0)
        if padding == VALID and cut:
            raise op.refuse(f"an output of {size[axis]} of {whole}", "all of it, with VALID")
        before.append(cut // 2)
        after.append(cut - cut // 2)
        spare.append(max(size[axis] - whole, 0))
    weight = array.transpose(3, 0, 1, 2)
    inputs = [image, op.numbers(weight, "weight")]
    if op.has(3):
        inputs.append(op.numbers(op.array(3).astype(np.float32), "bias"))
    made = op.add(
        "ConvTranspose",
        inputs,
        image,
        kernel_shape=tuple(array.shape[1:3]),
        strides=strides,
        pads=(*before, *after),
        output_padding=tuple(spare),
    )
    return op.followed(made, op.node.whole(3, "b"))


def connected(op: Operation) -> Value:
    """Weights are (outputs, inputs). Of maps it is a convolution 1x1, if their axes are kept."""
    weight, value = _filter(op, 1, 2), op.value()
    if op.node.whole(1, "b"):
        raise op.refuse("shuffled weights", "plain ones")
    kept = bool(op.node.whole(2, "b")) and value.rank > 2
    if kept:
        value = op.builder.first(value)
        ones = (1,) * (value.rank - 2)
        arrays = _arrays(op, weight.reshape(*weight.shape, *ones), 2)
        made = op.add("Conv", [value, *arrays], value, kernel_shape=ones, group=1)
        return op.followed(made, op.node.whole(0, "b"))
    if value.rank != 2:
        flat = op.builder.last(value)
        whole = int(np.prod(op.tensor(0).shape[1:], dtype=np.int64)) == weight.shape[1]
        value = op.builder.reshape(op.name, flat, [0 if whole else -1, weight.shape[1]])
    made = op.add("Gemm", [value, *_arrays(op, weight, 2)], value, transB=1)
    return op.followed(made, op.node.whole(0, "b"))


def multiplied(op: Operation) -> Value:
    """BATCH_MATMUL."""
    inputs = []
    for place in (0, 1):
        value = op.plain(place)
        if op.node.whole(place, "b"):
            axes = (*range(value.rank - 2), value.rank - 1, value.rank - 2)
            value = op.add("Transpose", [value], value, perm=axes)
        inputs.append(value)
    return op.add("MatMul", inputs, max(inputs, key=lambda value: value.rank))
