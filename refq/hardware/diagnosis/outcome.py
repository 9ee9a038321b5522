"""What came of one array of a device."""

from __future__ import annotations

from dataclasses import dataclass

from refq.hardware.diagnosis.case import Explanation
from refq.hardware.diagnosis.device import Source
from refq.hardware.golden.arrays import GoldenArray

EQUAL, DIFFERENT, TRUNCATED, UNKNOWN, ABSENT = (
    "equal",
    "different",
    "truncated",
    "unknown bits",
    "absent",
)
# right values, in wrong words or places: of the dump, after which later layers may be right
DUMP_FAULTS = (
    "layout",
    "images",
    "byte-order",
    "lane-order",
    "offset",
    "sign-extension",
    "sign-magnitude",
    "ones-complement",
    "offset-binary",
    "inverted",
    "bit-order",
)


@dataclass(frozen=True)
class Mismatch:
    """A word that differs: index in the logical array, codes, fraction bits if it has any."""

    index: tuple[int, ...]
    expected: int
    found: int
    frac_bits: int | None


@dataclass(frozen=True)
class Result:
    """What came of one array.

    status: EQUAL, DIFFERENT, TRUNCATED, UNKNOWN or ABSENT. words: of the golden array in the
    device's layout; found: in the device's file; wrong: those that differ among compared ones;
    unknown: with x or z. differences: (found - expected, how often), the most frequent first, and
    `others` the rest. follows: the wrong array that this one is computed from.
    """

    source: Source
    status: str
    words: int
    found: int = 0
    wrong: int = 0
    unknown: int = 0
    first: Mismatch | None = None
    first_unknown: tuple[int, ...] | None = None
    differences: tuple[tuple[int, int], ...] = ()
    others: int = 0
    explanations: tuple[Explanation, ...] = ()
    regions: tuple[str, ...] = ()
    follows: str | None = None

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def stage(self) -> str:
        return self.name.rpartition(".")[2]

    @property
    def layer(self) -> str:
        return self.name.rpartition(".")[0]

    @property
    def array(self) -> GoldenArray:
        return self.source.array

    @property
    def passed(self) -> bool:
        return self.status == EQUAL

    @property
    def miscomputed(self) -> bool:
        """Whether what is computed from this array has to be wrong, too."""
        if not self.wrong:
            return False
        told = self.explanations
        of_dump = told and told[0].exact and told[0].name in DUMP_FAULTS
        return not of_dump
