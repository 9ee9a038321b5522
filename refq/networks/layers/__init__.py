"""Layers: one file a type (pools have one), which says all that is particular to it.

Attributes carry ONNX's names and meaning: pads are (top, left, bottom, right), strides (down,
right). Shapes are without the batch: (C, H, W), or (K,) after a dense layer.
"""

from __future__ import annotations

from refq.networks.layers.add import Add
from refq.networks.layers.concat import Concat
from refq.networks.layers.conv import Conv
from refq.networks.layers.dense import Dense
from refq.networks.layers.layer import Layer, Shape, Weighted
from refq.networks.layers.lrn import LRN
from refq.networks.layers.pools import AvgPool, GlobalAvgPool, MaxPool
from refq.networks.layers.relu import ReLU
from refq.networks.layers.softmax import Softmax
from refq.networks.layers.subsample import Subsample
from refq.networks.layers.windows import NO_PADS, Pads, Pair

__all__ = [
    "LRN",
    "NO_PADS",
    "Add",
    "AvgPool",
    "Concat",
    "Conv",
    "Dense",
    "GlobalAvgPool",
    "Layer",
    "MaxPool",
    "Pads",
    "Pair",
    "ReLU",
    "Shape",
    "Softmax",
    "Subsample",
    "Weighted",
]
