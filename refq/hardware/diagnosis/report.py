"""What came of a comparison, as text and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from refq.hardware.diagnosis.outcome import (
    ABSENT,
    DIFFERENT,
    EQUAL,
    TRUNCATED,
    UNKNOWN,
    Mismatch,
    Result,
)
from refq.hardware.files.words import PLAIN
from refq.hardware.golden.arrays import TENSOR, GoldenArray
from refq.tables import aligned

STATUSES = (EQUAL, DIFFERENT, TRUNCATED, UNKNOWN, ABSENT)


@dataclass(frozen=True)
class Verification:
    """A device's arrays beside the golden ones.

    results: of all arrays that were found, in order of computation. absent: arrays of which no file
    was found. complete: whether an absent tensor is a failure.
    """

    golden: str
    device: str
    results: Sequence[Result]
    absent: Sequence[GoldenArray]
    complete: bool = False

    @property
    def absent_tensors(self) -> list[str]:
        return [array.name for array in self.absent if array.kind == TENSOR]

    @property
    def wrong(self) -> list[Result]:
        return [result for result in self.results if not result.passed]

    @property
    def status(self) -> int:
        """The exit code: 0 where all that was compared is equal, else 1."""
        return int(bool(self.wrong) or (self.complete and bool(self.absent_tensors)))

    @property
    def counts(self) -> dict[str, int]:
        counted = Counter(result.status for result in self.results)
        return {**{status: counted[status] for status in STATUSES}, ABSENT: len(self.absent)}


def lines(verified: Verification, every: bool = False) -> list[str]:
    """A line for each array that is not equal (every: for each), details of the first, and a
    summary."""
    shown = [result for result in verified.results if every or not result.passed]
    out = aligned([_line(result) for result in shown], (True, True))
    if every or (verified.complete and verified.absent_tensors):
        absent = [array.name for array in verified.absent] if every else verified.absent_tensors
        out += [f"{ABSENT:<13}{name}" for name in absent]
    if verified.wrong:
        first = next((result for result in verified.wrong if not result.follows), verified.wrong[0])
        out += ["", f"first wrong: {first.name}", *(f"  {line}" for line in details(first))]
    out += [""] if out else []
    return [*out, _summary(verified)]


def _line(result: Result) -> tuple[str, str]:
    """An array with its status, and what is told of it."""
    if result.passed:
        return f"{result.status:<13}{result.name}", f"{result.words:,} words"
    return f"{result.status.upper():<13}{result.name}", "; ".join(_told(result))


def _told(result: Result) -> list[str]:
    """What is wrong with an array, shortly."""
    told = []
    if result.found != result.words:
        told.append(f"{result.found:,} of {result.words:,} words")
    if result.unknown:
        told.append(f"{result.unknown:,} words with x or z")
    if result.wrong:
        compared = min(result.found, result.words)
        told.append(f"{result.wrong:,} of {compared:,} wrong ({share(result.wrong, compared)})")
        told.append(diagnosis(result))
    elif result.found != result.words:
        told.append("those are equal")
    return told


def diagnosis(result: Result) -> str:
    """The best that can be said of why the words are wrong."""
    if result.follows:
        return f"inputs differ already ({result.follows})"
    if result.explanations:
        best = result.explanations[0]
        if best.exact or not best.explained:
            return best.text
        return f"{best.text}: explains {share(best.explained, best.of)} of the wrong words"
    return result.regions[0] if result.regions else "no known pattern"


def details(result: Result) -> list[str]:
    """All that is known of an array that is not equal."""
    out = []
    if result.found < result.words:
        out.append(f"the file ends after {result.found:,} of {result.words:,} words")
    elif result.found > result.words:
        out.append(f"the file holds {result.found:,} words instead of {result.words:,}")
    if result.first_unknown is not None:
        place = _place(result.array, result.first_unknown)
        out.append(f"{result.unknown:,} words with x or z, the first at {place}")
    if result.first is None:
        return out
    first, array = result.first, result.array
    out.append(f"at {_place(array, first.index)}, {array.format}")
    out.append(f"  expected {_word(first.expected, first, array)}")
    out.append(f"  found    {_word(first.found, first, array)}")
    listed = [f"{off:+}: {count:,}" for off, count in result.differences]
    if result.others:
        listed.append(f"others: {result.others:,}")
    out.append(f"found - expected, in LSB: {', '.join(listed)}")
    out.append(f"diagnosis: {diagnosis(result)}")
    if len(result.explanations) > 1:
        out.append(f"  fits as well: {'; '.join(each.text for each in result.explanations[1:])}")
    out += [f"where: {region}" for region in result.regions]
    return out


def _place(array: GoldenArray, index: Sequence[int]) -> str:
    places = " ".join(f"{axis}={place}" for axis, place in zip(array.axes, index))
    return f"layer {array.layer}, stage {array.stage}, {places}"


def hex_word(code: int, bits: int) -> str:
    """Two's complement of the word, in as many digits as it has; of a number that the word does not
    hold, as many as it takes."""
    wide = bits
    if code >= 1 << bits or code < -(1 << (bits - 1)):
        wide = max(bits, next((w for w in (8, 16, 32) if -(1 << w - 1) <= code < 1 << w), 64))
    return f"0x{code & ((1 << wide) - 1):0{PLAIN.digits(wide)}x}"


def _value(code: int, frac_bits: int | None) -> float | None:
    return None if frac_bits is None else code * 2.0**-frac_bits


def _word(code: int, first: Mismatch, array: GoldenArray) -> str:
    value = _value(code, first.frac_bits)
    real = "" if value is None else f" = {value:.9g}"
    return f"{hex_word(code, array.bits)}  code {code}{real}"


def share(part: int, whole: int) -> str:
    """In percent; never 0 % or 100 % of what is neither."""
    percent = 100 * part / max(1, whole)
    if part and percent < 0.01:
        return "below 0.01 %"
    if part < whole and percent > 99.99:
        return "above 99.99 %"
    return f"{percent:.2f} %"


def _summary(verified: Verification) -> str:
    counts = verified.counts
    told = [f"{counts[status]} {status}" for status in STATUSES if counts[status]]
    verdict = "PASS" if not verified.status else "FAIL"
    end = f"; first wrong {verified.wrong[0].name}" if verified.wrong else ""
    missing = len(verified.absent_tensors)
    if verified.complete and missing:
        end += f"; {missing} tensors are missing"
    return f"{verdict}: {', '.join(told)}{end}"


def to_json(verified: Verification) -> dict[str, Any]:
    """Plain JSON values; docs/verify.md tells what each key means."""
    return {
        "refq_verify": 1,
        "golden": verified.golden,
        "device": verified.device,
        "status": verified.status,
        "counts": verified.counts,
        "first_wrong": verified.wrong[0].name if verified.wrong else None,
        "absent": [array.name for array in verified.absent],
        "arrays": [_array_json(result) for result in verified.results],
    }


def _array_json(result: Result) -> dict[str, Any]:
    return {
        "name": result.name,
        "layer": result.layer,
        "stage": result.name.rpartition(".")[2],
        "file": str(result.source.path),
        "file_format": result.source.format,
        "result": result.status,
        "words": result.words,
        "found_words": result.found,
        "wrong": result.wrong,
        "unknown": result.unknown,
        "first": _first_json(result.first, result.array),
        "first_unknown": _named(result.array, result.first_unknown),
        "differences": [{"lsb": off, "count": count} for off, count in result.differences],
        "other_differences": result.others,
        "diagnosis": None if result.passed or not result.wrong else diagnosis(result),
        "explanations": [
            {"name": each.name, "text": each.text, "explained": each.explained, "of": each.of}
            for each in result.explanations
        ],
        "regions": list(result.regions),
        "follows": result.follows,
    }


def _named(array: GoldenArray, index: Sequence[int] | None) -> Mapping[str, int] | None:
    return None if index is None else dict(zip(array.axes, index))


def _first_json(first: Mismatch | None, array: GoldenArray) -> dict[str, Any] | None:
    if first is None:
        return None
    return {
        "index": _named(array, first.index),
        "expected": first.expected,
        "found": first.found,
        "expected_hex": hex_word(first.expected, array.bits),
        "found_hex": hex_word(first.found, array.bits),
        "expected_value": _value(first.expected, first.frac_bits),
        "found_value": _value(first.found, first.frac_bits),
    }
