"""Byte planes: how wide codes become byte products, and how the sums of those become one.

An activation of up to 8 bits is one plane; up to 14 bits a = a0 + 128 a1, with a third plane
a0 + a1; up to 16 bits a = a0 + 256 a1. Weights are w = w0 + 128 w1 + 128**2 w2. Every plane
product is exact in int32 while K <= 65,793.

Activations of three planes meet weights of up to 14 bits by Karatsuba's rule (Karatsuba and Ofman
1962), three products instead of four:
    a w = a0 w0 + ((a0 + a1)(w0 + w1) - a0 w0 - a1 w1) 2**7 + a1 w1 2**14.
With w0 in -64..63, w1 is in -64..64 and w0 + w1 in -128..127: bytes throughout.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

ONE_BYTE, KARATSUBA_BITS, MAX_BITS = 8, 14, 16
WEIGHT_SHIFT = 7
MAX_WEIGHT_PLANES = 3
# -64 + 128 * -64 and 63 + 128 * 64
KARATSUBA_LOW, KARATSUBA_HIGH = -8256, 8255


@dataclass(frozen=True)
class Recipe:
    """Which planes are multiplied, and how the sums are put together.

    passes: (activation plane, weight plane) of each sum; shifts: left shift of each sum, or none
    where the three sums are Karatsuba's.
    """

    passes: tuple[tuple[int, int], ...]
    shifts: tuple[int, ...] = ()


def _recipe(activations: int, weights: int) -> Recipe:
    pairs = [(i, j) for i in range(min(activations, 2)) for j in range(weights)]
    return Recipe(tuple(pairs), tuple(radix(activations) * i + WEIGHT_SHIFT * j for i, j in pairs))


def activation_planes(bits: int) -> int:
    """Planes of unsigned codes of so many bits, at most 16."""
    return 1 if bits <= ONE_BYTE else 3 if bits <= KARATSUBA_BITS else 2


def radix(activations: int) -> int:
    """Bits of the low plane, for a number of activation planes."""
    return 7 if activations == 3 else 8


KARATSUBA = Recipe(((0, 0), (1, 1), (2, 2)))
RECIPES = (*(_recipe(a, w) for a in (1, 2, 3) for w in (1, 2, 3)), KARATSUBA)


def recipe_for(low: int, high: int, activations: int) -> Recipe | None:
    """How weights low..high meet activations of so many planes; None beyond three weight planes."""
    if low >= -128 and high <= 127:
        return _recipe(activations, 1)
    if activations == 3 and low >= KARATSUBA_LOW and high <= KARATSUBA_HIGH:
        return KARATSUBA
    for count in range(2, MAX_WEIGHT_PLANES + 1):
        most = 1 << (WEIGHT_SHIFT * count)
        if low >= -most and high < most:
            return _recipe(activations, count)
    return None


def weight_planes(codes: np.ndarray, recipe: Recipe) -> list[np.ndarray]:
    """The int8 planes that a recipe multiplies, of integer codes of the same shape."""
    wide = codes.astype(np.int64)
    if recipe == KARATSUBA:
        upper = (wide + 64) >> WEIGHT_SHIFT
        lower = wide - (upper << WEIGHT_SHIFT)
        return [each.astype(np.int8) for each in (lower, upper, lower + upper)]
    last = max(plane for _, plane in recipe.passes)
    planes = [(wide >> (WEIGHT_SHIFT * n) & 127).astype(np.int8) for n in range(last)]
    return [*planes, (wide >> (WEIGHT_SHIFT * last)).astype(np.int8)]
