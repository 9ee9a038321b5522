"""What the interpreter asks of steps, whatever they compute with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from refq.networks.graph import Node
from refq.plans.plan import TensorPlan


@dataclass(frozen=True)
class Tensor:
    """Integer codes between layers: value = codes * 2**-frac_bits.

    codes: int32, or int64 for exact sums, (N, ...); where feature maps have formats of their own,
    int64, brought to the same fraction bits. stored: how the plan keeps this tensor, None for an
    accumulator. outside: values that saturated or wrapped when it was quantized.
    sums: least and greatest sum of the weighted layer it comes from, None for others;
    overflows: accumulator overflows while it was summed.
    """

    codes: np.ndarray
    frac_bits: int
    stored: TensorPlan | None = None
    outside: int = 0
    sums: tuple[int, int] | None = None
    overflows: int = 0

    def values(self) -> np.ndarray:
        """Real values, float64."""
        return np.ldexp(self.codes.astype(np.float64), -self.frac_bits)


class Steps(Protocol):
    """One way to compute a network, layer after layer. What stands for a tensor in between is its
    own affair."""

    def image(self, images: np.ndarray) -> Any:
        """The input, from preprocessed images, float32 (N, C, H, W)."""

    def restored(self, name: str, tensor: Any) -> Any:
        """A tensor from what `shown` once made of it."""

    def __call__(self, node: Node, inputs: Sequence[Any]) -> Any:
        """What a layer makes of tensors."""

    def release(self, tensor: Any) -> None:
        """No later layer reads a tensor."""

    def shown(self, tensor: Any) -> Any:
        """A tensor as others see it, in arrays of its own: a Tensor in integers, float32 (N, ...)
        or Rounded in float32; None for sums that a ReLU is still to make."""

    def output(self, tensor: Any) -> np.ndarray:
        """Real values of a tensor: float32 or float64 (N, ...)."""
