"""What the units must give, by the oracle: every code of a plan, sums of products, roundings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from refq import oracle
from refq.formats.fixed import Accumulator, FixedPointFormat, Overflow, Rounding
from refq.hardware.rtl.samples import Dot, Stored
from refq.hardware.rtl.tables import Row, Unit

# the numbers by which the Verilog sources know them
ROUNDINGS: list[Rounding] = [mode for mode in Rounding if mode is not Rounding.STOCHASTIC]
OVERFLOWS = list(Overflow)


def unit_outputs(unit: Unit) -> list[np.ndarray]:
    """What a conversion unit gives for every input of every row, as words without a sign: an int
    array for each row."""
    return [_encoded(row) if unit.given == "value" else _decoded(row) for row in unit.rows]


def _encoded(row: Row) -> np.ndarray:
    values = _numbers(row.value_bits, row.signed)
    return row.code.encode(values, oracle) & (1 << row.code.bits) - 1


def _decoded(row: Row) -> np.ndarray:
    # a codebook may hold fewer values than its codes could choose
    indices = _numbers(row.code.bits, row.code.first < 0)[: len(row.code.levels)]
    return row.code.decode(indices, oracle) & (1 << row.value_bits) - 1


def _numbers(bits: int, signed: bool) -> np.ndarray:
    """What all words of so many bits stand for, in their order."""
    words = np.arange(1 << bits)
    return words - (words >> (bits - 1) << bits) if signed else words


def summed(dot: Dot) -> tuple[int, int]:
    """(the sum as the accumulator leaves it, its overflows)."""
    sums, overflows = oracle.dense_integer(
        dot.operands[None],
        dot.weights[None],
        np.array([dot.bias]),
        dot.accumulator,
        np.array([dot.drop]),
    )
    return int(sums[0, 0]), int(overflows)


@dataclass(frozen=True)
class Rounded:
    """A sum on its way to a code. layer, channel: where it is from, for messages."""

    layer: int
    channel: int
    sum: int
    stored: Stored
    rounding: Rounding
    overflow: Overflow

    @property
    def shift(self) -> int:
        return self.stored.frac_bits - self.stored.format.frac_bits

    def code(self) -> tuple[int, int]:
        """(the code, 1 where overflow changed it)."""
        kept = np.array([self.sum])
        if self.stored.relu:
            kept = oracle.relu(kept)
        codes, outside = oracle.requantize(
            kept, self.stored.frac_bits, self.stored.format, self.rounding, self.overflow
        )
        return int(codes[0]), outside


def every_accumulator() -> list[Dot]:
    """Small sums of products for accumulators of 8 to 40 bits, under every overflow, rounding and
    place of the limit: below and beyond the range, there and back again, with ties to round."""
    random = np.random.default_rng(20)
    dots = []
    for bits in range(8, 41):
        drop = bits % 5
        dots += [
            Dot("", (bits, 0, 0), operands, weights, bias, accumulator, drop, None)
            for operands, weights, bias in _crossing(bits + drop, drop, random)
            for accumulator in accumulators(bits)
        ]
    return dots


def accumulators(bits: int) -> Iterator[Accumulator]:
    """Every declared accumulator of so many bits."""
    for every in (False, True):
        for rounding in ROUNDINGS:
            for overflow in OVERFLOWS:
                yield Accumulator(bits, overflow, every, None, rounding)


def _crossing(
    bits: int, drop: int, random: np.random.Generator
) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    """(operands, weights, bias) of sums about the range of so many bits."""
    half = (bits - 1) // 2
    steps = int(random.integers(5, 8))
    big = random.integers(1 << (half - 1), 1 << half, steps)
    factors = random.integers(-(1 << (bits - 1 - half)), 1 << (bits - 1 - half), steps)
    yield big, factors, int(random.integers(-(1 << (bits - 2)), 1 << (bits - 2)))
    # beyond one end on the way, and back; the last product is a tie
    ways = np.where(np.arange(steps) < steps // 2, -1, 1) * np.abs(factors)
    tie = np.array([1 << max(0, drop - 1)])
    yield np.append(big, 1), np.append(ways, tie), -(1 << (bits - 1))


def every_rounding(sum_bits: int, left: int) -> list[Rounded]:
    """Sums at ties, beside them and at the ends of ranges, under every rounding and overflow."""
    found = []
    for fmt in (
        FixedPointFormat(1, 0, False),
        FixedPointFormat(5, 0, False),
        FixedPointFormat(2, 0),
        FixedPointFormat(8, 0),
        FixedPointFormat(32, 0, False),
    ):
        for shift in (-left, -1, 0, 1, 2, 7, sum_bits - 1, sum_bits, sum_bits + 3):
            for total in _about(fmt, shift, sum_bits):
                for relu in (False, True):
                    stored = Stored(relu, shift, fmt)
                    first = Rounded(fmt.bits, 0, total, stored, ROUNDINGS[0], OVERFLOWS[0])
                    found += [
                        replace(first, rounding=rounding, overflow=overflow)
                        for rounding in ROUNDINGS
                        for overflow in OVERFLOWS
                    ]
    return found


def _about(fmt: FixedPointFormat, shift: int, sum_bits: int) -> Sequence[int]:
    """Sums that a shift brings to codes near zero and near the ends of a format, and to halves."""
    ends = {0, 1, fmt.max_code, fmt.min_code, fmt.min_code - 1, 2 * fmt.max_code + 1}
    step = 1 << max(0, shift)
    places = {end * step + part for end in ends for part in (0, step // 2)}
    if shift < 0:
        places = {end >> -shift for end in ends}
    most = 1 << (sum_bits - 1)
    near = {place + by for place in places for by in (-1, 0, 1)} | {-most, most - 1}
    return sorted(place for place in near if -most <= place < most)
