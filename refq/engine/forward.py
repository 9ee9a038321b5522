"""The only interpreter of networks: float32, or integers end to end under a Plan."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Union

import numpy as np
from numba.core import config

from refq import kernels
from refq.engine.coefficients import IntegerWeights, quantize_weights
from refq.engine.fused import FusedSteps, Pending, Stored
from refq.engine.fused_float import FusedFloatSteps, Mapped, PendingFloat
from refq.engine.integer import IntegerSteps, Note, Tensor, conv_attributes, window_attributes
from refq.engine.memory import MapMemory
from refq.engine.simulated import Rounded, RoundedSteps, RoundedWeights, in_order, rounded_weights
from refq.errors import OptionError, ShapeError
from refq.networks.graph import INPUT, Network, Node
from refq.networks.layers import (
    LRN,
    Add,
    AvgPool,
    Concat,
    Conv,
    Dense,
    GlobalAvgPool,
    MaxPool,
    ReLU,
    Softmax,
    Subsample,
)
from refq.networks.weights import Weights
from refq.plans.plan import FLOAT, Plan

__all__ = ["Cut", "IntegerWeights", "Ready", "Tensor", "forward", "quantize_weights", "ready"]

# weights as forward() computes with them
Ready = Union[Weights, IntegerWeights, RoundedWeights]

Observer = Callable[[Node | None, Any], None]


@dataclass(frozen=True)
class Cut:
    """A batch on its way, before node number `at`: what that node and later ones read of what
    earlier ones made.

    tensors: {name: Tensor}, as the plan stores them.
    """

    at: int
    tensors: Mapping[str, Tensor]

    @property
    def images(self) -> int:
        return min((len(tensor.codes) for tensor in self.tensors.values()), default=0)


def forward(
    network: Network,
    weights: Ready,
    plan: Plan | None,
    images: np.ndarray | Cut,
    ops: ModuleType = kernels,
    observe: Observer | None = None,
    first_image: int = 0,
    fused: bool = True,
    watch: Container[str] | None = None,
    cuts: Container[int] = (),
    keep: Callable[[Cut], object] = lambda cut: None,
    note: Note | None = None,
) -> np.ndarray:
    """The network's output for a batch.

    images: float32 (N,C,H,W), preprocessed. plan None computes in float32 with `ops`'s float
    operations; otherwise every tensor is integer codes, from the quantized image to the output,
    which alone becomes real again: float32 or float64 (N, ...). A plan with float arithmetic
    computes in float32 on rounded values; observe then sees Rounded, or plain arrays where the
    plan lists no tensor. weights may be the result of ready(), to save work over many batches. ops
    is refq.kernels or refq.oracle. observe(node, tensor) sees every tensor (node None for the
    input), or those that watch names: an array in float, a Tensor in integers. fused joins a
    layer's sum with its ReLU and requantization where ops is refq.kernels; the integers are the
    same, but sums between them are never made, so observe does not see them. note is told of stages
    between tensors (IntegerSteps), where nothing is fused. first_image numbers
    the images for stochastic rounding, so that a result does not depend on the batch size. keep
    gets a Cut before each node whose number is in cuts, under a plan of integers; given in the
    place of images, the same batch goes on from there with the same integers. No cut lies between
    a sum and its ReLU.
    Raises ShapeError for images of another shape, or a cut that misses a tensor.
    """
    count = _images(network, plan, images)
    seen = _watching(observe, watch)
    # without compiled code there is no machine code to fuse into
    fused = fused and ops is kernels and not getattr(config, "DISABLE_JIT", False)
    own = _of_plan(network, weights, plan, ops)
    if not isinstance(own, IntegerWeights):
        assert isinstance(images, np.ndarray)  # cuts are of codes
        return _float(network, own, plan, images, ops, seen, fused, watch or ())
    assert plan is not None
    if fused:
        idle = own.workspace.setdefault("maps", {})
        with own.lock, MapMemory(network, count, idle) as memory:
            quick = FusedSteps(memory, own, plan, first_image)
            at, tensors = _start(images, quick)
            return _run(network, tensors, quick, seen, quick.release, at, cuts, keep)
    plain = IntegerSteps(own, plan, ops, first_image, note)
    at, tensors = _start(images, plain)
    return _run(network, tensors, plain, seen, at=at, cuts=cuts, keep=keep)


def ready(
    network: Network, weights: Weights, plan: Plan | None, ops: ModuleType = kernels
) -> Ready:
    """Weights as forward() computes with them under a plan: codes, or rounded, or themselves."""
    if plan is None:
        return weights
    if plan.arithmetic == FLOAT:
        return rounded_weights(network, weights, plan, ops)
    return quantize_weights(network, weights, plan, ops)


def _of_plan(
    network: Network, weights: Ready, plan: Plan | None, ops: ModuleType
) -> Weights | IntegerWeights:
    """Weights ready for a plan, once they are known to be its own."""
    if isinstance(weights, Weights):
        weights = ready(network, weights, plan, ops)
    elif plan is None:
        raise OptionError("integer weights without a plan", "a plan, or float weights")
    elif weights.plan is not plan and weights.plan != plan:
        raise OptionError("integer weights of another plan", "those of this plan")
    return weights.weights if isinstance(weights, RoundedWeights) else weights


def _float(
    network: Network,
    weights: Weights,
    plan: Plan | None,
    images: np.ndarray,
    ops: ModuleType,
    seen: Observer | None,
    fused: bool,
    watch: Container[str],
) -> np.ndarray:
    """The network in float32, its tensors rounded where a plan lists any."""
    start = images.astype(np.float32, copy=False)
    plain = _FloatSteps(weights, ops)
    listed = plan if plan is not None and plan.tensors else None

    def run(steps: Any) -> np.ndarray:
        if listed is not None:
            steps = RoundedSteps(network, listed, steps, ops)
        return _run(network, {INPUT: steps.image(start)}, steps, seen, steps.release)

    if fused and not (listed is not None and in_order(listed)):
        idle = weights.workspace.setdefault("maps", {})
        with weights.lock, MapMemory(network, len(images), idle) as memory:
            return run(FusedFloatSteps(memory, weights, plain, watch if seen else ()))
    return run(plain)


def _images(network: Network, plan: Plan | None, images: np.ndarray | Cut) -> int:
    """Images of a batch, once it is known to fit the network."""
    if isinstance(images, Cut):
        made = {INPUT, *(node.name for node in network.nodes[: images.at])}
        read = {name for node in network.nodes[images.at :] for name in node.inputs}
        missing = sorted(made & read - set(images.tensors))
        if missing or plan is None or plan.arithmetic == FLOAT or not images.images:
            raise ShapeError(
                f"a cut at {images.at} without {', '.join(missing) or 'a plan or images'}",
                f"one that forward() kept for {network.name}",
            )
        return images.images
    if images.ndim != 4 or images.shape[1:] != network.input_shape:
        raise ShapeError(f"images of shape {images.shape}", f"(N, {network.input_shape})")
    if len(images) == 0:
        raise ShapeError("a batch of 0 images", "1 or more")
    return len(images)


def _start(images: np.ndarray | Cut, step: IntegerSteps | FusedSteps) -> tuple[int, dict[str, Any]]:
    """(number of the first node to compute, what there is before it)."""
    if isinstance(images, np.ndarray):
        return 0, {INPUT: step.image(images)}
    return images.at, {name: step.restored(name, own) for name, own in images.tensors.items()}


def _run(
    network: Network,
    start: Mapping[str, Any],
    step: Callable[[Node, Sequence[Any]], Any],
    observe: Observer | None,
    release: Callable[[Any], None] = lambda tensor: None,
    at: int = 0,
    cuts: Container[int] = (),
    keep: Callable[[Cut], object] = lambda cut: None,
) -> np.ndarray:
    """Computes node after node from number `at` on; a tensor is released after its last reader."""
    tensors = dict(start)
    waiting = Counter(name for node in network.nodes[at:] for name in node.inputs)
    if observe and at == 0:
        observe(None, tensors[INPUT])
    for number, node in enumerate(network.nodes[at:], at):
        if number in cuts:
            keep(Cut(number, {name: _kept(tensor) for name, tensor in tensors.items()}))
        result = step(node, [tensors[name] for name in node.inputs])
        if observe:
            observe(node, result)
        tensors[node.name] = result
        for name in node.inputs:
            waiting[name] -= 1
            if waiting[name] == 0:
                release(tensors.pop(name))
    output = tensors[network.output]
    if isinstance(output, Rounded):
        output = output.tensor
    if isinstance(output, Mapped):
        return output.array
    return output.values() if isinstance(output, (Tensor, Stored)) else output


def _kept(tensor: Any) -> Tensor:
    """A tensor as a cut keeps it, in an array of its own."""
    if isinstance(tensor, Stored):
        return tensor.tensor()
    if not isinstance(tensor, Tensor):
        raise OptionError("a cut between a sum and its ReLU", "a cut before the sum")
    return tensor


def _watching(observe: Observer | None, watch: Container[str] | None) -> Observer | None:
    """An observer of the watched tensors alone, as plain arrays of their own; sums that are still
    to be made stay unseen."""
    if observe is None:
        return None

    def show(node: Node | None, tensor: Any) -> None:
        name = node.name if node else INPUT
        held = tensor.tensor if isinstance(tensor, Rounded) else tensor
        if isinstance(held, (Pending, PendingFloat)) or (watch is not None and name not in watch):
            return
        if isinstance(tensor, Rounded) and isinstance(held, Mapped):
            tensor = dataclasses.replace(tensor, tensor=held.array)
        if isinstance(tensor, Stored):
            tensor = tensor.tensor()
        observe(node, tensor.array if isinstance(tensor, Mapped) else tensor)

    return show


@dataclass(frozen=True)
class _FloatSteps:
    """One layer in float32."""

    weights: Weights
    ops: ModuleType

    def image(self, images: np.ndarray) -> np.ndarray:
        return images

    def release(self, tensor: np.ndarray) -> None:
        """Arrays go by themselves."""

    def __call__(self, node: Node, inputs: Sequence[np.ndarray]) -> np.ndarray:
        ops, layer, x = self.ops, node.layer, inputs[0]
        match layer:
            case Conv():
                w, b = self.weights.weight[node.name], self.weights.bias[node.name]
                return ops.conv(x, w, b, **conv_attributes(layer))
            case Dense():
                return ops.dense(x, self.weights.weight[node.name], self.weights.bias[node.name])
            case MaxPool():
                return ops.max_pool(x, **window_attributes(layer))
            case AvgPool():
                return ops.avg_pool(x, **window_attributes(layer))
            case GlobalAvgPool():
                return ops.global_avg_pool(x)
            case LRN():
                return ops.lrn(x, **dataclasses.asdict(layer))
            case ReLU():
                return ops.relu(x)
            case Concat():
                return ops.concat(inputs)
            case Subsample():
                return ops.subsample(x, layer.strides, layer.channels)
            case Add():
                return ops.add(inputs)
            case Softmax():
                return ops.softmax(x)
        raise OptionError(f"layer {node.name} of type {type(layer).__name__}", "a known layer")
