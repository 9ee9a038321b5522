"""Files of words, written in parts, to the character, and read back."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from refq.errors import DataError, OptionError
from refq.hardware.files import file_format, file_formats, hdf5, npz
from refq.hardware.files.words import BIG, HIGH_FIRST, LITTLE, LOW_FIRST, Packing, hex_lines
from tests.hardware.word_files import (
    BINARY,
    PLAIN,
    SMALL,
    SMALL_CODES,
    TEXTS,
    array,
    codes_of,
    place,
    written,
)


def packings(format_: str) -> list[Packing]:
    module = file_format(format_)
    if module.TEXT:
        return [
            Packing(lanes, lane_order, byte_order)
            for lanes in (1, 3, 8)
            for lane_order in (LOW_FIRST, HIGH_FIRST)
            for byte_order in (LITTLE, BIG)
        ]
    return [Packing(byte_order=order) for order in (LITTLE, BIG)]


def test_known_formats() -> None:
    assert file_formats() == sorted((*TEXTS, *BINARY, "c"))
    with pytest.raises(
        OptionError, match="unknown file format 'vcd'; expected one of c, coe, hdf5"
    ):
        file_format("vcd")
    suffixes = [file_format(name).SUFFIX for name in file_formats()]
    assert suffixes == [".h", ".coe", ".h5", ".hex", ".mem", ".mif", ".npy", ".npz", ".bin"]


@pytest.mark.parametrize("signed", [True, False], ids=["signed", "unsigned"])
@pytest.mark.parametrize("bits", [1, 5, 8, 12, 28, 40, 63])
@pytest.mark.parametrize("format_", file_formats())
def test_round_trip_in_parts(tmp_path: Path, format_: str, bits: int, signed: bool) -> None:
    own, module = array(bits, signed), file_format(format_)
    codes = codes_of(own)
    for packing in packings(format_):
        whole = written(tmp_path / "whole", format_, own, codes, packing)
        parts = written(tmp_path / "parts", format_, own, codes, packing, (0, 1, 1, 38, 40, 151))
        if format_ != "hdf5":
            assert whole.read_bytes() == parts.read_bytes()
        size = module.size(own, packing)
        if module.TEXT or format_ in ("raw", "npy", "c"):
            assert whole.stat().st_size == size
        for path in (whole, parts):
            words = module.read(path, own, packing)
            assert words.codes.dtype == np.int64
            assert np.array_equal(words.codes, codes.reshape(-1))
            assert not words.unknown.size
        assert [path.name for path in (tmp_path / "whole").iterdir()] == [whole.name]


@pytest.mark.parametrize("format_", file_formats())
def test_arrays_come_in_turns(tmp_path: Path, format_: str) -> None:
    module = file_format(format_)
    arrays = [array(8 + i, True, (4, 3 + i), f"layer{i}.sum") for i in range(3)]
    codes = [codes_of(own, i) for i, own in enumerate(arrays)]
    packing = Packing(5, HIGH_FIRST, module.BYTE_ORDER)
    writer = module.writer(tmp_path, packing)
    for image in range(4):
        for own, each in zip(arrays, codes):
            writer.append(own, each[image : image + 1])
    writer.close()
    for own, each in zip(arrays, codes):
        words = module.read(place(tmp_path, format_, own), own, packing)
        assert np.array_equal(words.codes, each.reshape(-1))
    if module.SINGLE:
        assert sorted(module.names(tmp_path / module.SINGLE)) == [own.name for own in arrays]
        assert (tmp_path / module.SINGLE).stat().st_size < sum(
            module.size(own, packing) for own in arrays
        )


@pytest.mark.parametrize("format_", file_formats())
def test_writers_check(tmp_path: Path, format_: str) -> None:
    module, own = file_format(format_), array(8, True, (3, 5))
    with pytest.raises(DataError, match=r"conv1.sum: codes from -129 to 0; expected -128 to 127"):
        module.writer(tmp_path, PLAIN).append(own, np.array([0, -129]))
    with pytest.raises(DataError, match=r"conv1.sum: 16 words; expected 15"):
        module.writer(tmp_path, PLAIN).append(own, np.zeros(16, np.int8))
    with pytest.raises(DataError, match=r"conv1.sum: codes of dtype float64; expected integers"):
        module.writer(tmp_path, PLAIN).append(own, np.zeros(15))
    writer = module.writer(tmp_path, PLAIN)
    writer.append(own, np.zeros(14, np.uint8))
    with pytest.raises(DataError, match=r"conv1.sum: 14 of 15 words were written"):
        writer.close()


@pytest.mark.parametrize("format_", file_formats())
def test_array_without_words(tmp_path: Path, format_: str) -> None:
    own = array(8, True, (0,))
    path = written(tmp_path / "out", format_, own, np.zeros(0, np.int64), PLAIN)
    assert file_format(format_).read(path, own, PLAIN).codes.size == 0


SMALL_FILES = {
    ("mem", PLAIN): """\
// a.sum
// format fxp-s12/-3 = ap_fixed<12,15>, signed, 12 bits
// shape 2 x 3, axes N C
// 6 words in 6 lines, 3 hex digits a word
001
ffe
003
800
7ff
064
""",
    ("mem", Packing(4, LOW_FIRST, BIG)): """\
// a.sum
// format fxp-s12/-3 = ap_fixed<12,15>, signed, 12 bits
// shape 2 x 3, axes N C
// 6 words in 2 lines, 3 hex digits a word
// 4 lanes, low-first: first word at the right, low end
800003ffe001
0000000647ff
""",
    ("hex", Packing(2, HIGH_FIRST, LITTLE)): "fe0f0100\n00080300\n6400ff07\n",
    ("coe", PLAIN): """\
; a.sum
; format fxp-s12/-3 = ap_fixed<12,15>, signed, 12 bits
; shape 2 x 3, axes N C
; 6 words in 6 lines, 3 hex digits a word
memory_initialization_radix=16;
memory_initialization_vector=
001,
ffe,
003,
800,
7ff,
064;
""",
    ("mif", Packing(2, LOW_FIRST, BIG)): """\
-- a.sum
-- format fxp-s12/-3 = ap_fixed<12,15>, signed, 12 bits
-- shape 2 x 3, axes N C
-- 6 words in 3 lines, 3 hex digits a word
-- 2 lanes, low-first: first word at the right, low end
WIDTH=24;
DEPTH=3;
ADDRESS_RADIX=HEX;
DATA_RADIX=HEX;
CONTENT BEGIN
0 : ffe001;
1 : 800003;
2 : 0647ff;
END;
""",
    ("c", PLAIN): """\
/* a.sum: fxp-s12/-3 = ap_fixed<12,15>; axes N C */
#ifndef REFQ_A_SUM_H
#define REFQ_A_SUM_H

#include <stdint.h>

#define A_SUM_N 2
#define A_SUM_C 3
#define A_SUM_SIZE 6
#define A_SUM_BITS 12
#define A_SUM_SIGNED 1
#define A_SUM_FRAC_BITS -3

static const int16_t a_sum[2 * 3] = {
        1,    -2,     3, -2048,  2047,   100,
};

#endif /* REFQ_A_SUM_H */
""",
}


@pytest.mark.parametrize(("format_", "packing"), SMALL_FILES, ids=str)
def test_files_to_the_character(tmp_path: Path, format_: str, packing: Packing) -> None:
    path = written(tmp_path, format_, SMALL, SMALL_CODES, packing, (1,))
    lines = [line.rstrip() for line in path.read_text().splitlines()]
    assert lines == SMALL_FILES[format_, packing].splitlines()


def test_binary_files_to_the_byte(tmp_path: Path) -> None:
    raw = written(tmp_path, "raw", SMALL, SMALL_CODES, Packing(byte_order=LITTLE)).read_bytes()
    assert raw.hex() == "0100feff030000f8ff076400"
    raw = written(tmp_path, "raw", SMALL, SMALL_CODES, Packing(byte_order=BIG)).read_bytes()
    assert raw.hex() == "0001fffe0003f80007ff0064"
    loaded = np.load(written(tmp_path, "npy", SMALL, SMALL_CODES, PLAIN))
    assert (loaded.dtype, loaded.shape) == (np.dtype("<i2"), (2, 3))
    with np.load(written(tmp_path, "npz", SMALL, SMALL_CODES, PLAIN)) as archive:
        assert np.array_equal(archive["a.sum"], SMALL_CODES.reshape(2, 3))
    with h5py.File(written(tmp_path, "hdf5", SMALL, SMALL_CODES, PLAIN)) as file:
        dataset = file["a.sum"]
        assert np.array_equal(dataset, SMALL_CODES.reshape(2, 3))
        assert (dataset.dtype, dataset.compression, dataset.shuffle) == (np.int16, "gzip", True)
        assert dict(dataset.attrs) == {
            "axes": "N C",
            "bits": 12,
            "signed": True,
            "format": SMALL.format,
        }


def test_archives_are_the_same_every_time(tmp_path: Path) -> None:
    paths = [written(tmp_path / n, "npz", SMALL, SMALL_CODES, PLAIN) for n in ("one", "two")]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    stored = npz.writer(tmp_path, PLAIN, deflated=False)
    stored.append(SMALL, SMALL_CODES)
    stored.close()
    assert (tmp_path / "golden.npz").stat().st_size > paths[0].stat().st_size


def test_hdf5_rows_of_every_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # rows are whole trailing axes: of 7, of 35, or of everything but the first axis
    own = array(9, True)
    codes = codes_of(own)
    for chunk in (1, 7, 20, 40, 1000):
        monkeypatch.setattr(hdf5, "CHUNK", chunk)
        path = written(tmp_path / str(chunk), "hdf5", own, codes, PLAIN, (3, 50, 51, 120))
        assert np.array_equal(hdf5.read(path, own, PLAIN).codes, codes.reshape(-1))


def test_lines_are_what_the_page_says() -> None:
    # the worked example of docs/golden-vectors.md, by hand
    lines = hex_lines(np.array([1, 2, -1]), 12, Packing(2, LOW_FIRST, LITTLE))
    assert lines.tobytes() == b"01000200\nff0f0000\n"
