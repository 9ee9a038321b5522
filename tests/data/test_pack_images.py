"""tools/pack_images.py."""

from __future__ import annotations

import os
import runpy
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from refq.data import digest, open_dataset
from refq.data.preprocessing import Preprocessing, apply
from refq.networks import bundled
from tests.data.pictures import INPUT, labels_of, noise, save_image, write_packed

PACK = Path(__file__).parents[2] / "tools" / "pack_images.py"
# the same in this process
TOOL = runpy.run_path(str(PACK))


def pack(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(PACK), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_pack_keeps_equal_images_as_they_are(tmp_path: Path) -> None:
    for name in ("cat/1.png", "cat/2.png", "dog/1.png"):
        save_image(tmp_path / "set" / name, noise(4, 5, 3))
    done = pack(tmp_path / "set", tmp_path / "out.h5", "--licence", "CC0", "--source-note", "me")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{tmp_path / 'out.h5'}: 3 images, ")
    before = open_dataset(str(tmp_path / "set"), INPUT)
    after = open_dataset(str(tmp_path / "out.h5"), INPUT)
    assert (after.name, after.classes) == ("set (2 class folders)", ("cat", "dog"))
    assert labels_of(after) == [0, 1, 0]
    assert digest(before, 3) == digest(after, 3)
    with h5py.File(tmp_path / "out.h5") as file:
        assert (file.attrs["source"], file.attrs["licence"]) == ("me", "CC0")


def test_pack_scales_and_crops(tmp_path: Path) -> None:
    for name, shape in (("1.png", (40, 31)), ("2.png", (9, 90)), ("3.png", (12, 12))):
        save_image(tmp_path / "set" / name, noise(*shape, 3))
    source = open_dataset(str(tmp_path / "set"), INPUT)
    for options, rule in (
        (("--size", "10x14"), Preprocessing((10, 14), (10, 10))),
        (("--shorter", 16, "--crop", 11), Preprocessing((11, 11), (16, 16))),
    ):
        done = pack(tmp_path / "set", tmp_path / "out.h5", *options, "--images", 2)
        assert (done.returncode, done.stderr) == (0, "")
        data = open_dataset(str(tmp_path / "out.h5"), INPUT)
        assert len(data) == 2 and data.labels is None
        for index in range(2):
            wanted = apply(rule, source.image(index)).transpose(1, 2, 0)
            assert (data.image(index) == wanted).all()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("", "the following arguments are required: SOURCE, OUT.h5; see --help"),
        ("random:3 o.h5 --images 2 --images 3", "--images again; expected each option once"),
        ("random:3 o.h5 --imag 2", "unrecognized arguments: --imag 2; see --help"),
        ("random:3 o.h5 --images two", "--images two; expected a whole number"),
        ("random:3 o.h5 --size 9x100000", "--size '9x100000'; expected ROWSxCOLUMNS such as 224"),
        ("random:3 o.h5 --shorter 100000 --crop 9", "which is 99999 at most"),
        ("random:3 o.h5 --split test", "--split with random noise (seed 0); expected bundled or"),
        ("random:3 o.h5 --split dev", "--split dev; expected one of test, calibration"),
        ("random:3 .", "cannot write .; expected a file in an existing folder"),
        ("random:3 ''", "OUT.h5 ''; expected a value"),
        ("'' o.h5", "SOURCE ''; expected a value"),
        ("bundled weights/new.h5", "within "),
    ],
)
def test_pack_parses_as_commands_do(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: str,
    told: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights").symlink_to(bundled.folders()[0])
    assert TOOL["main"](shlex.split(arguments)) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("pack_images: ") and err.count("\n") == 1
    assert told in err
    assert [path.name for path in tmp_path.iterdir()] == ["weights"]


def test_pack_out_of_memory_names_its_own_options(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: object) -> None:
        raise MemoryError

    monkeypatch.setitem(TOOL["main"].__globals__, "open_dataset", full)
    assert TOOL["main"](["random:3", str(tmp_path / "o.h5")]) == 2
    told = "pack_images: out of memory; expected more of it, or a smaller --size or --shorter or"
    assert capsys.readouterr().err.startswith(told)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ((), "image 1 is 6x4; expected 4x5 like those before it; give --size ROWSxCOLUMNS"),
        (("--size", "5"), "--size '5'; expected ROWSxCOLUMNS such as 224x224"),
        (("--size", "0x5"), "--size '0x5'; expected"),
        (("--size", "5x5", "--crop", "5"), "--size with --shorter or --crop; expected one or"),
        (("--crop", "5"), "one of --shorter and --crop; expected both; or give --size"),
        (("--shorter", "4", "--crop", "5"), "--shorter 4 --crop 5; expected a crop of 1 up to"),
        (("--size", "5x5", "--images", "4"), "--images 4; expected 1..3 of set (image folder)"),
        (("--size", "5x5"), "3.png (an unknown format); expected one of BMP, "),
    ],
)
def test_pack_errors_are_one_line_and_leave_nothing(
    tmp_path: Path, options: tuple[object, ...], text: str
) -> None:
    save_image(tmp_path / "set" / "1.png", noise(4, 5, 3))
    save_image(tmp_path / "set" / "2.png", noise(6, 4, 3))
    (tmp_path / "set" / "3.png").write_text("no image")
    (tmp_path / "out").mkdir()
    done = pack(tmp_path / "set", tmp_path / "out" / "out.h5", *options)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("pack_images: ") and done.stderr.count("\n") == 1
    assert text in done.stderr
    assert list((tmp_path / "out").iterdir()) == []


def test_pack_takes_no_arrays(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", noise(2, 3, 5, 5))
    done = pack(tmp_path / "x.npy", tmp_path / "out.h5", "--size", "5x5")
    assert done.returncode == 2 and "x.npy (uint8), an array; expected images" in done.stderr


def test_pack_numbers_classes_and_skips_images(tmp_path: Path) -> None:
    names = ("0/1.png", "2/1.png", "10/1.png", "10/2.png")
    for name in names:
        save_image(tmp_path / "set" / name, noise(4, 5, 3))
    (tmp_path / "set" / "__MACOSX").mkdir()
    bad = tmp_path / "set" / "2" / "1.png"
    bad.write_bytes(bad.read_bytes()[:50])
    done = pack(tmp_path / "set", tmp_path / "out.h5")
    assert done.returncode == 2 and f"cannot decode {bad}" in done.stderr
    skip = ("--bad-images", "skip")
    done = pack(tmp_path / "set", tmp_path / "out.h5", *skip, "--class-order", "codepoint")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[1] == "left out: __MACOSX"
    assert done.stdout.splitlines()[2].startswith(f"skipped: cannot decode {bad} (")
    data = open_dataset(str(tmp_path / "out.h5"), INPUT)
    assert labels_of(data) == [0, 1, 1] and data.classes == ("0", "10", "2")
    (tmp_path / "classes").write_text("10 7\n2 5\n0 3\n")
    done = pack(tmp_path / "set", tmp_path / "out.h5", *skip, "--classes", tmp_path / "classes")
    assert (done.returncode, done.stderr) == (0, "")
    assert labels_of(open_dataset(str(tmp_path / "out.h5"), INPUT)) == [3, 7, 7]


@pytest.mark.skipif(os.name != "posix", reason="names of files are bytes on POSIX")
def test_pack_takes_any_name(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    save_image(folder / os.fsdecode(b"\xff") / "1.png", noise(4, 5, 3))
    save_image(folder / "日本" / "1.png", noise(4, 5, 3))
    done = pack(folder, tmp_path / "out.h5")
    assert (done.returncode, done.stderr) == (0, "")
    data = open_dataset(str(tmp_path / "out.h5"), INPUT)
    assert data.name == "caf\\udce9 (2 class folders)" and labels_of(data) == [0, 1]
    assert data.classes is not None and "日本" in data.classes


def test_pack_over_an_existing_file_keeps_it_on_errors(tmp_path: Path) -> None:
    write_packed(tmp_path / "out.h5")
    before = (tmp_path / "out.h5").read_bytes()
    (tmp_path / "set").mkdir()
    assert pack(tmp_path / "set", tmp_path / "out.h5").returncode == 2
    assert (tmp_path / "out.h5").read_bytes() == before
    done = pack(tmp_path / "out.h5", tmp_path / "set" / ".." / "out.h5", "--images", 2)
    assert done.returncode == 2 and "as SOURCE and as OUT.h5" in done.stderr
    assert (tmp_path / "out.h5").read_bytes() == before


@pytest.mark.skipif(os.name != "posix", reason="Ctrl-C is sent as SIGINT")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_pack_interrupted_leaves_nothing(tmp_path: Path, number: int) -> None:
    command = [sys.executable, str(PACK), "random:1000000", str(tmp_path / "out.h5")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 60
        while not list(tmp_path.iterdir()) and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.2)
        process.send_signal(number)
        _, told = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert told == "pack_images: interrupted, nothing written\n"
    assert list(tmp_path.iterdir()) == []
