"""What MatConvNet's networks state is refused where it is not the network's, or honoured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from tests.importers import small_weights, weight_files
from tests.importers.conversions import converted, refused
from tests.importers.weight_files import MatlabLayer

CASES = {name: small_weights.case(name) for name in ("vgg16", "alexnet", "caffenet")}
PLAIN = {name: weights.sha256 for name, (_, weights) in CASES.items()}
WRITERS = {
    "SimpleNN": weight_files.matconvnet,
    "7.3": weight_files.matconvnet73,
    "DagNN": weight_files.matconvnet_dag,
}


def changed(name: str, layer: str, kind: str | None, fields: dict[str, Any]) -> list[MatlabLayer]:
    """All layers, one of them of another type or with other fields."""
    found = []
    for each in small_weights.matlab_layers(*CASES[name]):
        if each.name == layer:
            each = MatlabLayer(layer, kind or each.kind, each.arrays, {**each.fields, **fields})
        found.append(each)
    return found


# (network, layer, its type, its fields, a part of the message)
DIFFER: dict[str, tuple[str, str, str | None, dict[str, Any], str]] = {
    "stride": (
        "vgg16",
        "conv3_1",
        None,
        {"stride": (1, 2)},
        "conv3_1 (convolution 3x3, stride 1x2",
    ),
    "pad": ("vgg16", "conv3_1", None, {"pad": (1, 1, 2, 1)}, "stride 1x1, 1x2 before, to 56x57)"),
    "no pad": (
        "vgg16",
        "conv3_1",
        None,
        {"pad": 0},
        "conv3_1 (convolution 3x3, stride 1x1, to 54x54",
    ),
    "dilate": ("vgg16", "conv5_2", None, {"dilate": 2}, "conv5_2 (convolution 3x3, dilation 2x2"),
    "a new field": ("vgg16", "conv3_1", None, {"spin": 3}, "conv3_1: spin of a "),
    "method": ("vgg16", "pool2", None, {"method": "avg"}, "pool2 (mean 2x2"),
    "pool": ("vgg16", "pool2", None, {"pool": (3, 2)}, "pool2 (max 3x2, stride 2x2"),
    "pool's stride": ("vgg16", "pool2", None, {"stride": 1}, "pool2 (max 2x2, stride 1x1"),
    "pool's pad": (
        "vgg16",
        "pool2",
        None,
        {"pad": (1, 1, 0, 0)},
        "pool2 (max 2x2, stride 2x2, 1x0",
    ),
    "three pads": (
        "vgg16",
        "pool2",
        None,
        {"pad": (1, 1, 0)},
        "pool2: pad [1.0, 1.0, 0.0]; expected",
    ),
    "leak": ("vgg16", "relu2_1", None, {"leak": 0.1}, "relu2_1 (ReLU with leak 0.1)"),
    "sigmoid": ("vgg16", "relu2_1", "sigmoid", {}, "igmoid)"),
    "softmax within": ("vgg16", "relu2_1", "softmax", {}, "relu2_1 (softmax)"),
    "transposed": ("vgg16", "conv3_1", "convt", {}, "convt)"),
    "channels": ("alexnet", "norm1", None, {"param": (3, 1, 2e-5, 0.75)}, "norm1 (LRN over 3"),
    "kappa": ("alexnet", "norm1", None, {"param": (5, 2, 2e-5, 0.75)}, "beta 0.75, bias 2)"),
    "alpha": ("alexnet", "norm1", None, {"param": (5, 1, 1e-4, 0.75)}, "alpha 0.0005, beta"),
    "beta": ("alexnet", "norm1", None, {"param": (5, 1, 2e-5, 0.5)}, "beta 0.5, bias 1)"),
    "three numbers": (
        "alexnet",
        "norm1",
        None,
        {"param": (5, 1, 1)},
        "norm1: param [5.0, 1.0, 1.0]",
    ),
}


@pytest.mark.parametrize("form", WRITERS)
@pytest.mark.parametrize("case", DIFFER)
def test_a_fact_that_differs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str, form: str
) -> None:
    name, layer, kind, fields, told = DIFFER[case]
    WRITERS[form](tmp_path / "w.mat", changed(name, layer, kind, fields))
    assert told in refused(tmp_path / "w.mat", capsys)


SAME: dict[str, tuple[str, str, str | None, dict[str, Any]]] = {
    "stride of one number": ("vgg16", "pool2", None, {"stride": 2}),
    "dilate": ("vgg16", "conv3_1", None, {"dilate": 1}),
    "training": ("vgg16", "conv3_1", None, {"learningRate": (1, 2), "weightDecay": (1, 0)}),
    "leak": ("vgg16", "relu2_1", None, {"leak": 0}),
    "forms of AlexNet": ("alexnet", "", None, {}),
    "forms of CaffeNet": ("caffenet", "", None, {}),
}


@pytest.mark.parametrize("form", WRITERS)
@pytest.mark.parametrize("case", SAME)
def test_a_fact_that_is_the_network_s(tmp_path: Path, case: str, form: str) -> None:
    name, layer, kind, fields = SAME[case]
    layers = [*changed(name, layer, kind, fields), MatlabLayer("prob", "softmax")]
    WRITERS[form](tmp_path / "w.mat", layers)
    report = converted(tmp_path / "w.mat")
    assert (report["network"], report["sha256"]) == (name, PLAIN[name])


@pytest.mark.parametrize("form", WRITERS)
def test_losses_are_named(tmp_path: Path, form: str) -> None:
    layers = [*changed("vgg16", "", None, {}), MatlabLayer("loss", "softmaxloss")]
    WRITERS[form](tmp_path / "w.mat", layers)
    report = converted(tmp_path / "w.mat")
    assert report["sha256"] == PLAIN["vgg16"] and report["ignored"] == ["loss"]


def test_the_size_of_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By meta.normalization, else by the weights of the first dense layer."""
    path = tmp_path / "w.mat"
    weight_files.matconvnet(path, changed("vgg16", "", None, {}))
    assert converted(path)["parameters"]["input_size"] == 64
    content = scipy.io.loadmat(path)
    rule = {"imageSize": np.array([[64.0, 64.0, 3.0]])}
    for size in (64, 96):
        rule["imageSize"][0, :2] = size
        scipy.io.savemat(
            path,
            {"layers": content["layers"], "meta": {"normalization": rule}},
            do_compression=True,
        )
        if size == 64:
            assert converted(path)["parameters"]["input_size"] == 64
            (tmp_path / "out.h5").unlink()
            capsys.readouterr()
    assert "fc6 (convolution 2x2, stride 1x1, to 2x2)" in refused(path, capsys)


@pytest.mark.parametrize(
    ("stated", "told"),
    [
        ({"interpolation": "bilinear"}, "interpolation bilinear"),
        ({"interpolation": "bicubic"}, ""),
        ({"border": np.array([[32.0, 32.0]])}, "border 32 32"),
        ({"keepAspect": np.array([[0.0]])}, "keepAspect 0"),
        ({"keepAspect": np.array([[1.0]])}, ""),
        ({"cropSize": np.array([[0.875]])}, "cropSize 0.875"),
        ({"averageImage": np.array([[7.0]])}, "an averageImage of another kind"),
        ({"rgbVariance": np.eye(3)}, ""),
        ({"colorSpace": "Lab"}, "colorSpace Lab"),
    ],
)
def test_how_images_are_made_is_told(tmp_path: Path, stated: dict[str, Any], told: str) -> None:
    path = tmp_path / "w.mat"
    weight_files.matconvnet(path, changed("vgg16", "", None, {}))
    content = scipy.io.loadmat(path)
    rule = {"imageSize": np.array([[64.0, 64.0, 3.0]]), **stated}
    scipy.io.savemat(path, {"layers": content["layers"], "meta": {"normalization": rule}})
    notes = [note for note in converted(path)["notes"] if note.startswith("meta.normalization")]
    wanted = f"meta.normalization states {told}; --preprocessing has to say the same"
    assert notes == ([wanted] if told else [])


@pytest.mark.parametrize(
    ("sizes", "told"),
    [([64.0, 64.0, 1.0], "images of 1 channels"), ([64.0, 96.0, 3.0], "64 rows and 96 columns")],
)
def test_images_of_other_sizes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], sizes: list[float], told: str
) -> None:
    path = tmp_path / "w.mat"
    weight_files.matconvnet(path, changed("vgg16", "", None, {}))
    content = scipy.io.loadmat(path)
    rule = {"imageSize": np.array([sizes])}
    scipy.io.savemat(path, {"layers": content["layers"], "meta": {"normalization": rule}})
    assert told in refused(path, capsys)


def test_a_sum_of_a_dag(tmp_path: Path) -> None:
    """Branches, by the variables that layers read and make."""
    network, weights = small_weights.case("resnet50_torchvision")
    layers = small_weights.matlab_layers(network, weights)
    reads = {node.name: list(node.inputs) for node in network.nodes}
    weight_files.matconvnet_dag(tmp_path / "w.mat", layers, reads)
    report = converted(tmp_path / "w.mat")
    assert report["network"] == "resnet50_torchvision" and report["sha256"] == weights.sha256
