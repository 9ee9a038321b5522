"""One array of the device beside the golden one, and the whole set in order of computation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from refq.hardware.diagnosis import arithmetic, encoding, lookups, ordering
from refq.hardware.diagnosis.case import Case, Explanation, Hypothesis, explain
from refq.hardware.diagnosis.device import Device, Source
from refq.hardware.diagnosis.following import upstream
from refq.hardware.diagnosis.outcome import DIFFERENT, EQUAL, TRUNCATED, UNKNOWN, Mismatch, Result
from refq.hardware.diagnosis.regions import regions
from refq.hardware.files import file_format
from refq.hardware.files.words import Words
from refq.hardware.golden.arrays import GoldenArray
from refq.hardware.golden.reading import GoldenSet

# right values, in wrong words or places: of the dump (outcome.DUMP_FAULTS)
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
# a step of the layer was done in another way
OF_STEPS: tuple[Hypothesis, ...] = (
    encoding.stuck_bits,
    arithmetic.biases,
    arithmetic.requantizations,
    lookups.lookups,
    arithmetic.assignments,
    arithmetic.decodings,
    arithmetic.other_arrays,
    encoding.shifts,
    encoding.ranges,
)
# so plain that nothing else is asked first
OF_WORDS: tuple[Hypothesis, ...] = (encoding.constant, encoding.one_bit)
# stages that a rounding comes before
ROUNDED = ("rounded", "code", "value", "operand")
MOST_DIFFERENCES = 8


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
            if kept is None or kept[0] != source.array.name:
                kept = (source.array.name, self.golden.read(source.array))
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
            wrong = wrong[self.device.layout.source(wrong, source.array.shape) >= 0]
        if unknown.size:
            unknown = unknown[self.device.layout.source(unknown, source.array.shape) >= 0]
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
            set=self.golden,
            array=source.array,
            layer=source.name.rpartition(".")[0],
            layout=self.device.layout,
            packing=self.device.packing(source.format),
            text=file_format(source.format).TEXT,
            golden=golden,
            expected=expected,
            found=words.codes,
            wrong=wrong,
            unknown=unknown,
            sibling=_siblings(self.golden, source.array, golden),
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
        follows = upstream(told, self.results, self.golden.manifest.layers)
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


def _siblings(
    golden: GoldenSet, array: GoldenArray, codes: np.ndarray
) -> Callable[[str], np.ndarray | None]:
    """Other arrays of the set by name, read when a guess asks for them. codes: of this one."""
    read = {array.name: codes}

    def sibling(name: str) -> np.ndarray | None:
        asked = golden.array(name)
        if asked is None:
            return None
        if asked.name not in read:
            golden.check_files([asked])
            read[asked.name] = golden.read(asked)
        return read[asked.name]

    return sibling


def _index(case: Case, places: np.ndarray) -> tuple[int, ...]:
    """The first of these words in the order of the logical array."""
    first = int(case.source(places).min())
    return tuple(int(each) for each in np.unravel_index(first, case.array.shape))


def _mismatch(case: Case) -> Mismatch:
    source = case.source(case.wrong)
    place = int(case.wrong[source.argmin()])
    index = tuple(int(each) for each in np.unravel_index(int(source.min()), case.array.shape))
    return Mismatch(
        index, int(case.expected[place]), int(case.found[place]), case.array.fraction(index)
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
