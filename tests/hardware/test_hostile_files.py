"""Files that were made to take time, memory, or what is not theirs: one line, soon."""

from __future__ import annotations

import json
import os
import re
import resource
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from refq import verify
from refq.errors import DataError
from refq.hardware.files import file_format
from refq.hardware.files.parsing import without_comments
from tests.hardware import golden_set
from tests.hardware.verifying import ARRAYS, run
from tests.hardware.word_files import PLAIN, array

SECONDS, MEGABYTES = 10, 300
SIZE = 300_000
MIF = b"CONTENT BEGIN\n"
LARGE = array(12, True, (100, 1000), "a.sum")
COE = b"memory_initialization_radix=16;\nmemory_initialization_vector=\n"
SLOW: dict[str, tuple[str, bytes]] = {
    "comments without an end": ("mem", b"/* " * (SIZE // 3)),
    "comments that end at once": ("mem", b"/**/" * (SIZE // 4)),
    "lines of comments": ("mem", b"//\n" * (SIZE // 3)),
    "both": ("mem", b"//*\n/*\n*/" * (SIZE // 9)),
    "addresses": ("mem", b"@0 " * (SIZE // 3)),
    "words and addresses": ("hex", b"@0 1\n" * (SIZE // 5)),
    "an address without an end": ("mem", b"@" + b"0" * SIZE),
    "a word without an end": ("mem", b"1" * SIZE),
    "digits without an end": ("mem", b"1 " * 999 + b"0" * SIZE + b" 1" * 999),
    "underscores": ("mem", b"_" * SIZE),
    "blanks": ("mem", b" " * SIZE),
    "percents": ("mif", b"%" * (SIZE + 1)),
    "dashes": ("mif", b"--" * SIZE + MIF),
    "entries": ("mif", MIF + b"1:1;" * (SIZE // 4)),
    "empty entries": ("mif", MIF + b";" * SIZE),
    "ranges": ("mif", MIF + b"[0..1869f]:1;" * (SIZE // 13)),
    "ranges of one word": ("mif", MIF + b"[0..0]:1;" * (SIZE // 9)),
    "ranges of no word": ("mif", MIF + b"[0..1869f]:;" * (SIZE // 12)),
    "ranges that begin": ("mif", MIF + b"[0.." * (SIZE // 4)),
    "an entry that is none, at the end": ("mif", MIF + b"[0..1]:1;" * (SIZE // 9) + b"0;"),
    "opening brackets": ("mif", MIF + b"[" * SIZE),
    "dots": ("mif", MIF + b"." * SIZE + b";"),
    "colons": ("mif", MIF + b":" * SIZE + b";"),
    "words of one entry": ("mif", MIF + b"0:" + b"1 " * (SIZE // 2) + b";"),
    "fields": ("mif", b"WIDTH=" * (SIZE // 6) + MIF),
    "fields of blanks": ("mif", b"WIDTH = 8 " * (SIZE // 10) + MIF),
    "beginnings": ("mif", b"CONTENT " * (SIZE // 8)),
    "vectors": ("coe", COE * (SIZE // len(COE))),
    "semicolons": ("coe", COE + b";\n" * (SIZE // 2)),
    "commas": ("coe", COE + b"," * SIZE),
    "names": ("c", b"a_sum[" * (SIZE // 6)),
    "dimensions": ("c", b"a_sum" + b"[1]" * (SIZE // 3)),
    "names with dimensions": ("c", b"a_sum[1]" * (SIZE // 8)),
    "brackets": ("c", b"] " * (SIZE // 2)),
    "equals": ("c", b"a_sum " + b" " * SIZE + b"="),
    "braces": ("c", b"a_sum[]={" + b"{" * SIZE),
    "numbers of hex": ("c", b"a_sum[]={" + b"0x1," * (SIZE // 4)),
    "a number of hex": ("c", b"a_sum[]={0x" + b"f" * SIZE),
    "a decimal number beside hex": ("c", b"a_sum[]={0x1," + b"9" * SIZE),
}


def bounded(read: Callable[[], Any]) -> str:
    """What a reader says, if anything, in good time and little memory."""
    began = time.monotonic()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        read()
        told = ""
    except DataError as error:
        told = str(error)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert time.monotonic() - began < SECONDS and grown < MEGABYTES << 10
    assert len(told) <= 400 and (told.isprintable() or not told)
    return told


@pytest.mark.parametrize("kind", SLOW)
def test_text_takes_little_time(tmp_path: Path, kind: str) -> None:
    format_, content = SLOW[kind]
    (tmp_path / "a").write_bytes(content)
    bounded(lambda: file_format(format_).read(tmp_path / "a", LARGE, PLAIN))


def test_comments_are_what_they_were() -> None:
    pattern = re.compile(rb"//[^\n]*|/\*.*?\*/", re.DOTALL)
    rng = np.random.default_rng(4)
    for _ in range(3000):
        data = b"".join(rng.choice([b"/", b"*", b"\n", b"a", b"//", b"/*", b"*/"], 12))
        data += b"\n*/"  # one without an end stays, with all that follows it
        wanted = pattern.sub(lambda match: b"\n" * match[0].count(b"\n") or b" ", data)
        got = without_comments(data, b"//", b"/*", b"*/")
        assert got.split() == wanted.split() and got.count(b"\n") == wanted.count(b"\n"), data


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_archives_of_other_methods(tmp_path: Path, method: int) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w", method) as archive:
        archive.writestr("a.sum.npy", b"\x93NUMPY" + bytes(1 << 20))
    told = bounded(lambda: file_format("npz").read(tmp_path / "a.npz", LARGE, PLAIN))
    assert f"compressed by method {method}" in told


def test_archives_that_grow(tmp_path: Path) -> None:
    header = {"descr": "<i8", "fortran_order": False, "shape": (1 << 24,)}
    with (
        zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("a.sum.npy", "w") as file,
    ):
        np.lib.format.write_array_header_1_0(file, header)
        for _ in range(128):
            file.write(bytes(1 << 20))
    assert (tmp_path / "a.npz").stat().st_size < 1 << 18
    read = file_format("npz").read
    assert "16777216 words" in bounded(lambda: read(tmp_path / "a.npz", LARGE, PLAIN))


@pytest.mark.parametrize("format_", ["c", "coe", "hex", "mem", "mif", "raw"])
def test_files_beyond_all_reason(tmp_path: Path, format_: str) -> None:
    with (tmp_path / "a").open("wb") as file:
        file.truncate(1 << 40)
    read = file_format(format_).read
    assert "bytes; expected at most" in bounded(lambda: read(tmp_path / "a", LARGE, PLAIN))


@pytest.mark.parametrize("format_", ["c", "coe", "hex", "mem", "mif", "npy", "npz", "raw"])
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, format_: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        read = file_format(format_).read
        assert "is a pipe or a device" in bounded(lambda: read(path, LARGE, PLAIN))  # noqa: B023
    assert "cannot read" in bounded(lambda: file_format(format_).read(tmp_path, LARGE, PLAIN))


# --- what lies elsewhere ---


@pytest.mark.parametrize(
    "name", ["../../x", "/etc/x", "a/../../x", "..\\x", "", "a//b", "a\x1b[2J"]
)
def test_other_names_stay_in_the_folder(golden: Path, tmp_path: Path, name: str) -> None:
    golden_set.write_files(tmp_path / "dut", ARRAYS)
    own = tmp_path / "golden"
    own.mkdir()
    stored = json.loads((golden / "manifest.json").read_text())
    stored["arrays"][3]["also"] = [name]
    (own / "manifest.json").write_text(json.dumps(stored))
    assert verify.main([str(own), str(tmp_path / "dut"), "--no-hash"]) == 2


def linked(folder: Path, name: str, elsewhere: Path) -> None:
    (elsewhere / name).write_bytes((folder / name).read_bytes())
    (folder / name).unlink()
    (folder / name).symlink_to(elsewhere / name)


def test_links_stay_in_the_folder(
    golden: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own, device, other = (tmp_path / name for name in ("golden", "dut", "other"))
    golden_set.write(own)
    golden_set.write_files(device, ARRAYS)
    other.mkdir()
    assert run(own, device)[0] == 0
    (device / "inside").mkdir()
    linked(device, "conv1.sum.mem", device / "inside")
    (tmp_path / "link").symlink_to("dut")
    assert run(own, tmp_path / "link")[0] == 0
    for folder, name in ((device, "fc.sum.mem"), (own, "fc.sum.mem"), (own, "manifest.json")):
        capsys.readouterr()
        linked(folder, name, other)
        assert run(own, device)[0] == 2
        assert f"{name} leads out of {folder}; expected files of its" in capsys.readouterr().err
        (folder / name).unlink()
        (folder / name).write_bytes((other / name).read_bytes())


def test_a_pipe_among_the_files(golden: Path, tmp_path: Path) -> None:
    golden_set.write_files(tmp_path / "dut", ARRAYS)
    (tmp_path / "dut" / "fc.sum.mem").unlink()
    os.mkfifo(tmp_path / "dut" / "fc.sum.mem")
    began = time.monotonic()
    assert run(golden, tmp_path / "dut")[0] == 2 and time.monotonic() - began < SECONDS
