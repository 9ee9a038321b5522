"""Paper B's accumulators: widths below 32 bits, which Ristretto has not, and what they cost."""

from __future__ import annotations

from refq.formats.fixed import Accumulator, Overflow
from refq.papers.granularity import less
from refq.papers.study import Study
from refq.results.tables import Cell, Table
from refq.schemes.hybrid_options import ACCUMULATED, HybridOptions

WIDTHS = (32, 24, 20, 16)
# sums that may overflow are added up one by one, many times slower than others
IMAGES = 100


def cases() -> list[tuple[Accumulator, str]]:
    """(accumulator, what its fraction bits follow from); saturation at every MAC for the least
    bits alone."""
    found = [
        (Accumulator(bits, overflow), places)
        for bits in WIDTHS
        for overflow in (Overflow.SAT, Overflow.WRAP)
        for places in ACCUMULATED
    ]
    every = Accumulator(WIDTHS[-1], Overflow.SAT, every_mac=True)
    return [*found, *((every, places) for places in ACCUMULATED)]


def table(study: Study) -> Table:
    """Overflows and errors by bits, overflow and fraction bits of all accumulators."""
    rows: list[tuple[Cell, ...]] = []
    images, reference = 0, 0.0
    for accumulator, places in cases():
        own = HybridOptions(accumulated=places)
        plan = study.plan("hybrid", accumulator=accumulator, hybrid=own)
        got = study.measured(plan, IMAGES)
        images, reference = int(got["images"]), 100 - got["float_top1"]
        error = 100 - got["top1"]
        rows.append(
            (
                accumulator.bits if isinstance(accumulator.bits, int) else None,
                accumulator.overflow.value + (" every MAC" if accumulator.every_mac else ""),
                places,
                error,
                less(error, reference),
                got["overflows"],
                got["layers"],
            )
        )
    return Table(
        "Accumulators",
        ("bits", "overflow", "fraction bits", "top-1 error", "lost", "overflows", "layers"),
        tuple(rows),
        (
            f"3D, 8 bits; the first {images} test images, float error {reference:.2f}",
            "fraction bits: products, those of the finest product; range, what the calibrated sums "
            "of a layer leave; kernel, those of each kernel; layers: in how many sums overflowed",
        ),
    )
