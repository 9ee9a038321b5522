"""Constants of an ONNX model as lowering takes them: floats as float32, integers as they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from refq.importers import onnx_tensors
from refq.importers.contents import LARGEST, refuse
from refq.importers.onnx_external import Outside
from refq.importers.onnx_proto import Node, Stored
from refq.networks.weights import narrowed

LISTS = {"value_float": "f4", "value_floats": "f4", "value_int": "i8", "value_ints": "i8"}


@dataclass
class Values:
    """arrays: by the tensors' names. size: bytes of the model. types: how many tensors were of
    other floats; vanished: how many values became 0 as float32."""

    outside: Outside
    size: int
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    types: Counter[str] = field(default_factory=Counter)
    vanished: int = 0
    held: int = 0

    def enter(self, name: str, tensor: Stored) -> None:
        self.arrays[name] = self.loaded(name, tensor)

    def loaded(self, name: str, tensor: Stored) -> np.ndarray:
        """The values. Raises WeightsError for what float32 does not hold."""
        onnx_tensors.checked(tensor if tensor.name else _called(tensor, name), self.outside)
        stored = onnx_tensors.load(tensor, self.outside)
        if stored.dtype.kind != "f":
            self._count(name, stored.nbytes)
            return stored
        self._count(name, 4 * stored.size)
        if tensor.kind != 1:
            self.types[onnx_tensors.NAMES[tensor.kind]] += 1
        values, vanished = narrowed(stored)
        self.vanished += vanished
        # single bounds may be infinite, and are what they are as float32
        if np.isnan(stored).any() or (stored.size > 1 and not np.isfinite(stored).all()):
            raise refuse(f"{name}: NaN or infinite values", "numbers")
        if stored.size > 1 and not np.isfinite(values).all():
            worst = float(np.abs(stored).max())
            raise refuse(
                f"{name}: values beyond float32, to {worst:.3g}",
                f"{np.finfo(np.float32).max:.3g} or less",
            )
        return values

    def constant(self, node: Node, said: Mapping[str, Any]) -> None:
        """The value of a Constant."""
        output = next(filter(None, node.outputs), "")
        key, value = next(iter(said.items()), ("", None))
        if len(said) != 1 or not (isinstance(value, Stored) or key in LISTS):
            raise refuse(
                f"{node.told}: a Constant of {', '.join(said) or 'nothing'}",
                "one tensor or numbers",
            )
        if isinstance(value, Stored):
            self.arrays[output] = self.loaded(output, value)
        else:
            self.arrays[output] = np.array(value, LISTS[key])

    def _count(self, name: str, size: int) -> None:
        """Raises WeightsError where constants hold much more than the files: many may be one."""
        self.held += size
        # half precision doubles on reading; one GiB of constants is enough for VGG-19
        if self.held > 2 * (self.size + self.outside.bytes) + LARGEST:
            raise refuse(
                f"{name}: constants of {self.held:,} bytes in a model of {self.size:,}",
                "weights that are in the file",
            )

    def notes(self) -> list[str]:
        told = [f"{count} tensors of {kind}, read as float32" for kind, count in self.types.items()]
        if self.vanished:
            told.append(f"{self.vanished:,} values below float32, 0 here")
        return told


def _called(tensor: Stored, name: str) -> Stored:
    return Stored(
        name, tensor.kind, tensor.shape, tensor.data, tensor.raw, tensor.typed, tensor.external
    )
