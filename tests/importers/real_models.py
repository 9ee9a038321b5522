"""Files that the frameworks themselves write, and graphs that others made: with random values.

torchvision and Keras (on PyTorch) are wanted only here, by bench_convert.py --frameworks.
"""

from __future__ import annotations

import os
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from tests.importers import weight_files

Reference = Callable[[np.ndarray], np.ndarray]
LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
ENDS = tuple(weight_files.NORMS.values())  # gamma, beta, mean, variance


def session(model: bytes | str) -> Reference:
    """images -> outputs of an ONNX model, by ONNX Runtime."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    runtime = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    (source,) = runtime.get_inputs()
    return lambda images: np.asarray(runtime.run(None, {source.name: images})[0])


def light(path: Path, name: str, seed: int = 3) -> Reference:
    """A model that the onnx package ships without its weights, with random values in their place.

    Its Softmax is left out, so that logits are compared.
    """
    model, rng = onnx.load(LIGHT / f"light_{name}.onnx"), np.random.default_rng(seed)
    graph = model.graph
    shapes = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    reader = {read: (node, place) for node in graph.node for place, read in enumerate(node.input)}
    kept, end = [], graph.node[-1].output[0]
    for node in graph.node:
        if node.op_type == "ConstantOfShape":
            by, place = reader[node.output[0]]
            shape = tuple(int(size) for size in shapes[node.input[0]])
            if by.op_type == "BatchNormalization":
                drawn: np.ndarray = rng.uniform(*ENDS[place - 1], shape)
            else:
                scale = np.sqrt(2 / np.prod(shape[1:])) if len(shape) > 1 else 0.1
                drawn = rng.standard_normal(shape, np.float32) * scale
            graph.initializer.append(
                numpy_helper.from_array(drawn.astype(np.float32), node.output[0])
            )
        elif node.op_type == "Softmax":
            end = node.input[0]
        else:
            kept.append(node)
    used = {name for node in kept for name in node.input}
    constants = [each for each in graph.initializer if each.name in used]
    images = [each for each in graph.input if each.name not in shapes]
    for part, values in ((graph.node, kept), (graph.initializer, constants), (graph.input, images)):
        del part[:]
        part.extend(values)
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(end, onnx.TensorProto.FLOAT, None))
    onnx.save(model, path)
    reference = session(str(path))
    # the models state a batch of one
    return lambda images: np.concatenate(
        [reference(images[index : index + 1]).reshape(1, -1) for index in range(len(images))]
    )


def torchvision(path: Path, name: str) -> Reference:
    """A state dict of torchvision's model; the reference takes images less their mean."""
    import torch

    # its detection operators, which no classifier uses, want PyTorch's other builds
    sys.modules.setdefault("torchvision._meta_registrations", types.ModuleType("none"))
    import torchvision as library

    options: dict[str, Any] = {"weights": None}
    deviation = np.array((58.395, 57.12, 57.375), np.float32).reshape(3, 1, 1)
    if name == "googlenet":
        options |= {"init_weights": False, "aux_logits": True, "transform_input": False}
        deviation[:] = 127.5
    torch.manual_seed(0)
    model = getattr(library.models, name)(**options).eval()
    with torch.no_grad():
        for part in model.modules():
            if isinstance(part, torch.nn.BatchNorm2d):
                arrays = (part.weight, part.bias, part.running_mean, part.running_var)
                for array, (low, high) in zip(arrays, ENDS):
                    array.uniform_(low, high)
    torch.save(model.state_dict(), path)

    @torch.no_grad()
    def reference(images: np.ndarray) -> np.ndarray:
        return np.asarray(model(torch.from_numpy(images / deviation)))

    return reference


def keras(path: Path, name: str) -> Reference:
    """Keras' application: the whole model (.h5), or its weights (.weights.h5)."""
    os.environ.setdefault("KERAS_BACKEND", "torch")
    import keras as library

    library.utils.set_random_seed(0)
    model = getattr(library.applications, name)(weights=None, classifier_activation=None)
    rng = np.random.default_rng(2)
    for layer in model.layers:
        if isinstance(layer, library.layers.BatchNormalization):
            layer.set_weights([rng.uniform(*bounds, layer.gamma.shape) for bounds in ENDS])
    (model.save_weights if path.name.endswith(".weights.h5") else model.save)(path)
    return lambda images: np.asarray(model.predict(images.transpose(0, 2, 3, 1), verbose=0))
