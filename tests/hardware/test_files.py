"""Files of words: written in parts, read back, read as others write them, refused if broken."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from refq.errors import DataError, OptionError
from refq.hardware.files import file_format, file_formats, hdf5, npz
from refq.hardware.files.array import Array
from refq.hardware.files.words import BIG, HIGH_FIRST, LITTLE, LOW_FIRST, Packing, hex_lines
from tests.machine import needs

TEXTS = ("mem", "hex", "coe", "mif")
BINARY = ("raw", "npy", "npz", "hdf5")
PLAIN = Packing(byte_order=BIG)
SHAPE = (2, 3, 5, 7)


def array(
    bits: int, signed: bool, shape: tuple[int, ...] = SHAPE, name: str = "conv1.sum"
) -> Array:
    kind = "s" if signed else "u"
    text = f"fxp-{kind}{bits}/-3 = ap_{'' if signed else 'u'}fixed<{bits},{bits + 3}>"
    return Array(name, shape, ("N", "C", "H", "W")[: len(shape)], bits, signed, text)


def codes_of(own: Array, seed: int = 1) -> np.ndarray:
    """Random codes, with the ends of the range among them."""
    half = 1 << (own.bits - 1)
    low, high = (-half, half) if own.signed else (0, 2 * half)
    out = np.random.default_rng(seed).integers(low, high, own.shape, np.int64)
    out.reshape(-1)[:4] = [low, high - 1, 0, max(low, -1)]
    return out


def place(folder: Path, format_: str, own: Array) -> Path:
    module = file_format(format_)
    return folder / (module.SINGLE or own.name + module.SUFFIX)


def written(
    folder: Path,
    format_: str,
    own: Array,
    codes: np.ndarray,
    packing: Packing,
    parts: tuple[int, ...] = (),
) -> Path:
    """A file, made in parts that end at those words."""
    folder.mkdir(exist_ok=True)
    writer = file_format(format_).writer(folder, packing)
    for part in np.split(codes.reshape(-1), parts):
        writer.append(own, part)
    writer.close()
    return place(folder, format_, own)


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


SMALL = array(12, True, (2, 3), "a.sum")
SMALL_CODES = np.array([1, -2, 3, -2048, 2047, 100])
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


# word of 8 signed bits, 5 of them: format, text, codes, unknown words
FOREIGN: list[tuple[str, str, list[int], list[int]]] = [
    ("mem", "// 0x00000000\n01\nFE\n// 0x00000002\n03\n80\n7f\n", [1, -2, 3, -128, 127], []),
    ("mem", "/* two\n lines */ 01 fe\t03\r\n80\r\n\r\n7F", [1, -2, 3, -128, 127], []),
    ("mem", "0_1\nf_e\n0003\n80 // why\n7f\n", [1, -2, 3, -128, 127], []),
    ("hex", "1\nfe\n3\n80\n7f\n", [1, -2, 3, -128, 127], []),
    ("mem", "1\nxx\n3x\nZ0\n7f\n", [1, 0, 48, 0, 127], [1, 2, 3]),
    ("mem", "@3 80 7f\n@0\n01 fe 03\n", [1, -2, 3, -128, 127], []),
    ("mem", "@1\nfe\n@4\n7f\n", [0, -2, 0, 0, 127], [0, 2, 3]),
    ("mem", "@2\nx1 80\n@0\n01\n0z\n", [1, 0, 1, -128], [1, 2]),
    ("mem", "01\nfe\n", [1, -2], []),
    # more bits than the word: the number stays
    ("mem", "01\n1fe\n003\nff80\n7f\n", [1, 510, 3, 65408, 127], []),
    ("mem", "7fffffffffffffff\n", [2**63 - 1], []),
    # cut off within the last word
    ("mem", "01\nfe\n03\n8", [1, -2, 3], []),
    ("coe", "MEMORY_INITIALIZATION_RADIX = 16 ;\n; so\nMEMORY_INITIALIZATION_VECTOR =\n"
            "01, FE 03\n; and so\n,80,\n7f ; ", [1, -2, 3, -128, 127], []),
    ("coe", "memory_initialization_radix=2;memory_initialization_vector=1,11111110,\n11 10000000 "
            "01111111;", [1, -2, 3, -128, 127], []),
    ("coe", "memory_initialization_radix=10;\nmemory_initialization_vector=1,-2,3,-128,254;",
     [1, -2, 3, -128, 254], []),
    ("coe", "memory_initialization_radix=10;\nmemory_initialization_vector=\n1,\n-2,\n3", [1, -2],
     []),
    ("mif", "WIDTH=8;DEPTH=5; ADDRESS_RADIX=UNS; DATA_RADIX=BIN;\ncontent begin\n"
            "0:1; 1 : 11111110;\n[2..4] : 11;\nend;", [1, -2, 3, 3, 3], []),
    ("mif", "ADDRESS_RADIX=HEX; DATA_RADIX=DEC; CONTENT BEGIN 0 : 1 -2 3; 3 : -128; 4 : 255; END;",
     [1, -2, 3, -128, 255], []),
    ("mif", "DATA_RADIX=UNS; CONTENT BEGIN % all: 9; % 4 : 127; -- last\n1:254;END;",
     [0, -2, 0, 0, 127], [0, 2, 3]),
    ("mif", "DATA_RADIX=OCT; CONTENT BEGIN\n0 : 1;\n1 : 376;\n2 : 3;\n3", [1, -2, 3], []),
    ("mif", "CONTENT BEGIN\n0 : xx;\n1 : fe;\nEND;", [0, -2], [0]),
    ("c", "const int8_t a_sum[] = {1, -2, 3, /* least */ -128, 127};", [1, -2, 3, -128, 127], []),
    ("c", "int q[2]={9,9}; int8_t a_sum[5] = {{0x1, -0x2}, {3u, 0x80}, {127L}};",
     [1, -2, 3, 128, 127], []),
    ("c", "int8_t other[5] = {\n1, -2,\n 3, -128, 12", [1, -2, 3, -128], []),
]  # fmt: skip


@pytest.mark.parametrize(
    ("format_", "text", "codes", "unknown"),
    FOREIGN,
    ids=[f"{f[0]}{i}" for i, f in enumerate(FOREIGN)],
)
def test_files_of_other_tools(
    tmp_path: Path, format_: str, text: str, codes: list[int], unknown: list[int]
) -> None:
    path = tmp_path / "a.sum"
    path.write_bytes(text.encode())
    words = file_format(format_).read(path, array(8, True, (5,), "a.sum"), PLAIN)
    assert words.codes.tolist() == codes
    assert words.unknown.tolist() == unknown


def test_lanes_of_other_tools(tmp_path: Path) -> None:
    own, path = array(12, True, (5,), "a.sum"), tmp_path / "a"
    path.write_text("2001\n0xx003\nFFF\n")
    words = file_format("mem").read(path, own, Packing(2, LOW_FIRST, BIG))
    # the sixth only fills up the last line
    assert words.codes.tolist() == [1, 2, 3, 0, -1]
    assert words.unknown.tolist() == [3]
    path.write_text("@1\nfff003\n")
    words = file_format("mem").read(path, own, Packing(2, LOW_FIRST, BIG))
    assert (words.codes.tolist(), words.unknown.tolist()) == ([0, 0, 3, -1], [0, 1])


def test_words_of_many_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("refq.hardware.files.parsing.PIECE", 64)
    own = array(13, True)
    codes = codes_of(own)
    for format_ in (*TEXTS, "c"):
        packing = Packing(3, byte_order=BIG)
        path = written(tmp_path, format_, own, codes, packing)
        words = file_format(format_).read(path, own, packing)
        assert np.array_equal(words.codes, codes.reshape(-1)), format_


@pytest.mark.parametrize("dtype", ["<i8", ">i2", "<i4", "|i1", ">u4", "|b1"])
def test_any_integers_of_any_shape(tmp_path: Path, dtype: str) -> None:
    own = array(7, True, (2, 3, 5), "a.sum")
    codes = np.random.default_rng(2).integers(0, 2 if dtype == "|b1" else 64, (5, 6)).astype(dtype)
    np.save(tmp_path / "a.npy", codes)
    np.save(tmp_path / "f.npy", np.asfortranarray(codes))
    dump: Any = {"a.sum": codes}
    np.savez(tmp_path / "a.npz", **dump)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["a.sum"] = codes
    for format_, name in (("npy", "a.npy"), ("npy", "f.npy"), ("npz", "a.npz"), ("hdf5", "a.h5")):
        words = file_format(format_).read(tmp_path / name, own, PLAIN)
        assert words.codes.tolist() == codes.astype(int).reshape(-1).tolist(), name


def test_wider_raw_words_and_cut_ones(tmp_path: Path) -> None:
    own, path = array(7, True, (5,)), tmp_path / "a.bin"
    np.array([1, -2, 3, -64, 63], "<i4").tofile(path)
    read = file_format("raw").read
    assert read(path, own, Packing()).codes.tolist() == [1, -2, 3, -64, 63]
    wide = array(12, False, (5,))
    path.write_bytes(bytes([1, 0, 255, 15, 7]))
    assert read(path, wide, Packing()).codes.tolist() == [1, 4095]


def test_cut_npy(tmp_path: Path) -> None:
    own, path = array(12, True, (5,)), tmp_path / "a.npy"
    np.save(path, np.arange(5, dtype=np.int16))
    path.write_bytes(path.read_bytes()[:-3])
    assert file_format("npy").read(path, own, PLAIN).codes.tolist() == [0, 1, 2]


COE = "memory_initialization_radix=16;\nmemory_initialization_vector=\n"
REFUSED: list[tuple[str, str, str]] = [
    ("mem", "01\n0g\n", "line 2: '0g'; expected a hex number below 2\\*\\*63"),
    ("mem", "/* c\n */ 01\n\n-1\n", "line 4: '-1'"),
    ("mem", "8000000000000000\n", "line 1: '8000000000000000'; expected a hex number below"),
    ("mem", "01\n" + "9" * 200 + "\n", "line 2: '9999.*'\\.\\.\\."),
    ("mem", "@zz 01", "line 1: address @'zz'; expected hex digits"),
    ("mem", "01\n@7 02", "line 2: address @'7'; expected at most 5"),
    ("mem", "/* open\n01\n", "line 1: '/\\*'"),
    ("coe", "memory_initialization_vector=1;", "no memory_initialization_radix"),
    ("coe", "memory_initialization_radix=16;", "no memory_initialization_vector"),
    ("coe", COE.replace("16", "8") + "1;", "radix 8; expected 2, 10 or 16"),
    ("coe", COE.replace("16", "10") + "1,\n9223372036854775808;", "line 4: '9223372036854775808'"),
    ("coe", COE.replace("16", "10") + "1,1-2;", "line 3: '1-2'; expected a decimal number"),
    ("coe", COE.replace("16", "2") + "1,\n12;", "line 4: '12'; expected a binary number"),
    ("coe", COE + "1,2;\n3;\n", "text after the ; that ends the vector"),
    ("mif", "0 : 1;", "no CONTENT BEGIN"),
    ("mif", "DATA_RADIX=TEN; CONTENT BEGIN 0 : 1; END;", "radix TEN; expected one of HEX, BIN"),
    ("mif", "CONTENT BEGIN\n0 : 1;\n1 2;\nEND;", "line 3: '1 2'; expected address : data;"),
    ("mif", "CONTENT BEGIN\n[0..5] : 1;\nEND;", "line 2: address 5; expected 0 to 4"),
    ("mif", "CONTENT BEGIN\n\n-1 : 1;\nEND;", "line 3: '-1'; expected a hex number"),
    ("mif", "CONTENT BEGIN\n0 : 1;\n1 : 2g;\nEND;", "line 3: '2g'; expected a hex number"),
    ("c", "int x;", "0 arrays, none a_sum; expected one"),
    ("c", "int a[1] = {1}; int b[1] = {2};", "2 arrays, none a_sum"),
    ("c", "int a_sum[2] = {1,\n010};", "line 2: a number that begins with 0"),
    ("c", "int a_sum[2] = {1,\nINT8_MIN};", "line 2: 'INT8_MIN'"),
    ("c", "int a_sum[2] = {1,\n0xfffffffffffffffff};", "line 2: '0xfffffffffffffffff'"),
    ("c", "float a_sum[2] = {1, 2.5};", "line 1: '2.5'; expected a decimal number"),
    ("npy", "no numpy", "no .npy header of version 1 or 2"),
    ("npz", "no zip", "unreadable archive .*; expected a .npz file, whole"),
    ("hdf5", "no h5", "unreadable .*; expected an HDF5 file, whole"),
]


@pytest.mark.parametrize(
    ("format_", "text", "said"), REFUSED, ids=[f"{r[0]}{i}" for i, r in enumerate(REFUSED)]
)
def test_malformed_files_are_refused(tmp_path: Path, format_: str, text: str, said: str) -> None:
    path = tmp_path / "a"
    path.write_bytes(text.encode())
    with pytest.raises(DataError) as error:
        file_format(format_).read(path, array(8, True, (5,), "a.sum"), PLAIN)
    assert re.search(said, str(error.value)), str(error.value)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


def test_numbers_that_are_no_codes_are_refused(tmp_path: Path) -> None:
    own, path = array(8, True, (5,), "a.sum"), tmp_path / "a.npy"
    read = file_format("npy").read
    for bad in (np.zeros(5), np.array(["x"] * 5), np.zeros(5, "M8[s]")):
        np.save(path, bad)
        with pytest.raises(DataError, match=r"dtype .*; expected integer codes"):
            read(path, own, PLAIN)
    np.save(path, np.array([None] * 5), allow_pickle=True)
    with pytest.raises(DataError, match="dtype object; expected integer codes"):
        read(path, own, PLAIN)
    np.save(path, np.full(5, 2**63, np.uint64))
    with pytest.raises(DataError, match=r"9223372036854775808; expected numbers below 2\*\*63"):
        read(path, own, PLAIN)
    with path.open("wb") as file:
        header = {"descr": "<i8", "fortran_order": False, "shape": (1 << 40,)}
        np.lib.format.write_array_header_1_0(file, header)
    with pytest.raises(DataError, match="1099511627776 words; expected 5"):
        read(path, own, PLAIN)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("huge", (1 << 40,), "i8", chunks=(1024,))
        file["float"], file["link"] = np.zeros(5), h5py.ExternalLink("other.h5", "a")
        file["soft"] = h5py.SoftLink("/float")
    for name, said in (
        ("huge", "words; expected 5"),
        ("float", "dtype float64"),
        ("link", "no dataset link"),
        ("soft", "no dataset soft"),
        ("none", "no dataset none"),
    ):
        with pytest.raises(DataError, match=said):
            file_format("hdf5").read(tmp_path / "a.h5", array(8, True, (5,), name), PLAIN)
    np.savez(tmp_path / "a.npz", other=np.zeros(5, int))
    with pytest.raises(DataError, match=r"no array a.sum"):
        file_format("npz").read(tmp_path / "a.npz", own, PLAIN)


@pytest.mark.parametrize("format_", file_formats())
def test_absent_file(tmp_path: Path, format_: str) -> None:
    with pytest.raises(DataError, match=r"none"):
        file_format(format_).read(tmp_path / "none", SMALL, PLAIN)


def _cut(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: rng.integers(len(data))]


def _flipped(data: bytes, rng: np.random.Generator) -> bytes:
    out = bytearray(data)
    for at in rng.integers(len(out), size=rng.integers(1, 4)):
        out[at] ^= 1 << int(rng.integers(8))
    return bytes(out)


def _repeated(data: bytes, rng: np.random.Generator) -> bytes:
    first, last = sorted(rng.integers(len(data), size=2))
    return data[:last] + data[first:]


@pytest.mark.parametrize("spoil", [_cut, _flipped, _repeated])
@pytest.mark.parametrize("format_", file_formats())
def test_spoiled_files_give_words_or_one_line(
    tmp_path: Path, format_: str, spoil: Callable[[bytes, np.random.Generator], bytes]
) -> None:
    own, module = array(12, True, (2, 3, 7), "a.sum"), file_format(format_)
    rng = np.random.default_rng(11)
    packing = Packing(2, byte_order=BIG) if module.TEXT else PLAIN
    codes = codes_of(own)
    path = written(tmp_path, format_, own, codes, packing)
    data, refused, count = path.read_bytes(), 0, 40 if format_ == "hdf5" else 120
    for _ in range(count):
        path.write_bytes(spoil(data, rng))
        try:
            words = module.read(path, own, packing)
        except DataError as error:
            assert "\n" not in str(error)
            refused += 1
        else:
            assert words.codes.dtype == words.unknown.dtype == np.int64
            assert words.codes.ndim == 1
            if spoil is _cut:  # but for the last line, of two words
                whole = words.codes[:-2]
                assert np.array_equal(whole, codes.reshape(-1)[: whole.size])
    # words alone say nothing of how many there should be; containers notice every cut
    assert refused or format_ == "raw" or (spoil is _cut and format_ in ("hex", "mem"))
    assert refused < count or format_ in ("hdf5", "npz")


def test_icarus_reads_and_writes_words(tmp_path: Path) -> None:
    needs("iverilog")
    own = array(12, True, (7, 5), "a.sum")
    codes = codes_of(own)
    path = written(tmp_path, "mem", own, codes, PLAIN)
    source = tmp_path / "copy.v"
    source.write_text(
        f"module copy; reg [11:0] words [0:35]; initial begin\n"
        f'$readmemh("{path}", words, 0, 34); words[3] = words[3] ^ 12\'h801;\n'
        f'$writememh("{tmp_path}/out.mem", words); end endmodule\n'
    )
    subprocess.run(["iverilog", "-o", tmp_path / "copy", source], check=True)
    subprocess.run(["vvp", tmp_path / "copy"], check=True, capture_output=True)
    words = file_format("mem").read(tmp_path / "out.mem", own, PLAIN)
    wanted = codes.reshape(-1).copy()
    wanted[3] = ((int(wanted[3]) ^ 0x801) + 2048) % 4096 - 2048
    # the simulator's last word was never written: x
    assert words.codes.tolist() == [*wanted.tolist(), 0]
    assert words.unknown.tolist() == [35]


def test_a_compiler_reads_headers(tmp_path: Path) -> None:
    needs("gcc")
    own = array(40, True, (3, 5), "a.sum")
    codes = codes_of(own)
    written(tmp_path, "c", own, codes, PLAIN)
    (tmp_path / "main.c").write_text(
        '#include <inttypes.h>\n#include <stdio.h>\n#include "a.sum.h"\n'
        "int main(void) { for (int i = 0; i < A_SUM_N * A_SUM_C; i++)"
        ' printf("%" PRId64 "\\n", a_sum[i]); return 0; }\n'
    )
    command = [
        "gcc",
        "-std=c99",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-pedantic",
        "main.c",
        "-o",
        "main",
    ]
    subprocess.run(command, cwd=tmp_path, check=True)
    out = subprocess.run([tmp_path / "main"], capture_output=True, text=True, check=True)
    assert list(map(int, out.stdout.split())) == codes.reshape(-1).tolist()


def test_lines_are_what_the_page_says() -> None:
    # the worked example of docs/golden-vectors.md, by hand
    lines = hex_lines(np.array([1, 2, -1]), 12, Packing(2, LOW_FIRST, LITTLE))
    assert lines.tobytes() == b"01000200\nff0f0000\n"
