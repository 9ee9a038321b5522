"""A Plan says what the numbers of every tensor and layer look like; JSON round trip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np

from refq.errors import FormatError, OptionError, RefqError
from refq.files import json_
from refq.formats import floats as float_formats
from refq.formats.codes import Plain, StorageCode, of_fields
from refq.formats.fixed import Accumulator, FixedPointFormat, FormatGrid, Overflow, Rounding
from refq.formats.floats import Number
from refq.networks.layers import Layer
from refq.networks.points import Point

# how much coarser than its tensor a feature map may be
MAX_DROP = 24
# what a plan's numbers are computed in
INTEGER, FLOAT = "integer", "float"


@dataclass(frozen=True)
class TensorPlan:
    """Format of the values that the next layer computes with, and how they are stored.

    format: a FixedPointFormat; in a float32 simulation a Number of refq.formats.floats. drops:
    where feature maps have formats of their own, how many fraction bits each has fewer than the
    format (contract section 3); all have its bits.
    """

    format: Number
    code: StorageCode | None = None
    drops: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.drops and (self.code or not 0 <= min(self.drops) <= max(self.drops) <= MAX_DROP):
            raise FormatError(
                f"feature maps with {min(self.drops)} to {max(self.drops)} fraction bits fewer",
                f"0 to {MAX_DROP}, and no storage code",
            )
        code, fmt = self.code, self.format
        if code is None:
            return
        if not isinstance(fmt, FixedPointFormat) or fmt.bits > 31:
            raise FormatError(f"a storage code on {fmt}", "a fixed-point format to 31 bits")
        code.check(fmt)

    @property
    def fixed(self) -> FixedPointFormat:
        """The format, which in a plan of integers is fixed point."""
        assert isinstance(self.format, FixedPointFormat)
        return self.format

    @property
    def storage(self) -> StorageCode:
        """How its value codes are kept in a plan of integers: by the code, or as they are."""
        return self.code or Plain(self.fixed.bits, self.fixed.min_code)

    @property
    def stored_bits(self) -> int:
        """Bits each value takes in memory."""
        return self.code.bits if self.code else self.format.bits


@dataclass(frozen=True)
class Clustered:
    """Kernels as base and residual, F_i = G_l(i) + F~_i (paper B, eq. 9).

    A base kernel is the mean of those it stands for, in its format; a residual is what its kernel
    then still lacks. labels: which base each kernel has, all of 0..K-1. base: format of all, or of
    each of the K kernels or their filters; residual: the same of the layer's own kernels.
    """

    base: FixedPointFormat | FormatGrid
    residual: FixedPointFormat | FormatGrid
    labels: tuple[int, ...]

    def __post_init__(self) -> None:
        used = sorted(set(self.labels))
        if not used or used != list(range(len(used))):
            raise FormatError(f"base kernels {used}", "0 to K - 1, each with a kernel")
        if isinstance(self.base, FormatGrid) and len(self.base.bits) != len(used):
            raise FormatError(
                f"formats of {len(self.base.bits)} base kernels", f"{len(used)}, one for each"
            )

    @property
    def short(self) -> str:
        return f"{1 + max(self.labels)} x {self.base.short} + {self.residual.short}"

    __str__ = short.fget  # type: ignore[attr-defined]


Coefficients = FixedPointFormat | FormatGrid | Clustered


@dataclass(frozen=True)
class LayerPlan:
    """Formats of a weighted layer's coefficients, as in TensorPlan or None for float32, and its
    accumulator."""

    weight: Coefficients | Number | None
    bias: Number | None
    accumulator: Accumulator = Accumulator()  # noqa: RUF009 - frozen

    @property
    def fixed(self) -> tuple[Coefficients, FixedPointFormat]:
        """The formats of weights and biases, which in a plan of integers are fixed point."""
        assert isinstance(self.weight, Coefficients) and isinstance(self.bias, FixedPointFormat)
        return self.weight, self.bias


@dataclass(frozen=True)
class Plan:
    """Everything that turns a float network into an integer one.

    tensors: {tensor name: TensorPlan} for every tensor that holds codes; a layer's output that
    is not listed stays an exact accumulator. rounding and overflow apply to activations;
    weights round to nearest, ties to even, and saturate. arithmetic: FLOAT for a simulation in
    float32, where any tensors are listed, unlisted ones stay float32, and weights round likewise.
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
    arithmetic: str = INTEGER

    def kept(self, point: Point) -> TensorPlan | None:
        """How the values that a point's readers read are kept; None for float32."""
        return self.tensors.get(point.tensors[-1])

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; from_json gives back an equal Plan."""
        plain: dict[str, Any] = _plain(self)
        return {"refq_plan": 1, **plain}


def _plain(value: Any) -> Any:
    """A value in JSON's own types."""
    if isinstance(value, FormatGrid):
        same = value.bits.min() == value.bits.max()
        bits = int(value.bits.min()) if same else value.bits.tolist()
        return {"bits": bits, "frac_bits": value.frac_bits.tolist()}
    if is_dataclass(value):
        return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(each) for each in value]
    if isinstance(value, np.ndarray):
        return value.tolist()
    return value


def from_json(stored: Mapping[str, Any]) -> Plan:
    """The inverse of Plan.to_json. Raises OptionError for anything else."""
    try:
        if stored.get("refq_plan") != 1:
            raise OptionError(f"plan version {stored.get('refq_plan')!r}", "1")
        tensors = {
            name: TensorPlan(
                format=_number(entry["format"]),
                code=_code(entry["code"]) if entry["code"] else None,
                drops=_numbers(entry.get("drops", [])),
            )
            for name, entry in stored["tensors"].items()
        }
        layers = {
            name: LayerPlan(
                weight=_coefficients(entry["weight"]),
                bias=None if entry["bias"] is None else _number(entry["bias"]),
                accumulator=_accumulator(entry["accumulator"]),
            )
            for name, entry in stored["layers"].items()
        }
        if not 0 <= _whole(stored)["seed"] < 2**31:
            raise OptionError(f"seed {stored['seed']}", "0 to 2147483647")
        return Plan(
            network=str(stored["network"]),
            parameters=dict(stored["parameters"]),
            scheme=str(stored["scheme"]),
            tensors=tensors,
            layers=layers,
            rounding=Rounding(stored["rounding"]),
            overflow=Overflow(stored["overflow"]),
            seed=stored["seed"],
            options=dict(stored["options"]),
            arithmetic=str(stored.get("arithmetic", INTEGER)),
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
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


def _number(stored: Mapping[str, Any]) -> Number:
    if "kind" in stored:
        return float_formats.from_json(stored)
    return FixedPointFormat(**_whole(stored))


def _code(stored: Mapping[str, Any]) -> StorageCode:
    tables = {key: _numbers(value) for key, value in stored.items() if isinstance(value, list)}
    return of_fields(stored)(**{**_whole(stored), **tables})


def _numbers(stored: Any) -> tuple[int, ...]:
    """A list of whole numbers."""
    return tuple(_whole({"bits": value})["bits"] for value in stored)


def _coefficients(stored: Mapping[str, Any] | None) -> Coefficients | Number | None:
    if stored is None:
        return None
    if "labels" in stored:
        base, residual = _coefficients(stored["base"]), _coefficients(stored["residual"])
        plain = FixedPointFormat, FormatGrid
        if not (isinstance(base, plain) and isinstance(residual, plain)):
            raise ValueError("base or residual in no fixed point")
        return Clustered(base, residual, _numbers(stored["labels"]))
    if "kind" in stored or not isinstance(stored["frac_bits"], list):
        return _number(stored)
    grid = [np.array(stored[key]) for key in ("bits", "frac_bits")]
    if any(array.dtype.kind != "i" for array in grid):
        raise TypeError("bits and frac_bits of a grid are whole numbers")
    return FormatGrid(*grid)


def _accumulator(stored: Mapping[str, Any]) -> Accumulator:
    entry = dict(stored)
    several = {
        key: _numbers(entry.pop(key))
        for key in ("bits", "frac_bits")
        if isinstance(entry.get(key), list)
    }
    entry = {"frac_bits": None, "rounding": Rounding.TIES_EVEN.value, **_whole(entry), **several}
    return Accumulator(
        bits=entry["bits"],
        overflow=Overflow(entry["overflow"]),
        every_mac=entry["every_mac"],
        frac_bits=entry["frac_bits"],
        rounding=Rounding(entry["rounding"]),
    )


def exact_sum(layer: Layer, operands: Sequence[TensorPlan]) -> tuple[int, int]:
    """(bits, fraction bits) of what a layer without weights makes of operands, exactly."""
    reaches = []
    for operand in operands:
        most = max(-operand.fixed.min_code, operand.fixed.max_code)
        reaches.append((most << max(operand.drops, default=0), operand.fixed.frac_bits))
    reach, frac_bits = layer.reach(reaches)
    return reach.bit_length() + 1, frac_bits


def load(path: str | Path) -> Plan:
    """A plan from a JSON file. Raises OptionError where it is missing or is no plan."""
    stored = json_.load(path, "plan", OptionError, "what --save-plan writes")
    try:
        return from_json(stored)
    except RefqError as error:
        raise OptionError(f"plan {path}: {error}") from None
