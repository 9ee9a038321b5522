"""Steps of a layer done in another way: bias, rounding, overflow, ReLU, shift, storage codes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from refq import kernels
from refq.formats.codes import ShiftCode, StorageCode
from refq.formats.fixed import Overflow, Rounding
from refq.hardware.diagnosis.case import Case, Guess
from refq.hardware.diagnosis.naming import overflow_name, rounding_name
from refq.hardware.diagnosis.pipeline import (
    CODE,
    ROUNDED,
    SUM,
    VALUE,
    Codes,
    Pipeline,
    Requantization,
    decoded,
)

SHIFTS = (0, -1, 1, -2, 2, -3, 3)
TRIED = 512
# of an index, as wide as kernels make them
MOST_CODE_BITS = 31


def _agrees(case: Case, made: Codes) -> bool:
    """Whether the steps, unchanged, make the golden words: guesses need no other ground."""
    places = np.arange(min(TRIED, case.compared), dtype=np.int64)
    places = places[case.source(places) >= 0]
    return np.array_equal(made(places), case.expected[places])


def biases(case: Case) -> Iterator[Guess]:
    """Sums with no bias, twice the bias, its negative, or one that was not shifted."""
    line = Pipeline(case)
    needed = [line.sums, line.parameter("accumulator"), line.parameter("bias")]
    if any(each is None for each in needed):
        return
    if line.role != SUM and not line.rounds:
        return
    usual = line.standard()
    if usual.rounding is Rounding.STOCHASTIC and line.role != SUM:
        return
    if not _agrees(case, line.whole(partial(line.accumulated, 2, None), usual)):
        return
    shifts = line.parameter("bias_shift")
    changes: list[tuple[str, int, int | None]] = [
        ("bias: missing", 0, None),
        ("bias: added twice", 4, None),
        ("bias: subtracted", -2, None),
    ]
    if shifts is not None and shifts.any():
        changes.append(("bias: its shift to the accumulator's fraction is forgotten", 2, 0))
        changes.append(("bias: shifted one place too far left", 4, None))
        changes.append(("bias: shifted one place too few", 1, None))
    for text, halves, shift in changes:
        sums = partial(line.accumulated, halves, shift)
        yield Guess("bias", text, line.whole(sums, usual))


def requantizations(case: Case) -> Iterator[Guess]:
    """Sums made value codes with another rounding, overflow or shift, or without the ReLU."""
    line = Pipeline(case)
    if not line.rounds or line.role not in (ROUNDED, CODE, VALUE):
        return
    usual = line.standard()
    if usual.rounding is Rounding.STOCHASTIC or case.array.bits > 32:
        return
    if not _agrees(case, line.whole(line.golden_sum, usual)):
        return
    for name, text, how in _deviations(usual, line):
        yield Guess(name, text, line.whole(line.golden_sum, how))


def _deviations(usual: Requantization, line: Pipeline) -> Iterator[tuple[str, str, Requantization]]:
    """(name, text, how), the likeliest first: one change, then several."""
    assert line.stored is not None
    roundings = [usual.rounding, *(r for r in list(Rounding)[:6] if r is not usual.rounding)]
    symmetric = line.stored.fixed.signed  # sat-sym is sat where no code is negative
    different = [o for o in Overflow if symmetric or o is not Overflow.SAT_SYM]
    overflows = [usual.overflow, *(o for o in different if o is not usual.overflow)]
    for left, rounding, overflow in sorted(
        itertools.product(SHIFTS, roundings, overflows),
        key=lambda each: (
            (each[0] != 0) + (each[1] is not usual.rounding) + (each[2] is not usual.overflow)
        ),
    ):
        how = Requantization(rounding, overflow, left)
        if how != usual:
            yield (*_described(how, usual), how)
    for text, low, high in _unbounded(line):
        for overflow, more, signed in itertools.product(overflows, (0, 1), (True, False)):
            how = Requantization(usual.rounding, overflow, 0, low, high, more, signed)
            yield "relu", text, how


def _unbounded(line: Pipeline) -> Iterator[tuple[str, bool, bool]]:
    """(text, whether the lower and the upper bound of the layer's ReLU or clip hold)."""
    low, high = line.bounds()
    if line.layer.type == "ReLU":
        yield "ReLU: missing, negative sums went on", False, True
    elif low is not None:
        yield "clip: its lower bound is missing", False, True
    if high is not None:
        yield "clip: its upper bound is missing", True, False
    if high is not None and low is not None:
        yield "clip: missing, sums beyond both bounds went on", False, False


def _described(how: Requantization, usual: Requantization) -> tuple[str, str]:
    parts, name = [], ""
    if how.left != usual.left:
        noun = "place" if abs(how.left) == 1 else "places"
        side = "left" if how.left > 0 else "right"
        parts.append(f"shift: sums are shifted {abs(how.left)} {noun} too far {side}")
        name = "shift"
    if how.rounding is not usual.rounding:
        was, wanted = rounding_name(how.rounding), rounding_name(usual.rounding)
        parts.append(f"rounding rule: {was} instead of {wanted}")
        name = name or "rounding"
    if how.overflow is not usual.overflow:
        was, wanted = overflow_name(how.overflow), overflow_name(usual.overflow)
        what = "missing saturation" if how.overflow is Overflow.WRAP else "overflow"
        parts.append(f"{what}: {was} instead of {wanted}")
        name = name or "overflow"
    return name, "; ".join(parts)


def assignments(case: Case) -> Iterator[Guess]:
    """Storage codes by the other rule, with another drop, or without their upper end."""
    line = Pipeline(case)
    code: Any = line.code
    rounded = line.stage(ROUNDED) or _rounded_again(line)
    if code is None or line.role not in (CODE, VALUE) or rounded is None:
        return
    # the guesses are about the kinds of code that there are units for
    if not code.shifted and not code.lookup:
        return
    if not _agrees(case, _ended(line, rounded, code)):
        return
    rules = {True: "nearest", False: "floor"}
    text = f"assignment: {rules[not code.nearest]} instead of {rules[code.nearest]}"
    other = replace(code, nearest=not code.nearest)
    yield Guess("assignment", text, _ended(line, rounded, other))
    if code.lookup:
        text = "comparators: above a threshold instead of at it or above"
        yield Guess("comparison", text, lambda places: line.end(rounded(places) - 1, code))
        return
    for more, side in ((-1, "fewer"), (1, "more")):
        text = f"storage code: one bit {side} dropped than {code.drop}"
        yield Guess("drop", text, _ended(line, rounded, _dropping(code, more)))
    if line.role == CODE:
        high = code.first + (1 << code.bits) - 1
        for what, wraps in (("wraps", True), ("is not limited", False)):
            text = f"storage code: the index {what} above {high}"
            yield Guess("index-limit", text, _unlimited(code, rounded, wraps))


def _ended(line: Pipeline, rounded: Codes, code: StorageCode) -> Codes:
    return lambda places: line.end(rounded(places), code)


def _dropping(code: ShiftCode, more: int) -> ShiftCode:
    """A code that drops more bits, or fewer."""
    return replace(code, drop=max(0, code.drop + more))


def _unlimited(code: ShiftCode, rounded: Codes, wraps: bool) -> Codes:
    """ENQ's index without its upper end; as it is, or its lower bits."""
    endless = replace(code, bits=MOST_CODE_BITS)

    def at(places: np.ndarray) -> np.ndarray:
        index = endless.encode(rounded(places), kernels)
        return (index - code.first & (1 << code.bits) - 1) + code.first if wraps else index

    return at


def _rounded_again(line: Pipeline) -> Codes | None:
    """Value codes where the set has none of their own."""
    usual = line.standard()
    if not line.rounds or usual.rounding is Rounding.STOCHASTIC:
        return None
    return line.rounded(line.golden_sum, usual)


def decodings(case: Case) -> Iterator[Guess]:
    """Values that come from the right indices by the wrong rule."""
    line = Pipeline(case)
    code: Any = line.code
    index = line.stage(CODE)
    if code is None or line.role != VALUE or index is None:
        return
    if code.shifted:
        for more in (-1, 1, -2, 2):
            text = f"decoding: shifted left by {code.drop + more} instead of {code.drop}"
            yield Guess("decoding", text, _decoded(index, _dropping(code, more), 0))
    for step, side in ((-1, "before"), (1, "after")) if code.lookup else ():
        text = f"decoding: the codebook's entry {side} the right one"
        yield Guess("decoding", text, _decoded(index, code, step))


def _decoded(index: Codes, code: StorageCode, step: int) -> Codes:
    return lambda places: decoded(index(places) + step, code)


def other_arrays(case: Case) -> Iterator[Guess]:
    """Another golden array under this one's name: an index for a value, a stage too early."""
    manifest = case.set.manifest
    layer = manifest.layers.get(case.layer)
    near = [case.layer, case.array.layer, *(layer.inputs if layer else ())]
    for other in manifest.arrays:
        if other.layer not in near or other.name == case.array.name:
            continue
        if other.shape != case.array.shape or math.prod(other.shape) < 2:
            continue
        codes = case.sibling(other.name)
        if codes is None:
            continue
        text = f"it holds {other.name} instead of {case.array.name}"
        yield Guess("other-array", text, partial(case.aligned, codes))
