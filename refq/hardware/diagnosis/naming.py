"""Roundings and overflows in both spellings: refq's and Xilinx'."""

from __future__ import annotations

from refq.formats.fixed import Overflow, Rounding

ROUNDING = {
    Rounding.TIES_EVEN: "AP_RND_CONV",
    Rounding.TIES_AWAY: "AP_RND_INF",
    Rounding.TIES_POS: "AP_RND",
    Rounding.TO_NEG: "AP_TRN",
    Rounding.TO_ZERO: "AP_TRN_ZERO",
    Rounding.TO_POS: "ceiling",
    Rounding.STOCHASTIC: "random",
}
OVERFLOW = {Overflow.SAT: "AP_SAT", Overflow.SAT_SYM: "AP_SAT_SYM", Overflow.WRAP: "AP_WRAP"}


def rounding_name(rounding: Rounding) -> str:
    return f"{rounding.value} ({ROUNDING[rounding]})"


def overflow_name(overflow: Overflow) -> str:
    return f"{overflow.value} ({OVERFLOW[overflow]})"
