"""Convolution, float32 and exact integer, by patches (im2col) and matrix products; depthwise ones
directly.

Attributes have ONNX's meaning: pads (top, left, bottom, right), strides and dilations (down,
right), group.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from refq.errors import FormatError, ShapeError
from refq.formats.fixed import Accumulator
from refq.kernels import gemm
from refq.kernels.accumulating import keep_sums, limits, rounded_products, saturates_every_mac
from refq.kernels.compiling import njit, prange
from refq.kernels.depthwise import (
    depthwise,
    depthwise_rounded,
    depthwise_saturated,
    grid_of,
    is_depthwise,
)
from refq.kernels.saturating import saturating_dtype, saturating_product
from refq.kernels.windows import _inside
from refq.networks.layers import NO_PADS, Conv, Pads, Pair

# values in one block of patches: small enough for the cache, large enough for BLAS
BLOCK_VALUES = 1 << 20


@njit(parallel=True)
def _patches(x, first, out, grid):
    """Fills out (C, kh, kw, images, rows, columns) with what each output pixel sees, from the first
    (image, channel, output row) on."""
    strides, pads, dilations = grid
    channels, kh, kw, count, rows, columns = out.shape
    height, width = x.shape[2], x.shape[3]
    for task in prange(channels * kh):
        c, i = task // kh, task % kh
        for j in range(kw):
            offset = j * dilations[1] - pads[1]
            left, right = _inside(offset, strides[1], width, columns)
            for n in range(count):
                for r in range(rows):
                    line = out[c, i, j, n, r]
                    source = (first[2] + r) * strides[0] + i * dilations[0] - pads[0]
                    if source < 0 or source >= height or right <= left:
                        line[:] = 0
                        continue
                    row = x[first[0] + n, first[1] + c, source]
                    line[:left] = 0
                    line[right:] = 0
                    at = left * strides[1] + offset
                    if strides[1] == 1:  # a plain copy, which vectorises
                        for k in range(right - left):
                            line[left + k] = row[at + k]
                    else:
                        for k in range(right - left):
                            line[left + k] = row[at + k * strides[1]]


@njit(parallel=True)
def _store(sums, bias, out, first):
    """Adds the bias and moves sums (O, images, rows, columns) to their place in out, from the first
    (image, channel, row) on."""
    channels, count, rows, columns = sums.shape
    image, channel, row = first
    for o in prange(channels):
        start = bias[channel + o]
        for n in range(count):
            for r in range(rows):
                for c in range(columns):
                    value = out.dtype.type(sums[o, n, r, c]) + start
                    out[image + n, channel + o, row + r, c] = value


def _checked(
    x: np.ndarray, w: np.ndarray, b: np.ndarray | None, layer: Conv
) -> tuple[int, int, int, int]:
    """The output's shape, or a ShapeError."""
    if x.ndim != 4 or w.ndim != 4:
        raise ShapeError(f"conv of {x.shape} with weights {w.shape}", "(N,C,H,W) and (O,I,H,W)")
    channels, rows, columns = layer.output_shape([x.shape[1:]])
    if w.shape[1] * layer.group != x.shape[1]:
        raise ShapeError(
            f"{x.shape[1]} channels for weights {w.shape} in {layer.group} groups",
            f"{w.shape[1] * layer.group} channels",
        )
    if b is not None and b.shape != w.shape[:1]:
        raise ShapeError(f"bias of shape {b.shape}", f"{w.shape[:1]}")
    return x.shape[0], channels, rows, columns


def _blocks(shape: tuple[int, ...], depth: int) -> list[tuple[int, int, int, int]]:
    """(first image, images, top row, rows) of blocks that fit the cache."""
    count, _, rows, columns = shape
    pixels = min(max(BLOCK_VALUES // depth, 256), 8192)
    images = max(1, pixels // (rows * columns))
    height = min(rows, max(1, pixels // columns))
    return [
        (n, min(images, count - n), r, min(height, rows - r))
        for n in range(0, count, images)
        for r in range(0, rows, height)
    ]


def conv(
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None = None,
    strides: Pair = (1, 1),
    pads: Pads = NO_PADS,
    group: int = 1,
    dilations: Pair = (1, 1),
) -> np.ndarray:
    """ONNX Conv in float32: x (N,C,H,W), w (O,C/group,kh,kw), b (O,) -> (N,O,H',W').

    Raises ShapeError where the shapes do not fit.
    """
    layer = Conv(w.shape[0], w.shape[2:], strides, pads, group, dilations)
    shape = _checked(x, w, b, layer)
    out = np.empty(shape, np.float32)
    bias = np.zeros(shape[1], np.float32) if b is None else np.asarray(b, np.float32)
    x, w = np.ascontiguousarray(x, np.float32), np.ascontiguousarray(w, np.float32)
    if is_depthwise(w, layer):
        depthwise(x, w, bias, layer, out)
    else:
        _convolve(x, w, bias, layer, out, lambda weights, patches, _: weights @ patches)
    return out


def conv_integer(
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None = None,
    strides: Pair = (1, 1),
    pads: Pads = NO_PADS,
    group: int = 1,
    dilations: Pair = (1, 1),
    accumulator: Accumulator = Accumulator(),  # noqa: B008 - frozen
    drop: np.ndarray | None = None,
) -> tuple[np.ndarray, int]:
    """Convolution of integer codes into an accumulator (contract section 3).

    x int32 (N,C,H,W), w int32 or int64 (O,C/group,kh,kw), b int64 (O,) with the products' fraction
    bits. Returns (int64 sums (N,O,H',W'), overflows). Exact by default; a declared accumulator
    saturates or wraps at the end (overflows: outputs outside) or, saturating, after the bias and
    every MAC in the order input channel, kernel row, kernel column (overflows: MACs that clipped).
    drop: int64 (O,), fraction bits of the products that a declared accumulator has not: the sum, or
    with every_mac the bias and each product, is shifted right and rounded by the accumulator's
    rule before it is limited. Raises ShapeError, and FormatError where exact sums could leave 64
    bits.
    """
    layer = Conv(w.shape[0], w.shape[2:], strides, pads, group, dilations)
    shape = _checked(x, w, b, layer)
    _require_integers(x, w, b)
    bias = np.zeros(shape[1], np.int64) if b is None else np.asarray(b, np.int64)
    bound = gemm.sum_bound(w.reshape(shape[1], -1), gemm.largest(x), bias)
    held = limits(accumulator, shape[1], drop, bound)
    out, none, x = np.empty(shape, np.int64), np.zeros(shape[1], np.int64), np.ascontiguousarray(x)
    alone = is_depthwise(w, layer)
    if held and saturates_every_mac(accumulator):
        if alone:
            return out, depthwise_saturated(x, w, bias, layer, out, held)
        clipped, part = [], held.part

        def saturated(weights: np.ndarray, patches: np.ndarray, rows: slice) -> np.ndarray:
            sums, count = saturating_product(weights, patches, bias[rows], part(rows))
            clipped.append(count)
            return sums

        w = np.ascontiguousarray(w, saturating_dtype(gemm.largest(x) * gemm.largest(w), held))
        _convolve(x, w, none, layer, out, saturated)
        return out, sum(clipped)
    if held and accumulator.every_mac and held.rounds:
        part = held.part

        def rounded(weights: np.ndarray, patches: np.ndarray, rows: slice) -> np.ndarray:
            return rounded_products(weights, patches, bias[rows], part(rows))

        if alone:
            depthwise_rounded(x, w, bias, layer, out, held)
        else:
            _convolve(x, np.ascontiguousarray(w, np.int64), none, layer, out, rounded)
        # wrapping does not depend on the order: once, at the end, of what has been rounded
        held = limits(accumulator, shape[1], None, bound)
    elif alone:
        depthwise(x, w, bias, layer, out)
    else:
        w = np.ascontiguousarray(w, gemm.exact_dtype(bound))
        _convolve(
            x, w, bias, layer, out, lambda weights, patches, _: gemm.multiply(weights, patches)
        )
    return out, keep_sums(out, held, accumulator.overflow) if held else 0


def _convolve(
    x: np.ndarray,
    w: np.ndarray,
    bias: np.ndarray,
    layer: Conv,
    out: np.ndarray,
    multiply: Callable[[np.ndarray, np.ndarray, slice], np.ndarray],
) -> None:
    """Fills out block after block and group after group.

    multiply: of weights (O, K) and patches (K, P) of their type, for these outputs: sums (O, P).
    """
    inputs, outputs = w.shape[1], len(w) // layer.group
    depth, grid = inputs * math.prod(layer.kernel), grid_of(layer)
    for image, images, top, rows in _blocks(out.shape, depth):
        patches = np.empty((inputs, *layer.kernel, images, rows, out.shape[3]), w.dtype)
        for g in range(layer.group):
            _patches(x, (image, g * inputs, top), patches, grid)
            here = slice(g * outputs, (g + 1) * outputs)
            sums = multiply(w[here].reshape(outputs, depth), patches.reshape(depth, -1), here)
            _store(sums.reshape(outputs, images, rows, -1), bias, out, (image, here.start, top))


def _require_integers(*arrays: np.ndarray | None) -> None:
    for array in arrays:
        if array is not None and array.dtype not in (np.int32, np.int64):
            raise FormatError(f"codes of dtype {array.dtype}", "int32 or int64")
