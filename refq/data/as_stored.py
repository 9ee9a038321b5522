"""Rows of arrays as a network's inputs: as they are stored, or with a rule's means and scales."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from refq.data.preprocessing import Preprocessing, normalized
from refq.networks.layers import Shape


@dataclass(frozen=True)
class AsStored:
    """What becomes of a row, which has the network's shape.

    dtype: as it is stored. rule: whose order of channels, means and scales there are; None: values
    stay as they are. Rows of three channels are RGB to a rule that wants BGR.
    """

    shape: Shape
    dtype: np.dtype
    rule: Preprocessing | None = None

    def __call__(self, image: np.ndarray) -> np.ndarray:
        values = image.astype(np.float32, order="C")
        if self.rule is None:
            return values
        if self.rule.channels == "BGR":
            values = np.ascontiguousarray(values[::-1])
        return normalized(values, self.rule)

    @property
    def bounds(self) -> tuple[float, float] | None:
        """Of types with few values theirs; else None, as only the data tell."""
        if self.dtype == np.uint8:
            return (0.0, 255.0) if self.rule is None else self.rule.bounds
        return (0.0, 1.0) if self.dtype == np.bool_ and self.rule is None else None

    @property
    def integral(self) -> bool:
        return self.dtype.kind in "iub" and (self.rule is None or self.rule.integral)

    def __str__(self) -> str:
        done = "as they are" if self.rule is None else self.rule.values
        return f"{'x'.join(map(str, self.shape))} of {self.dtype.name}, {done}"
