"""Caffe's files, field by field of caffe.proto. Nothing here is shared with the readers."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from refq.networks import Network
from refq.networks.layers import LRN, Add, Concat, Conv, Dense, GlobalAvgPool, Layer, MaxPool
from refq.networks.weights import Weights


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def field(number: int, content: bytes | int) -> bytes:
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    return varint(number << 3 | 2) + varint(len(content)) + content


def blob(array: np.ndarray, form: str = "packed") -> bytes:
    """A BlobProto. form: packed; legacy (four dimensions); single (a tag a value); double."""
    if form == "legacy":
        sizes = (1,) * (4 - array.ndim) + array.shape
        shape = b"".join(field(number, size) for number, size in enumerate(sizes, start=1))
    else:
        shape = field(7, field(1, b"".join(map(varint, array.shape))))
    if form == "single":
        tagged = (b"\x2d" + value.tobytes() for value in array.astype("<f4").reshape(-1))
        return shape + b"".join(tagged)
    if form == "double":
        return shape + field(8, array.astype("<f8").tobytes())
    return shape + field(5, array.astype("<f4").tobytes())


# type of a layer: (V1's number, the number of its parameters in a V1 layer and in a V2 layer)
CAFFE = {
    "Convolution": (4, 10, 106),
    "InnerProduct": (14, 17, 117),
    "LRN": (15, 18, 118),
    "Pooling": (17, 19, 121),
    "ReLU": (18, 30, 123),
    "Eltwise": (25, 24, 110),
    "Concat": (3, 9, 104),
    "Softmax": (20, 39, 125),
    "Dropout": (6, 12, 108),
    "BatchNorm": (0, 0, 139),
    "Scale": (0, 0, 142),
}


def caffe_layer(name: str, kind: str, blobs: Sequence[bytes], v1: bool, more: bytes = b"") -> bytes:
    if v1:
        parts = field(4, name.encode()) + field(5, CAFFE[kind][0])
        return field(2, parts + b"".join(field(6, each) for each in blobs) + more)
    parts = field(1, name.encode()) + field(2, kind.encode())
    return field(100, parts + b"".join(field(7, each) for each in blobs) + more)


def single(number: int, value: float) -> bytes:
    """A field of type float."""
    return varint(number << 3 | 5) + struct.pack("<f", value)


def caffe_parameters(layer: Layer) -> tuple[str, bytes]:
    """(type, message of its parameters) of a layer of refq in Caffe's words, all square."""
    match layer:
        case Conv(out_channels=count, kernel=kernel, strides=strides, pads=pads, group=group):
            numbers = {1: count, 3: pads[0], 4: kernel[0], 5: group, 6: strides[0]}
            return "Convolution", b"".join(field(key, value) for key, value in numbers.items())
        case Dense(out_features=count):
            return "InnerProduct", field(1, count)
        case MaxPool(kernel=kernel, strides=strides, pads=pads, ceil_mode=ceil):
            numbers = {1: 0, 2: kernel[0], 3: strides[0], 4: pads[0], 13: int(not ceil)}
            return "Pooling", b"".join(field(key, value) for key, value in numbers.items())
        case GlobalAvgPool():
            return "Pooling", field(1, 1) + field(12, 1)
        case LRN(size=size, alpha=alpha, beta=beta, bias=bias):
            return "LRN", field(1, size) + single(2, alpha) + single(3, beta) + single(5, bias)
        case Add():
            return "Eltwise", field(1, 1)
        case Concat():
            return "Concat", field(2, 1)
    return "ReLU", b""


def caffe_blobs(network: Network, weights: Weights, v1: bool) -> dict[str, bytes]:
    """What each layer says of itself: bottoms, tops and parameters. ReLUs are computed in their
    place, as in published files."""
    bottom, top = (2, 3) if v1 else (3, 4)
    blobs, said = {"data": "data"}, {}
    for node in network.nodes:
        layer = node.layer
        if isinstance(layer, Conv) and node.name in weights.weight:
            layer = replace(layer, out_channels=len(weights.weight[node.name]))
        kind, message = caffe_parameters(layer)
        read = [blobs[name] for name in node.inputs]
        blobs[node.name] = read[0] if kind == "ReLU" else node.name
        parts = b"".join(field(bottom, name.encode()) for name in read)
        parts += field(top, blobs[node.name].encode())
        said[node.name] = parts + (field(CAFFE[kind][1 if v1 else 2], message) if message else b"")
    return said


def caffemodel(
    path: Path,
    network: Network,
    weights: Weights,
    v1: bool = False,
    form: str = "packed",
    more: Mapping[str, bytes] | None = None,
) -> None:
    """Layers with and without weights, under refq's names, which are Caffe's. more: further fields
    of a layer; of one that is stated twice, the last counts."""
    said = caffe_blobs(network, weights, v1)
    with path.open("wb") as file:
        file.write(field(1, network.name.encode()))
        file.write(field(3, b"data") + b"".join(field(4, n) for n in (1, *network.input_shape)))
        for node in network.nodes:
            arrays = (
                [weights.weight[node.name], weights.bias[node.name]]
                if node.name in weights.weight
                else []
            )
            kind, _ = caffe_parameters(node.layer)
            blobs = [blob(each, form) for each in arrays]
            behind = (more or {}).get(node.name, b"")
            file.write(caffe_layer(node.name, kind, blobs, v1, said[node.name] + behind))
