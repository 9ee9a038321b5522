"""Formats, modes and accumulators: spelling, ranges and what is refused."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from refq.errors import FormatError, OptionError
from refq.formats.fixed import (
    Accumulator,
    FixedPointFormat,
    Overflow,
    Rounding,
    parse_overflow,
    parse_rounding,
)


@pytest.mark.parametrize(
    ("fmt", "text"),
    [
        (FixedPointFormat(8, 5), "fxp-s8/5 = ap_fixed<8,3>"),
        (FixedPointFormat(8, -4), "fxp-s8/-4 = ap_fixed<8,12>"),
        (FixedPointFormat(5, 9, signed=False), "fxp-u5/9 = ap_ufixed<5,-4>"),
    ],
)
def test_spelling(fmt: FixedPointFormat, text: str) -> None:
    assert str(fmt) == text and fmt.short == text.split(" = ")[0]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((1, 0), "a signed format of 1 bits; expected 2 to 32 bits"),
        ((0, 0, False), "unsigned format of 0 bits; expected 1 to 32 bits"),
        ((33, 0), "signed format of 33 bits"),
        ((-5, 0), "signed format of -5 bits"),
        ((8, 65), "65 fraction bits; expected -64 to 64"),
        ((8, -65), "-65 fraction bits"),
    ],
)
def test_absurd_formats(arguments: Any, text: str) -> None:
    with pytest.raises(FormatError, match=re.escape(text)):
        FixedPointFormat(*arguments)


def test_names_of_modes_and_accumulators() -> None:
    assert [parse_rounding(mode.value) for mode in Rounding] == list(Rounding)
    assert [parse_overflow(mode.value) for mode in Overflow] == list(Overflow)
    with pytest.raises(
        OptionError, match="unknown rounding 'up'; expected one of stochastic, ties"
    ):
        parse_rounding("up")
    with pytest.raises(OptionError, match="unknown overflow 'clip'; expected one of sat, sat-sym"):
        parse_overflow("clip")
    for bits in (1, 63):
        with pytest.raises(FormatError, match=f"an accumulator of {bits} bits; expected 2 to 62"):
            Accumulator(bits)
    assert (
        str(Accumulator()) == "exact"
        and str(Accumulator(9, every_mac=True)) == "9-bit sat every MAC"
    )
    assert (
        FixedPointFormat(32, 0, False).dtype == np.int64
        and FixedPointFormat(32, 0).dtype == np.int32
    )
