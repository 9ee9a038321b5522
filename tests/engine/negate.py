"""A layer type that refq does not have: all that there is to one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from refq.networks.layers import Layer


@dataclass(frozen=True)
class Negate(Layer):
    """-x."""

    def computed(self, ops: ModuleType, inputs: Sequence[np.ndarray]) -> np.ndarray:
        return np.negative(inputs[0])

    def signed(self, inputs: Sequence[bool]) -> bool:
        return True
