"""refq.convert: what weights do not tell of a network, taken for granted or given."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from refq import convert, networks
from refq.networks.layers import Subsample
from refq.networks.weights import load, random_weights
from tests.importers import caffe_files, small_weights, weight_files


def report(path: Path, capsys: pytest.CaptureFixture[str], *more: str) -> Any:
    out = path.with_name("out.h5")
    assert convert.main([str(path), "-o", str(out), "--json", "-", *more]) == 0
    return json.loads(capsys.readouterr().out)


def cifar(path: Path, classifier: str) -> None:
    weights = random_weights(networks.build("resnet20", {"width": 0.25}), 3)
    given = weight_files.norms(weights, 5)
    weight_files.torch_file(path, small_weights.torch_resnet(weights, given, classifier))


def zeros_before(path: Path) -> list[int]:
    """How many channels of zeros the shortcuts of stages 2 and 3 add in front, of 4 and 8."""
    network, _ = load(path.with_name("out.h5"), "resnet20")
    layers = [network.by_name[f"res{stage}_1_shortcut"].layer for stage in (2, 3)]
    return [layer.channels[0] for layer in layers if isinstance(layer, Subsample)]


@pytest.mark.parametrize(
    ("classifier", "given", "before", "note"),
    [
        (
            "linear",
            [],
            [2, 4],
            "half in front, as where the classifier is named linear; "
            "--parameter centred=false changes it",
        ),
        ("fc", [], [0, 0], "are added: behind; --parameter centred=true changes it"),
        ("linear", ["--parameter", "centred=false"], [0, 0], ""),
        ("fc", ["--parameter", "centred=true"], [2, 4], ""),
    ],
)
def test_where_channels_of_zeros_go(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    classifier: str,
    given: list[str],
    before: list[int],
    note: str,
) -> None:
    """PyTorch's well-known ResNets for CIFAR-10 call their classifier `linear` and pad by
    planes // 4 on both sides."""
    path = tmp_path / "w.pth"
    cifar(path, classifier)
    made = report(path, capsys, *given)
    assert zeros_before(path) == before
    notes = [each for each in made["notes"] if "channels of zeros" in each]
    assert len(notes) == bool(note) and note in "".join(notes)


def test_several_parameters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network, weights = small_weights.case("squeezenet1_1")
    path = tmp_path / "w.caffemodel"
    caffe_files.caffemodel(path, network, weights)
    assert report(path, capsys)["parameters"]["input_size"] == 227
    sizes = report(path, capsys, "--parameter", "input_size=192", "--parameter", "classes=1000")
    assert sizes["parameters"]["input_size"] == 192 and sizes["network"] == "squeezenet1_1"
    assert sizes["preprocessing"]["crop"] == [192, 192]
    made = report(path, capsys, "--parameter", "top=false", "--network", "squeezenet1_1")
    assert made["ignored"] == ["conv10"]


WRONG = [
    (
        ["--network", "resnet20", "--parameter", "centred=1"],
        "centred 1 for resnet20; expected true or false",
    ),
    (
        ["--network", "resnet20", "--parameter", "center=true"],
        "unknown parameter of resnet20 'center'; expected one of centred, classes",
    ),
    (["--parameter", "center=true"], "unknown parameter 'center'; expected one of centred, cla"),
    (["--parameter", "centred"], "--parameter centred; expected NAME=VALUE with true, false or a"),
    (["--parameter", "width=a"], "--parameter width=a; expected NAME=VALUE"),
    (["--parameter", "width=0.5"], "conv1 has shape (4, 3, 3, 3), not (8, 3, 3, 3)"),
    (["--parameter", "input_size=1.5"], "--parameter input_size=1.5; expected a whole number"),
]


@pytest.mark.parametrize(("given", "told"), WRONG)
def test_wrong_parameters(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], given: list[str], told: str
) -> None:
    cifar(tmp_path / "w.pth", "fc")
    out = tmp_path / "out.h5"
    assert convert.main([str(tmp_path / "w.pth"), "-o", str(out), *given]) == 2
    heard = capsys.readouterr()
    assert told in heard.err and heard.err.count("\n") == 1 and not out.exists()
