"""Files of words that other tools wrote, cut off, damaged, or of no use."""

from __future__ import annotations

import re
import subprocess
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from refq.errors import DataError
from refq.hardware.files import file_format, file_formats
from refq.hardware.files.words import BIG, LOW_FIRST, Packing
from tests.hardware.word_files import PLAIN, SMALL, TEXTS, array, codes_of, written
from tests.machine import needs

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
    own = array(8, True, (5,), "a.sum")
    words = file_format(format_).read(path, own, PLAIN)
    assert words.codes.tolist() == codes
    assert words.unknown.tolist() == unknown
    # as other systems end lines, and mark UTF-8
    lines = text.replace("\r\n", "\n")
    for spelled in (lines.replace("\n", "\r"), lines.replace("\n", "\r\n"), f"\ufeff{text}"):
        path.write_bytes(spelled.encode())
        assert file_format(format_).read(path, own, PLAIN).codes.tolist() == codes


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


def test_more_than_one_array(tmp_path: Path) -> None:
    own, path = array(12, True, (5,), "a"), tmp_path / "a.npy"
    np.save(path, np.arange(5, dtype=np.int16))
    whole = path.read_bytes()
    path.write_bytes(whole + b"0")
    with pytest.raises(DataError, match=r"bytes behind its 5 words; expected one array"):
        file_format("npy").read(path, own, PLAIN)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.writestr("a.npy", whole)
        archive.writestr("a.npy", whole)
    with pytest.raises(DataError, match=r"a twice; expected each array once"):
        file_format("npz").read(tmp_path / "a.npz", own, PLAIN)


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
