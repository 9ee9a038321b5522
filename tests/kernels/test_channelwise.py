"""The fused depthwise convolutions equal the oracle, on every backend."""

from __future__ import annotations

import pytest

from tests.kernels.test_fused import WIDTHS, Shape, backend
from tests.kernels.test_fused import test_equals_oracle as compared

__all__ = ["backend"]  # a fixture

# with and without weights in registers, tails of channels, windows beside the image
DEPTHWISE = [
    Shape(2, 35, 9, 11, 35, (3, 3), pads=(1, 1, 1, 1), group=35),
    Shape(1, 16, 8, 13, 16, (3, 3), (2, 2), (0, 1, 1, 1), 16),
    Shape(2, 70, 7, 6, 70, (5, 4), (1, 3), (2, 1, 2, 3), 70, (2, 1)),
    Shape(1, 5, 6, 4, 5, (1, 1), group=5),
    Shape(2, 18, 6, 7, 18, (2, 5), pads=(3, 2, 4, 6), group=18, dilations=(1, 2)),
]


@pytest.mark.parametrize("widths", [WIDTHS[n] for n in (0, 2, 4, 6, 8, 10)], ids=str)
@pytest.mark.parametrize("shape", DEPTHWISE, ids=str)
def test_depthwise_equals_oracle(backend: str, shape: Shape, widths: tuple[int, bool, int]) -> None:
    compared(backend, shape, widths)
