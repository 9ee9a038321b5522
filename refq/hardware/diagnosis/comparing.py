"""One array of the device beside the golden one, and the whole set in order of computation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from refq.hardware.diagnosis import arithmetic, encoding, ordering
from refq.hardware.diagnosis.case import Case, Explanation, Hypothesis, explain
from refq.hardware.diagnosis.device import Device, Source
from refq.hardware.diagnosis.golden import Entry, GoldenSet
from refq.hardware.diagnosis.regions import regions
from refq.hardware.files import file_format
from refq.hardware.files.words import Words
from refq.hardware.golden.arrays import TENSOR

EQUAL, DIFFERENT, TRUNCATED, UNKNOWN, ABSENT = (
    "equal",
    "different",
    "truncated",
    "unknown bits",
    "absent",
)

# right values, in wrong words or places: of the dump, after which later layers may be right
OF_DUMPS: tuple[Hypothesis, ...] = (
    ordering.layouts,
    ordering.images,
    ordering.line_packing,
    ordering.word_bytes,
    encoding.signs,
    ordering.axes,
    ordering.lanes,
    ordering.offsets,
)
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
# a step of the layer was done in another way
OF_STEPS: tuple[Hypothesis, ...] = (
    encoding.stuck_bits,
    arithmetic.biases,
    arithmetic.requantizations,
    arithmetic.assignments,
    arithmetic.decodings,
    arithmetic.other_arrays,
    encoding.shifts,
    encoding.ranges,
)
# so plain that nothing else is asked first
OF_WORDS: tuple[Hypothesis, ...] = (encoding.constant, encoding.one_bit)
# stages in order of computation; sums of parts come together
RANK = {
    "operand": 0,
    "accumulator": 1,
    "base_sum": 1,
    "residual_sum": 1,
    "sum": 2,
    "rounded": 3,
    "code": 4,
    "value": 5,
    "": 6,
}
# stages that a rounding comes before
ROUNDED = ("rounded", "code", "value", "operand")
MOST_DIFFERENCES = 8


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
    def entry(self) -> Entry:
        return self.source.entry

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


@dataclass
class Comparison:
    """Compares a device's arrays one after the other; remembers which were wrong."""

    golden: GoldenSet
    device: Device
    results: dict[str, Result] = field(default_factory=dict)

    def run(self, sources: Sequence[Source]) -> Iterator[Result]:
        """Results in the order of the sources, one pair of arrays in memory at a time."""
        kept: tuple[str, np.ndarray] | None = None
        for source in sources:
            # names of one array come one after the other
            if kept is None or kept[0] != source.entry.name:
                kept = (source.entry.name, self.golden.read(source.entry))
            result = self._compare(source, kept[1])
            self.results[result.name] = result
            yield result

    def _compare(self, source: Source, golden: np.ndarray) -> Result:
        words = self.device.read(source)
        expected = self.device.layout.arranged(golden)
        size = min(expected.size, words.codes.size)
        wrong = np.flatnonzero(expected[:size] != words.codes[:size])
        unknown = words.unknown[words.unknown < size]
        if wrong.size:
            wrong = wrong[self.device.layout.source(wrong, source.entry.shape) >= 0]
        if unknown.size:
            unknown = unknown[self.device.layout.source(unknown, source.entry.shape) >= 0]
            wrong = np.setdiff1d(wrong, unknown, assume_unique=True)
        base = Result(source, EQUAL, expected.size, words.codes.size, wrong.size, unknown.size)
        if not wrong.size and not unknown.size and words.codes.size == expected.size:
            return base
        case = self._case(source, golden, expected, words, wrong, unknown)
        return self._told(base, case)

    def _case(
        self,
        source: Source,
        golden: np.ndarray,
        expected: np.ndarray,
        words: Words,
        wrong: np.ndarray,
        unknown: np.ndarray,
    ) -> Case:
        return Case(
            self.golden,
            source.entry,
            source.name.rpartition(".")[0],
            self.device.layout,
            self.device.packing(source.format),
            file_format(source.format).TEXT,
            golden,
            expected,
            words.codes,
            wrong,
            unknown,
            _siblings(self.golden, source.entry, golden),
        )

    def _told(self, base: Result, case: Case) -> Result:
        """What is said of an array that is not equal."""
        status = DIFFERENT
        if base.found < base.words:
            status = TRUNCATED
        elif base.unknown and not base.wrong and base.found == base.words:
            status = UNKNOWN
        told = replace(base, status=status)
        if base.unknown:
            told = replace(told, first_unknown=_index(case, case.unknown))
        if not base.wrong:
            return told
        values, counts = _differences(case)
        follows = self._upstream(told)
        hypotheses = OF_DUMPS if follows else (*OF_WORDS, *OF_DUMPS, *OF_STEPS)
        explanations = explain(case, hypotheses)
        if follows and not (explanations and explanations[0].exact):
            explanations = []
        shown = tuple(zip(values[:MOST_DIFFERENCES].tolist(), counts[:MOST_DIFFERENCES].tolist()))
        return replace(
            told,
            first=_mismatch(case),
            differences=shown,
            others=int(counts[MOST_DIFFERENCES:].sum()),
            explanations=tuple(explanations)
            or (() if follows else _by_one(told.stage, values, base.wrong)),
            regions=tuple(regions(case)),
            follows=None if explanations else follows,
        )

    def _upstream(self, result: Result) -> str | None:
        """The wrong array that this one is computed from, of those that the device wrote: the
        stage before, or what the layer reads. One that is equal excuses nothing below it."""
        before = self._last(result.layer, RANK.get(result.stage, 0))
        if before:
            return next((each.name for each in before if each.miscomputed), None)
        own = [each for each in self.results.values() if each.layer == result.layer]
        wrong = [each.name for each in own if each.miscomputed and each.entry.kind != TENSOR]
        if wrong or result.entry.kind != TENSOR:
            return wrong[0] if wrong else None
        return self._inputs_wrong(result.layer, set())

    def _last(self, layer: str, end: int) -> list[Result]:
        """The layer's tensors of the last stage that the device wrote, before a rank."""
        found = [
            each
            for each in self.results.values()
            if each.layer == layer and each.entry.kind == TENSOR and RANK.get(each.stage, 0) < end
        ]
        top = max((RANK.get(each.stage, 0) for each in found), default=0)
        return [each for each in found if RANK.get(each.stage, 0) == top]

    def _inputs_wrong(self, layer: str, seen: set[str]) -> str | None:
        known = self.golden.layers.get(layer)
        for above in known.inputs if known else ():
            if above in seen:
                continue
            seen.add(above)
            results = self._last(above, len(RANK))
            wrong = [each.name for each in results if each.miscomputed]
            if wrong:
                return wrong[0]
            found = None if results else self._inputs_wrong(above, seen)
            if found:
                return found
        return None


def _siblings(
    golden: GoldenSet, own: Entry, codes: np.ndarray
) -> Callable[[str], np.ndarray | None]:
    """Other arrays of the set by name, read when a guess asks for them."""
    read = {own.name: codes}

    def sibling(name: str) -> np.ndarray | None:
        entry = golden.entry(name)
        if entry is None:
            return None
        if entry.name not in read:
            golden.check_files([entry])
            read[entry.name] = golden.read(entry)
        return read[entry.name]

    return sibling


def _index(case: Case, places: np.ndarray) -> tuple[int, ...]:
    """The first of these words in the order of the logical array."""
    first = int(case.source(places).min())
    return tuple(int(each) for each in np.unravel_index(first, case.entry.shape))


def _mismatch(case: Case) -> Mismatch:
    source = case.source(case.wrong)
    place = int(case.wrong[source.argmin()])
    index = tuple(int(each) for each in np.unravel_index(int(source.min()), case.entry.shape))
    return Mismatch(
        index, int(case.expected[place]), int(case.found[place]), case.entry.fraction(index)
    )


def _differences(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """found - expected and how often, the most frequent first."""
    found, expected = case.found[case.wrong], case.expected[case.wrong]
    if max(abs(int(end)) for part in (found, expected) for end in (part.min(), part.max())) >> 62:
        # their differences could leave 64 bits
        found, expected = found.astype(object), expected.astype(object)
    values, counts = np.unique(found - expected, return_counts=True)
    order = np.lexsort((np.abs(values).astype(float), -counts))
    return values[order], counts[order]


def _by_one(stage: str, values: np.ndarray, wrong: int) -> tuple[Explanation, ...]:
    """Nothing fits, but no word is off by more than one."""
    if max(abs(int(each)) for each in values) > 1:
        return ()
    text = "no word is off by more than 1, but no rule refq knows fits all"
    if stage in ROUNDED:
        text = f"probably a rounding rule: {text}"
    return (Explanation("by-one", text, 0, wrong),)
