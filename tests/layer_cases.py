"""A row for every layer type and every storage code: tests/engine/test_one_place.py runs them all.

A layer's row has shapes of what it reads, whose dimensions differ; a code's, the format of the
value codes that it stores.
"""

from __future__ import annotations

from refq.formats.codes import Codebook, ShiftCode, StorageCode
from refq.formats.fixed import FixedPointFormat
from refq.networks import Network, Node
from refq.networks.layers import (
    LRN,
    Add,
    ArgMax,
    AvgPool,
    Clip,
    Concat,
    Conv,
    ConvTranspose,
    Dense,
    Function,
    GlobalAvgPool,
    GlobalMaxPool,
    Layer,
    MaxPool,
    Mul,
    Pad,
    PReLU,
    Rearrange,
    ReLU,
    Resize,
    Shape,
    Slice,
    Softmax,
    Sub,
    Subsample,
)

LAYERS: list[tuple[Layer, list[Shape]]] = [
    (Conv(6, (3, 2), (2, 1), (1, 0, 2, 1), 2), [(4, 9, 7)]),
    (Conv(5, (2, 3), (1, 2), (1, 2, 0, 1), 1, (3, 2)), [(4, 9, 7)]),
    (Conv(6, (3, 2), (2, 1), (1, 0, 2, 1), 6), [(6, 9, 7)]),
    (Dense(5), [(3, 4, 2)]),
    (MaxPool((3, 2), (2, 3), (1, 0, 1, 1), True), [(3, 8, 7)]),
    (AvgPool((2, 3), (2, 1), (0, 1, 1, 2), True), [(3, 8, 7)]),
    (AvgPool((2, 2), (1, 2), (1, 0, 0, 1), count_include_pad=False), [(3, 8, 7)]),
    (GlobalAvgPool(), [(5, 3, 4)]),
    (LRN(4, alpha=2e-5, beta=1.75, bias=1.5, per_window=False), [(7, 3, 5)]),
    (ReLU(), [(4, 3, 5)]),
    (Concat(), [(3, 4, 6), (2, 4, 6), (1, 4, 6)]),
    (Add(), [(3, 5, 4), (3, 5, 4)]),
    (Subsample((2, 3), (1, 2)), [(3, 5, 7)]),
    (Softmax(), [(5, 3, 2)]),
    (Add(), [(3, 5, 4), (3, 1, 1)]),
    (Sub(), [(3, 5, 4), (3, 5, 4)]),
    (Sub(), [(3, 1, 4), (3, 5, 1)]),
    (Mul(), [(3, 5, 4), (3, 5, 4)]),
    (Mul(), [(3, 1, 1), (3, 5, 4)]),
    (Concat(2), [(3, 4, 6), (3, 4, 1)]),
    (Softmax(2), [(5, 3, 4)]),
    (ArgMax(), [(5, 3, 4)]),
    (ArgMax(2, keepdims=True), [(5, 3, 4)]),
    (Clip(0.0, 6.0), [(4, 3, 5)]),
    (Clip(-1.5), [(4, 3, 5)]),
    (Clip(high=40.0), [(4, 3, 5)]),
    (PReLU((0.01,)), [(4, 3, 5)]),
    (PReLU((0.25, -0.5, 1.75)), [(3, 4, 5)]),
    (PReLU((90000.0,)), [(3, 4, 5)]),
    (Function(("sigmoid", ("mul", "x", 2.0**-6))), [(4, 3, 5)]),
    (Function(("mul", "x", ("div", ("min", ("relu", ("add", "x", 3.0)), 6.0), 6.0))), [(4, 3, 5)]),
    (GlobalAvgPool((1,)), [(5, 3, 4)]),
    (GlobalAvgPool((2,), keepdims=True), [(5, 3, 4)]),
    (GlobalMaxPool(), [(5, 3, 4)]),
    (GlobalMaxPool((1,), keepdims=True), [(5, 3, 4)]),
    (Resize((7, 3), nearest_mode="round_prefer_ceil", coordinates="half_pixel"), [(3, 4, 5)]),
    (Resize((7, 9), "linear", "half_pixel"), [(3, 4, 5)]),
    (Resize((2, 9), "linear", "align_corners"), [(3, 4, 5)]),
    (Resize((9, 12), "linear", "asymmetric", scales=(2.3, 2.4)), [(3, 4, 5)]),
    (Rearrange((2, 3, 4, 5), (1, 0, 3, 2), (6, 20)), [(6, 4, 5)]),
    (Rearrange((2, 3, 2, 4, 5), (2, 3, 0, 4, 1), (2, 8, 15)), [(12, 4, 5)]),
    (Slice((1, 0, 2), (4, 5, 7), (2, 3, 1)), [(4, 5, 8)]),
    (Pad((0, 3, 2), (0, 1, 4)), [(3, 4, 5)]),
    (Pad((1, 0, 2), (2, 1, 0), value=-0.7), [(3, 4, 5)]),
    (Pad((0, 3, 2), (2, 1, 4), "reflect"), [(3, 4, 5)]),
    (Pad((1, 3, 2), (0, 1, 4), "edge"), [(3, 4, 5)]),
    (ConvTranspose(5, (2, 3)), [(4, 3, 6)]),
    (ConvTranspose(6, (3, 2), (2, 3), (1, 0, 2, 1), 2, output_padding=(1, 2)), [(4, 5, 7)]),
    (ConvTranspose(4, (3, 2), (3, 1), (0, 2, 1, 0), 4, (2, 3)), [(4, 5, 7)]),
]
CODES: list[tuple[StorageCode, FixedPointFormat]] = [
    (ShiftCode(3, 5, True), FixedPointFormat(9, 2, signed=False)),
    (ShiftCode(4, 3, False), FixedPointFormat(7, 2, signed=False)),
    (ShiftCode(3, 5, True, signed=True), FixedPointFormat(8, 2)),
    (ShiftCode(2, 4, False, signed=True), FixedPointFormat(9, 2)),
    (Codebook(3, (0, 2, 2, 9, 40), True), FixedPointFormat(7, 2, signed=False)),
    (Codebook(2, (3, 500, 701), False), FixedPointFormat(11, 2, signed=False)),
    (Codebook(3, (-60, -9, -9, 0, 2, 41), True), FixedPointFormat(8, 2)),
    (Codebook(2, (-500, 0, 3), False), FixedPointFormat(11, 2)),
]


def network_of(layer: Layer, shapes: list[Shape], *more: Node) -> Network:
    """A layer `made` of tensors with these shapes, which convolutions make of one input."""
    rows, columns = (max(shape[axis] for shape in shapes) for axis in (1, 2))
    makers = [
        Node(f"in{n}", Conv(c, (rows - h + 1, columns - w + 1)), ("data",))
        for n, (c, h, w) in enumerate(shapes)
    ]
    made = Node("made", layer, tuple(node.name for node in makers))
    return Network("one", (2, rows, columns), (*makers, made, *more))
