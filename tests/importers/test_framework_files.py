"""Files that torch, Keras 3 and tf-keras write themselves, in each of their forms."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from refq.networks.weights import load
from tests.importers import small_weights, weight_files
from tests.importers.conversions import converted, refused

NETWORK, WEIGHTS = small_weights.case()
# models whose layers nobody named; the image is the input of another name
MODELS = """
import sys
import numpy as np
folder, which = sys.argv[1:]
if which == "tf_keras":
    import tf_keras as keras
else:
    import keras
layers = keras.layers

def vgg(**conv):
    image = x = layers.Input((64, 64, 3))
    for block, depth in enumerate((2, 2, 3, 3, 3)):
        for _ in range(depth):
            x = layers.Conv2D(2 << min(block, 3), 3, padding="same", activation="relu", **conv)(x)
        x = layers.MaxPooling2D()(x)
    x = layers.Dropout(0.5)(layers.Dense(7, activation="relu")(layers.Flatten()(x)))
    x = layers.Dense(5, activation="softmax")(layers.Dense(7, activation="relu")(x))
    return keras.Model(image, x)

def resnet(epsilon, *before):
    def conv(x, count, kernel=1, stride=1, relu=True):
        same = "same" if kernel == 3 else "valid"
        x = layers.Conv2D(count, kernel, strides=stride, padding=same)(x)
        x = layers.BatchNormalization(epsilon=epsilon)(x)
        return layers.Activation("relu")(x) if relu else x

    image = x = layers.Input((64, 64, 3))
    for layer in before:
        x = layer(x)
    x = conv(layers.ZeroPadding2D(3)(x), 4, 7, 2)
    x = layers.MaxPooling2D(3, strides=2)(layers.ZeroPadding2D(1)(x))
    for stage, (count, blocks) in enumerate(((4, 3), (8, 4), (16, 6), (32, 3))):
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            kept = x if block else conv(x, 4 * count, 1, stride, False)
            y = conv(conv(conv(x, count, 1, stride), count, 3), 4 * count, relu=False)
            x = layers.Activation("relu")(layers.Add()([kept, y]))
    x = layers.Dense(10, activation="softmax")(layers.GlobalAveragePooling2D()(x))
    return keras.Model(image, x)

made = {
    "vgg": vgg(),
    "resnet": resnet(1.001e-5),
    "coarse": resnet(1e-3),
    "rescaled": resnet(1.001e-5, layers.Rescaling(1 / 127.5, offset=-1)),
    "dilated": vgg(dilation_rate=2),
}
trained = made["trained"] = vgg()
trained.compile("adam", "categorical_crossentropy")
trained.fit(np.zeros((2, 64, 64, 3), "float32"), np.eye(5)[:2], verbose=0)
keras.mixed_precision.set_global_policy("mixed_float16")
made["mixed"] = vgg()
for name, model in made.items():
    for ending in (".h5", ".keras"):
        model.save(f"{folder}/{name}{ending}")
    model.save_weights(f"{folder}/{name}.weights.h5")
    arrays = model.get_weights()
    np.savez(f"{folder}/{name}.npz", first=arrays[0], last=arrays[-2])
"""


@pytest.fixture(scope="module", params=["keras", "tf_keras"])
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of files that Keras wrote, by a process of its own."""
    needed = {"keras": ("keras", "torch"), "tf_keras": ("tf_keras", "tensorflow")}[request.param]
    for package in needed:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{request.param} needs {package}, which is not installed")
    folder = tmp_path_factory.mktemp(request.param)
    environment = {**os.environ, "KERAS_BACKEND": "torch", "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-c", MODELS, str(folder), request.param]
    subprocess.run(command, env=environment, check=True, timeout=300, capture_output=True)
    return folder


def copied(saved: Path, name: str, folder: Path) -> Path:
    """Out of the folder that tests share."""
    path = folder / name
    path.write_bytes((saved / name).read_bytes())
    return path


@pytest.mark.parametrize("name", ["vgg", "trained", "mixed", "resnet", "coarse", "rescaled"])
def test_keras_models(saved: Path, tmp_path: Path, name: str) -> None:
    reports = [converted(copied(saved, f"{name}{end}", tmp_path)) for end in (".h5", ".keras")]
    network = "vgg16" if name in ("vgg", "trained", "mixed") else "resnet50_keras"
    assert {report["network"] for report in reports} == {network}
    assert len({report["sha256"] for report in reports}) == 1
    assert all(report["parameters"]["input_size"] == 64 for report in reports)
    arrays = np.load(saved / f"{name}.npz")
    _, got = load(tmp_path / "out.h5", network)
    last = list(got.weight)[-1]
    np.testing.assert_array_equal(got.weight[last], arrays["last"].T)
    if network == "vgg16":
        first = arrays["first"].transpose(3, 2, 0, 1)
        np.testing.assert_array_equal(got.weight["conv1_1"], first)
    else:
        # moments of 0 and 1 leave what epsilon makes of the weights
        eps = 1e-3 if name == "coarse" else 1.001e-5
        first = arrays["first"].transpose(3, 2, 0, 1) / np.sqrt(1 + eps)
        np.testing.assert_allclose(got.weight["conv1"], first, rtol=1e-6)
    noted = any("scale 0.0078" in note for note in reports[0]["notes"])
    assert noted == (name == "rescaled")


@pytest.mark.parametrize("name", ["vgg", "trained", "mixed"])
def test_weights_of_keras_alone(saved: Path, tmp_path: Path, name: str) -> None:
    whole = converted(copied(saved, f"{name}.h5", tmp_path))
    alone = converted(copied(saved, f"{name}.weights.h5", tmp_path))
    assert alone["sha256"] == whole["sha256"]


def test_a_dilated_model_of_keras(
    saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for end in (".h5", ".keras"):
        path = copied(saved, f"dilated{end}", tmp_path)
        assert "(convolution 3x3, dilation 2x2" in refused(path, capsys)
        path.unlink()


def state() -> Any:
    torch = pytest.importorskip("torch")
    arrays = small_weights.torch_arrays(WEIGHTS)
    return torch, OrderedDict((name, torch.from_numpy(each)) for name, each in arrays.items())


Change = Callable[[Any, Any], Any]
LOADED: dict[str, Change] = {
    "as it is": lambda torch, plain: plain,
    "parameters": lambda torch, plain: {k: torch.nn.Parameter(v) for k, v in plain.items()},
    "double": lambda torch, plain: {k: v.double() for k, v in plain.items()},
    "DataParallel": lambda torch, plain: {f"module.{k}": v for k, v in plain.items()},
    "torch.compile": lambda torch, plain: {f"_orig_mod.{k}": v for k, v in plain.items()},
    "Lightning": lambda torch, plain: {
        "epoch": 3,
        "state_dict": {f"model.{k}": v for k, v in plain.items()},
        "optimizer_states": [],
    },
    "averages beside": lambda torch, plain: {
        **plain,
        **{f"ema.{k}": 2 * v for k, v in plain.items()},
    },
    "averages in a dict": lambda torch, plain: {
        "state_dict": plain,
        "state_dict_ema": {k: 2 * v for k, v in plain.items()},
    },
    "averaged": lambda torch, plain: {
        "n_averaged": torch.tensor(3),
        **{f"module.{k}": v for k, v in plain.items()},
    },
    "channels last": lambda torch, plain: {
        k: v.contiguous(memory_format=torch.channels_last) if v.ndim == 4 else v
        for k, v in plain.items()
    },
    "views": lambda torch, plain: {
        k: torch.cat([v.reshape(-1)] * 2)[v.numel() :].reshape(v.shape) for k, v in plain.items()
    },
}


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("case", LOADED)
def test_torch_states(tmp_path: Path, case: str, legacy: bool) -> None:
    torch, plain = state()
    path = tmp_path / "w.pth"
    made = LOADED[case](torch, plain)
    torch.save(made, path, _use_new_zipfile_serialization=not legacy)
    # a rule without deviations, which would go into the first layer
    report = converted(path, "--preprocessing", "matconvnet")
    assert (report["network"], report["sha256"]) == ("vgg16", WEIGHTS.sha256)
    beside = {"Lightning": ["epoch", "optimizer_states"], "averages in a dict": ["state_dict_ema"]}
    assert report["ignored"][:2] == beside.get(case, report["ignored"][:2])


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_torch_s_short_floats(tmp_path: Path, kind: str) -> None:
    torch, plain = state()
    torch.save({k: v.to(getattr(torch, kind)) for k, v in plain.items()}, tmp_path / "w.pth")
    converted(tmp_path / "w.pth")
    _, got = load(tmp_path / "out.h5", "vgg16")
    wanted = plain["features.5.weight"].to(getattr(torch, kind)).float().numpy()
    np.testing.assert_array_equal(got.weight["conv2_1"], wanted)


NAME = "features.5.weight"
REFUSED: dict[str, tuple[Change, str]] = {
    "quantized": (
        lambda torch, v: {NAME: torch.quantize_per_tensor(v, 0.01, 0, torch.qint8)},
        "a file of quantized tensors",
    ),
    "sparse": (lambda torch, v: {NAME: v.to_sparse()}, "a file of sparse tensors"),
    "complex": (lambda torch, v: {NAME: v.to(torch.complex64)}, "a file of complex tensors"),
    "meta": (lambda torch, v: {NAME: v.to("meta")}, "the meta device, which have no values"),
    "int8": (lambda torch, v: {NAME: v.to(torch.int8)}, "features.5 has no float weight"),
    "expanded": (
        lambda torch, v: {NAME: v[:1].clone().expand(v.shape)},
        "a tensor of its own values",
    ),
    "weight_norm": (
        lambda torch, v: {f"{NAME}_g": v[:, :1, :1, :1], f"{NAME}_v": v},
        "features.5 has no float weight, as of weight_norm",
    ),
    "parametrized weight_norm": (
        lambda torch, v: {f"features.5.parametrizations.weight.original{n}": v for n in range(2)},
        "features.5 has no float weight, as of weight_norm",
    ),
    "pruned": (
        lambda torch, v: {f"{NAME}_orig": v, f"{NAME}_mask": v},
        "features.5 has no float weight, as of pruning",
    ),
    "NaN": (lambda torch, v: {NAME: v * np.nan}, "features.5: NaN or infinite values in weight"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_torch_tensors_of_other_kinds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    torch, plain = state()
    change, told = REFUSED[case]
    weight = plain.pop(NAME)
    torch.save({**plain, **change(torch, weight)}, tmp_path / "w.pth")
    assert told in refused(tmp_path / "w.pth", capsys)


def test_torch_script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch, _ = state()
    torch.jit.script(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3))).save(str(tmp_path / "w.pt"))
    assert "a file of a program of TorchScript" in refused(tmp_path / "w.pt", capsys)


@pytest.mark.parametrize("backend", ["theano", "tensorflow", None])
def test_kernels_in_theano_s_order(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], backend: str | None
) -> None:
    """Weights of Keras 1 alone: (outputs, inputs, rows, columns), an image flattened C, H, W, and
    turned by half a turn where Theano computed."""
    h5py = pytest.importorskip("h5py")
    arrays: dict[str, dict[str, np.ndarray]] = {}
    for layer, weight in WEIGHTS.weight.items():
        stored = weight.T if weight.ndim == 2 else weight
        if weight.ndim == 4 and backend == "theano":
            stored = weight[:, :, ::-1, ::-1]
        name = {"fc6": "fc1", "fc7": "fc2", "fc8": "predictions"}.get(layer, layer)
        name = name.replace("conv", "block").replace("_", "_conv") if "_" in name else name
        arrays[name] = {f"{name}_W": stored, f"{name}_b": WEIGHTS.bias[layer]}
    path = tmp_path / "w.h5"
    weight_files.keras(path, arrays)
    with h5py.File(path, "r+") as file:
        if backend:
            file.attrs["backend"] = backend
    if backend is None:
        assert "whether they are turned by half a turn" in refused(path, capsys)
        return
    assert converted(path)["sha256"] == WEIGHTS.sha256


BESIDE = {
    "w.json": "a description of layers",
    "w.prototxt": "Caffe's description of layers",
    "w.pb": "a graph of TensorFlow",
    "w.index": "a part of a checkpoint of TensorFlow",
    "w.data-00000-of-00001": "a part of a checkpoint of TensorFlow",
    "w.tflite": "a model of TensorFlow Lite",
    "saved/saved_model.pb": "a graph of TensorFlow",
    "saved": "a SavedModel of TensorFlow",
}


@pytest.mark.parametrize("name", BESIDE)
def test_what_lies_beside_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    path = tmp_path / name
    file = path / "saved_model.pb" if name == "saved" else path
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(b"anything")
    assert f"{path.name} is {BESIDE[name]}; expected " in refused(path, capsys)
