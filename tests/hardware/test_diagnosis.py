"""What is told of wrong words: which, by how much, where, since when, and why."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from refq.hardware.diagnosis import report
from tests.hardware import golden_set
from tests.hardware.verifying import ARRAYS, BIAS, RELU, SHIFT, first_wrong, run


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


def test_a_fault_of_a_dump_does_not_excuse_what_follows(golden: Path, tmp_path: Path) -> None:
    codes = {**ARRAYS, "conv1.sum": ARRAYS["conv1.sum"][::-1]}
    codes["relu1.rounded"] = np.minimum(RELU >> 4, 127)
    golden_set.write_files(tmp_path / "dut", codes)
    arrays = {each["name"]: each for each in run(golden, tmp_path / "dut")[1]["arrays"]}
    assert arrays["conv1.sum"]["diagnosis"].startswith("images in another order")
    assert arrays["relu1.rounded"]["diagnosis"].startswith("rounding rule: to-neg (AP_TRN)")


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
