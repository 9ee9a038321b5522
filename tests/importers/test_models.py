"""Real models of others, in float, beside ONNX Runtime. They do not come with refq."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")

from refq.engine import forward  # noqa: E402
from refq.errors import WeightsError  # noqa: E402
from refq.importers import onnx_model  # noqa: E402
from refq.importers.foreign import Asked, Foreign, Model  # noqa: E402
from refq.importers.lowering import lowered  # noqa: E402
from tests.shared_data import shared  # noqa: E402

ONES = np.ones((4, 4))
CLOSE = 1e-4  # of the largest value
OPEN = (96, 128)  # rows and columns where a file leaves them open
# the least and the largest value of an image
MODELS = {
    "blazeface_front.onnx": (-1, 1),
    "espcn.onnx": (0, 1),
    "face_rfb320.onnx": (-1, 1),
    "mnist8.onnx": (0, 255),
    "mobilenet_v2_torchvision.onnx": (-2, 2),
    "ppocr_v4_det.onnx": (-2, 2),
    "ppocr_v5_cls.onnx": (-1, 1),
    "spindle_eeg.onnx": (-1, 1),
    "yolox_nano.onnx": (0, 255),
}
# what is cut off: the tensors before it, as the file's own outputs have none of it
CUT = {"face_rfb320.onnx": ("scores", "460")}


def _model(path: Path) -> tuple[Foreign, Model]:
    foreign = onnx_model.read(path, Asked())
    opened = any(None in dims[1:] for dims in foreign.inputs.values())
    return foreign, lowered(foreign, Asked(input_size=OPEN if opened else None))


def _of_runtime(path: Path, names: tuple[str, ...], given: dict[str, np.ndarray]) -> list[Any]:
    """Tensors of the file by their names, also inner ones."""
    model = onnx.load(str(path))
    known = {output.name for output in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in {*names} - known)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(model.SerializeToString(), options)
    values: list[Any] = session.run(list(names), given)
    return values


def _image(name: str, shape: list[Any], rng: np.random.Generator) -> np.ndarray:
    low, high = MODELS[name]
    if name == "ppocr_v4_det.onnx":  # sees nothing but in letters: a line of 24 on a white page
        page = np.full(shape, high)
        page[:, :, 40:56, 16:112] = np.where(np.kron(rng.random((4, 24)) < 0.5, ONES), low, high)
        return page.astype(np.float32)
    return rng.uniform(low, high, shape).astype(np.float32)


@pytest.mark.parametrize("name", MODELS)
def test_outputs_are_onnx_runtimes(name: str) -> None:
    path = shared(f"models/{name}")
    foreign, model = _model(path)
    assert model.network.outputs == CUT.get(name, foreign.outputs)
    rng, given, images = np.random.default_rng(5), {}, []
    for input_name, dims in foreign.inputs.items():
        shape = [1, *dims[1:2], *(OPEN if None in dims[1:] else dims[2:])]
        given[input_name] = _image(name, shape, rng)
        last = f"input {input_name} has its channels last" in "".join(model.notes)
        images.append(given[input_name].transpose(0, 3, 1, 2) if last else given[input_name])
    _, rows, columns = model.network.input_shape
    joined = np.concatenate([each.reshape(1, -1, rows, columns) for each in images], 1)
    made = forward.outputs(model.network, model.weights, None, np.ascontiguousarray(joined))
    for output, wanted in zip(made, _of_runtime(path, model.network.outputs, given)):
        values = made[output].reshape(wanted.shape)
        assert np.abs(values - wanted).max() <= CLOSE * np.abs(wanted).max(), output


def test_a_model_of_qonnx_is_quantized_already() -> None:
    path = shared("models/refuse_qonnx_espcn.onnx")
    with pytest.raises(WeightsError, match=r"Quant_4: Quant of onnx.brevitas, so the .* quantized"):
        onnx_model.read(path, Asked())
