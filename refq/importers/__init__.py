"""Safe readers of weight files, one file a format, and how each names the layers of a network.

A format has `FORM`, its name in words, `sniff(head, path)`, from the file's first bytes, and
`read(path)`, which gives Contents.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from refq.errors import WeightsError
from refq.importers import (
    caffe,
    caffe_hdf5,
    keras,
    keras_zip,
    matconvnet,
    matconvnet_hdf5,
    mistaken,
    onnx_,
    safetensors_,
    torch_legacy,
    torch_zip,
)
from refq.importers.contents import Contents, one_line

# those with a magic number first; protobuf has none
FORMATS: tuple[ModuleType, ...] = (
    keras_zip,
    torch_zip,
    torch_legacy,
    matconvnet,
    matconvnet_hdf5,
    caffe_hdf5,
    keras,
    safetensors_,
    onnx_,
    caffe,
)
HEAD = 4096


def read(path: Path) -> Contents:
    """What is in a weight file of any known format. Raises WeightsError in one line."""
    mistaken.check_regular(path)
    with one_line(path, "a weight file"):
        with path.open("rb") as file:
            head = file.read(HEAD)
        mistaken.check_head(path, head)
        fitting = [form for form in FORMATS if form.sniff(head, path)]
    if not fitting:
        raise WeightsError(
            f"{path} is of no known format",
            ", ".join(form.FORM for form in FORMATS),
            "see docs/convert.md",
        )
    with one_line(path, fitting[0].FORM):
        contents: Contents = fitting[0].read(path)
    if not contents.units:
        raise WeightsError(f"{path} holds no layers with weights", "a trained network")
    return contents
