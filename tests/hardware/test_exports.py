"""Exports: nothing wrong or half is ever written, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from refq import export, kernels
from refq.cli import console
from refq.errors import INTERNAL
from refq.hardware.golden import writing
from tests.hardware.exported_sets import exported


def test_all_folders_appear_or_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    golden, rtl = tmp_path / "golden", tmp_path / "rtl"
    arguments = ["alexnet", "--scheme", "enq", "--calibrate", "5", "--out", str(golden)]
    random = ["--rounding", "stochastic", "--rtl", str(rtl)]
    assert export.main([*arguments, *random]) == 2
    assert "rounds at random" in capsys.readouterr().err
    assert export.main([*arguments, "--c-model", str(golden)]) == 2
    assert "two different files" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_units_of_a_cut_are_its_layers(tmp_path: Path) -> None:
    rtl = tmp_path / "rtl"
    arguments = ["alexnet", "--scheme", "knq", "--calibrate", "5", "--layers", "relu1:conv2"]
    assert export.main([*arguments, "--rtl", str(rtl)]) == 0
    listed = json.loads((rtl / "layers.json").read_text())
    tensors = [layer["tensors"] for layer in listed["units"]["qk"]["layers"]]
    assert tensors == [["relu1"], ["norm1", "pool1"], ["relu2"]]


def test_two_exports_are_the_same_bytes(tmp_path: Path) -> None:
    arguments = ("alexnet", "--scheme", "enq", "--calibrate", "9", "--images", "3")
    found = []
    for number, batch in enumerate(("1", "3")):
        exported(tmp_path / str(number), *arguments, "--batch-size", batch, "--format", "hex")
        files = sorted((tmp_path / str(number)).iterdir())
        found.append({path.name: path.read_bytes() for path in files})
    assert found[0] == found[1]


def broken(operation: str) -> Callable[..., Any]:
    """A kernel whose first result is off by one in its last element."""
    own = getattr(kernels, operation)

    def off(*args: Any, **how: Any) -> Any:
        result = own(*args, **how)
        codes = (result[0] if isinstance(result, tuple) else result).copy()
        codes.reshape(-1)[-1] += 1
        return (codes, *result[1:]) if isinstance(result, tuple) else codes

    return off


@pytest.mark.parametrize(
    "operation, network, scheme",
    [
        ("conv_integer", "squeezenet1_1", "uniform"),
        ("dense_integer", "alexnet", "uniform"),
        ("requantize", "squeezenet1_1", "uniform"),
        ("max_pool", "squeezenet1_1", "uniform"),
        ("global_avg_pool_integer", "squeezenet1_1", "uniform"),
        ("lrn_integer", "alexnet", "knq"),
        ("shift_encode", "alexnet", "enq"),
        ("codebook_encode", "alexnet", "knq"),
        ("codebook_decode", "alexnet", "knq"),
        ("quantize", "alexnet", "enq"),
        ("concat", "squeezenet1_1", "uniform"),
    ],
)
def test_a_kernel_that_is_wrong_writes_nothing(
    operation: str,
    network: str,
    scheme: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    plan = tmp_path / "plan.json"
    arguments = [network, "--scheme", scheme, "--calibrate", "9"]
    assert export.main([*arguments, "--out", str(tmp_path / "good"), "--save-plan", str(plan)]) == 0
    monkeypatch.setattr(kernels, operation, broken(operation))
    bad = [network, "--plan", str(plan), "--out", str(tmp_path / "bad")]
    assert export.main(bad) == INTERNAL
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "nothing was written" in told
    assert sorted(path.name for path in tmp_path.iterdir()) == ["good", "plan.json"]


def test_fused_kernels_that_are_wrong_write_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own: Any = writing.forward

    def off(*args: Any, run: Any) -> Any:
        def show(node: Any, tensor: Any) -> None:
            if run.note is None and node is not None and node.name == "pool1":
                tensor = dataclasses.replace(tensor, codes=tensor.codes + 1)
            run.observe(node, tensor)

        return own(*args, run=dataclasses.replace(run, observe=show))

    monkeypatch.setattr(writing, "forward", off)
    out = tmp_path / "set"
    bad = ["alexnet", "--scheme", "uniform", "--calibrate", "9", "--out", str(out)]
    assert export.main(bad) == INTERNAL
    assert "pool1 by fused kernels" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_export_leaves_nothing(
    how: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, seen = writing._one_image, []

    def second_is_stopped(*args: Any) -> None:
        seen.append(sorted(path.name for path in tmp_path.iterdir()))
        if len(seen) == 2:
            signal.raise_signal(how)
        own(*args)

    monkeypatch.setattr(writing, "_one_image", second_is_stopped)
    out = tmp_path / "set"
    status = export.main(["alexnet", "--scheme", "uniform", "--images", "3", "--out", str(out)])
    assert status == console.INTERRUPTED
    # what was under way had another name, and is gone
    assert seen[1] != ["set"] and len(seen[1]) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments, told",
    [
        (["--out", "OUT", "--scheme", "float"], "a scheme of integers"),
        (["--out", "OUT", "--scheme", "tensorflow"], "a scheme of integers"),
        (["--scheme", "enq"], "--out DIR"),
        (["--out", "OUT", "--scheme", "enq", "--format", "vhdl"], "one of c, coe, hdf5"),
        (["--out", "OUT", "--scheme", "enq", "--layout", "CHWN"], "NCHW, NHWC, tiled"),
        (["--out", "OUT", "--scheme", "enq", "--layers", "conv9"], "one of 21: conv5"),
        (["--out", "OUT", "--scheme", "enq", "--layers", "conv3:conv1"], "in the network's order"),
        (["--out", "OUT", "--scheme", "enq", "--stages", "sums"], "one of 30: sum"),
        (["--out", "OUT", "--scheme", "enq", "--lanes", "0"], "1 to 4096"),
        (["--out", "OUT", "--scheme", "enq", "--lanes", "4"], "a format of text"),
        (["--out", "OUT", "--scheme", "enq", "--max-bytes", "1000"], "--max-bytes"),
        (["--out", "OUT", "--scheme", "enq", "--tile", "0"], "1 to 4096"),
        (["--out", "OUT", "--scheme", "enq", "--byte-order", "middle"], "little or big"),
        (["--out", "OUT", "--scheme", "enq", "--images", "0"], "1 to "),
        (["--out", "FULL", "--scheme", "enq"], "a new folder"),
        (["--out", "no/such/folder", "--scheme", "enq"], "a folder"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    names = {"OUT": str(tmp_path / "out"), "FULL": str(tmp_path / "full")}
    given = [names.get(each, each) for each in arguments]
    # schemes without integers calibrate nothing, and are asked for nothing
    few = ["--calibrate", "5"] if "enq" in given else []
    assert export.main(["alexnet", *few, *given]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and told in error
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


@pytest.mark.parametrize("form", ["mem", "hex", "coe", "mif", "raw"])
def test_sizes_are_known_before(form: str, tmp_path: Path) -> None:
    out = tmp_path / "set"
    arguments = ["alexnet", "--scheme", "enq", "--calibrate", "5", "--format", form]
    manifest = exported(out, *arguments)
    total = sum(each["bytes"] for each in manifest["files"].values())
    limit = [*arguments, "--out", str(tmp_path / "more"), "--max-bytes"]
    assert export.main([*limit, str(total)]) == 0
    assert export.main([*limit[:-2], str(tmp_path / "less"), limit[-1], str(total - 1)]) == 2
