"""Weights of a convolution in panels of byte planes, as the microkernel reads them, and the bound
on its sums (docs/performance.md)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from refq.kernels import aligned
from refq.kernels.maps import STRIDE, Layout
from refq.kernels.planes import Recipe, recipe_for, weight_planes
from refq.kernels.tiles import ROWS, STEP, TILE
from refq.networks.layers import Layer

# sums beyond this depth could leave int32
MAX_DEPTH = (2**31 - 1) // (255 * 128)
# channels of a unit
UNIT = 2 * ROWS


@dataclass(frozen=True)
class Kernel:
    """Weights of one convolution, in panels for the microkernel.

    panels: uint8 (planes, groups, units, 2, steps * 1024), a unit being two blocks of 16 channels;
    offsets: int64 (groups, steps), bytes from a window's first pixel; parts: int64 (steps,),
    quarters of a step that have weights; bias: int64 (groups, channels); scale: int64 (outputs,),
    how far left sums of products are shifted; largest: no sum of products exceeds this for the
    map's codes; positive, negative: int64 (outputs,), sums of each output's weights of either sign;
    stores: how sums end, kept for later batches; they make results no different.
    """

    panels: np.ndarray
    offsets: np.ndarray
    parts: np.ndarray
    bias: np.ndarray
    scale: np.ndarray
    layer: Layer
    recipe: Recipe
    largest: int
    positive: np.ndarray
    negative: np.ndarray
    stores: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True)
class Operand:
    """What a kernel counts on in the maps that it reads: codes from least to most, stored with an
    offset in so many planes."""

    layout: Layout
    planes: int
    least: int
    most: int
    offset: int = 0


def prepare(
    codes: np.ndarray,
    bias: np.ndarray,
    scale: np.ndarray,
    operand: Operand,
    layer: Layer,
    like: Kernel | None = None,
) -> Kernel | None:
    """Panels for weights (O, C/group, kh, kw) of integer codes; None where weights, depth, stride
    or sums are too large.

    bias, scale: int64 (O,); products count 2**scale each. The operand's offset is taken back
    through the bias: sum w (x + offset). A dense layer's pixels are whole images (kh, kw, C).
    like: a kernel of the same codes for the same layout and planes, whose panels are shared. Works
    unit by unit, so that no second copy of all weights is made.
    """
    outputs, depth, group = len(codes), math.prod(codes.shape[1:]), layer.group
    least, most = int(codes.min(initial=0)), int(codes.max(initial=0))
    if least == most == 0:
        scale = np.zeros_like(scale)  # there is nothing to shift, so any shift will do
    recipe = recipe_for(least, most, operand.planes)
    if recipe is None or depth > MAX_DEPTH or max(layer.strides) > STRIDE:
        return None
    positive, negative = (like.positive, like.negative) if like else signed_sums(codes)
    largest, shifted = bounded(positive, negative, bias, scale, operand)
    if largest >= 2**62:
        return None
    if like:
        bias = grouped(shifted, group)
        return replace(like, bias=bias, scale=scale, largest=largest, stores={})
    inputs = depth // math.prod(layer.kernel)
    offsets, order = _steps(operand.layout, inputs, layer)
    used = (order >= 0).sum(1)
    per_group = outputs // group
    units = math.ceil(per_group / UNIT)
    count = 1 + max(plane for _, plane in recipe.passes)
    panels = aligned.zeros((count, group, units, 2, order.shape[0] * TILE), np.uint8)
    for g in range(group):
        rows_of = slice(g * per_group, (g + 1) * per_group)
        for unit in range(units):
            here = codes[rows_of][unit * UNIT : (unit + 1) * UNIT].transpose(0, 2, 3, 1)
            for index, plane in enumerate(weight_planes(here, recipe)):
                panels[index, g, unit] = _panel(plane.reshape(len(plane), -1), order)
    return Kernel(
        panels,
        offsets,
        (used + 15) // 16,
        grouped(shifted, group),
        scale,
        layer,
        recipe,
        largest,
        positive,
        negative,
    )


def bounded(
    positive: np.ndarray,
    negative: np.ndarray,
    bias: np.ndarray,
    scale: np.ndarray,
    operand: Operand,
) -> tuple[int, np.ndarray]:
    """(what no sum of products exceeds, biases less what the operand's offset adds), for sums of
    each output's weights of either sign."""
    offset, stored = operand.offset, max(operand.least, operand.most) + operand.offset
    total = positive + negative
    # in Python integers: the bound must not wrap where the sums would
    largest = max(
        (max(int(up), -int(down)) * stored + abs(int(both)) * offset << int(by)) + abs(int(start))
        for up, down, both, by, start in zip(positive, negative, total, scale, bias, strict=True)
    )
    return largest, bias - ((total * offset) << scale) if largest < 2**62 else bias


def signed_sums(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums of each output's positive and negative weights: int64 (O,) each."""
    positive, negative = np.zeros((2, len(codes)), np.int64)
    for unit in range(0, len(codes), UNIT):
        part = codes[unit : unit + UNIT].reshape(-1, math.prod(codes.shape[1:]))
        positive[unit : unit + UNIT] = np.maximum(part, 0).sum(1, dtype=np.int64)
        negative[unit : unit + UNIT] = np.minimum(part, 0).sum(1, dtype=np.int64)
    return positive, negative


def grouped(numbers: np.ndarray, group: int) -> np.ndarray:
    """int64 (O,) as (groups, whole units and one), zeros at the end: what a block that is wider
    than a unit reads beyond the last."""
    per_group = len(numbers) // group
    out = np.zeros((group, (math.ceil(per_group / UNIT) + 1) * UNIT), np.int64)
    out[:, :per_group] = numbers.reshape(group, per_group)
    return out


def _steps(layout: Layout, inputs: int, layer: Layer) -> tuple[np.ndarray, np.ndarray]:
    """Byte offsets (group, steps) and, for every step's 64 bytes, which element of a window
    (row, column, channel flattened) they meet, -1 for none: (steps, 64)."""
    (kh, kw), (down, right), group = layer.kernel, layer.dilations, layer.group
    elements = np.arange(kh * kw * inputs).reshape(kh, kw, inputs)
    if group == right == 1:
        runs = [(i * down * layout.pitch * inputs, elements[i].reshape(-1)) for i in range(kh)]
    else:
        runs = [
            ((i * down * layout.pitch + j * right) * layout.channels, elements[i, j])
            for i in range(kh)
            for j in range(kw)
        ]
    steps = []
    for start, run in runs:
        for first in range(0, len(run), STEP):
            line = np.full(STEP, -1, np.int64)
            piece = run[first : first + STEP]
            line[: len(piece)] = piece
            steps.append((start + first, line))
    if inputs % STEP == 0:
        # all taps on 64 channels, then the next 64: their pixels stay in the first cache
        steps.sort(key=lambda step: step[1][0] % inputs)
    offsets, order = zip(*steps)
    table = np.array(offsets, np.int64)[None] + inputs * np.arange(group, dtype=np.int64)[:, None]
    return table, np.array(order)


def _panel(plane: np.ndarray, order: np.ndarray) -> np.ndarray:
    """One plane (O, depth) of up to 32 channels as a panel (2, steps * 1024): for each step 16
    rows of 16 channels by 4 bytes."""
    padded = np.zeros((UNIT, plane.shape[1] + 1), np.int8)  # the last column is zero
    padded[: len(plane), :-1] = plane
    tiled = padded[:, order].reshape(2, ROWS, len(order), STEP // 4, 4).transpose(0, 2, 3, 1, 4)
    return np.ascontiguousarray(tiled).view(np.uint8).reshape(2, -1)
