"""A Plan says what the numbers of every tensor and layer look like; JSON round trip.

Points are where activations are kept: one point holds all tensors that share one format, and
its width belongs to the layer that reads it (contract section 2).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from refq.errors import FormatError, OptionError, RefqError
from refq.formats import Accumulator, FixedPointFormat, Overflow, Rounding
from refq.layers import WEIGHTED, Add, Concat, Conv, Dense, MaxPool, ReLU, Softmax
from refq.networks.graph import INPUT, Network, Node

# the widest index of a codebook: more would be no saving
CODEBOOK_BITS = 16


@dataclass(frozen=True)
class ShiftCode:
    """ENQ storage: `bits` kept of a value code, `drop` low bits shifted away (paper A, III-A)."""

    bits: int
    drop: int
    nearest: bool

    def __post_init__(self) -> None:
        if self.bits < 1 or self.drop < 0:
            raise FormatError(
                f"{self.bits} bits kept after {self.drop}", "1 or more after 0 or more"
            )


@dataclass(frozen=True)
class Codebook:
    """KNQ storage: `bits` bits that choose one of the values (paper A, section III-A).

    values: ascending value codes, at most 2**bits, equal ones allowed. nearest: the nearest value
    is chosen, of two the larger one; otherwise the largest that is not above (the paper's rule).
    """

    bits: int
    values: tuple[int, ...]
    nearest: bool

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= CODEBOOK_BITS or not 1 <= len(self.values) <= 1 << self.bits:
            raise FormatError(
                f"{self.bits} bits for a codebook of {len(self.values)} values",
                f"1 to {CODEBOOK_BITS} bits, and 1 to 2**bits values",
            )
        if list(self.values) != sorted(self.values):
            raise FormatError(f"a codebook {list(self.values)}", "ascending values")

    @property
    def thresholds(self) -> tuple[int, ...]:
        """From thresholds[k - 1] on, a code is stored as k or more: the values themselves, or the
        midpoints, which belong to the value above."""
        pairs = zip(self.values, self.values[1:])
        return tuple((low + high + 1) // 2 if self.nearest else high for low, high in pairs)


@dataclass(frozen=True)
class TensorPlan:
    """Format of the values that the next layer computes with, and how they are stored."""

    format: FixedPointFormat
    code: ShiftCode | Codebook | None = None

    def __post_init__(self) -> None:
        if self.code is None:
            return
        if self.format.signed or self.format.bits > 31:
            raise FormatError(f"a storage code on {self.format}", "an unsigned format to 31 bits")
        if isinstance(self.code, Codebook):
            if self.code.values[0] < 0 or self.code.values[-1] > self.format.max_code:
                raise FormatError(
                    f"a codebook from {self.code.values[0]} to {self.code.values[-1]}",
                    f"0 to {self.format.max_code} of {self.format}",
                )
        elif self.code.bits + self.code.drop > self.format.bits:
            raise FormatError(
                f"{self.code.bits} bits kept after {self.code.drop} of {self.format}",
                "a format with at least so many bits",
            )

    @property
    def stored_bits(self) -> int:
        """Bits each value takes in memory."""
        return self.code.bits if self.code else self.format.bits


@dataclass(frozen=True)
class LayerPlan:
    """Formats of a weighted layer's coefficients, and its accumulator."""

    weight: FixedPointFormat
    bias: FixedPointFormat
    accumulator: Accumulator = Accumulator()  # noqa: RUF009 - frozen


@dataclass(frozen=True)
class Plan:
    """Everything that turns a float network into an integer one.

    tensors: {tensor name: TensorPlan} for every tensor that holds codes; a layer's output that
    is not listed stays an exact accumulator. rounding and overflow apply to activations;
    weights round to nearest, ties to even, and saturate.
    """

    network: str
    parameters: Mapping[str, Any]
    scheme: str
    tensors: Mapping[str, TensorPlan]
    layers: Mapping[str, LayerPlan]
    rounding: Rounding = Rounding.TIES_EVEN
    overflow: Overflow = Overflow.SAT
    seed: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; from_json gives back an equal Plan."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return {"refq_plan": 1, **plain}


def from_json(stored: Mapping[str, Any]) -> Plan:
    """The inverse of Plan.to_json. Raises OptionError for anything else."""
    try:
        if stored.get("refq_plan") != 1:
            raise OptionError(f"plan version {stored.get('refq_plan')!r}", "1")
        tensors = {
            name: TensorPlan(
                _format(entry["format"]),
                _code(entry["code"]) if entry["code"] else None,
            )
            for name, entry in stored["tensors"].items()
        }
        layers = {
            name: LayerPlan(
                _format(entry["weight"]), _format(entry["bias"]), _accumulator(entry["accumulator"])
            )
            for name, entry in stored["layers"].items()
        }
        if not 0 <= _whole(stored)["seed"] < 2**31:
            raise OptionError(f"seed {stored['seed']}", "0 to 2147483647")
        return Plan(
            str(stored["network"]),
            dict(stored["parameters"]),
            str(stored["scheme"]),
            tensors,
            layers,
            Rounding(stored["rounding"]),
            Overflow(stored["overflow"]),
            stored["seed"],
            dict(stored["options"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise OptionError(
            f"a plan with {type(error).__name__}: {error}", "what --save-plan writes"
        ) from None


WHOLE = ("bits", "drop", "frac_bits", "seed")
FLAGS = ("signed", "nearest", "every_mac")


def _whole(stored: Mapping[str, Any]) -> dict[str, Any]:
    """The same entries, once counts are known to be whole numbers and flags true or false."""
    for key in FLAGS:
        if not isinstance(stored.get(key, False), bool):
            raise TypeError(f"{key} is {stored[key]!r}, not true or false")
    for key in WHOLE:
        value = stored.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            raise TypeError(f"{key} is {value!r}, not a whole number")
    return dict(stored)


def _format(stored: Mapping[str, Any]) -> FixedPointFormat:
    return FixedPointFormat(**_whole(stored))


def _code(stored: Mapping[str, Any]) -> ShiftCode | Codebook:
    if "values" not in stored:
        return ShiftCode(**_whole(stored))
    values = [_whole({"bits": value})["bits"] for value in stored["values"]]
    return Codebook(**{**_whole(stored), "values": tuple(values)})


def _accumulator(stored: Mapping[str, Any]) -> Accumulator:
    entry = _whole(stored)
    return Accumulator(entry["bits"], Overflow(entry["overflow"]), entry["every_mac"])


def load(path: str | Path) -> Plan:
    """A plan from a JSON file. Raises OptionError where it is missing or is no plan."""
    try:
        stored = json.loads(Path(path).read_text())
    except OSError as error:
        raise OptionError(
            f"cannot read plan {path} ({error.strerror})", remedy="check the path"
        ) from None
    except ValueError as error:
        raise OptionError(f"plan {path} is no JSON ({error})", "what --save-plan writes") from None
    if not isinstance(stored, dict):
        raise OptionError(f"plan {path} holds a {type(stored).__name__}", "a JSON object")
    try:
        return from_json(stored)
    except RefqError as error:
        raise OptionError(f"plan {path}: {error}") from None


def check(plan: Plan, network: Network) -> None:
    """Raises OptionError where a plan was made for another network or misses a tensor."""
    if plan.network != network.name or dict(plan.parameters) != dict(network.parameters):
        raise OptionError(
            f"a plan for {plan.network} {dict(plan.parameters)}",
            f"{network.name} {dict(network.parameters)}",
        )
    points = storage_points(network)
    tensors = {name for point in points for name in point.tensors}
    image = plan.tensors.get(INPUT)
    if image is not None and not image.format.signed:
        raise OptionError(f"a plan with an unsigned image, {image.format}", "a signed format")
    for point in points:
        entries = {plan.tensors[name] for name in point.tensors if name in plan.tensors}
        if len(entries) > 1:
            raise OptionError(
                f"a plan with {len(entries)} formats for {', '.join(point.tensors)}",
                "one common format",
            )
    layers = {node.name for node in network.weighted}
    for kind, wanted, got in (
        ("tensor", tensors, set(plan.tensors)),
        ("layer", layers, set(plan.layers)),
    ):
        wrong = sorted(wanted ^ got)
        if wrong:
            raise OptionError(
                f"a plan that misses or invents {kind} {', '.join(wrong)}",
                f"one entry for each {kind} of {network.name}",
            )


@dataclass(frozen=True)
class Point:
    """Tensors kept in one common format.

    name: the first layer that computes with them, or `output`; of an addition's operands, which
    share that layer, `layer.tensor`.
    width_of: the weighted layer downstream whose bit-width they follow, or the name.
    tensors: all tensors in this format. makers: those that are quantized; the others (max
    pools, concatenations) only move codes. producers: the weighted layers whose outputs are
    stored here. readers: layers that compute with them.
    """

    name: str
    width_of: str
    tensors: tuple[str, ...]
    makers: tuple[str, ...]
    producers: tuple[str, ...]
    readers: tuple[str, ...]
    signed: bool

    @property
    def is_output(self) -> bool:
        return not self.readers


def is_wide(network: Network, node: Node) -> bool:
    """True where a node's exact sums are not stored: they go straight into a ReLU, or are the
    network's output."""
    if not isinstance(node.layer, (*WEIGHTED, Add)):
        return False
    readers = network.consumers[node.name]
    if not readers:
        return True
    return len(readers) == 1 and isinstance(readers[0].layer, ReLU)


def _moves_codes(network: Network, node: Node) -> bool:
    """True for layers whose output codes are some of their input codes."""
    if isinstance(node.layer, ReLU):
        source = network.by_name.get(node.inputs[0])
        return source is None or not is_wide(network, source)
    return isinstance(node.layer, (MaxPool, Concat))


def storage_points(network: Network) -> tuple[Point, ...]:
    """The points of a network in order of computation."""
    groups: dict[str, list[str]] = {INPUT: [INPUT]}  # tensor -> the shared list of its group
    for node in network.nodes:
        if is_wide(network, node):
            continue
        group = [node.name]
        if _moves_codes(network, node):
            # joined to the groups it moves codes from, which thereby get one common format
            merged: list[str] = []
            for name in node.inputs:
                merged += [each for each in groups[name] if each not in merged]
            group = [*merged, node.name]
        for name in group:
            groups[name] = group
    order = {name: index for index, name in enumerate(network.shapes)}
    unique = {id(group): sorted(group, key=order.__getitem__) for group in groups.values()}
    signs = _signs(network)
    return tuple(
        _point(network, tuple(tensors), signs)
        for tensors in sorted(unique.values(), key=lambda names: order[names[0]])
    )


def _signs(network: Network) -> dict[str, bool]:
    """Whether each tensor can be negative: sums can, ReLU and softmax end it, others keep it."""
    signs = {INPUT: True}
    for node in network.nodes:
        if isinstance(node.layer, (ReLU, Softmax)):
            signs[node.name] = False
        elif isinstance(node.layer, WEIGHTED):
            signs[node.name] = True
        else:
            signs[node.name] = any(signs[name] for name in node.inputs)
    return signs


def _point(network: Network, tensors: tuple[str, ...], signs: Mapping[str, bool]) -> Point:
    makers, producers, readers = [], [], []
    for name in tensors:
        node = network.by_name.get(name)
        readers += [
            reader.name
            for reader in network.consumers[name]
            if reader.name not in tensors and reader.name not in readers
        ]
        if node is not None and _moves_codes(network, node):
            continue
        makers.append(name)
        # a ReLU stores the sum that it reads
        source = network.by_name[node.inputs[0]] if node and isinstance(node.layer, ReLU) else node
        if source is not None and isinstance(source.layer, WEIGHTED):
            producers.append(source.name)
    signed = any(signs[name] for name in makers)
    readers.sort(key=list(network.shapes).index)
    name = readers[0] if readers else "output"
    if readers and isinstance(network.by_name[name].layer, Add):
        name = f"{name}.{tensors[-1]}"
    width_of = _weighted_below(network, tensors) or name
    return Point(name, width_of, tensors, tuple(makers), tuple(producers), tuple(readers), signed)


def _weighted_below(network: Network, tensors: tuple[str, ...]) -> str | None:
    """The first weighted layer that values of these tensors reach."""
    reached = set(tensors)
    for node in network.nodes:
        if reached.intersection(node.inputs):
            if isinstance(node.layer, (Conv, Dense)):
                return node.name
            reached.add(node.name)
    return None


def stored_counts(network: Network, points: tuple[Point, ...]) -> dict[str, int]:
    """Weighted-layer outputs of one image that each point stores: the papers' activations."""
    return {
        point.name: sum(math.prod(network.shapes[name]) for name in point.producers)
        for point in points
    }
