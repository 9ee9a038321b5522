"""refq.verify finds what is wrong with a device's integers, and says what it is."""

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
from refq.hardware.diagnosis import outcome, report
from refq.hardware.files import file_formats
from refq.hardware.files.layouts import NHWC, TILED, Layout
from refq.hardware.files.words import BIG, HIGH_FIRST, LITTLE, Packing
from tests.hardware import golden_set

TOP = Path(__file__).parents[2]
ARRAYS = golden_set.arrays()
CONV, RELU = ARRAYS["conv1.sum"], np.maximum(ARRAYS["conv1.sum"], 0)
CONV2 = np.maximum(ARRAYS["conv2.sum"], 0)
BIAS = ARRAYS["conv1.bias"][:, None, None]
SHIFT = ARRAYS["conv1.bias_shift"][:, None, None]


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sets") / "golden"
    golden_set.write(folder)
    return folder


def run(golden: Path, device: Path, *options: str) -> tuple[int, dict[str, Any]]:
    """Exit code and JSON."""
    target = device.parent / "result.json"
    target.unlink(missing_ok=True)
    status = verify.main([str(golden), str(device), "--json", str(target), *options])
    return status, json.loads(target.read_text()) if target.exists() else {}


def first_wrong(result: dict[str, Any]) -> dict[str, Any]:
    return next(each for each in result["arrays"] if each["result"] != "equal")


def texts(array: dict[str, Any]) -> list[str]:
    """All explanations that fit every word."""
    return [each["text"] for each in array["explanations"] if each["explained"] == each["of"]]


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


# name of the array, what the device has instead, what has to be said
FAULTS: list[tuple[str, str, Callable[[np.ndarray], np.ndarray], str]] = [
    # roundings; ties-away and ties-pos are the same for what is not negative
    (
        "away",
        "relu1.rounded",
        lambda a: np.minimum(RELU + 8 >> 4, 127),
        "rounding rule: ties-pos (AP_RND) instead of ties-even (AP_RND_CONV)",
    ),
    (
        "floor",
        "relu1.rounded",
        lambda a: np.minimum(RELU >> 4, 127),
        "rounding rule: to-neg (AP_TRN) instead of ties-even (AP_RND_CONV)",
    ),
    (
        "ceiling",
        "relu1.rounded",
        lambda a: np.minimum(-(-RELU >> 4), 127),
        "rounding rule: to-pos (ceiling) instead of ties-even (AP_RND_CONV)",
    ),
    (
        "floor-seen-in-code",
        "relu1.code",
        lambda a: np.minimum((np.minimum(RELU >> 4, 127) + 4) >> 3, 15),
        "rounding rule: to-neg (AP_TRN) instead of ties-even (AP_RND_CONV)",
    ),
    (
        "right",
        "relu1.rounded",
        lambda a: golden_set.ties_even(RELU, 5),
        "shift: sums are shifted 1 place too far right",
    ),
    (
        "left",
        "relu1.rounded",
        lambda a: np.minimum(golden_set.ties_even(RELU, 3), 127),
        "shift: sums are shifted 1 place too far left",
    ),
    (
        "left-wraps",
        "relu1.rounded",
        lambda a: golden_set.ties_even(RELU, 3) & 127,
        "shift: sums are shifted 1 place too far left; missing saturation: wrap (AP_WRAP) instead"
        " of "
        "sat (AP_SAT)",
    ),
    (
        "wrap",
        "relu1.rounded",
        lambda a: golden_set.ties_even(RELU, 4) & 127,
        "missing saturation: wrap (AP_WRAP) instead of sat (AP_SAT)",
    ),
    ("no-bias", "conv1.sum", lambda a: ARRAYS["conv1.accumulator"], "bias: missing"),
    ("two-biases", "conv1.sum", lambda a: a + (BIAS << SHIFT), "bias: added twice"),
    ("minus-bias", "conv1.sum", lambda a: a - 2 * (BIAS << SHIFT), "bias: subtracted"),
    (
        "unshifted-bias",
        "conv1.sum",
        lambda a: a - (BIAS << SHIFT) + BIAS,
        "bias: its shift to the accumulator's fraction is forgotten",
    ),
    (
        "shifted-bias",
        "conv1.sum",
        lambda a: a - (BIAS << SHIFT) + (BIAS << SHIFT - 1),
        "bias: shifted one place too few",
    ),
    (
        "no-bias-seen-in-rounded",
        "relu1.rounded",
        lambda a: np.minimum(
            golden_set.ties_even(np.maximum(ARRAYS["conv1.accumulator"], 0), 4), 127
        ),
        "bias: missing",
    ),
    # storage codes
    (
        "enq-floor",
        "relu1.code",
        lambda a: ARRAYS["relu1.rounded"] >> 3,
        "assignment: floor instead of nearest",
    ),
    (
        "enq-drop",
        "relu1.code",
        lambda a: np.minimum(ARRAYS["relu1.rounded"] + 2 >> 2, 15),
        "storage code: one bit fewer dropped than 3",
    ),
    (
        "enq-index-wraps",
        "relu1.code",
        lambda a: (ARRAYS["relu1.rounded"] + 4 >> 3) & 15,
        "storage code: the index wraps above 15",
    ),
    (
        "enq-decoded",
        "relu1.value",
        lambda a: ARRAYS["relu1.code"] << 2,
        "decoding: shifted left by 2 instead of 3",
    ),
    (
        "index",
        "relu1.value",
        lambda a: ARRAYS["relu1.code"],
        "it holds relu1.code instead of relu1.value",
    ),
    (
        "knq-floor",
        "relu2.code",
        lambda a: np.sum([ARRAYS["relu2.rounded"] >= t for t in (20, 50, 101)], axis=0),
        "assignment: floor instead of nearest",
    ),
    (
        "knq-rounding",
        "relu2.code",
        lambda a: sum((np.minimum(CONV2 >> 4, 127) >= t).astype(int) for t in (12, 35, 76)),
        "rounding rule: to-neg (AP_TRN) instead of ties-even (AP_RND_CONV)",
    ),
    (
        "knq-entry",
        "relu2.value",
        lambda a: np.array([3, 20, 50, 101, 101])[ARRAYS["relu2.code"] + 1],
        "decoding: the codebook's entry after the right one",
    ),
    # signs
    ("negated", "conv1.sum", lambda a: -a, "signs: negated"),
    ("magnitude", "conv1.sum", lambda a: abs(a), "signs: magnitude alone, the sign is lost"),
    (
        "sign-magnitude",
        "conv1.sum",
        lambda a: np.where(a < 0, 2**13 - a, a),
        "signs: written as sign and magnitude",
    ),
    ("ones-complement", "conv1.sum", lambda a: a - (a < 0), "signs: written as ones' complement"),
    (
        "offset-binary",
        "conv1.sum",
        lambda a: a + 2**13,
        "signs: the sign bit is inverted (offset binary)",
    ),
    ("inverted", "conv1.sum", lambda a: ~a, "every bit is inverted"),
    # single bits
    ("stuck-0", "conv1.sum", lambda a: a & ~4, "bit 2 is stuck at 0 in every word"),
    ("stuck-1", "conv1.sum", lambda a: a | 2**12, "bit 12 is stuck at 1 in every word"),
    ("inverted-bit", "conv1.sum", lambda a: a ^ 8, "bit 3 is inverted in every word"),
    ("zeros", "conv1.sum", lambda a: 0 * a, "every word is zero, as if never written"),
    # shifts and ranges of sums, which nothing here computes
    ("sum-right", "fc.sum", lambda a: a >> 1, "shift: 1 place too far right, to-neg (AP_TRN)"),
    (
        "sum-left",
        "conv1.accumulator",
        lambda a: np.clip(2 * a, -4096, 4095),
        "shift: 1 place too far left, sat (AP_SAT)",
    ),
    (
        "narrow-wraps",
        "conv1.sum",
        lambda a: (a + 2**10) % 2**11 - 2**10,
        "range: wrap (AP_WRAP) at 11 bits of 14",
    ),
    (
        "narrow",
        "fc.sum",
        lambda a: np.clip(a, -(2**35), 2**35 - 1),
        "range: sat (AP_SAT) at 36 bits of 40",
    ),
    (
        "symmetric",
        "data.code",
        lambda a: np.maximum(a, -255),
        "range: sat-sym (AP_SAT_SYM), the least code does not occur",
    ),
    (
        "clamped",
        "data.code",
        lambda a: np.maximum(a, 0),
        "negative words are 0: a ReLU where there is none",
    ),
    # places
    (
        "images",
        "conv1.sum",
        lambda a: a[::-1],
        "images in another order: the device's are the golden 1, 0",
    ),
    (
        "late",
        "conv1.sum",
        lambda a: np.roll(a.ravel(), 1).reshape(a.shape),
        "offset: words come 1 word late",
    ),
    (
        "row-early",
        "conv1.sum",
        lambda a: np.roll(a.ravel(), -6).reshape(a.shape),
        "offset: words come 6 words early",
    ),
    (
        "lanes",
        "conv1.sum",
        lambda a: a.reshape(-1, 4)[:, ::-1].reshape(a.shape),
        "lane order: every 4 words are reversed",
    ),
    (
        "lanes-rest",
        "fc.sum",
        lambda a: (
            np.append(a.ravel(), [0, 0])[:24].reshape(-1, 8)[:, ::-1].ravel()[:22].reshape(a.shape)
        ),
        "lane order: every 8 words are reversed",
    ),
    (
        "columns-first",
        "conv1.sum",
        lambda a: a.swapaxes(2, 3).reshape(a.shape),
        "layout: words lie in the order n c x y, read as NCHW",
    ),
    (
        "weights",
        "conv1.weight",
        lambda a: a.swapaxes(0, 1).reshape(a.shape),
        "layout: words lie in the order i o ky kx, read as NCHW",
    ),
]


@pytest.mark.parametrize(
    ("array", "change", "said"), [f[1:] for f in FAULTS], ids=[f[0] for f in FAULTS]
)
def test_planted_fault_is_named(
    golden: Path, tmp_path: Path, array: str, change: Callable[[np.ndarray], np.ndarray], said: str
) -> None:
    codes = {**ARRAYS, array: np.asarray(change(ARRAYS[array]))}
    golden_set.write_files(tmp_path / "dut", codes)
    status, result = run(golden, tmp_path / "dut")
    assert status == 1
    assert [each["name"] for each in result["arrays"] if each["result"] != "equal"] == [array]
    told = first_wrong(result)
    assert said in texts(told), told["explanations"]
    # at most the rules that cannot be told apart on these words are named before it
    assert texts(told).index(said) <= 1
    wrong = np.flatnonzero(codes[array] != ARRAYS[array])
    mask = (1 << golden_set.entry_of(array)[0]) - 1
    assert told["wrong"] == len(
        np.flatnonzero((codes[array].ravel() ^ ARRAYS[array].ravel()) & mask)
    )
    place = np.unravel_index(wrong[0], ARRAYS[array].shape)
    assert list(told["first"]["index"].values()) == [int(each) for each in place]


@pytest.mark.parametrize("layout", [Layout(NHWC), Layout(TILED, 4), Layout(TILED, 8)], ids=str)
def test_layout_is_named(golden: Path, tmp_path: Path, layout: Layout) -> None:
    # tiles have more words than the array; relu1.code has 7 channels
    golden_set.write_files(tmp_path / "dut", {"relu1.code": ARRAYS["relu1.code"]}, layout=layout)
    status, result = run(golden, tmp_path / "dut")
    assert status == 1
    assert first_wrong(result)["diagnosis"] == f"layout: words lie in {layout}, read as NCHW"


@pytest.mark.parametrize(
    ("format_", "packing", "said"),
    [
        ("raw", Packing(byte_order=BIG), "byte order: words of 2 bytes are swapped"),
        ("mem", Packing(byte_order=LITTLE), "byte order: lines are little"),
        ("coe", Packing(1, byte_order=LITTLE), "byte order: lines are little"),
    ],
)
def test_byte_order_is_named(
    golden: Path, tmp_path: Path, format_: str, packing: Packing, said: str
) -> None:
    golden_set.write_files(
        tmp_path / "dut", {"conv1.sum": ARRAYS["conv1.sum"]}, format_, packing=packing
    )
    status, result = run(golden, tmp_path / "dut")
    assert status == 1
    assert first_wrong(result)["diagnosis"] == said
    assert run(golden, tmp_path / "dut", "--byte-order", packing.byte_order)[0] == 0


@pytest.mark.parametrize("count", [2, 3, 8])
def test_lane_order_of_lines_is_named(golden: Path, tmp_path: Path, count: int) -> None:
    packing = Packing(count, HIGH_FIRST, BIG)
    golden_set.write_files(tmp_path / "dut", {"fc.sum": ARRAYS["fc.sum"]}, packing=packing)
    status, result = run(golden, tmp_path / "dut", "--lanes", str(count))
    assert status == 1
    assert first_wrong(result)["diagnosis"] == "lane order: lines are high-first"


@pytest.mark.parametrize(
    ("dtype", "said"),
    [
        ("u8", "missing sign extension: negative words read as unsigned"),
        ("u16", "missing sign extension: negative words extended to 16 bits and read as unsigned"),
    ],
)
def test_missing_sign_extension_is_named(
    golden: Path, tmp_path: Path, dtype: str, said: str
) -> None:
    codes = ARRAYS["conv1.weight"] & (0xFF if dtype == "u8" else 0xFFFF)
    (tmp_path / "dut").mkdir()
    np.save(tmp_path / "dut" / "conv1.weight.npy", codes)
    status, result = run(golden, tmp_path / "dut")
    assert status == 1
    told = first_wrong(result)
    assert told["diagnosis"] == said
    assert told["first"]["expected"] < 0 < told["first"]["found"]


def test_sign_extended_though_unsigned_is_named(golden: Path, tmp_path: Path) -> None:
    codes = ARRAYS["relu1.rounded"]
    (tmp_path / "dut").mkdir()
    np.save(tmp_path / "dut" / "relu1.rounded.npy", np.where(codes > 63, codes - 128, codes))
    told = first_wrong(run(golden, tmp_path / "dut")[1])
    assert told["diagnosis"] == "sign-extended, though the words are unsigned"


@pytest.mark.parametrize("cut", [lambda a: a, lambda a: np.clip(a, -128, 127)], ids=["7", "8"])
def test_missing_relu_is_named(
    golden: Path, tmp_path: Path, cut: Callable[[np.ndarray], np.ndarray]
) -> None:
    (tmp_path / "dut").mkdir()
    codes = cut(golden_set.ties_even(CONV, 4))
    codes = np.clip(codes, -128, 127) if cut(np.array(200)) == 127 else codes & 127
    np.save(tmp_path / "dut" / "relu1.rounded.npy", codes)
    told = first_wrong(run(golden, tmp_path / "dut")[1])
    assert "ReLU: missing, negative sums went on" in texts(told)


def test_one_flipped_bit(golden: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    codes = {name: array.copy() for name, array in ARRAYS.items()}
    codes["conv2.sum"][1, 2, 3, 4] ^= 1 << 11
    golden_set.write_files(tmp_path / "dut", codes)
    status, result = run(golden, tmp_path / "dut")
    assert status == 1
    told = first_wrong(result)
    place = np.ravel_multi_index((1, 2, 3, 4), ARRAYS["conv2.sum"].shape)
    assert told["diagnosis"].startswith(f"one flipped bit: bit 11 of word {place}, ")
    assert told["first"]["index"] == {"n": 1, "c": 2, "y": 3, "x": 4}
    wanted = int(ARRAYS["conv2.sum"][1, 2, 3, 4])
    assert (told["first"]["expected"], told["first"]["found"]) == (wanted, wanted ^ 1 << 11)
    assert told["first"]["expected_hex"] == f"0x{wanted & 0x3FFF:04x}"
    assert told["first"]["expected_value"] == wanted / 512
    text = capsys.readouterr().out.splitlines()
    assert text[0].startswith("DIFFERENT    conv2.sum  1 of 336 wrong (0.30 %); one flipped bit")
    assert text[-1] == "FAIL: 18 equal, 1 different; first wrong conv2.sum"


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


def test_by_one_without_a_rule(golden: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(9)
    codes = {**ARRAYS, "fc.sum": ARRAYS["fc.sum"] + rng.integers(-1, 2, ARRAYS["fc.sum"].shape)}
    golden_set.write_files(tmp_path / "dut", codes)
    told = first_wrong(run(golden, tmp_path / "dut")[1])
    assert told["diagnosis"].startswith("no word is off by more than 1")
    counts = {each["lsb"]: each["count"] for each in told["differences"]}
    off = codes["fc.sum"] - ARRAYS["fc.sum"]
    assert counts == {1: int((off == 1).sum()), -1: int((off == -1).sum())}


def test_what_explains_most_is_told_with_its_share(golden: Path, tmp_path: Path) -> None:
    codes = {**ARRAYS, "relu1.rounded": np.minimum(RELU >> 4, 127)}
    codes["relu1.rounded"].reshape(-1)[[5, 50, 500]] ^= 21
    golden_set.write_files(tmp_path / "dut", codes)
    told = first_wrong(run(golden, tmp_path / "dut")[1])
    assert re.fullmatch(
        r"rounding rule: to-neg \(AP_TRN\) instead of ties-even \(AP_RND_CONV\): explains "
        r"9\d\.\d\d % of the wrong words",
        told["diagnosis"],
    )
    assert told["explanations"][0]["explained"] < told["explanations"][0]["of"]


@pytest.mark.parametrize(
    ("where", "said"),
    [
        (np.s_[:, 3], "only channel 3 of 7"),
        (np.s_[1], "only image 1 of 2"),
        (np.s_[:, :, [0, -1]], "only rows 0 and 6 of 7 (padding?)"),
        (np.s_[:, :, :, 0], "only column 0 of 6 (padding?)"),
        (np.s_[:, ::2], "only one channel in 2, from 0 on"),
        (np.s_[:, 2:4], "only channels 2 and 3 of 7"),
    ],
    ids=str,
)
def test_where_errors_are_confined(golden: Path, tmp_path: Path, where: Any, said: str) -> None:
    codes = ARRAYS["conv1.sum"].copy()
    rng = np.random.default_rng(3)
    codes[where] = rng.integers(-8000, 8000, codes[where].shape)
    golden_set.write_files(tmp_path / "dut", {"conv1.sum": codes})
    told = first_wrong(run(golden, tmp_path / "dut")[1])
    assert said in told["regions"]


def test_border_and_tail_and_lane(golden: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    noise = rng.integers(3000, 8000, ARRAYS["conv1.sum"].shape)
    inside = noise.copy()
    inside[:, :, 1:-1, 1:-1] = ARRAYS["conv1.sum"][:, :, 1:-1, 1:-1]
    flat = np.arange(noise.size).reshape(noise.shape)
    cases = {
        "only the outermost rows and columns (padding?)": inside,
        "every word from word 400 of the file on": np.where(flat < 400, ARRAYS["conv1.sum"], noise),
        "only words 3 of every 5 in the file: one lane": np.where(
            flat % 5 == 3, noise, ARRAYS["conv1.sum"]
        ),
    }
    for said, codes in cases.items():
        golden_set.write_files(tmp_path / "dut", {"conv1.sum": codes})
        assert said in first_wrong(run(golden, tmp_path / "dut")[1])["regions"]


def test_what_follows_is_not_diagnosed(golden: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    names = ["conv1.sum", "relu1.rounded", "relu1.code", "conv2.operand", "conv2.sum"]
    codes = {}
    for name in names:
        own = ARRAYS["relu1.value" if name == "conv2.operand" else name]
        codes[name] = rng.integers(0, 8, own.shape)
    operand = codes.pop("conv2.operand")
    golden_set.write_files(tmp_path / "dut", codes)
    np.save(tmp_path / "dut" / "conv2.operand.npy", operand)
    result = run(golden, tmp_path / "dut")[1]
    follows = {
        each["name"]: each["follows"] for each in result["arrays"] if each["result"] != "equal"
    }
    # relu1's arrays follow its input; conv2's operand follows what relu1 made; conv2's sum, that
    assert follows == {
        "conv1.sum": None,
        "relu1.rounded": "conv1.sum",
        "relu1.code": "relu1.rounded",
        "conv2.operand": "relu1.code",
        "conv2.sum": "conv2.operand",
    }
    assert result["first_wrong"] == "conv1.sum"


def test_an_equal_stage_excuses_nothing_after_it(golden: Path, tmp_path: Path) -> None:
    codes = {**ARRAYS, "conv1.accumulator": ARRAYS["conv1.accumulator"] ^ 4}
    codes["relu1.rounded"] = np.minimum(RELU >> 4, 127)
    codes["relu1.value"] = ARRAYS["relu1.value"] >> 1
    golden_set.write_files(tmp_path / "dut", codes)
    arrays = {each["name"]: each for each in run(golden, tmp_path / "dut")[1]["arrays"]}
    assert arrays["conv1.sum"]["result"] == arrays["relu1.code"]["result"] == "equal"
    assert arrays["relu1.rounded"]["diagnosis"].startswith("rounding rule: to-neg (AP_TRN)")
    assert arrays["relu1.value"]["follows"] is None


def test_a_comparator_that_is_strict_is_named(golden: Path, tmp_path: Path) -> None:
    y = ARRAYS["relu2.rounded"]
    strict = (y > 12).astype(int) + (y > 35) + (y > 76)
    assert (strict != ARRAYS["relu2.code"]).any()
    golden_set.write_files(tmp_path / "dut", {**ARRAYS, "relu2.code": strict})
    told = first_wrong(run(golden, tmp_path / "dut")[1])
    assert told["diagnosis"].startswith("comparators: above a threshold")


def test_differences_beyond_64_bits(golden: Path, tmp_path: Path) -> None:
    (tmp_path / "dut").mkdir()
    codes = ARRAYS["fc.sum"].copy()
    codes.flat[3] = -(2**63)
    np.save(tmp_path / "dut" / "fc.sum.npy", codes)
    told = first_wrong(run(golden, tmp_path / "dut")[1])
    assert told["differences"] == [{"lsb": -(2**63) - int(ARRAYS["fc.sum"].flat[3]), "count": 1}]


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


def test_a_fault_of_a_dump_does_not_excuse_what_follows(golden: Path, tmp_path: Path) -> None:
    codes = {**ARRAYS, "conv1.sum": ARRAYS["conv1.sum"][::-1]}
    codes["relu1.rounded"] = np.minimum(RELU >> 4, 127)
    golden_set.write_files(tmp_path / "dut", codes)
    arrays = {each["name"]: each for each in run(golden, tmp_path / "dut")[1]["arrays"]}
    assert arrays["conv1.sum"]["diagnosis"].startswith("images in another order")
    assert arrays["relu1.rounded"]["diagnosis"].startswith("rounding rule: to-neg (AP_TRN)")


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


def test_saturated_instead_of_wrapped(tmp_path: Path) -> None:
    codes = {"conv1.sum": ARRAYS["conv1.sum"]}
    rounded = golden_set.ties_even(RELU, 4)
    codes["relu1.rounded"] = rounded & 127
    golden_set.write(tmp_path / "golden", codes, overflow="wrap")
    golden_set.write_files(tmp_path / "dut", {"relu1.rounded": np.minimum(rounded, 127)})
    told = first_wrong(run(tmp_path / "golden", tmp_path / "dut")[1])
    assert told["diagnosis"] == "overflow: sat (AP_SAT) instead of wrap (AP_WRAP)"


def test_declared_accumulator_with_fewer_fraction_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 11 bits that saturate, and of the channels' fraction bits 0, 1 or 2 fewer, rounded down
    drop = np.array([0, 1, 2, 0, 1, 2, 1])
    declared = {
        "bits": 11,
        "overflow": "sat",
        "every_mac": False,
        "rounding": "to-neg",
        "frac_bits": (9 - drop).tolist(),
    }

    def kept(total: np.ndarray) -> np.ndarray:
        return np.clip(total >> drop[:, None, None], -1024, 1023)

    exact = ARRAYS["conv1.accumulator"]
    codes = {name: ARRAYS[f"conv1.{name}"] for name in ("bias", "bias_shift", "accumulator")}
    codes = {f"conv1.{name}": array for name, array in codes.items()}
    codes["conv1.accumulator_drop"] = drop
    codes["conv1.sum"] = kept(exact + (BIAS << SHIFT))
    monkeypatch.setitem(golden_set.FORMATS, "accumulator_drop", (2, False, None))
    golden_set.write(tmp_path / "golden", codes, accumulators={"conv1": declared})
    for text, sums in (
        ("bias: missing", kept(exact)),
        ("bias: added twice", kept(exact + 2 * (BIAS << SHIFT))),
    ):
        golden_set.write_files(tmp_path / "dut", {"conv1.sum": sums})
        assert first_wrong(run(tmp_path / "golden", tmp_path / "dut")[1])["diagnosis"] == text


def test_formats_of_channels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # sums and stored codes have other fraction bits in each channel
    sums = [9, 8, 10, 9, 7, 9, 8]
    drops = [0, 1, 0, 2, 0, 1, 1]
    formats = {"bits": 7, "frac_bits": 5, "signed": False}
    relu1 = {"format": formats, "code": None, "drops": drops}
    right = np.array(sums) - 5 + np.array(drops)
    made = [golden_set.ties_even(RELU[:, c], int(right[c])) for c in range(7)]
    rounded = np.stack([np.minimum(each, 127) << drops[c] for c, each in enumerate(made)], axis=1)
    floor = np.minimum(RELU >> right[:, None, None], 127) << np.array(drops)[:, None, None]
    monkeypatch.setitem(golden_set.FORMATS, "sum", (14, True, sums))
    monkeypatch.setitem(golden_set.FORMATS, "rounded", (9, False, 5))
    codes = {"conv1.sum": ARRAYS["conv1.sum"], "relu1.rounded": rounded}
    golden_set.write(tmp_path / "golden", codes, tensors={"relu1": relu1})
    golden_set.write_files(
        tmp_path / "dut", {"conv1.sum": -ARRAYS["conv1.sum"], "relu1.rounded": floor}
    )
    arrays = run(tmp_path / "golden", tmp_path / "dut", "--layers", "relu1")[1]["arrays"]
    assert arrays[0]["diagnosis"] == (
        "rounding rule: to-neg (AP_TRN) instead of ties-even (AP_RND_CONV)"
    )
    told = run(tmp_path / "golden", tmp_path / "dut", "--layers", "conv1")[1]["arrays"][0]["first"]
    channel = told["index"]["c"]
    assert told["found_value"] == told["found"] / 2 ** sums[channel]


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
        (lambda g, d: None, ["--layout", "NCWH"], "invalid choice"),
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


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("arrays", 3, "stored_shape"), [8], r"stored_shape \(8,\) of conv1.bias_shift"),
        (("arrays", 4, "frac_bits"), [1, 2], "ValueError"),
        (("arrays", 4, "frac_bits"), "nine", "frac_bits 'nine', not whole numbers"),
        (("arrays", 4, "bits"), 64, "64 is no whole number from 1 to 63"),
        (("arrays", 4, "also"), [1], "1 is no text"),
        (("files", "fc.sum.mem"), {}, "KeyError 'bytes'"),
        (
            ("layers", 2, "stored"),
            {"bits": 7},
            r"layer relu1: stored {'bits': 7}; expected what its plan says",
        ),
        (("layers", 1, "accumulator", "bits"), 70, "layer conv1: accumulator .* its plan says"),
        (("layers", 2, "inputs"), [], "layer relu1 without inputs"),
        (("layers", 3, "shape"), [4, 8, 7], r"conv2.accumulator of shape \(2, 3, 8, 7\)"),
        (("overflow",), "wrap", "overflow 'wrap'; expected 'sat', as in its plan"),
        (("mac_order",), ["bias"], r"mac_order \['bias'\]"),
        (("plan",), {}, "plan version None"),
        (("plan", "arithmetic"), "float", "a plan of float arithmetic"),
        (("plan", "tensors", "relu1", "format"), {"bits": 7}, "frac_bits"),
        (("plan", "tensors", "data", "drops"), [1, 0], "2 formats of feature maps in data"),
        (("plan", "layers", "conv1", "weight"), None, "conv1 in float32 in a plan of integers"),
        (("plan", "layers", "conv1", "accumulator", "bits"), 70, "70 bits; expected 2 to 62 bits"),
        (("plan", "layers", "conv1", "accumulator", "bits"), [9, 9], "2 accumulators in conv1"),
        (("arrays", 4, "file"), "../conv1.sum.mem", "file '../conv1.sum.mem' of conv1"),
        (("arrays", 4, "name"), "conv2.sum", "'conv2.sum' as tensor conv1"),
        (("arrays", 4, "layer"), "conv9", "conv9"),
        (("tile",), 0, "tiles of 0 channels"),
        (("packing", "lanes"), 9999, "9999 lanes"),
    ],
)
def test_manifest_that_makes_no_sense(
    golden: Path,
    tmp_path: Path,
    place: tuple[Any, ...],
    value: Any,
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stored = json.loads((golden / "manifest.json").read_text())
    part = stored
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = value
    (tmp_path / "manifest.json").write_text(json.dumps(stored))
    assert verify.main([str(tmp_path), str(golden)]) == 2
    err = capsys.readouterr().err
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
    known = {name for each in verify.parser()._actions for name in each.option_strings}
    listed = set(re.findall(r"^\| `(--[a-z-]+)", page, re.MULTILINE))
    assert listed == known - {"-h", "--help"}
    for name in outcome.DUMP_FAULTS:
        assert f"`{name}`" in page, name


def test_shares_are_never_rounded_to_all_or_nothing() -> None:
    assert report.share(1, 10**6) == "below 0.01 %"
    assert report.share(10**6 - 1, 10**6) == "above 99.99 %"
    assert report.share(1, 1) == "100.00 %"
    assert report.share(1, 3) == "33.33 %"


@pytest.mark.parametrize(
    ("code", "bits", "text"),
    [
        (-5, 8, "0xfb"),
        (251, 8, "0xfb"),
        (-5, 12, "0xffb"),
        (5, 5, "0x05"),
        (4096, 12, "0x1000"),
        (-3000, 12, "0xf448"),
        (2**40, 12, "0x0000010000000000"),
        (2**62, 63, "0x4000000000000000"),
    ],
)
def test_hex_of_words(code: int, bits: int, text: str) -> None:
    assert report.hex_word(code, bits) == text
