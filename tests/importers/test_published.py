"""Files as people publish them: checkpoints, heads of other names, files for another command."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from refq import evaluate
from tests.importers import small_weights, weight_files
from tests.importers.conversions import converted, refused

NETWORK, WEIGHTS = small_weights.case()
TORCH: dict[str, np.ndarray] = small_weights.torch_arrays(WEIGHTS)
ONES = np.ones


def test_arrays_beside_the_weights(tmp_path: Path) -> None:
    """Profilers' counters, a loss's weights and running averages are named and left out."""
    arrays = {f"model.{name}": array for name, array in TORCH.items()}
    counters = {f"model.features.{index}.total_ops": ONES(1) for index in (0, 1, 2)}
    averages = {f"ema.{name}": 2 * array for name, array in TORCH.items()}
    more: dict[str, np.ndarray] = {
        **counters,
        "model.total_params": ONES(1),
        "criterion.weight": ONES(5, np.float32),
    }
    weight_files.torch_file(tmp_path / "w.pth", {**arrays, **more, **averages})
    report = converted(tmp_path / "w.pth", "--preprocessing", "caffe")
    assert report["sha256"] == WEIGHTS.sha256
    assert set(report["ignored"]) == {*more, *averages}
    told = "\n".join(report["notes"])
    assert "model.features.0.total_ops and 3 more: counters, ignored" in told
    assert "criterion.weight: of a loss, ignored" in told
    assert "ema.features.0.weight and 31 more: averages, ignored" in told


def test_averages_alone_are_the_weights(tmp_path: Path) -> None:
    weight_files.torch_file(tmp_path / "w.pth", {f"ema.{name}": a for name, a in TORCH.items()})
    assert converted(tmp_path / "w.pth", "--preprocessing", "caffe")["sha256"] == WEIGHTS.sha256


@pytest.mark.parametrize("key", ["state_dict", "network", "ema"])
def test_a_checkpoint(tmp_path: Path, key: str) -> None:
    """What stands beside the state dict is named; a name that nobody knows is found by its
    tensors."""
    torch = pytest.importorskip("torch")
    state = {name: torch.from_numpy(array.copy()) for name, array in TORCH.items()}
    made = {key: state, "epoch": 3, "optimizer": {"state": {}, "param_groups": []}}
    if key == "state_dict":
        made["state_dict_ema"] = {name: tensor * 2 for name, tensor in state.items()}
    torch.save(made, tmp_path / "w.pth")
    report = converted(tmp_path / "w.pth", "--preprocessing", "caffe")
    assert report["sha256"] == WEIGHTS.sha256
    averaged = ["state_dict_ema"] if key == "state_dict" else []
    assert report["ignored"] == ["epoch", "optimizer", *averaged]


HEADS = {
    "classifier.1": ("classifier.1", "classifier.4", "classifier.7"),
    "pre_logits": ("pre_logits.fc1", "pre_logits.fc2", "head.fc"),
    "last": ("one", "two", "three"),
}


def with_head(names: tuple[str, ...], **more: np.ndarray) -> dict[str, np.ndarray]:
    own = dict(zip(("classifier.0", "classifier.3", "classifier.6"), names))
    arrays = {}
    for name, array in TORCH.items():
        layer, _, part = name.rpartition(".")
        arrays[f"{own.get(layer, layer)}.{part}"] = array
    return {**arrays, **more}


@pytest.mark.parametrize("case", HEADS)
def test_heads_of_other_names(tmp_path: Path, case: str) -> None:
    arrays = with_head(HEADS[case])
    if case == "pre_logits":  # as convolutions over the whole image
        for name, shape in (("pre_logits.fc1", (7, 16, 2, 2)), ("pre_logits.fc2", (7, 7, 1, 1))):
            arrays[f"{name}.weight"] = arrays[f"{name}.weight"].reshape(shape)
    weight_files.torch_file(tmp_path / "w.pth", arrays)
    report = converted(tmp_path / "w.pth", "--preprocessing", "caffe")
    assert report["sha256"] == WEIGHTS.sha256 and report["parameters"]["top"]
    (note,) = report["notes"]
    assert note.startswith(f"the classifier is {', '.join(HEADS[case])}, by shape; weights do")


def test_one_of_two_heads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Which one it is somebody has to say; without that a trunk is told to be one."""
    names = ("age.0", "age.2", "age.4")
    arrays = with_head(names)
    for name in names:
        arrays[f"sex.{name[-1]}.weight"] = 2 * arrays[f"{name}.weight"]
    path = tmp_path / "w.pth"
    weight_files.torch_file(path, arrays)
    report = converted(path, "--preprocessing", "caffe")
    (note,) = report["notes"]
    assert not report["parameters"]["top"] and len(report["ignored"]) == 6
    assert note.startswith("a trunk: ") and note.endswith("; --head says what it begins with")
    (tmp_path / "out.h5").unlink()
    capsys.readouterr()
    told = refused(path, capsys, "--head", "weight")
    assert "--head weight; expected what names begin with, as age.4, sex.0, sex.2" in told
    report = converted(path, "--preprocessing", "caffe", "--head", "age")
    assert report["sha256"] == WEIGHTS.sha256
    assert report["ignored"] == ["sex.0", "sex.2", "sex.4"]


def test_a_head_of_a_graph(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name, write = small_weights.WRITERS["onnx"]
    write(tmp_path / name, NETWORK, WEIGHTS)
    assert "--head fc; expected a file of names alone" in refused(
        tmp_path / name, capsys, "--head", "fc"
    )


def test_fc_of_a_resnet(tmp_path: Path) -> None:
    """fc.1, behind a Dropout."""
    _, weights = small_weights.case("resnet50_torchvision")
    given = weight_files.norms(weights, 5)
    arrays = small_weights.torch_resnet(weights, given, "fc.1")
    weight_files.torch_file(tmp_path / "w.pth", arrays)
    report = converted(tmp_path / "w.pth")
    assert report["network"] == "resnet50_torchvision" and report["parameters"]["top"]
    assert report["notes"][0] == "the classifier is fc.1, by shape"


MOBILENET = {
    **{f"features.{i}.conv.{j}.0.weight": (8, 1, 3, 3) for i in range(1, 18) for j in (0, 1)},
    "features.0.0.weight": (8, 3, 3, 3),
    "classifier.1.weight": (10, 8),
    "classifier.1.bias": (10,),
}


def test_no_network_is_near(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arrays = {name: ONES(shape, np.float32) for name, shape in MOBILENET.items()}
    weight_files.torch_file(tmp_path / "w.pth", arrays)
    told = refused(tmp_path / "w.pth", capsys)
    assert "no network of refq is near: layers named features.1.conv.0.0, " in told
    assert "no float weight" not in told


def test_the_next_networks_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arrays = {name: array for name, array in TORCH.items() if not name.startswith("features.7.")}
    weight_files.torch_file(tmp_path / "w.pth", arrays)
    assert "here: vgg16: no layer features.7; vgg19: no layer features.7" in refused(
        tmp_path / "w.pth", capsys
    )


@pytest.mark.parametrize("form", ["torch_zip", "torch_legacy", "onnx", "keras_archive", "keras"])
def test_weights_of_others_for_evaluate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    name, write = small_weights.WRITERS[form]
    write(tmp_path / name, NETWORK, WEIGHTS)
    whose = {"onnx": "ONNX", "keras": "Keras", "keras_archive": "Keras"}.get(form, "PyTorch")
    assert evaluate.main(["vgg16", "--weights", str(tmp_path / name)]) == 2
    told = capsys.readouterr().err
    assert f"{tmp_path / name} is a file of {whose}; expected weights in refq's HDF5" in told
    assert f"convert it: python -m refq.convert {tmp_path / name} -o weights.h5" in told


def test_a_file_of_numpy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "w.npz", weight=ONES((2, 3, 3, 3)))
    told = refused(tmp_path / "w.npz", capsys)
    assert "is a file of NumPy; expected a weight file that names its layers; save them as" in told
    (tmp_path / "w.pkl").write_bytes(pickle.dumps({"a": 1}))
    refused(tmp_path / "w.pkl", capsys)


@pytest.mark.parametrize("head", ["features", "classifier.0"])
def test_a_head_that_no_classifier_has(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], head: str
) -> None:
    name, write = small_weights.WRITERS["torch_zip"]
    write(tmp_path / name, *small_weights.case())
    told = refused(tmp_path / name, capsys, "--head", head)
    assert f"--head {head}; expected what names of a network's dense layers" in told
