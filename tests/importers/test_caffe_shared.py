"""Caffemodels that earlier readers mistook: whole, they compute what they state."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from refq.data import open_dataset
from refq.importers import caffe, caffe_model
from refq.importers.contents import mapped
from refq.importers.foreign import Asked
from tests.shared_data import shared

pytest.importorskip("torch")
pytest.importorskip("onnxruntime")

import torch
from torch.nn import functional

from tests.importers import as_onnx

CASES = "../cases"


def by_torch(path: Path, x: torch.Tensor) -> torch.Tensor:
    """A chain of convolutions, pools of 2 and functions, by what each layer states."""
    for layer in caffe.net(mapped(path)).layers:
        said = {
            name: values[-1] for one in layer.parameters.values() for name, values in one.items()
        }
        if layer.type == "Convolution":
            weight, bias = (torch.tensor(blob.load()) for blob in layer.blobs)
            dilation, pad = said.get("dilation", 1), said.get("pad", 0)
            x = functional.conv2d(x, weight, bias, 1, pad, dilation)
        elif layer.type == "Pooling":
            pool = functional.avg_pool2d if said.get("pool") else functional.max_pool2d
            assert (said["kernel_size"], said["stride"]) in ((2, 2), (3, 1))
            x = pool(x, said["kernel_size"], said["stride"], said.get("pad", 0))
        else:
            assert layer.type in ("ReLU", "Sigmoid")
            x = torch.relu(x) if layer.type == "ReLU" else torch.sigmoid(x)
    return x


@pytest.mark.parametrize("name", ["vgg_plain", "vgg_dilated", "vgg_avepool", "vgg_sigmoid"])
def test_what_a_vgg_states(name: str) -> None:
    path = shared(f"{CASES}/{name}.caffemodel")
    x = np.random.default_rng(1).normal(0, 50, (2, 3, 32, 32)).astype(np.float32)
    (made,) = as_onnx.run(caffe_model.read(path, Asked(input_size=(32, 32))), [x])
    wanted = by_torch(path, torch.from_numpy(x)).numpy()
    assert made.shape == wanted.shape
    np.testing.assert_allclose(made, wanted, rtol=1e-4, atol=1e-5 * np.abs(wanted).max())


def test_a_resnet_that_strides_in_its_3x3() -> None:
    """Outputs that torch computed from the network that the file was written from."""
    foreign = caffe_model.read(shared(f"{CASES}/res_2b.caffemodel"), Asked(input_size=(64, 64)))
    data = open_dataset("random:2", (3, 64, 64))
    images = np.stack([data.image(index) for index in range(2)]).astype(np.float32)
    images = images.transpose(0, 3, 1, 2)[:, ::-1] - np.array(
        [[[104]], [[117]], [[123]]], np.float32
    )
    (made,) = as_onnx.run(foreign, [np.ascontiguousarray(images)])
    wanted = np.load(shared(f"{CASES}/res_2b_ref.npy"))
    assert np.abs(made - wanted).max() < 1e-5 * np.abs(wanted).max()
