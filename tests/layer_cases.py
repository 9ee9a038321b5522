"""A row for every layer type and every storage code: tests/engine/test_one_place.py runs them all.

A layer's row has shapes of what it reads, whose dimensions differ; a code's, how many bits the
value codes have that it stores.
"""

from __future__ import annotations

from refq.formats.codes import Codebook, ShiftCode, StorageCode
from refq.networks.layers import (
    LRN,
    Add,
    AvgPool,
    Concat,
    Conv,
    Dense,
    GlobalAvgPool,
    Layer,
    MaxPool,
    ReLU,
    Shape,
    Softmax,
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
]
CODES: list[tuple[StorageCode, int]] = [
    (ShiftCode(3, 5, True), 9),
    (ShiftCode(4, 3, False), 7),
    (Codebook(3, (0, 2, 2, 9, 40), True), 7),
    (Codebook(2, (3, 500, 701), False), 11),
]
