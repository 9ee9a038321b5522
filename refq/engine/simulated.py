"""float32 simulations of quantization: weights and tensors rounded as a plan lists them, everything
between computed in float32 (contract section 11).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import numpy as np

from refq import kernels
from refq.engine.clustered import counted_values, stored_coefficients
from refq.engine.float_steps import FloatSteps
from refq.engine.fused_float import FusedFloatSteps
from refq.engine.losses import Losses, losses
from refq.formats.fixed import FormatGrid, Rounding
from refq.formats.floats import AffineGrid, MiniFloat, Number
from refq.networks.graph import INPUT, Network, Node
from refq.networks.points import is_wide
from refq.networks.weights import Weights
from refq.plans.plan import Clustered, Coefficients, Plan, TensorPlan


@dataclass(frozen=True)
class RoundedWeights:
    """Weights of a network as a simulation computes with them, ready for all batches. losses: what
    became of each layer's."""

    weights: Weights
    plan: Plan
    losses: Mapping[str, Losses]


@dataclass(frozen=True)
class Rounded:
    """A float tensor of a simulation.

    tensor: an array, or what the fused steps have in its place. stored: how its values are kept,
    None for float32. outside: values that saturated when they were rounded. later: a weighted
    layer's rounding that its ReLU will do.
    """

    tensor: Any
    stored: TensorPlan | None = None
    outside: int = 0
    later: TensorPlan | None = None


def weight_values(
    array: np.ndarray,
    fmt: Number | Coefficients | None,
    rounding: Rounding,
    ops: ModuleType = kernels,
) -> tuple[np.ndarray, int]:
    """(what a format makes of weights or biases, float32 of the same shape, how many lay outside);
    None leaves them.

    Formats by kernel or filter, and clustered ones, round ties to even whatever the rounding.
    """
    if fmt is None:
        return array, 0
    if isinstance(fmt, (FormatGrid, Clustered)):
        values, outside = counted_values(array, fmt, ops)
        return values.astype(np.float32), outside
    if isinstance(fmt, AffineGrid):
        values, outside = ops.round_affine(array, fmt)
    else:
        values, outside = ops.round_values(array, fmt, rounding)
    return np.asarray(values), outside


def rounded_weights(
    network: Network, weights: Weights, plan: Plan, ops: ModuleType = kernels
) -> RoundedWeights:
    """All weights and biases as the plan's formats make them.

    Weights in other formats are new arrays, so the panels made of them are their own.
    """
    weight, bias, lost = {}, {}, {}
    for node in network.weighted:
        name, entry = node.name, plan.layers[node.name]
        own, biases = weights.weight[name], weights.bias[name]
        weight[name], outside = weight_values(own, entry.weight, plan.rounding, ops)
        bias[name], beyond = weight_values(biases, entry.bias, plan.rounding, ops)
        stored = stored_coefficients(own, entry.weight)
        lost[name] = losses((own, weight[name]), (biases, bias[name]), (outside, beyond), stored)
    return RoundedWeights(Weights(weight, bias, weights.metadata), plan, lost)


def in_order(plan: Plan) -> bool:
    """True where the order of a tensor's values matters, so that plain arrays have to hold them."""
    formats = [entry.format for entry in plan.tensors.values()]
    return any(isinstance(fmt, MiniFloat) and fmt.until_zero for fmt in formats)


class RoundedSteps:
    """Float steps, plain or fused, whose results are rounded as a plan lists them.

    All formats of tensors hold zero and keep order, so rounding a sum and then its ReLU is the
    same as rounding the ReLU alone; that is what happens, and negative sums do not count as
    saturated. Formats that depend on the order of values are rounded wherever they are listed.
    """

    def __init__(self, network: Network, plan: Plan, steps: FloatSteps | FusedFloatSteps) -> None:
        self.network, self.plan, self.steps = network, plan, steps
        self.waits = not in_order(plan)

    def image(self, images: np.ndarray) -> Rounded:
        return self._settled(INPUT, Rounded(self.steps.image(images)))

    def restored(self, name: str, tensor: Rounded) -> Rounded:
        return replace(tensor, tensor=self.steps.restored(name, tensor.tensor))

    def __call__(self, node: Node, inputs: Sequence[Rounded]) -> Rounded:
        x, layer = inputs[0], node.layer
        result = Rounded(self.steps(node, [tensor.tensor for tensor in inputs]))
        if self.waits and is_wide(self.network, node) and self.network.consumers[node.name]:
            return replace(result, later=self.plan.tensors.get(node.name))
        if layer.takes_sums and x.later:
            result = self._rounded(result, x.later)
        elif self.waits and (layer.moves_stored or layer.moves_codes):
            # values pass through these as they are
            same = len({tensor.stored for tensor in inputs}) == 1
            result = replace(result, stored=x.stored if same else None)
        elif layer.moves_stored:
            result = replace(result, outside=x.outside)
        return self._settled(node.name, result)

    def release(self, tensor: Rounded) -> None:
        self.steps.release(tensor.tensor)

    def shown(self, tensor: Rounded) -> Rounded | None:
        values = self.steps.shown(tensor.tensor)
        return None if values is None else replace(tensor, tensor=values)

    def output(self, tensor: Rounded) -> np.ndarray:
        return self.steps.output(tensor.tensor)

    def _settled(self, name: str, tensor: Rounded) -> Rounded:
        """A tensor as the plan keeps it: rounded, unless it is so already."""
        entry = self.plan.tensors.get(name)
        return tensor if entry in (None, tensor.stored) else self._rounded(tensor, entry)

    def _rounded(self, tensor: Rounded, entry: TensorPlan | None) -> Rounded:
        assert entry is not None
        values, outside = self.steps.rounded(tensor.tensor, entry.format, self.plan.rounding)
        return Rounded(values, entry, tensor.outside + outside)
