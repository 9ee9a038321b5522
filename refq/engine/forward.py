"""The only interpreter of networks: float32, or integers end to end under a Plan."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Union

import numpy as np
from numba.core import config

from refq import kernels
from refq.engine.coefficients import IntegerWeights, quantize_weights
from refq.engine.float_steps import FloatSteps
from refq.engine.fused import FusedSteps
from refq.engine.fused_float import FusedFloatSteps
from refq.engine.integer import IntegerSteps, Note
from refq.engine.memory import MapMemory
from refq.engine.simulated import RoundedSteps, RoundedWeights, in_order, rounded_weights
from refq.engine.steps import Steps, Tensor
from refq.errors import OptionError, ShapeError, unknown
from refq.networks.graph import INPUT, Network, Node
from refq.networks.weights import Weights
from refq.plans.plan import FLOAT, Plan

__all__ = [
    "Cut",
    "IntegerWeights",
    "Ready",
    "Run",
    "Tensor",
    "forward",
    "outputs",
    "quantize_weights",
    "ready",
]

# weights as forward() computes with them
Ready = Union[Weights, IntegerWeights, RoundedWeights]

Observer = Callable[[Union[Node, None], Any], object]


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


@dataclass(frozen=True)
class Run:
    """What is seen of a batch on its way through a network, and how far it goes.

    observe(node, tensor) sees every tensor (node None for the input), or those that watch names:
    an array in float, a Tensor in integers, under a plan with float arithmetic a Rounded. note is
    told of stages between tensors (IntegerSteps), where nothing is fused. until: the tensor whose
    values are the result, after which nothing is computed; by default the network's output. fused
    joins a layer's sum with its ReLU and requantization where operations are refq.kernels; numbers
    are the same, but sums between them are never made, so observe does not see them.
    first_image numbers the images for stochastic rounding, so that a result does not depend on
    the batch size. keep gets a Cut before each node whose number is in cuts, under a plan of
    integers; no cut lies between a sum and its ReLU.
    """

    observe: Observer | None = None
    watch: Container[str] | None = None
    note: Note | None = None
    until: str | None = None
    fused: bool = True
    first_image: int = 0
    cuts: Container[int] = ()
    keep: Callable[[Cut], object] = lambda cut: None


PLAIN = Run()


def forward(
    network: Network,
    weights: Ready,
    plan: Plan | None,
    images: np.ndarray | Cut,
    ops: ModuleType = kernels,
    run: Run = PLAIN,
) -> np.ndarray:
    """The network's output for a batch.

    The first of them where it has several; `outputs` gives all.

    images: float32 (N,C,H,W), preprocessed; or a Cut of them, from which the same batch goes on
    with the same integers. plan None computes in float32 with `ops`'s float operations; otherwise
    every tensor is integer codes, from the quantized image to the output, which alone becomes real
    again: float32 or float64 (N, ...). A plan with float arithmetic computes in float32 on rounded
    values. weights may be the result of ready(), to save work over many batches. ops is
    refq.kernels or refq.oracle.
    Raises ShapeError for images of another shape, or a cut that misses a tensor.
    """
    return next(iter(outputs(network, weights, plan, images, ops, run).values()))


def outputs(
    network: Network,
    weights: Ready,
    plan: Plan | None,
    images: np.ndarray | Cut,
    ops: ModuleType = kernels,
    run: Run = PLAIN,
) -> dict[str, np.ndarray]:
    """Every output of the network for a batch, by name; all else as of forward."""
    count = _images(network, plan, images)
    numbers = _of_plan(network, weights, plan, ops)
    # without compiled code there is no machine code to fuse into
    fused = run.fused and ops is kernels and not getattr(config, "DISABLE_JIT", False)
    if plan is not None and plan.arithmetic == FLOAT and in_order(plan):
        fused = False
    with _memory(network, numbers, count, fused) as memory:
        return _through(network, images, _steps(network, numbers, plan, ops, run, memory), run)


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


@contextmanager
def _memory(
    network: Network, weights: Weights | IntegerWeights, images: int, fused: bool
) -> Iterator[MapMemory | None]:
    """Maps for a batch, which one at a time has; None where nothing is fused."""
    if not fused:
        yield None
        return
    idle = weights.workspace.setdefault("maps", {})
    with weights.lock, MapMemory(network, images, idle) as memory:
        yield memory


def _steps(
    network: Network,
    weights: Weights | IntegerWeights,
    plan: Plan | None,
    ops: ModuleType,
    run: Run,
    memory: MapMemory | None,
) -> Steps:
    """The steps that compute with these weights."""
    if isinstance(weights, IntegerWeights):
        assert plan is not None
        note = None if memory else run.note
        integer = IntegerSteps(weights, plan, ops, run.first_image, note)
        return FusedSteps(memory, integer) if memory else integer
    plain = FloatSteps(weights, ops)
    # a sum that is watched is made by itself
    seen = run.watch or () if run.observe else ()
    steps = FusedFloatSteps(memory, plain, seen) if memory else plain
    return RoundedSteps(network, plan, steps) if plan and plan.tensors else steps


def _through(
    network: Network, images: np.ndarray | Cut, steps: Steps, run: Run
) -> dict[str, np.ndarray]:
    """Computes node after node; a tensor is released after its last reader."""
    if isinstance(images, Cut):
        start = images.at
        tensors = {name: steps.restored(name, kept) for name, kept in images.tensors.items()}
    else:
        start, tensors = 0, {INPUT: steps.image(images)}
    wanted = network.outputs if run.until is None else (run.until,)
    order = list(network.shapes)
    for name in wanted:
        if name not in network.shapes:
            raise unknown("layer", name, order)
    nodes = network.nodes[start : max(map(order.index, wanted))]
    if start == 0:
        _show(run, None, steps, tensors[INPUT])
    waiting = Counter([*wanted, *(name for node in nodes for name in node.inputs)])
    for number, node in enumerate(nodes, start):
        if number in run.cuts:
            run.keep(_cut(number, steps, tensors))
        tensors[node.name] = steps(node, [tensors[name] for name in node.inputs])
        _show(run, node, steps, tensors[node.name])
        for name in node.inputs:
            waiting[name] -= 1
            if waiting[name] == 0:
                steps.release(tensors.pop(name))
    return {name: steps.output(tensors[name]) for name in wanted}


def _show(run: Run, node: Node | None, steps: Steps, tensor: Any) -> None:
    name = node.name if node else INPUT
    if run.observe is None or (run.watch is not None and name not in run.watch):
        return
    shown = steps.shown(tensor)
    if shown is not None:
        run.observe(node, shown)


def _cut(number: int, steps: Steps, tensors: Mapping[str, Any]) -> Cut:
    shown = {name: steps.shown(tensor) for name, tensor in tensors.items()}
    if None in shown.values():
        raise OptionError("a cut between a sum and its ReLU", "a cut before the sum")
    return Cut(number, shown)


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
