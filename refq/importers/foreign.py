"""A whole network as another tool's file has it, in one form for all formats: operators by ONNX's
names and attributes, channels first. Readers make it, `lowering` turns it into a Network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from refq.networks import Network
from refq.networks.weights import Weights


@dataclass(frozen=True)
class Operator:
    """One operator. kind: ONNX's name of it, or what the file calls one that ONNX has not. name: as
    the file has it, for messages. inputs, outputs: names of tensors, "" for one that is left out.
    attributes: by ONNX's names, plain values, tuples and arrays. domain: of an operator that is not
    ONNX's own."""

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    domain: str = ""


@dataclass(frozen=True)
class Branch:
    """What an If does on one of its ways: an attribute, then_branch or else_branch. Its operators
    read tensors around it by name; outputs are the If's, in order."""

    operators: tuple[Operator, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Foreign:
    """operators: in order of computation. constants: arrays that operators read by name, with the
    batch's axis where they have one. inputs: {name: shape with batch, None where it is open}.
    opset: whose meaning the operators have. notes: what a user should know. preprocessing: what the
    file says of it, as refq.data.preprocessing's JSON, or None."""

    format: str
    name: str
    operators: tuple[Operator, ...]
    constants: Mapping[str, np.ndarray]
    inputs: Mapping[str, tuple[int | None, ...]]
    outputs: tuple[str, ...]
    opset: int = 21
    notes: tuple[str, ...] = ()
    preprocessing: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Asked:
    """What a user says of a model file. input_size: rows and columns where the file leaves them
    open, or one number for both. outputs: tensors, by the file's names, that are to be the
    network's outputs. external_data: the folder that data outside the file may lie in.
    prototxt: the file that describes a .caffemodel's layers."""

    input_size: tuple[int, int] | None = None
    outputs: tuple[str, ...] = ()
    external_data: str | None = None
    prototxt: str | None = None


@dataclass(frozen=True)
class Model:
    """A network with its weights, and notes: what was cut off, turned, or assumed."""

    network: Network
    weights: Weights
    notes: tuple[str, ...] = ()
