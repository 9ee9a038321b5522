"""refq.verify finds a device's files, compares them, and refuses what makes no sense."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from refq import verify
from refq.hardware.diagnosis import outcome
from refq.hardware.files import file_formats
from refq.hardware.files.layouts import NHWC, TILED, Layout
from refq.hardware.files.words import HIGH_FIRST, LITTLE, Packing
from tests.hardware import golden_set
from tests.hardware.verifying import ARRAYS, first_wrong, run

TOP = Path(__file__).parents[2]


@pytest.mark.parametrize("format_", file_formats())
def test_equal_in_every_format(golden: Path, tmp_path: Path, format_: str) -> None:
    golden_set.write_files(tmp_path / "dut", ARRAYS, format_)
    status, result = run(golden, tmp_path / "dut", "--complete")
    assert status == 0
    assert result["counts"] == {
        "equal": 19,
        "different": 0,
        "truncated": 0,
        "unknown bits": 0,
        "absent": 0,
    }
    assert {each["file_format"] for each in result["arrays"]} == {format_}


@pytest.mark.parametrize("format_", ["hdf5", "npz", "raw"])
def test_golden_set_in_other_formats(tmp_path: Path, format_: str) -> None:
    golden_set.write(tmp_path / "golden", format_=format_, layout=Layout(TILED, 4))
    golden_set.write_files(tmp_path / "dut", ARRAYS, "npy", Layout(NHWC))
    assert run(tmp_path / "golden", tmp_path / "dut", "--layout", NHWC)[0] == 0


def test_options_say_how_files_are_packed(golden: Path, tmp_path: Path) -> None:
    packing = Packing(3, HIGH_FIRST, LITTLE)
    golden_set.write_files(tmp_path / "dut", ARRAYS, "hex", Layout(TILED, 4), packing)
    options = ["--format", "hex", "--layout", "tiled", "--tile", "4", "--lanes", "3"]
    options += ["--lane-order", "high-first", "--byte-order", "little"]
    assert run(golden, tmp_path / "dut", *options)[0] == 0
    # or the device's own manifest says so
    told = {"format": "hex", "layout": "tiled", "tile": 4, "packing": vars(packing)}
    (tmp_path / "dut" / "manifest.json").write_text(json.dumps(told))
    assert run(golden, tmp_path / "dut")[0] == 0


def test_truncated_file(golden: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    golden_set.write_files(tmp_path / "dut", ARRAYS)
    path = tmp_path / "dut" / "conv1.sum.mem"
    content = path.read_bytes()
    head = content.index(b"\n", content.rindex(b"//")) + 1
    # 100 words of four digits, and half of the next
    path.write_bytes(content[: head + 100 * 5 + 2])
    status, result = run(golden, tmp_path / "dut")
    assert status == 1
    told = first_wrong(result)
    assert (told["result"], told["found_words"], told["words"]) == ("truncated", 100, 588)
    assert told["wrong"] == 0
    text = capsys.readouterr().out
    assert "TRUNCATED    conv1.sum  100 of 588 words; those are equal\n" in text


def test_unknown_bits(golden: Path, tmp_path: Path) -> None:
    golden_set.write_files(tmp_path / "dut", ARRAYS)
    path = tmp_path / "dut" / "relu1.code.mem"
    lines = path.read_text().splitlines()
    lines[-2], lines[-1] = "x", "Z"
    path.write_text("\n".join(lines))
    status, result = run(golden, tmp_path / "dut")
    told = first_wrong(result)
    assert status == 1
    assert (told["result"], told["unknown"], told["wrong"]) == ("unknown bits", 2, 0)
    assert ARRAYS["relu1.code"].shape == (2, 7, 7, 6)
    assert told["first_unknown"] == {"n": 1, "c": 6, "y": 6, "x": 4}


def test_what_is_no_file_of_its_own_is_told(
    golden: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "dut").mkdir()
    np.save(tmp_path / "dut" / "conv1.sum.npy", ARRAYS["conv1.sum"])
    (tmp_path / "dut" / "relu1.code.npy").symlink_to("nowhere.npy")
    assert verify.main([str(golden), str(tmp_path / "dut")]) == 2
    assert "relu1.code.npy" in capsys.readouterr().err
    (tmp_path / "linked").mkdir()
    with h5py.File(tmp_path / "linked" / "golden.h5", "w") as file:
        file["conv1.sum"] = ARRAYS["conv1.sum"]
        file["relu1.code"] = h5py.ExternalLink("other.h5", "/data")
    assert verify.main([str(golden), str(tmp_path / "linked")]) == 2
    assert "relu1.code" in capsys.readouterr().err


def test_a_reader_that_goes_away_changes_no_exit_code(golden: Path, tmp_path: Path) -> None:
    golden_set.write_files(tmp_path / "dut", {**ARRAYS, "fc.sum": ARRAYS["fc.sum"] + 1})
    command = [sys.executable, "-m", "refq.verify", str(golden), str(tmp_path / "dut"), "--json"]
    process = subprocess.Popen([*command, "-"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.wait(120) == 1 and process.stderr.read() == b""


def test_other_names_of_an_array(golden: Path, tmp_path: Path) -> None:
    (tmp_path / "dut").mkdir()
    np.save(tmp_path / "dut" / "conv2.operand.npy", ARRAYS["relu1.value"].astype(">i4"))
    status, result = run(golden, tmp_path / "dut")
    assert status == 0
    assert [each["name"] for each in result["arrays"]] == ["conv2.operand"]
    dump: Any = {"fc.operand": ARRAYS["relu2.value"]}
    np.savez(tmp_path / "dut" / "dump.npz", **dump)
    assert run(golden, tmp_path / "dut")[1]["counts"]["equal"] == 2


def test_layers_and_completeness(
    golden: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    golden_set.write_files(
        tmp_path / "dut", {"conv1.sum": ARRAYS["conv1.sum"], "fc.sum": ARRAYS["fc.sum"] + 1}
    )
    assert run(golden, tmp_path / "dut", "--layers", "data:relu1")[0] == 0
    assert capsys.readouterr().out == "PASS: 1 equal, 8 absent\n"
    assert run(golden, tmp_path / "dut", "--layers", "data,relu1:conv2,fc")[0] == 1
    assert run(golden, tmp_path / "dut", "--layers", "conv1", "--complete")[0] == 1
    text = capsys.readouterr().out
    assert "absent       conv1.accumulator\n" in text
    assert text.endswith("FAIL: 1 equal, 4 absent; 1 tensors are missing\n")
    assert run(golden, tmp_path / "dut", "--layers", "conv1", "--all")[0] == 0
    assert "equal        conv1.sum  588 words\n" in capsys.readouterr().out


def test_what_fills_up_tiles_is_the_devices_own(golden: Path, tmp_path: Path) -> None:
    # 7 channels in tiles of 4: every eighth word is fill
    layout = Layout(TILED, 4)
    (tmp_path / "dut").mkdir()
    for codes, status in ((ARRAYS["conv1.sum"], 0), (np.roll(ARRAYS["conv1.sum"], 1, 0), 1)):
        words = layout.arranged(codes)
        words[layout.arranged(np.ones_like(codes)) == 0] = 77
        np.save(tmp_path / "dut" / "conv1.sum.npy", words)
        code, result = run(golden, tmp_path / "dut", "--layout", TILED, "--tile", "4")
        assert code == status
    told = first_wrong(result)
    assert told["diagnosis"] == "images in another order: the device's are the golden 1, 0"
    assert told["wrong"] == np.count_nonzero(codes != ARRAYS["conv1.sum"])


def test_longer_file(golden: Path, tmp_path: Path) -> None:
    (tmp_path / "dut").mkdir()
    longer = np.append(ARRAYS["fc.sum"].ravel(), [1, 2, 3])
    np.save(tmp_path / "dut" / "fc.sum.npy", longer)
    status, result = run(golden, tmp_path / "dut")
    assert status == 1
    told = result["arrays"][0]
    assert (told["result"], told["found_words"], told["words"]) == ("different", 25, 22)


def spoil(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


@pytest.mark.parametrize(
    ("prepare", "options", "said"),
    [
        (lambda g, d: shutil.rmtree(g), [], "cannot read .*manifest.json"),
        (lambda g, d: spoil(g / "manifest.json", lambda b: b[:-5]), [], "is no JSON"),
        (lambda g, d: spoil(g / "manifest.json", lambda b: b"[1]"), [], "holds a list"),
        (
            lambda g, d: spoil(g / "manifest.json", lambda b: b.replace(b"sat", b"stat")),
            [],
            "ValueError",
        ),
        (
            lambda g, d: spoil(g / "manifest.json", lambda b: b'{"refq_golden": 2}'),
            [],
            "refq_golden 2; expected 1",
        ),
        (
            lambda g, d: spoil(g / "conv1.sum.mem", lambda b: b[:-2] + b"0\n"),
            [],
            r"conv1.sum.mem is not what was exported \(SHA-256\)",
        ),
        (
            lambda g, d: spoil(g / "conv1.sum.mem", lambda b: b[:-5]),
            [],
            "conv1.sum.mem has .* bytes",
        ),
        (lambda g, d: (g / "fc.sum.mem").unlink(), [], "cannot read .*fc.sum.mem"),
        (lambda g, d: shutil.rmtree(d), [], "is no folder"),
        (
            lambda g, d: [path.unlink() for path in d.iterdir()],
            [],
            r"holds none of data.code, conv1.weight, .* and \d+ more; expected such names as"
            r" \*.mem",
        ),
        (
            lambda g, d: spoil(d / "fc.sum.mem", lambda b: b.replace(b"\n", b"\ng", 7)),
            [],
            "fc.sum.mem line",
        ),
        (lambda g, d: None, ["--layers", "conv9"], "unknown layer 'conv9'"),
        (lambda g, d: None, ["--layers", "fc:conv1"], "FIRST:LAST"),
        (lambda g, d: None, ["--lanes", "0"], "0 lanes"),
        (lambda g, d: None, ["--tile", "-1"], "tiles of -1 channels"),
        (lambda g, d: None, ["--format", "vhdl"], "unknown file format 'vhdl'"),
        (lambda g, d: None, ["--layout", "NCWH"], "one of NCHW, NHWC"),
        (lambda g, d: None, ["--json", "/nowhere/at/all.json"], "cannot write"),
        (
            lambda g, d: (d / "manifest.json").write_text('{"packing": {"lanes": 2}}'),
            [],
            "lane_order",
        ),
    ],
)
def test_bad_input_is_one_line(
    golden: Path,
    tmp_path: Path,
    prepare: Callable[[Path, Path], Any],
    options: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    own, device = tmp_path / "golden", tmp_path / "dut"
    shutil.copytree(golden, own)
    golden_set.write_files(device, ARRAYS)
    prepare(own, device)
    assert verify.main([str(own), str(device), *options]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert re.search(said, err), err


def test_codes_are_hashed_unless_told_not_to(golden: Path, tmp_path: Path) -> None:
    own, device = tmp_path / "golden", tmp_path / "dut"
    shutil.copytree(golden, own)
    golden_set.write_files(device, ARRAYS)
    text = (own / "manifest.json").read_text()
    stated = json.loads(text)["arrays"][0]["codes_sha256"]
    (own / "manifest.json").write_text(text.replace(stated, "0" * 64))
    assert verify.main([str(own), str(device)]) == 2
    assert verify.main([str(own), str(device), "--no-hash"]) == 0


def test_json_keys_are_documented(golden: Path, tmp_path: Path) -> None:
    golden_set.write_files(tmp_path / "dut", {**ARRAYS, "fc.sum": ARRAYS["fc.sum"] >> 1})
    result = run(golden, tmp_path / "dut")[1]
    told = first_wrong(result)
    page = (TOP / "docs" / "verify.md").read_text("utf-8").partition("## JSON")[2]
    keys = [*result, *told, *told["first"], *told["explanations"][0], *told["differences"][0]]
    for key in keys:
        assert f"`{key}`" in page, key


def test_options_and_diagnoses_are_documented() -> None:
    page = (TOP / "docs" / "verify.md").read_text("utf-8")
    known = {row.spelled for row in verify.COMMAND.rows if not row.placed}
    assert set(re.findall(r"^\| `(--[a-z-]+)", page, re.MULTILINE)) == known
    for name in outcome.DUMP_FAULTS:
        assert f"`{name}`" in page, name
