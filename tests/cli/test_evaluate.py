"""`refq.evaluate` as a user types it: figures, JSON, plans, bad input, interruption."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from refq.cli import console
from refq.data import batches
from refq.evaluate import main
from refq.networks import bundled
from tests.shared_data import shared

SMALL = ["--images", "40", "--calibrate", "60"]


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(list(arguments)) == 0
    return capsys.readouterr().out


def report(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(run(capsys, *arguments, "--json", "-"))
    return content


def test_main_job(capsys: pytest.CaptureFixture[str]) -> None:
    """The README's command on all bundled images: figures that a broken engine cannot reach."""
    got = report(capsys, "vgg16", "--scheme", "enq")
    assert (got["network"], got["scheme"], got["images"]) == ("vgg16", "enq", 2000)
    assert got["float"]["top1"] == pytest.approx(90.90, abs=0.1)
    assert got["float"]["top5"] == pytest.approx(98.70, abs=0.1)
    assert got["quantized"]["top1"] == pytest.approx(90.95, abs=0.3)
    names = [layer["name"] for layer in got["layers"]]
    assert names[0] == "conv1_1" and names[-1] == "fc8" and len(names) == 16
    assert [layer["input_bits"] for layer in got["layers"]] == [9] + [5] * 15
    # 5 of 16 bits: 13,547,520 / 49 / 4 outputs at width 1/4 and 32x32, and x 5 / 8 bytes
    assert got["memory"]["megabytes"] == pytest.approx(0.0432, rel=0.01)
    assert got["memory"]["normalized"] == pytest.approx(5 / 16)
    # the image's codes are exact
    assert got["layers"][0]["sqnr_db"] is None
    assert min(layer["sqnr_db"] for layer in got["layers"][1:]) > 15


@pytest.mark.parametrize("name", ["alexnet", "squeezenet1_1", "googlenet", "resnet50"])
def test_other_bundled_networks(capsys: pytest.CaptureFixture[str], name: str) -> None:
    got = report(capsys, name, "--scheme", "uniform", "--images", "400")
    assert got["float"]["top1"] > 80
    assert abs(got["quantized"]["top1"] - got["float"]["top1"]) < 1.5


def test_fewer_bits_cost_accuracy(capsys: pytest.CaptureFixture[str]) -> None:
    enq = ["vgg16", "--scheme", "enq", "--images", "300", "--bits-act"]
    nearest = report(capsys, *enq, "3")["quantized"]["top1"]
    floor = report(capsys, *enq, "3", "--assign", "floor")["quantized"]["top1"]
    assert floor < nearest - 5


def test_text_and_json_tell_the_same(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    text = run(capsys, "vgg16", "--scheme", "uniform", *SMALL, "--json", str(path))
    content = json.loads(path.read_text())
    assert f"quantized top-1 {content['quantized']['top1']:6.2f} %" in text
    assert "fc8" in text and "accumulator" in text and "glyphs test, 40 images" in text


def test_a_saved_plan_gives_the_same_integers(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    plan, first, second = (str(tmp_path / name) for name in ("p.json", "a.npy", "b.npy"))
    enq = ["alexnet", "--scheme", "enq", "--bits-act", "4", *SMALL]
    run(capsys, *enq, "--save-plan", plan, "--save-outputs", first)
    run(capsys, "alexnet", "--images", "40", "--plan", plan, "--save-outputs", second)
    np.testing.assert_array_equal(np.load(first), np.load(second))
    few = ["alexnet", "--images", "3", "--plan", plan, "--ops", "oracle", "--save-outputs", second]
    run(capsys, *few)
    np.testing.assert_array_equal(np.load(first)[:3], np.load(second))
    assert sorted(os.listdir(tmp_path)) == ["a.npy", "b.npy", "p.json"]


def test_widths_by_list_and_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    listed = "8,4,5,5,5,5,5,5,5,5,5,4,4,3,2,2"
    got = report(capsys, "vgg16", "--scheme", "enq", *SMALL, "--bits-act", listed)
    assert [layer["input_bits"] for layer in got["layers"]] == [int(b) for b in listed.split(",")]
    got = report(capsys, "vgg16", "--scheme", "enq", *SMALL, "--bits-act", "fc6=3")
    assert [layer["input_bits"] for layer in got["layers"]][-4:] == [5, 3, 5, 5]


@pytest.mark.parametrize("scheme", ["uniform", "enq"])
def test_search_stays_within_delta(capsys: pytest.CaptureFixture[str], scheme: str) -> None:
    search = ["squeezenet1_1", "--scheme", scheme, *SMALL, "--delta", "5"]
    got = report(capsys, *search)
    trials = got["search"]["trials"]
    accepted = [trial for trial in trials if trial["accepted"]]
    floor = got["search"]["reference"] - 5
    assert all(trial["accepted"] == (trial["accuracy"] >= floor) for trial in trials)
    assert accepted and len(trials) > 3
    bits = {layer["name"]: layer["input_bits"] for layer in got["layers"]}
    if scheme == "uniform":
        assert bits["conv10"] == accepted[-1]["widths"]["all"]
    else:
        widths = accepted[-1]["widths"]
        assert all(bits[name] <= width for name, width in widths.items())


def test_declared_accumulators_count_overflows(capsys: pytest.CaptureFixture[str]) -> None:
    wide = report(capsys, "vgg16", "--scheme", "uniform", *SMALL, "--bits-acc", "32")
    assert [layer["accumulator_overflows"] for layer in wide["layers"]] == [0] * 16
    for more in (["--acc-every-mac"], ["--acc-overflow", "wrap"]):
        narrow = ["--images", "4", "--calibrate", "60", "--bits-acc", "18", *more]
        got = report(capsys, "vgg16", "--scheme", "uniform", *narrow)
        convolutions = [layer for layer in got["layers"] if layer["name"].startswith("conv")]
        assert min(layer["accumulator_overflows"] for layer in convolutions[1:4]) > 0
        # what is needed is more than what was declared
        assert max(layer["accumulator_bits"] for layer in got["layers"]) > 20


def test_overflows_are_the_oracles(capsys: pytest.CaptureFixture[str]) -> None:
    narrow = ["squeezenet1_1", "--scheme", "uniform", "--frac-act", "5", "--images", "2"]
    narrow += ["--bits-acc", "19"]
    kernels, oracle = (report(capsys, *narrow, "--ops", ops) for ops in ("kernels", "oracle"))
    for got, wanted in zip(kernels["layers"], oracle["layers"], strict=True):
        # noise is measured against float32, which differs in its last bits
        noise = [each.pop("sqnr_db") or 0.0 for each in (got, wanted)]
        assert noise[0] == pytest.approx(noise[1], rel=1e-3)
        assert got == wanted


def test_zero_share_and_entropy(capsys: pytest.CaptureFixture[str]) -> None:
    got = report(capsys, "vgg16", "--scheme", "enq", *SMALL)
    for layer in got["layers"][1:]:
        assert 10 < layer["zero_percent"] < 95 and 0 < layer["entropy_bits"] <= 5
    assert 0 < got["memory"]["entropy_bound_megabytes"] < got["memory"]["megabytes"]


def test_real_vgg_with_cifar_classifier(capsys: pytest.CaptureFixture[str]) -> None:
    real = [
        "vgg16",
        "--weights",
        str(shared("vgg16_cifar10.caffemodel.h5")),
        "--data",
        str(shared("cifar10_test")),
        "--images",
        "60",
        "--scheme",
        "uniform",
        "--frac-act",
        "0",
        "--bits-act",
    ]
    twelve, nine = (report(capsys, *real, bits) for bits in ("12", "9"))
    assert 65 < twelve["float"]["top1"] < 90
    assert twelve["quantized"]["top1"] > nine["quantized"]["top1"] + 5


def test_random_weights_report_agreement(capsys: pytest.CaptureFixture[str]) -> None:
    small = ["--weights", "random:0", "--data", "random:3", "--input-size", "64"]
    got = report(capsys, "vgg19", *small, "--scheme", "uniform")
    assert got["float"] == {"top1": None, "top5": None}
    assert got["agreement"]["top1"] is not None and got["output_sqnr_db"] > 20


# --- real weights and images ---


def test_real_squeezenet_float(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "logits.npy"
    got = report(
        capsys,
        "squeezenet1_1",
        "--weights",
        str(shared("squeezenet_v1.1.caffemodel.h5")),
        "--data",
        str(shared("ilsvrc2012_val")),
        "--save-outputs",
        str(out),
    )
    assert (got["float"]["top1"], got["float"]["top5"]) == (73.75, 90.50)
    wanted = np.load(shared("squeezenet_v1.1_float_logits.npy"))
    assert np.abs(np.load(out) - wanted).max() < 1e-3 * np.abs(wanted).max()


def test_real_squeezenet_schemes(capsys: pytest.CaptureFixture[str]) -> None:
    real = [
        "squeezenet1_1",
        "--weights",
        str(shared("squeezenet_v1.1.caffemodel.h5")),
        "--data",
        str(shared("ilsvrc2012_val")),
        "--images",
        "200",
    ]
    uniform = [*real, "--frac-act", "0", "--scheme", "uniform", "--bits-act"]
    twelve, nine = (report(capsys, *uniform, bits) for bits in ("12", "9"))
    lost = twelve["float"]["top1"] - twelve["quantized"]["top1"]
    assert lost < 1.5 and nine["float"]["top1"] - nine["quantized"]["top1"] > lost + 1
    enq = [*real, "--scheme", "enq", "--bits-act", "5", "--assign"]
    nearest, floor = (
        report(capsys, *enq, rule)["quantized"]["top1"] for rule in ("nearest", "floor")
    )
    assert nearest > floor + 15


def test_real_vgg_trunk(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    real = [
        "vgg16",
        "--weights",
        str(shared("vgg16_conv.caffemodel.h5")),
        "--data",
        str(shared("ilsvrc2012_val")),
        "--images",
    ]
    out = tmp_path / "pool5.npy"
    run(capsys, *real, "8", "--save-outputs", str(out))
    wanted = np.load(shared("vgg16_conv_pool5_float.npy"))
    assert np.abs(np.load(out) - wanted).max() < 1e-4 * np.abs(wanted).max()
    got = report(capsys, *real, "2", "--scheme", "uniform", "--bits-act", "12", "--frac-act", "0")
    assert got["agreement"]["top1"] is None and got["parameters"]["top"] is False
    assert all(row["sqnr_db"] is None or row["sqnr_db"] > 15 for row in got["layers"])


# --- bad input ---


def copy_weights(tmp_path: Path, change: Callable[[h5py.File], object] | None = None) -> str:
    path = tmp_path / "weights.h5"
    path.write_bytes(bundled.path("alexnet.h5").read_bytes())
    if change:
        with h5py.File(path, "r+") as file:
            change(file)
    return str(path)


def truncated(tmp_path: Path) -> list[str]:
    path = Path(copy_weights(tmp_path))
    path.write_bytes(path.read_bytes()[:100_000])
    return ["alexnet", "--weights", str(path), "--data", "bundled"]


def missing_layer(tmp_path: Path) -> list[str]:
    path = copy_weights(tmp_path, lambda file: file.__delitem__("conv3"))
    return ["alexnet", "--weights", path, "--data", "bundled"]


def wrong_shape(tmp_path: Path) -> list[str]:
    def change(file: h5py.File) -> None:
        del file["fc7/weight"]
        file["fc7/weight"] = np.zeros((3, 4), np.float32)

    return ["alexnet", "--weights", copy_weights(tmp_path, change), "--data", "bundled"]


def not_a_number(tmp_path: Path) -> list[str]:
    def change(file: h5py.File) -> None:
        file["conv2/bias"][5] = np.nan

    return ["alexnet", "--weights", copy_weights(tmp_path, change), "--data", "bundled"]


def huge_weight(tmp_path: Path) -> list[str]:
    """Finite in the file's float64, infinite in float32."""

    def change(file: h5py.File) -> None:
        values = file["conv2/bias"][()].astype(np.float64)
        values[3] = 1e300
        del file["conv2/bias"]
        file["conv2/bias"] = values

    return ["alexnet", "--weights", copy_weights(tmp_path, change), "--data", "bundled"]


def empty_folder(tmp_path: Path) -> list[str]:
    (tmp_path / "images").mkdir()
    return ["vgg16", "--weights", "random:0", "--data", str(tmp_path / "images")]


def unreadable_image(tmp_path: Path) -> list[str]:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    size = ["--input-size", "32"]
    return ["vgg16", "--weights", "random:0", *size, "--data", str(tmp_path / "images")]


def label_out_of_range(tmp_path: Path) -> list[str]:
    from PIL import Image

    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    (tmp_path / "val.txt").write_text("a.png 1000\n")
    size = ["--input-size", "32"]
    return ["vgg16", "--weights", "random:0", *size, "--data", str(tmp_path)]


def broken_plan(tmp_path: Path) -> list[str]:
    (tmp_path / "plan.json").write_text('{"refq_plan": 1, "tensors": {}}')
    return ["vgg16", "--plan", str(tmp_path / "plan.json")]


BAD: list[tuple[Callable[[Path], list[str]] | list[str], str]] = [
    (truncated, r"cannot read .*weights.h5 as HDF5 .*truncated.*; fetch it again"),
    (missing_layer, r"1 problem\(s\): missing layer 'conv3'; expected the layers of alexnet"),
    (wrong_shape, r"fc7: weight has shape \(3, 4\), not \(512, 512\)"),
    (not_a_number, r"conv2: bias has 1 NaN or infinite values"),
    (empty_folder, r"images"),
    (unreadable_image, r"a\.png"),
    (label_out_of_range, r"val\.txt:1.*label 1000; expected 0\.\.999"),
    (broken_plan, r"plan .*plan.json: a plan with KeyError"),
    (["vgg61"], r"unknown network 'vgg61'; expected one of 28: vgg19, vgg16, "),
    (["vgg16", "--scheme", "magic"], r"unknown scheme 'magic'; expected one of clnq, clustered"),
    (["vgg16", "--scheme", "uniform", "--bits-act", "0"], r"--bits-act 0; expected 1 to 24"),
    (["vgg16", "--scheme", "uniform", "--bits-act", "99"], r"--bits-act 99; expected 1 to 24"),
    (["vgg16", "--scheme", "uniform", "--bits-wt", "1"], r"--bits-wt 1; expected 2 to 24"),
    (["vgg16", "--scheme", "enq", "--bits-act", "5,5"], r"with 2 numbers; expected 16: conv1_1"),
    (["vgg16", "--scheme", "enq", "--bits-act", "conv9=3"], r"bits for layer conv9; expected one"),
    (["vgg16", "--scheme", "enq", "--bits-act", "five"], r"--bits-act five; expected a number"),
    (["vgg16", "--scheme", "uniform", "--rounding", "up"], r"unknown rounding 'up'"),
    (["vgg16", "--scheme", "uniform", "--bits-acc", "1"], r"an accumulator of 1 bits; expected 2"),
    (["vgg16", "--scheme", "uniform", "--acc-every-mac"], r"--bits-acc with them"),
    (["vgg16", "--images", "2", "--images", "3"], r"--images again; expected each option once"),
    (["vgg16", "--acc-every-mac", "--acc-every-mac"], r"--acc-every-mac again"),
    (["vgg16", "--scheme", ""], r"--scheme ''; expected a value"),
    (["vgg16", "--save-outputs", "a", "--json", "./a"], r"a as --\S+ and as --\S+; expected two"),
    (["vgg16", "--images", "0"], r"--images 0; expected 1 to 2000 of this data"),
    (["vgg16", "--images", "many"], r"--images many; expected a whole number"),
    (["vgg16", "--skip", "2000"], r"--skip 2000; expected 0 to 1999"),
    (["vgg16", "--weights", "nowhere.h5"], r"no weight file at nowhere.h5"),
    (["vgg16", "--weights", "random:x"], r"weights 'random:x'; expected random:SEED"),
    (["vgg16", "--weights", "random:0", "--data", "nowhere"], r"no data at 'nowhere'"),
    (["vgg16", "--weights", "random:0", "--input-size", "9"], r"vgg16: layer 'pool4'"),
    (["resnet152"], r"no bundled weights for resnet152; expected --weights FILE"),
    (["vgg16", "--plan", "nowhere.json"], r"cannot read plan nowhere.json \(No such file"),
    (["vgg16", "--json", "no/such/folder/x.json"], r"cannot write no/such/folder/x.json"),
    (["vgg16", "--save-plan", "plan.json"], r"--save-plan with scheme float"),
    (["vgg16", "--rounding", "to-neg"], r"--rounding with scheme float; expected a scheme that"),
    (["vgg16", "--scheme", "uniform", "--qm", "global"], r"--qm with scheme uniform"),
    (["vgg16", "--scheme", "enq", "--delta", "1", "--bits-act", "4"], r"--delta with --bits-act"),
    (["vgg16", "--scheme", "enq", "--bits-act", "fc6=3,fc6=4"], r"fc6=3,fc6=4; expected each"),
    (["vgg16", "--scheme", "enq", "--imag", "4"], r"unrecognized arguments: --imag"),
    (["vgg16", "--data", ""], r"--data ''; expected a value"),
    (huge_weight, r"conv2: bias has 1 values beyond float32"),
    (["vgg16", "--plan", "p.json", "--bits-act", "3"], r"--plan with --bits-act; expected one or"),
]


@pytest.mark.parametrize(
    ("arguments", "message"), BAD, ids=lambda value: getattr(value, "__name__", None)
)
def test_bad_input_is_one_line(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: Callable[[Path], list[str]] | list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    given = arguments(tmp_path) if callable(arguments) else arguments
    before = sorted(os.listdir(tmp_path))
    assert main(given) == console.BAD_INPUT
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("refq: ")
    assert re.search(message, err), err
    assert sorted(os.listdir(tmp_path)) == before


def test_a_real_process_has_no_traceback() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "refq.evaluate", "vgg61"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (2, "") and done.stderr.count("\n") == 1


def test_ctrl_c_reports_what_was_measured(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: Any, **how: Any) -> Iterator[Any]:
        for number, batch in enumerate(batches(*arguments, **how)):
            if number == 3:
                raise KeyboardInterrupt
            yield batch

    monkeypatch.setattr("refq.cli.inputs.batches", interrupted)
    path = tmp_path / "report.json"
    uniform = ["alexnet", "--scheme", "uniform", "--frac-act", "4", "--batch-size", "8"]
    assert main([*uniform, "--json", str(path)]) == console.INTERRUPTED
    assert "INTERRUPTED: the figures cover 24 images only" in capsys.readouterr().out
    content = json.loads(path.read_text())
    assert content["interrupted"] and content["images"] == 24


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
def test_sigint_ends_a_process_without_a_traceback() -> None:
    command = [
        sys.executable,
        "-m",
        "refq.evaluate",
        "vgg16",
        "--weights",
        "random:0",
        "--data",
        "random:100000",
        "--input-size",
        "96",
        "--batch-size",
        "1",
    ]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # a background job's children inherit an ignored SIGINT
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    time.sleep(12)
    for _ in range(10):
        process.send_signal(signal.SIGINT)
        try:
            _, err = process.communicate(timeout=10)
            break
        except subprocess.TimeoutExpired:
            continue
    else:
        process.kill()
        pytest.fail("SIGINT did not end the evaluation")
    assert process.returncode == console.INTERRUPTED and "Traceback" not in err
