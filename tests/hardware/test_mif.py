"""`.mif` files as other tools write them: ranges of equal words, in any number and order."""

from __future__ import annotations

import re
import time
from pathlib import Path

import numpy as np
import pytest

from refq.errors import DataError
from refq.hardware.files import mif
from refq.hardware.files.words import BIG, HIGH_FIRST, LOW_FIRST, Packing
from tests.hardware.word_files import PLAIN, array

NUMBER = r"\s*([\w+-]+)\s*"
ENTRY = re.compile(rf"\s*(?:\[{NUMBER}\.\.{NUMBER}\]|{NUMBER})\s*:([^:.\[\]]*)", re.ASCII)
BASES = {"HEX": 16, "BIN": 2, "OCT": 8, "UNS": 10, "DEC": 10}
DIGITS = {16: "{:X}", 2: "{:b}", 8: "{:o}", 10: "{}"}
SMALL = array(8, True, (40,), "a.sum")


def by_definition(
    body: str, radices: tuple[str, str], packing: Packing = PLAIN
) -> tuple[list[int], list[int], list[int]]:
    """(codes, which are unknown, lines of wrong entries) of 40 words of 8 signed bits, entry by
    entry and word by word."""
    memory: dict[int, tuple[int, bool]] = {}
    wrong, line, reached, lanes = [], 1, 0, packing.lanes
    for entry in body.split(";"):
        at = line + entry[: len(entry) - len(entry.lstrip())].count("\n")
        line += entry.count("\n")
        match = ENTRY.fullmatch(entry)
        if match is None:
            wrong += [at] if entry.strip() else []
            continue
        try:
            ends = [_number(each, radices[0]) for each in match.groups()[:3] if each]
            words = [_word(each, radices[1]) for each in _lanes(match[4], packing)]
        except ValueError:
            wrong.append(at)
            continue
        if not 0 <= ends[0] <= ends[-1] < -(-40 // lanes):
            wrong.append(at)
            continue
        count = len(words) if len(ends) == 1 else (ends[1] - ends[0] + 1) * lanes
        for step in range(count if words else 0):
            memory[ends[0] * lanes + step] = words[step % len(words)]
        reached = max(reached, ends[0] * lanes + (count if words else 0))
    told = [memory.get(place, (0, True)) for place in range(reached)]
    if 40 < reached < 40 + lanes:  # what only fills up the last line
        told = told[:40]
    unknown = [place for place, (_, unknown) in enumerate(told) if unknown]
    return [code for code, _ in told], unknown, wrong


def _lanes(text: str, packing: Packing) -> list[str]:
    """Words of two hex digits, one a line or several."""
    if packing.lanes == 1:
        return text.split()
    words = []
    for each in text.split():
        if len(each) != 2 * packing.lanes:
            raise ValueError
        parts = re.findall("..", each)
        words += parts[::-1] if packing.lane_order == LOW_FIRST else parts
    return words


def _word(text: str, radix: str) -> tuple[int, bool]:
    known = re.sub("[xzXZ?]", "0", text) if radix in ("HEX", "BIN") else text
    number = _number(known, radix)
    return number - 256 * (radix != "DEC" and 128 <= number < 256), known != text


def _number(text: str, radix: str) -> int:
    if not re.fullmatch("[-+]?[0-9]+" if radix == "DEC" else "[0-9a-fA-F]+", text):
        raise ValueError
    number = int(text, BASES[radix])
    if abs(number) >= 1 << 63:
        raise ValueError
    return number


def entries(rng: np.random.Generator, radices: tuple[str, str], packing: Packing) -> list[str]:
    """Entries of any kind, without their semicolons."""

    def blank() -> str:
        return str(rng.choice(["", "", " ", "\t", "  ", "\r\n", "\n"]))

    def address(number: int) -> str:
        return "0" * int(rng.integers(3)) + DIGITS[BASES[radices[0]]].format(number)

    def word() -> str:
        codes = rng.integers(0, 256, packing.lanes)
        if packing.lanes > 1:
            return "".join(f"{code:02x}" for code in codes)
        if radices[1] in ("HEX", "BIN") and rng.random() < 0.1:
            return str(rng.choice(["x1", "1z", "x"])) if radices[1] == "HEX" else "xxxx"
        return DIGITS[BASES[radices[1]]].format(int(codes[0]) - 128 * (radices[1] == "DEC"))

    out, lines = [], -(-40 // packing.lanes)
    for _ in range(int(rng.integers(30))):
        first, last = sorted(int(each) for each in rng.integers(lines, size=2))
        place = address(first)
        if rng.random() < 0.5:
            place = f"[{blank()}{place}{blank()}..{blank()}{address(last)}{blank()}]"
        words = " ".join(word() for _ in range(int(rng.choice([0, 1, 1, 1, 1, 2, 3, 5]))))
        out.append(f"{blank()}{place}{blank()}:{blank()}{words}{blank()}")
        if rng.random() < 0.1:
            out.append(blank())
    return out


def read(path: Path, body: str, radices: tuple[str, str], packing: Packing = PLAIN) -> mif.Words:
    header = f"WIDTH=8;ADDRESS_RADIX={radices[0]};DATA_RADIX={radices[1]};CONTENT BEGIN "
    path.write_bytes(f"{header}{body}END;".encode())
    return mif.read(path, SMALL, packing)


@pytest.mark.parametrize("piece", [40, 1 << 19])
def test_entries_of_every_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    monkeypatch.setattr(mif, "PIECE", piece)
    rng, ranges = np.random.default_rng(3), 0
    for _ in range(150):
        radices = str(rng.choice(list(BASES))), str(rng.choice(list(BASES)))
        packing = PLAIN
        if radices[1] == "HEX" and rng.random() < 0.5:
            packing = Packing(3, str(rng.choice([LOW_FIRST, HIGH_FIRST])), BIG)
        body = ";".join(entries(rng, radices, packing)) + str(rng.choice(["", ";", ";;"])) + "\n"
        codes, unknown, wrong = by_definition(body, radices, packing)
        words = read(tmp_path / "a", body, radices, packing)
        assert not wrong and words.codes.dtype == words.unknown.dtype == np.int64, body
        assert (words.codes.tolist(), words.unknown.tolist()) == (codes, unknown), body
        ranges += body.count("[")
    assert ranges > 500


def test_what_is_no_entry_is_refused_by_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mif, "PIECE", 256)
    rng, refused = np.random.default_rng(5), 0
    signs = [":", ";", "[", "]", ".", "..", "-", "_", "G", "g", "2", "x", " ", "99", "+"]
    for _ in range(500):
        radices = str(rng.choice(list(BASES))), str(rng.choice(list(BASES)))
        lines = [re.sub(r"\s", " ", each) for each in entries(rng, radices, PLAIN)] or ["0:1"]
        at = int(rng.integers(len(lines)))
        place = int(rng.integers(len(lines[at]) + 1))
        lines[at] = lines[at][:place] + str(rng.choice(signs)) + lines[at][place:]
        body = "\n" + ";\n".join(lines) + ";\n"
        if "--" in body:  # a comment
            continue
        codes, unknown, wrong = by_definition(body, radices)
        try:
            words = read(tmp_path / "a", body, radices)
        except DataError as error:
            line = re.search(r" line (\d+): ", str(error))
            assert line is not None and int(line[1]) in wrong, (body, str(error), wrong)
            refused += 1
        else:
            assert not wrong, (body, wrong)
            assert words.unknown.tolist() == unknown, body
            known = np.delete(np.arange(len(codes)), unknown)
            assert np.array_equal(words.codes[known], np.array(codes, int)[known]), body
    assert 100 < refused < 500


REFUSED = {
    "[0..28] : 1": "address 40; expected 0 to 39",
    "28 : 1": "address 40; expected 0 to 39",
    "[5..3] : 1": "addresses 5..3; expected the lower one first",
    "[x..3] : 1": "address 'x'; expected a hex number",
    "[0..0x3] : 1": "address '0x3'; expected a hex number",
    "[0..1_0] : 1": "'1_0'; expected a hex number below 2**63",
    "[0..-3] : 1": "'-3'; expected a hex number below 2**63",
    "[0..3 : 1": "'[0..3 : 1'; expected address : data;",
    "0..3] : 1": "'0..3] : 1'; expected address : data;",
    "[0.3] : 1": "'[0.3] : 1'; expected address : data;",
    "[0. .3] : 1": "'[0. .3] : 1'; expected address : data;",
    "[0...3] : 1": "'[0...3] : 1'; expected address : data;",
    "[0..3..5] : 1": "'[0..3..5] : 1'; expected address : data;",
    "[..3] : 1": "'[..3] : 1'; expected address : data;",
    "[] : 1": "'[] : 1'; expected address : data;",
    "[0..3] 4 : 1": "'[0..3] 4 : 1'; expected address : data;",
    "[0..3][4..5] : 1": "'[0..3][4..5] : 1'; expected address : data;",
    "[0..3] : [1]": "'[0..3] : [1]'; expected address : data;",
    "[0..3] : 1 : 2": "'[0..3] : 1 : 2'; expected address : data;",
    "[0..3] = 1": "'[0..3] = 1'; expected address : data;",
    ": 1": "': 1'; expected address : data;",
    "[0..3] : 1g": "'1g'; expected a hex number below 2**63",
}


@pytest.mark.parametrize("entry", REFUSED)
def test_ranges_that_are_none(tmp_path: Path, entry: str) -> None:
    body = f"\n[0..1] : 1;\n0 : 1;\n\n{entry};\n"
    with pytest.raises(DataError) as error:
        read(tmp_path / "a", body, ("HEX", "HEX"))
    assert str(error.value) == f"{tmp_path / 'a'} line 5: {REFUSED[entry]}"


def test_a_file_of_any_number_of_ranges(tmp_path: Path) -> None:
    """As the largest layers' files are, half of the entries ranges: in seconds."""
    rng, count = np.random.default_rng(6), 200_000
    sizes = np.where(np.arange(count) % 2, 1, rng.integers(2, 6, count))
    firsts, values = np.cumsum(sizes) - sizes, rng.integers(-128, 128, count)
    rows = zip(firsts.tolist(), (firsts + sizes - 1).tolist(), (values & 255).tolist())
    text = [
        f"[{a:x}..{b:x}]  :   {v:02X};" if a < b else f"{a:x}  :   {v:02X};" for a, b, v in rows
    ]
    lines = ["ADDRESS_RADIX=HEX;", "DATA_RADIX=HEX;", "CONTENT BEGIN", *text, "END;", ""]
    (tmp_path / "a").write_text("\r\n".join(lines))
    large = array(8, True, (int(sizes.sum()),), "a.sum")
    began = time.monotonic()
    words = mif.read(tmp_path / "a", large, PLAIN)
    assert time.monotonic() - began < 5
    assert not words.unknown.size
    assert np.array_equal(words.codes, np.repeat(values, sizes))
    lines[-3] = lines[-3].replace(":", ": :")
    (tmp_path / "a").write_text("\r\n".join(lines))
    began = time.monotonic()
    with pytest.raises(DataError, match=f"line {count + 3}: .*; expected address : data;"):
        mif.read(tmp_path / "a", large, PLAIN)
    assert time.monotonic() - began < 5


def test_one_entry_of_many_words(tmp_path: Path) -> None:
    values = np.random.default_rng(7).integers(-128, 128, 300_000)
    text = " ".join(f"{value & 255:02x}" for value in values.tolist())
    for place in ("0", "[0..493df]"):
        (tmp_path / "a").write_text(f"CONTENT BEGIN\n{place} : {text};\nEND;\n")
        words = mif.read(tmp_path / "a", array(8, True, (300_000,), "a.sum"), PLAIN)
        assert np.array_equal(words.codes, values) and not words.unknown.size
