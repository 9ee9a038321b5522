"""Layers: one file a type (pools have one), which says all that is particular to it.

Attributes carry ONNX's names and meaning: pads are (top, left, bottom, right), strides (down,
right). Shapes are without the batch: (C, H, W), or (K,) after a dense layer.
"""

from __future__ import annotations

from refq.networks.layers.add import Add
from refq.networks.layers.argmax import ArgMax
from refq.networks.layers.clip import Clip
from refq.networks.layers.concat import Concat
from refq.networks.layers.conv import Conv
from refq.networks.layers.conv_transpose import ConvTranspose
from refq.networks.layers.dense import Dense
from refq.networks.layers.function import Function
from refq.networks.layers.layer import Layer, Shape, Weighted
from refq.networks.layers.lrn import LRN
from refq.networks.layers.mul import Mul
from refq.networks.layers.pad import Pad
from refq.networks.layers.pools import AvgPool, GlobalAvgPool, GlobalMaxPool, MaxPool
from refq.networks.layers.prelu import PReLU
from refq.networks.layers.rearrange import Rearrange
from refq.networks.layers.relu import ReLU
from refq.networks.layers.resize import Resize
from refq.networks.layers.slice_ import Slice
from refq.networks.layers.softmax import Softmax
from refq.networks.layers.sub import Sub
from refq.networks.layers.subsample import Subsample
from refq.networks.layers.windows import NO_PADS, Pads, Pair

KINDS: dict[str, type[Layer]] = {
    kind.__name__: kind
    for kind in (
        Add,
        ArgMax,
        AvgPool,
        Clip,
        Concat,
        Conv,
        ConvTranspose,
        Dense,
        Function,
        GlobalAvgPool,
        GlobalMaxPool,
        LRN,
        MaxPool,
        Mul,
        PReLU,
        Pad,
        ReLU,
        Rearrange,
        Resize,
        Slice,
        Softmax,
        Sub,
        Subsample,
    )
}

__all__ = [
    "KINDS",
    "LRN",
    "NO_PADS",
    "Add",
    "ArgMax",
    "AvgPool",
    "Clip",
    "Concat",
    "Conv",
    "ConvTranspose",
    "Dense",
    "Function",
    "GlobalAvgPool",
    "GlobalMaxPool",
    "Layer",
    "MaxPool",
    "Mul",
    "PReLU",
    "Pad",
    "Pads",
    "Pair",
    "ReLU",
    "Rearrange",
    "Resize",
    "Shape",
    "Slice",
    "Softmax",
    "Sub",
    "Subsample",
    "Weighted",
]
