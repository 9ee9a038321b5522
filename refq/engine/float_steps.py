"""Networks in float32: the steps of their layers on plain arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from refq.formats.fixed import Rounding
from refq.formats.floats import MiniFloat, Number
from refq.networks.graph import Node
from refq.networks.weights import Weights


@dataclass(frozen=True)
class FloatStep:
    """What a layer's step in float32 is given (refq.networks.layers)."""

    ops: ModuleType
    inputs: Sequence[np.ndarray]
    node: Node
    weights: Weights

    @property
    def weight(self) -> np.ndarray:
        return self.weights.weight[self.node.name]

    @property
    def bias(self) -> np.ndarray:
        return self.weights.bias[self.node.name]


@dataclass(frozen=True)
class FloatSteps:
    """Steps on arrays float32 (N, ...)."""

    weights: Weights
    ops: ModuleType

    def image(self, images: np.ndarray) -> np.ndarray:
        return images.astype(np.float32, copy=False)

    def restored(self, name: str, tensor: np.ndarray) -> np.ndarray:
        return tensor

    def __call__(self, node: Node, inputs: Sequence[np.ndarray]) -> np.ndarray:
        return node.layer.float_step(FloatStep(self.ops, inputs, node, self.weights))

    def release(self, tensor: np.ndarray) -> None:
        """Arrays go by themselves."""

    def shown(self, tensor: np.ndarray) -> np.ndarray:
        return tensor

    def output(self, tensor: np.ndarray) -> np.ndarray:
        return tensor

    def rounded(
        self, tensor: np.ndarray, fmt: Number, rounding: Rounding
    ) -> tuple[np.ndarray, int]:
        """(its values in a format, how many saturated)."""
        if isinstance(fmt, MiniFloat) and fmt.until_zero:
            # image by image, so that the result does not depend on the batch size
            parts = [self.ops.round_values(image, fmt, rounding) for image in tensor]
            return np.stack([part for part, _ in parts]), sum(count for _, count in parts)
        values, outside = self.ops.round_values(tensor, fmt, rounding)
        return values, outside
