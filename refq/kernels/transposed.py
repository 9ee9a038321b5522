"""Transposed convolution, float32 and exact integer, as convolutions of its phases.

An output row p meets kernel row r and input row h where p = stride h + dilation r - pad. Output
rows with one remainder by the stride meet the same kernel rows, evenly spaced; rows and columns
mirrored, that is a convolution with stride 1 of those kernel rows (Dumoulin and Visin 2016,
section 4), whose taps come in the defined order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import gcd

import numpy as np

from refq.errors import ShapeError
from refq.formats.fixed import Accumulator
from refq.kernels import gemm
from refq.kernels.accumulating import limits
from refq.kernels.conv import _require_integers, conv, conv_integer
from refq.networks.layers import NO_PADS, ConvTranspose, Pads, Pair


@dataclass(frozen=True)
class Phase:
    """Output rows (or columns) first, first + stride, ...; count: how many.

    taps: kernel rows that they meet, ascending; spread: how many input rows apart those are;
    length: rows of the convolution's input; before: how many of them come before the mirrored
    one's, negative where some of that is cut.
    """

    first: int
    count: int
    taps: slice
    spread: int
    length: int
    before: int


def _phases(layer: ConvTranspose, length: int, size: int, axis: int) -> Iterator[Phase]:
    """Those of an axis, for so many rows of the input and of the output."""
    stride, dilation, pad = layer.strides[axis], layer.dilations[axis], layer.pads[axis]
    kernel = layer.kernel[axis]
    for first in range(min(stride, size)):
        count = -(-(size - first) // stride)
        # input row minus position in the phase, of each kernel row that the phase meets
        ahead = {
            r: (first + pad - dilation * r) // stride
            for r in range(kernel)
            if (first + pad - dilation * r) % stride == 0
        }
        if not ahead:
            yield Phase(first, count, slice(0, 0), 1, 0, 0)
            continue
        common = gcd(stride, dilation)
        taps = slice(min(ahead), max(ahead) + 1, stride // common)
        nearest, furthest = max(ahead.values()), min(ahead.values())
        reach = count + nearest - furthest
        yield Phase(first, count, taps, dilation // common, reach, count + nearest - length)


def _framed(x: np.ndarray, rows: Phase, columns: Phase) -> np.ndarray:
    """The mirrored input with zeros around it, or without what no output sees."""
    out = np.zeros((*x.shape[:2], rows.length, columns.length), x.dtype)
    to, of = [slice(None)] * 2, [slice(None)] * 2
    for size, phase in zip(x.shape[2:], (rows, columns)):
        start = max(0, phase.before)
        stop = max(start, min(phase.length, phase.before + size))
        to.append(slice(start, stop))
        of.append(slice(start - phase.before, stop - phase.before))
    out[tuple(to)] = x[:, :, ::-1, ::-1][tuple(of)]
    return out


def _over_phases(
    x: np.ndarray,
    w: np.ndarray,
    layer: ConvTranspose,
    convolve: Callable[[np.ndarray, np.ndarray, Pair], np.ndarray],
    out: np.ndarray,
) -> None:
    """Fills out (N,O,H',W') phase after phase. convolve: with stride 1, no pads, dilations."""
    for rows in _phases(layer, x.shape[2], out.shape[2], 0):
        for columns in _phases(layer, x.shape[3], out.shape[3], 1):
            here = out[:, :, rows.first :: layer.strides[0], columns.first :: layer.strides[1]]
            taps = w[:, :, rows.taps, columns.taps]
            if taps.size:
                source = _framed(x, rows, columns)
            else:
                # the bias alone, which the accumulator limits as well
                taps = np.zeros((*w.shape[:2], 1, 1), w.dtype)
                source = np.zeros((*x.shape[:2], rows.count, columns.count), x.dtype)
            sums = convolve(source, np.ascontiguousarray(taps), (rows.spread, columns.spread))
            here[...] = sums[:, :, ::-1, ::-1]


def _checked(
    x: np.ndarray, w: np.ndarray, b: np.ndarray | None, layer: ConvTranspose
) -> tuple[int, ...]:
    """The output's shape, or a ShapeError."""
    if x.ndim != 4 or w.ndim != 4:
        found = f"transposed conv of {x.shape} with weights {w.shape}"
        raise ShapeError(found, "(N,C,H,W) and (O,I,H,W)")
    shape = (len(x), *layer.output_shape([x.shape[1:]]))
    if w.shape[1] * layer.group != x.shape[1] or (b is not None and b.shape != w.shape[:1]):
        raise ShapeError(
            f"{x.shape[1]} channels for weights {w.shape} in {layer.group} groups, "
            f"bias of shape {None if b is None else b.shape}",
            f"{w.shape[1] * layer.group} channels and {w.shape[:1]}",
        )
    return shape


def conv_transpose(
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None = None,
    strides: Pair = (1, 1),
    pads: Pads = NO_PADS,
    group: int = 1,
    dilations: Pair = (1, 1),
    output_padding: Pair = (0, 0),
) -> np.ndarray:
    """ONNX ConvTranspose in float32: x (N,C,H,W), w (O,C/group,kh,kw), b (O,) -> (N,O,H',W').

    The weights have the outputs first, as a convolution's do. Raises ShapeError where the shapes do
    not fit.
    """
    layer = ConvTranspose(
        len(w), (w.shape[-2], w.shape[-1]), strides, pads, group, dilations, output_padding
    )
    shape = _checked(x, w, b, layer)
    out = np.empty(shape, np.float32)

    def convolve(part: np.ndarray, taps: np.ndarray, spread: Pair) -> np.ndarray:
        return conv(part, taps, b, group=group, dilations=spread)

    _over_phases(x, w, layer, convolve, out)
    return out


def conv_transpose_integer(
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None = None,
    strides: Pair = (1, 1),
    pads: Pads = NO_PADS,
    group: int = 1,
    dilations: Pair = (1, 1),
    output_padding: Pair = (0, 0),
    accumulator: Accumulator = Accumulator(),  # noqa: B008 - frozen
    drop: np.ndarray | None = None,
) -> tuple[np.ndarray, int]:
    """Transposed convolution of integer codes into an accumulator (contract section 3).

    As conv_integer: codes int32 or int64, b int64 (O,) -> (int64 sums (N,O,H',W'), overflows). The
    MACs' order is input channel, kernel row, kernel column; a tap without an input adds nothing.
    """
    layer = ConvTranspose(
        len(w), (w.shape[-2], w.shape[-1]), strides, pads, group, dilations, output_padding
    )
    shape = _checked(x, w, b, layer)
    _require_integers(x, w, b)
    bias = np.zeros(len(w), np.int64) if b is None else np.asarray(b, np.int64)
    # what no phase may do, none alone would tell
    bound = gemm.sum_bound(w.reshape(len(w), -1), gemm.largest(x), bias)
    limits(accumulator, len(w), drop, bound)
    out, overflows = np.empty(shape, np.int64), 0

    def convolve(part: np.ndarray, taps: np.ndarray, spread: Pair) -> np.ndarray:
        nonlocal overflows
        sums, more = conv_integer(
            part, taps, bias, group=group, dilations=spread, accumulator=accumulator, drop=drop
        )
        overflows += more
        return sums

    _over_phases(x, w, layer, convolve, out)
    return out, overflows
