"""Handlers of operators with weights: convolutions, matrix products, batch normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from refq.errors import ShapeError
from refq.importers.lowering.elementwise import affine
from refq.importers.lowering.values import Held, Value
from refq.importers.lowering.walking import Step, Unheld, handles
from refq.networks.layers import NO_PADS, Conv, ConvTranspose, Dense, Pads, Pair

SAME = ("SAME_UPPER", "SAME_LOWER")


@handles("Conv")
def conv(step: Step) -> Value:
    x, weight, bias = _operands(step)
    image = step.image(x)
    rank = weight.ndim - 2
    weight = _kernels(weight, rank)
    kernel = (weight.shape[2], weight.shape[3])
    strides, dilations = pair(step, "strides", rank), pair(step, "dilations", rank)
    pads = padding(step, rank, image.shape[1:], kernel, strides, dilations)
    group = int(step.attributes.get("group", 1))
    layer = Conv(len(weight), kernel, strides, pads, group, dilations=dilations)
    return _summed(step, layer, image, rank, weight, bias)


@handles("ConvTranspose")
def conv_transpose(step: Step) -> Value:
    x, weight, bias = _operands(step)
    image = step.image(x)
    rank, group = weight.ndim - 2, int(step.attributes.get("group", 1))
    weight = _kernels(weight, rank)
    if group < 1 or len(weight) % group or len(weight) != image.shape[0]:
        raise ShapeError(
            f"weights of shape {weight.shape} in {group} groups", f"{image.shape[0]} channels"
        )
    # (I, O/group, ...) of every group to (O, I/group, ...)
    parts = [np.swapaxes(part, 0, 1) for part in np.split(weight, group)]
    weight = np.ascontiguousarray(np.concatenate(parts))
    kernel = (weight.shape[2], weight.shape[3])
    strides, dilations = pair(step, "strides", rank), pair(step, "dilations", rank)
    more = pair(step, "output_padding", rank, 0)
    sizes = step.attributes.get("output_shape")
    automatic = step.attributes.get("auto_pad", "NOTSET")
    if sizes is None and automatic in SAME:
        sizes = [
            size * stride for size, stride in zip(image.shape[1:][2 - rank :], strides[2 - rank :])
        ]
    if sizes is None:
        pads = padding(step, rank, image.shape[1:], kernel, strides, dilations)
        layer = ConvTranspose(len(weight), kernel, strides, pads, group, dilations, more)
    else:
        layer = ConvTranspose(len(weight), kernel, strides, NO_PADS, group, dilations, more)
        wanted = (*(1,) * (2 - rank), *(int(size) for size in sizes[-rank:]))
        _, *whole = layer.output_shape([image.shape])
        # what is asked for beyond all that the kernel reaches is bias alone
        short = [max(0, size - have) for size, have in zip(wanted, whole)]
        layer = replace(
            layer,
            pads=_cut([have + extra for have, extra in zip(whole, short)], wanted, automatic),
            output_padding=(more[0] + short[0], more[1] + short[1]),
        )
    return _summed(step, layer, image, rank, weight, bias)


def _cut(whole: Sequence[int], wanted: Sequence[int], how: str) -> Pads:
    """Pads that leave the wanted rows and columns (ONNX ConvTranspose)."""
    total = [size - left for size, left in zip(whole, wanted)]
    halves = [each // 2 if how == "SAME_UPPER" else each - each // 2 for each in total]
    return (halves[0], halves[1], total[0] - halves[0], total[1] - halves[1])


def _operands(step: Step) -> tuple[Held, np.ndarray, np.ndarray | None]:
    """(what is convolved, float32 weights, a bias or None)."""
    x, weight = step.held(), step.constant(1)
    if weight is None or weight.ndim not in (3, 4):
        shape = None if weight is None else weight.shape
        raise Unheld(f"weights of shape {shape}")
    stated = step.attributes.get("kernel_shape")
    if stated and tuple(stated) != weight.shape[2:]:
        raise ShapeError(f"kernel_shape {tuple(stated)}", f"{weight.shape[2:]}, as its weights are")
    if len(x.dims) != weight.ndim:
        raise Unheld(f"weights of shape {weight.shape} for {x.dims}")
    return x, weight.astype(np.float32), step.constant(2)


def _kernels(weight: np.ndarray, rank: int) -> np.ndarray:
    """Kernels of a signal have one row."""
    return weight[:, :, None] if rank == 1 else weight


def _summed(
    step: Step,
    layer: Conv | ConvTranspose,
    image: Held,
    rank: int,
    weight: np.ndarray,
    bias: np.ndarray | None,
) -> Held:
    numbers = np.zeros(layer.out_channels, np.float32) if bias is None else bias
    made = step.add(layer, image, weight=weight, bias=numbers.astype(np.float32))
    shape = step.walker.drafts.shapes[made.tensor]
    return made if rank == 2 else made.viewed((1, shape[0], shape[2]))


def pair(step: Step, name: str, rank: int, default: int = 1) -> Pair:
    """An attribute of rows and columns; a signal has columns alone."""
    given = [int(each) for each in step.attributes.get(name) or [default] * rank]
    if len(given) != rank:
        raise Unheld(f"{name} of {len(given)} numbers")
    return (given[0], given[1]) if rank == 2 else (default, given[0])


def padding(
    step: Step, rank: int, size: Sequence[int], kernel: Pair, strides: Pair, dilations: Pair
) -> Pads:
    """pads, or what auto_pad makes them (top, left, bottom, right)."""
    automatic = step.attributes.get("auto_pad", "NOTSET")
    if automatic == "VALID":
        return (0, 0, 0, 0)
    if automatic in SAME:
        before, after = [], []
        for axis in (0, 1):
            reach = dilations[axis] * (kernel[axis] - 1) + 1
            count = -(-size[axis] // strides[axis])
            total = max(0, (count - 1) * strides[axis] + reach - size[axis])
            half = total // 2
            before.append(half if automatic == "SAME_UPPER" else total - half)
            after.append(total - before[-1])
        return (before[0], before[1], after[0], after[1])
    if automatic != "NOTSET":
        raise Unheld(f"auto_pad {automatic!r}")
    pads = [int(each) for each in step.attributes.get("pads") or [0] * (2 * rank)]
    if len(pads) != 2 * rank:
        raise Unheld(f"pads of {len(pads)} numbers")
    return (pads[0], pads[1], pads[2], pads[3]) if rank == 2 else (0, pads[0], 0, pads[1])


@handles("Gemm")
def gemm(step: Step) -> Value:
    x, weight = step.held(), step.constant(1)
    if weight is None or weight.ndim != 2 or step.attributes.get("transA", 0):
        raise Unheld("it is no product with a matrix of weights")
    columns = weight if step.attributes.get("transB", 0) else weight.T
    columns = columns.astype(np.float64) * step.attributes.get("alpha", 1.0)
    constant = step.constant(2)
    bias = np.zeros(len(columns))
    if constant is not None:
        if constant.size != 1 and (constant.size, constant.shape[-1]) != (len(columns),) * 2:
            raise Unheld(f"constants of shape {constant.shape}, which are not one an output")
        bias = np.broadcast_to(constant.reshape(-1), (len(columns),)).astype(np.float64)
        bias = bias * step.attributes.get("beta", 1.0)
    return _dense(step, x, columns.astype(np.float32), bias.astype(np.float32))


@handles("MatMul")
def matmul(step: Step) -> Value:
    first = isinstance(step.inputs[0], np.ndarray)
    x, weight = (step.held(1), step.constant(0)) if first else (step.held(), step.constant(1))
    if weight is None or weight.ndim < 1 or any(size != 1 for size in weight.shape[:-2]):
        raise Unheld("it is no product with a matrix of weights")
    vector = weight.ndim == 1
    matrix = weight.reshape(weight.shape[-2:] if not vector else (1, -1) if first else (-1, 1))
    rows = (matrix if first else matrix.T).astype(np.float32)
    zeros = np.zeros(len(rows), np.float32)
    if first:  # W x is the transpose of x' W'
        if len(x.shape) < 2:
            raise Unheld(f"a matrix before a tensor of shape {x.dims}")
        last = len(x.shape) - 1
        swap = (*range(last - 1), last, last - 1)
        x = step.moved(x, swap)
        made = step.moved(_dense(step, x, rows, zeros), swap)
    else:
        made = _dense(step, x, rows, zeros)
    axis = len(made.dims) - (2 if first else 1)
    return made.viewed((*made.dims[:axis], *made.dims[axis + 1 :])) if vector else made


def _dense(step: Step, x: Held, weight: np.ndarray, bias: np.ndarray) -> Held:
    """A dense layer of a vector; of more, a 1x1 convolution along the last axis."""
    if x.dims[-1] != weight.shape[1]:
        raise Unheld(f"weights of shape {weight.shape[::-1]} for {x.dims}")
    weight = np.ascontiguousarray(weight)
    if len(x.shape) == 1 and x.batched:
        return step.add(Dense(len(weight)), x, weight=weight, bias=bias)
    shape = x.shape
    last = len(shape) - 1
    front = step.moved(x, (last, *range(last)))
    rows = int(np.prod(shape[:last]))
    maps = step.shaped(front, (shape[last], 1, rows))
    layer = Conv(len(weight), (1, 1))
    made = step.add(layer, maps, weight=weight[:, :, None, None], bias=bias)
    made = made.viewed((1, len(weight), *shape[:last]))
    back = step.moved(made, (*range(1, last + 1), 0))
    return back.viewed((*x.dims[:-1], len(weight)))


@handles("BatchNormalization")
def batch_normalization(step: Step) -> Value:
    """Scale and shift of each channel (Ioffe and Szegedy 2015)."""
    x = step.held()
    if step.attributes.get("training_mode", 0):
        raise Unheld("training_mode 1: its statistics are those of each batch")
    numbers = [step.constant(number) for number in (1, 2, 3, 4)]
    if any(each is None or each.shape != x.dims[1:2] for each in numbers):
        raise Unheld(f"numbers that are not one for each channel of {x.dims}")
    gamma, beta, mean, variance = (each.astype(np.float64) for each in numbers if each is not None)
    spread = variance + step.attributes.get("epsilon", 1e-5)
    if not (spread > 0).all():
        raise Unheld(f"a variance of {variance.min():g}")
    scale = gamma / np.sqrt(spread)
    return affine(step, x, 1 - x.first, scale, beta - mean * scale)
