"""What one layer made of one image, and the refusal where kernels and oracle differ on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from refq.engine.integer import IntegerSteps, Tensor
from refq.errors import INTERNAL, RefqError
from refq.networks.graph import Node
from refq.plans.plan import TensorPlan

CHANNELS = 3  # sampled outputs, or feature maps, of a layer


class DisagreementError(RefqError):
    """Kernels and oracle differ: nothing that rests on them may be written."""

    status = INTERNAL

    def __init__(self, what: str) -> None:
        super().__init__(
            what,
            "the same integers by all of refq's ways",
            "nothing was written; report this as a defect",
        )


@dataclass(frozen=True)
class Made:
    """A layer of one image. inputs: what it read. stages: what it was noted to make (IntegerSteps),
    (1, ...) each. result: the Tensor it made. steps: the kernels' own."""

    node: Node
    inputs: Sequence[Tensor]
    stages: Mapping[str, np.ndarray]
    result: Tensor
    steps: IntegerSteps

    @property
    def kept(self) -> TensorPlan:
        """How the plan keeps the result."""
        assert self.result.stored is not None
        return self.result.stored

    def agree(self, what: str, got: np.ndarray, wanted: np.ndarray) -> None:
        agree(f"{self.node.name}{what}", got, wanted)


def agree(what: str, got: np.ndarray, wanted: np.ndarray) -> None:
    """Raises DisagreementError where kernels got other integers than the oracle wants."""
    different = np.flatnonzero(np.asarray(got != wanted).reshape(-1))
    if len(different):
        first = int(different[0])
        ours, its = int(got.reshape(-1)[first]), int(wanted.reshape(-1)[first])
        raise DisagreementError(f"{what} is {ours} by kernels and {its} by the oracle")


def spread(count: int, chosen: int) -> list[int]:
    """So many places of 0..count-1 or fewer, from the first to the last."""
    return sorted({int(at) for at in np.linspace(0, count - 1, min(chosen, count))})
