"""Gram matrices of patches: all that a filter's energy has to know about the images.

A filter's map is y(p) = w' x_p, with x_p what output pixel p sees, so that (paper B, eq. (8))
    E = sum over p of |y(p)|^2 = w' R w,  R = sum over p of x_p x_p',
and one R serves every filter on a channel. An entry of R is a sum of products of two pixels that
lie a fixed distance apart. Taps at the same distance share these products and differ only in where
the sum begins and ends: a 3x3 kernel has 45 different entries but 13 distances.
"""

from __future__ import annotations

import numpy as np

from refq.errors import ShapeError
from refq.kernels.compiling import njit, prange
from refq.kernels.depthwise import grid_of
from refq.networks.layers import NO_PADS, Conv, Pads, Pair


@njit(parallel=True)
def _patch_grams(x, width, out, pixels, window):
    """x (N, C, H*W): one task is one distance in one channel, down and then right."""
    kernel, (strides, pads, dilations) = window
    images, channels, area = x.shape
    height, (kh, kw) = area // width, kernel
    reach = 2 * kw - 1
    for task in prange(channels * kh * reach):
        c, lag = task // (kh * reach), task % (kh * reach)
        rows, columns = lag // reach, lag % reach - (kw - 1)
        down, right = rows * dilations[0], columns * dilations[1]
        # the other half is the same, and pixels that are never in one image have no products
        if (down > 0 or right >= 0) and down < height and abs(right) < width:
            # products of a whole image in one line, over ends of rows too: those are not read
            offset = down * width + right
            products = np.zeros(area)
            for n in range(images):
                here, there = x[n, c, : area - offset], x[n, c, offset:]
                for at in range(area - offset):
                    products[at] += np.float64(here[at]) * np.float64(there[at])
            first, last = max(0, -right), min(width, width - right)
            line = np.empty(width)
            for i in range(kh - rows):
                line[:] = 0.0
                for row in range(pixels[0]):
                    y = row * strides[0] + i * dilations[0] - pads[0]
                    if 0 <= y < height - down:
                        for k in range(width):
                            line[k] += products[y * width + k]
                for j in range(max(0, -columns), min(kw, kw - columns)):
                    total = 0.0
                    for column in range(pixels[1]):
                        k = column * strides[1] + j * dilations[1] - pads[1]
                        if first <= k < last:
                            total += line[k]
                    one, other = i * kw + j, (i + rows) * kw + j + columns
                    out[c, one, other] = total
                    out[c, other, one] = total


def patch_grams(
    x: np.ndarray,
    kernel_shape: Pair,
    strides: Pair = (1, 1),
    pads: Pads = NO_PADS,
    dilations: Pair = (1, 1),
) -> np.ndarray:
    """Sum of patch patch' over images and output pixels, for each channel by itself.

    x float32 (N,C,H,W), padded with zeros; the rest as ONNX Conv has it.
    Returns float64 (C, kh*kw, kh*kw), taps in the order row, column: paper B's R_j, by which
    eq. (8) is w' R_j w (contract section 3). Products of float32 are exact in float64, sums are
    float64 in an order that does not depend on the number of threads.
    Raises ShapeError where the kernel does not fit.
    """
    if x.ndim != 4:
        raise ShapeError(f"patches of an array of shape {x.shape}", "(N,C,H,W)")
    count, channels, height, width = x.shape
    layer = Conv(channels, kernel_shape, strides, pads, channels, dilations)
    rows, columns = layer.output_shape([x.shape[1:]])[1:]
    taps = kernel_shape[0] * kernel_shape[1]
    out = np.zeros((channels, taps, taps))
    flat = np.ascontiguousarray(x, np.float32).reshape(count, channels, height * width)
    _patch_grams(flat, width, out, (rows, columns), (kernel_shape, grid_of(layer)))
    return out
