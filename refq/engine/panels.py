"""What a weighted layer multiplies on maps: its codes in panels, and a dense layer's input as one
pixel (refq.kernels.panels).
"""

from __future__ import annotations

import math
from collections.abc import MutableMapping
from dataclasses import replace
from typing import Any

import numpy as np

from refq.engine.coefficients import IntegerLayer
from refq.kernels import aligned, channelwise
from refq.kernels.channelwise import Depthwise
from refq.kernels.maps import Layout, Map
from refq.kernels.panels import Kernel, Operand, prepare
from refq.networks.graph import Node
from refq.networks.layers import NO_PADS


def panels(
    node: Node, coded: IntegerLayer, read: Map, span: tuple[int, int], layout: Layout
) -> Kernel | Depthwise | None:
    """A layer's panels for a map in this layout whose codes lie in a span, made once for all
    batches; None where the fused kernels do not have them.

    They are kept with the layer's codes, which plans share, so the key names all that they
    depend on beside those; kernels for other ranges of the source's codes share the bytes.
    """
    grid, layer = (layout.pitch, layout.channels, len(read.planes)), node.layer
    key = (*grid, *span, read.offset, read.scale)
    if key not in coded.panels:
        codes = coded.codes
        if layer.flat:
            shape = read.layout.channels, read.layout.height, read.layout.width
            codes = codes.reshape(-1, *shape)
        operand = Operand(layout, len(read.planes), *span, read.offset)
        scale = read.scale + coded.align
        made: Kernel | Depthwise | None = None
        if layer.group > 1:
            made = channelwise.prepare(codes, coded.bias, scale, operand, layer)
        if made is None:
            like = next((known for at, known in coded.panels.items() if at[:3] == grid), None)
            like = like if isinstance(like, Kernel) else None
            made = prepare(codes, coded.bias, scale, operand, layer, like)
        coded.panels[key] = made
    kernel: Kernel | Depthwise | None = coded.panels[key]
    return kernel


def one_pixel(layout: Layout) -> Layout:
    """A dense layer's view: each image one pixel of all its values."""
    depth = layout.channels * layout.height * layout.width
    return Layout(layout.images, depth, 1, 1, NO_PADS)


def flattened(source: Map, flat: Layout, workspace: MutableMapping[Any, Any]) -> Map:
    """A map as one_pixel has it, in memory of its own, which no step relies on between layers."""
    layout = source.layout
    grid = (layout.images, layout.rows, layout.pitch, layout.channels)
    start = layout.first * layout.channels
    planes = []
    for index, plane in enumerate(source.planes):
        key = ("scratch", flat.size, index)
        if key not in workspace:
            workspace[key] = aligned.zeros((flat.size,), np.uint8)
        real = plane[start : start + math.prod(grid)].reshape(grid)
        real = real[:, : layout.height, : layout.width]
        workspace[key][: real.size] = real.reshape(-1)
        planes.append(workspace[key])
    return replace(source, layout=flat, planes=tuple(planes))
