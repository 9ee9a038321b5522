"""What a tensor of a file is on the way to a network: constant, held by a node, or out of reach."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Union

import numpy as np

from refq.errors import ShapeError
from refq.networks.layers import Shape
from refq.networks.layers.expressions import Expression


@dataclass(frozen=True)
class Held:
    """A tensor that a node makes, or a function of one, of a single image.

    tensor: the node; dims: the shape that the file gives it, with a batch of 1, whose values are in
    the order of the node's own. expression: what is computed of each value; "x" for nothing.
    """

    tensor: str
    dims: Shape
    expression: Expression = "x"

    @property
    def batched(self) -> bool:
        """Whether the first axis is the batch. What a file folds the batch into has none."""
        return len(self.dims) > 1 and self.dims[0] == 1

    @property
    def shape(self) -> Shape:
        """Without the batch."""
        return self.dims[1:] if self.batched else self.dims or (1,)

    @property
    def first(self) -> int:
        """The file's number of the shape's first axis."""
        return int(self.batched)

    def viewed(self, dims: Shape) -> Held:
        """The same values under another shape."""
        assert math.prod(dims) == math.prod(self.dims)
        return replace(self, dims=dims)

    def axis(self, number: int) -> int:
        """An axis as the file counts it, from 0 on. Raises ShapeError for one that is not there."""
        rank = len(self.dims)
        if not -rank <= number < rank:
            raise ShapeError(f"axis {number} of shape {self.dims}", f"{-rank} to {rank - 1}")
        return number % rank


@dataclass(frozen=True)
class Beyond:
    """A tensor that no network of refq holds. operator: the node that makes it first, in words;
    sources: held tensors that it is made of."""

    operator: str
    why: str
    sources: tuple[Held, ...]


Value = Union[np.ndarray, Held, Beyond]
