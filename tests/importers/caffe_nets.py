"""Small whole Caffe nets, written as a .caffemodel and as a .prototxt of the same layers.

A layer's parameters are text; numbers of fields are of caffe.proto. Nothing here is shared with the
readers.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tests.importers import caffe_files
from tests.importers.caffe_files import blob, single, varint


@dataclass(frozen=True)
class Part:
    """name, type, bottoms, tops; said: {message: its fields}, numbers, texts and lists of them."""

    name: str
    type: str
    bottoms: Sequence[str]
    tops: Sequence[str]
    said: dict[str, dict[str, object]] = field(default_factory=dict)
    arrays: Sequence[np.ndarray] = ()


# number of each message, and of its fields; f: of type float
NUMBERS: dict[str, tuple[int, dict[str, str]]] = {
    "transform_param": (
        100,
        {"scale": "1f", "crop_size": "3", "mean_file": "4", "mean_value": "5f"},
    ),
    "argmax_param": (103, {"out_max_val": "1", "top_k": "2", "axis": "3"}),
    "concat_param": (104, {"concat_dim": "1", "axis": "2"}),
    "convolution_param": (
        106,
        {
            "num_output": "1",
            "bias_term": "2",
            "pad": "3",
            "kernel_size": "4",
            "group": "5",
            "stride": "6",
            "pad_h": "9",
            "pad_w": "10",
            "kernel_h": "11",
            "kernel_w": "12",
            "stride_h": "13",
            "stride_w": "14",
            "dilation": "18",
        },
    ),
    "dropout_param": (108, {"dropout_ratio": "1f", "scale_train": "2"}),
    "eltwise_param": (110, {"operation": "1", "coeff": "2f"}),
    "exp_param": (111, {"base": "1f", "scale": "2f", "shift": "3f"}),
    "inner_product_param": (
        117,
        {"num_output": "1", "bias_term": "2", "axis": "5", "transpose": "6"},
    ),
    "lrn_param": (
        118,
        {"local_size": "1", "alpha": "2f", "beta": "3f", "norm_region": "4", "k": "5f"},
    ),
    "pooling_param": (
        121,
        {
            "pool": "1",
            "kernel_size": "2",
            "stride": "3",
            "pad": "4",
            "kernel_h": "5",
            "kernel_w": "6",
            "stride_h": "7",
            "stride_w": "8",
            "pad_h": "9",
            "pad_w": "10",
            "global_pooling": "12",
            "round_mode": "13",
        },
    ),
    "power_param": (122, {"power": "1f", "scale": "2f", "shift": "3f"}),
    "relu_param": (123, {"negative_slope": "1f"}),
    "softmax_param": (125, {"axis": "2"}),
    "slice_param": (126, {"slice_point": "2", "axis": "3"}),
    "threshold_param": (128, {"threshold": "1f"}),
    "python_param": (130, {"module": "1", "layer": "2"}),
    "prelu_param": (131, {"channel_shared": "2"}),
    "reshape_param": (133, {"shape": "1s", "axis": "2", "num_axes": "3"}),
    "log_param": (134, {"base": "1f", "scale": "2f", "shift": "3f"}),
    "flatten_param": (135, {"axis": "1", "end_axis": "2"}),
    "reduction_param": (136, {"operation": "1", "axis": "2", "coeff": "3f"}),
    "tile_param": (138, {"axis": "1", "tiles": "2"}),
    "batch_norm_param": (139, {"use_global_stats": "1", "eps": "3f"}),
    "elu_param": (140, {"alpha": "1f"}),
    "bias_param": (141, {"axis": "1", "num_axes": "2"}),
    "scale_param": (142, {"axis": "1", "num_axes": "2", "bias_term": "4"}),
    "input_param": (143, {"shape": "1s"}),
    "crop_param": (144, {"axis": "1", "offset": "2"}),
    "swish_param": (147, {"beta": "1f"}),
    "clip_param": (148, {"min": "1f", "max": "2f"}),
    # of forks, with numbers of forks
    "shuffle_channel_param": (164, {"group": "1"}),
    "permute_param": (202, {"order": "1"}),
    "interp_param": (205, {"height": "1", "width": "2", "zoom_factor": "3", "shrink_factor": "4"}),
    "upsample_param": (160, {"scale": "1"}),
    "quantization_param": (145, {"bw_params": "4"}),
}


def _values(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


def _field(number: str, value: object) -> bytes:
    if number.endswith("s"):
        assert isinstance(value, tuple)
        sizes = b"".join(varint(size & (1 << 64) - 1) for size in value)
        return caffe_files.field(int(number[:-1]), caffe_files.field(1, sizes))
    if isinstance(value, str):
        return caffe_files.field(int(number), value.encode())
    assert isinstance(value, (int, float))
    if number.endswith("f"):
        return single(int(number[:-1]), value)
    return caffe_files.field(int(number), int(value) & (1 << 64) - 1)


def layer(part: Part) -> bytes:
    """A LayerParameter as a field of the network."""
    content = caffe_files.field(1, part.name.encode()) + caffe_files.field(2, part.type.encode())
    content += b"".join(caffe_files.field(3, name.encode()) for name in part.bottoms)
    content += b"".join(caffe_files.field(4, name.encode()) for name in part.tops)
    content += b"".join(caffe_files.field(7, blob(array)) for array in part.arrays)
    for message, said in part.said.items():
        if message == "include":
            content += caffe_files.field(8, caffe_files.field(1, int(said["phase"] == "TEST")))
            continue
        if message == "loss_weight":
            content += b"\x2d" + struct.pack("<f", said["value"])
            continue
        number, numbers = NUMBERS[message]
        inner = [_field(numbers[name], each) for name in said for each in _values(said[name])]
        content += caffe_files.field(number, b"".join(inner))
    return caffe_files.field(100, content)


def caffemodel(path: Path, parts: Sequence[Part], image: Sequence[int] = ()) -> Path:
    """image: the shape of an input `data`."""
    begin = caffe_files.field(1, b"small")
    if image:
        begin += caffe_files.field(3, b"data")
        begin += b"".join(caffe_files.field(4, size) for size in image)
    path.write_bytes(begin + b"".join(map(layer, parts)))
    return path


ENUMERATIONS = {
    ("pooling_param", "pool"): ("MAX", "AVE", "STOCHASTIC"),
    ("pooling_param", "round_mode"): ("CEIL", "FLOOR"),
    ("eltwise_param", "operation"): ("PROD", "SUM", "MAX"),
    ("reduction_param", "operation"): ("", "SUM", "ASUM", "SUMSQ", "MEAN"),
    ("lrn_param", "norm_region"): ("ACROSS_CHANNELS", "WITHIN_CHANNEL"),
}


def _text(message: str, name: str, value: object) -> str:
    if isinstance(value, tuple):
        return f"{name} {{ {' '.join(f'dim: {size}' for size in value)} }}"
    if (message, name) in ENUMERATIONS:
        assert isinstance(value, int)
        return f"{name}: {ENUMERATIONS[message, name][value]}"
    if isinstance(value, bool):
        return f"{name}: {str(value).lower()}"
    return f'{name}: "{value}"' if isinstance(value, str) else f"{name}: {value}"


def prototxt(path: Path, parts: Sequence[Part], image: Sequence[int] = ()) -> Path:
    """The layers as people write them, without arrays."""
    lines = ['name: "small"  # a net']
    if image:
        lines.append('input: "data"')
        lines.append(f"input_shape {{ {' '.join(f'dim: {size}' for size in image)} }}")
    for part in parts:
        lines.append("layer {")
        lines += [f'  name: "{part.name}"', f"  type: '{part.type}'"]
        lines += [f'  bottom: "{name}"' for name in part.bottoms]
        lines += [f'  top: "{name}"' for name in part.tops]
        for message, said in part.said.items():
            if message == "include":
                lines.append(f"  include {{ phase: {said['phase']} }}")
                continue
            if message == "loss_weight":
                lines.append(f"  loss_weight: {said['value']}")
                continue
            inner = [_text(message, name, each) for name in said for each in _values(said[name])]
            lines.append(f"  {message}: {{ {' '.join(inner)} }}")
        lines.append("}")
    path.write_text("\n".join(lines), "utf-8")
    return path
