"""Faults that are planted in a device's words are named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from refq.hardware.files.layouts import NHWC, TILED, Layout
from refq.hardware.files.words import BIG, HIGH_FIRST, LITTLE, Packing
from tests.hardware import golden_set
from tests.hardware.verifying import ARRAYS, BIAS, CONV, CONV2, RELU, SHIFT, first_wrong, run, texts

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
