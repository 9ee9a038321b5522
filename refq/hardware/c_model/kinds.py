"""The layer types that the C model has, each in one place: what plan.h calls it, the fields that
tell its attributes, and what steps.c cannot compute of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from refq.hardware.c_model import checks, fields
from refq.hardware.c_model.fields import Entry, Fields
from refq.networks import layers


def _nothing(*entries: Entry) -> Fields:
    return {}


def _never(attributes: Mapping[str, Any]) -> bool:
    return False


def _always(attributes: Mapping[str, Any]) -> bool:
    return True


def _fills(attributes: Mapping[str, Any]) -> bool:
    """Whether a pad has a constant that is a code of its own."""
    return attributes["mode"] == "constant" and bool(attributes["value"])


def _interpolates(attributes: Mapping[str, Any]) -> bool:
    return bool(attributes["mode"] == "linear")


@dataclass(frozen=True)
class Kind:
    """constant: in plan.h. layer: what refq says of the type. fields(entry, source): of plan.h's
    struct layer, lists and numbers; check(entry, source): raises OptionError for numbers that could
    leave 64 bits, and for what the C model cannot compute. entry, source: of the layer and the
    first that it reads, as the manifest has them. needs: parameters that it is computed with.
    exact(attributes): whether it makes exact numbers of codes, to be rounded by a shift."""

    constant: str
    layer: type[layers.Layer]
    fields: Callable[[Entry, Entry], Fields] = _nothing
    check: Callable[[Entry, Entry], object] = checks.axes
    needs: tuple[str, ...] = ()
    exact: Callable[[Mapping[str, Any]], bool] = _never

    def parameters(self, attributes: Mapping[str, Any]) -> tuple[str, ...]:
        """Those that a layer needs beside weights and shifts of what is rounded."""
        return ("fill",) if self.layer is layers.Pad and self.exact(attributes) else self.needs


ALIGNED = ("operand_shift",)
KINDS = {
    "Conv": Kind("CONV", layers.Conv, fields.window),
    "ConvTranspose": Kind("CONV_TRANSPOSE", layers.ConvTranspose, fields.window),
    "Dense": Kind("DENSE", layers.Dense, fields.pixel),
    "MaxPool": Kind("MAX_POOL", layers.MaxPool, fields.window),
    "AvgPool": Kind("AVG_POOL", layers.AvgPool, fields.window, checks.mean),
    "GlobalAvgPool": Kind("AVG_POOL", layers.GlobalAvgPool, fields.over_axes, checks.mean),
    "GlobalMaxPool": Kind("MAX_POOL", layers.GlobalMaxPool, fields.over_axes),
    "LRN": Kind("LRN", layers.LRN, fields.normalisation, checks.normalisation),
    "Softmax": Kind("SOFTMAX", layers.Softmax, fields.shares, checks.shares),
    "ArgMax": Kind("ARG_MAX", layers.ArgMax, fields.along, exact=_always),
    "ReLU": Kind("RELU", layers.ReLU),
    "Clip": Kind("CLIP", layers.Clip, fields.bounds, needs=("bounds",), exact=_always),
    "PReLU": Kind("PRELU", layers.PReLU, needs=("slope",), exact=_always),
    "Function": Kind("FUNCTION", layers.Function, check=checks.function, needs=("table",)),
    "Add": Kind("ADD", layers.Add, needs=ALIGNED),
    "Sub": Kind("SUB", layers.Sub, needs=ALIGNED),
    "Mul": Kind("MUL", layers.Mul),
    "Concat": Kind("CONCAT", layers.Concat, fields.along),
    "Subsample": Kind("SUBSAMPLE", layers.Subsample, fields.subsampling),
    "Rearrange": Kind("REARRANGE", layers.Rearrange, fields.rearrangement, checks.rearrangement),
    "Slice": Kind("SLICE", layers.Slice, fields.part),
    "Pad": Kind("PAD", layers.Pad, fields.padding, exact=_fills),
    "Resize": Kind("RESIZE", layers.Resize, fields.resizing, checks.resizing, exact=_interpolates),
}
