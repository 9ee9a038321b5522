"""Paper B's accumulators: widths below 32 bits, which Ristretto has not, and what they cost."""

from __future__ import annotations

from refq.formats.fixed import Accumulator, Overflow
from refq.papers.study import Study
from refq.schemes.hybrid_options import ACCUMULATED, HybridOptions
from refq.tables import Row, Table, less

WIDTHS = (32, 24, 20, 16)
# sums that may overflow are added up one by one, many times slower than others
IMAGES = 100


def cases() -> list[tuple[Accumulator, str]]:
    """(accumulator, what its fraction bits follow from); saturation at every MAC for the least
    bits alone."""
    at_the_end = [
        (Accumulator(bits, overflow), places)
        for bits in WIDTHS
        for overflow in (Overflow.SAT, Overflow.WRAP)
        for places in ACCUMULATED
    ]
    every = Accumulator(WIDTHS[-1], Overflow.SAT, every_mac=True)
    return [*at_the_end, *((every, places) for places in ACCUMULATED)]


def table(study: Study) -> Table:
    """Overflows and errors by bits, overflow and fraction bits of all accumulators."""
    rows: list[Row] = []
    images, reference = 0, 0.0
    for accumulator, places in cases():
        options = HybridOptions(accumulated=places)
        plan = study.plan("hybrid", accumulator=accumulator, hybrid=options)
        got = study.measured(plan, IMAGES)
        images, reference = int(got["images"]), 100 - got["float_top1"]
        error = 100 - got["top1"]
        rows.append(
            {
                "bits": accumulator.bits if isinstance(accumulator.bits, int) else None,
                "overflow": accumulator.overflow.value
                + (" every MAC" if accumulator.every_mac else ""),
                "fraction bits": places,
                "top-1 error": error,
                "lost": less(error, reference),
                "overflows": got["overflows"],
                "layers": got["layers"],
            }
        )
    return Table(
        "Accumulators",
        rows,
        (
            f"3D, 8 bits; the first {images} test images, float error {reference:.2f}",
            "fraction bits: products, those of the finest product; range, what the calibrated sums "
            "of a layer leave; kernel, those of each kernel; layers: in how many sums overflowed",
        ),
    )
