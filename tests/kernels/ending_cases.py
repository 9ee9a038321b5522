"""Endings of fused convolutions that tests try: formats, storage codes, widths of sums."""

from __future__ import annotations

# bits and sign of the output, symmetric saturation, (bits, drop, nearest, signed) of a shift code
# or the values of a codebook, bits of the sums
Case = tuple[int, bool, bool, "tuple[int, int, bool, bool] | list[int] | None", int]
ENDINGS: list[Case] = [
    (5, True, False, None, 32),
    (8, False, False, (3, 5, True, False), 32),
    (12, False, False, (5, 7, False, False), 64),
    (20, False, False, (9, 11, True, False), 32),
    (8, True, False, (3, 5, True, True), 32),
    (12, True, True, (2, 10, False, True), 64),
    (20, True, False, (9, 11, True, True), 32),
    (14, True, True, None, 64),
    (16, False, False, None, 32),
    (12, False, False, [0, 0, 3, 50, 700, 701, 4000], 32),
    (9, False, False, [2, 9, 250], 64),
    (16, False, False, [5, 40000, 65535], 32),
    (12, True, False, [-1900, -40, -3, 0, 50, 700, 701, 2000], 32),
    (9, True, True, [-250, 0, 9], 64),
]
