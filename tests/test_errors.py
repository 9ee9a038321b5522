"""Messages are one bounded line, whatever they tell of."""

from __future__ import annotations

import pytest

from refq.errors import RefqError, clipped, listed, printable, unknown


@pytest.mark.parametrize(
    "parts",
    [
        ("f" * 70_000,),
        ("f" * 5000, "w" * 5000, "r" * 5000),
        ("short", "w" * 5000, "do this"),
        ("f" * 5000, "short", "do this"),
        (f"plan x: {RefqError('f' * 999, 'w' * 999)}",),
        ("\x1b" * 5000, "\u202e" * 5000),
    ],
)
def test_a_line_is_bounded(parts: tuple[str, ...]) -> None:
    line = str(RefqError(*parts))
    assert 300 < len(line) <= 400 and line.isprintable()
    assert all(part in line for part in parts if len(part) < 10)


def test_short_lines_stay_whole() -> None:
    line = str(RefqError("a" * 150, "b" * 100, "c" * 100))
    assert line == f"{'a' * 150}; expected {'b' * 100}; {'c' * 100}"


def test_what_steers_a_terminal_is_spelled() -> None:
    found = "w\x1b[31m.h5\n\x07 \u202e\u2066\udcff\u2028\x85 caf\xe9 \u4e2d"
    wanted = "w\\x1b[31m.h5 \\x07 \\u202e\\u2066\\udcff caf\xe9 \u4e2d"
    assert str(RefqError(found)) == wanted
    assert printable("one\ntwo\r\x9b") == "one\ntwo\\r\\x9b"


def test_what_is_left_out_is_told() -> None:
    assert clipped("0123456789" * 3, 9) == "012345[21 more]789"
    assert listed("abcdefghijk") == "a, b, c, d, e, f, g, h and 3 more"
    assert listed("abc") == "a, b, c"
    assert listed(["x" * 200]) == f"{'x' * 40}[140 more]{'x' * 20}"
    assert len(str(unknown("scheme", "n" * 9000, ["enq"]))) < 150
