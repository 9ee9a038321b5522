"""Caffe's layers that are functions of one value, as ONNX's operators."""

from __future__ import annotations

import math

from refq.importers.caffe_facts import one
from refq.importers.caffe_layer import Layer
from refq.importers.caffe_weighted import Make
from refq.importers.contents import refuse
from refq.importers.shaped import Known, Place
from refq.importers.stating import Facts


def _plain(kind: str) -> Make:
    """A function of one value without attributes."""
    return lambda layer, facts, at: [at.like(kind, at.x)]


def _relu(layer: Layer, facts: Facts, at: Place) -> list[Known]:
    slope = one(facts, "negative_slope", 0.0)
    return [at.like("LeakyRelu", at.x, alpha=slope) if slope else at.like("Relu", at.x)]


def _elu(layer: Layer, facts: Facts, at: Place) -> list[Known]:
    return [at.like("Elu", at.x, alpha=one(facts, "alpha", 1.0))]


def _clip(layer: Layer, facts: Facts, at: Place) -> list[Known]:
    if not {"min", "max"} <= facts.fields.keys():
        raise refuse(f"{layer.name}: a Clip without bounds", "min and max")
    bounds = [at.number(end, one(facts, end, 0.0)) for end in ("min", "max")]
    return [at.like("Clip", at.x, *bounds)]


def _relu6(layer: Layer, facts: Facts, at: Place) -> list[Known]:
    return [at.like("Clip", at.x, at.number("min", 0), at.number("max", 6))]


def _swish(layer: Layer, facts: Facts, at: Place) -> list[Known]:
    inner = at.times(at.x, one(facts, "beta", 1.0))
    return [at.like("Mul", at.x, at.like("Sigmoid", inner))]


def _power(layer: Layer, facts: Facts, at: Place) -> list[Known]:
    """(shift + scale * x) ** power."""
    made, power = _line(facts, at), one(facts, "power", 1.0)
    if power != 1:
        made = at.like("Pow", made, at.number("power", power))
    return [at.unchanged(made) if made is at.x else made]


def _line(facts: Facts, at: Place, factor: float = 1.0) -> Known:
    """(shift + scale * x) * factor."""
    scaled = at.times(at.x, one(facts, "scale", 1.0) * factor)
    return at.plus(scaled, one(facts, "shift", 0.0) * factor)


def _log_of_base(layer: Layer, facts: Facts) -> float:
    base = one(facts, "base", -1.0)
    if base != -1 and (base <= 0 or base == 1):
        raise refuse(f"{layer.name}: base {base}", "above 0, and not 1")
    return 1.0 if base == -1 else math.log(base)


def _exp(layer: Layer, facts: Facts, at: Place) -> list[Known]:
    """base ** (shift + scale * x)."""
    return [at.like("Exp", _line(facts, at, _log_of_base(layer, facts)))]


def _log(layer: Layer, facts: Facts, at: Place) -> list[Known]:
    """log(shift + scale * x) to the base."""
    return [at.times(at.like("Log", _line(facts, at)), 1 / _log_of_base(layer, facts))]


def _threshold(layer: Layer, facts: Facts, at: Place) -> list[Known]:
    """1 above a threshold, else 0."""
    beyond = at.plus(at.x, -one(facts, "threshold", 0.0))
    return [at.like("Relu", at.like("Sign", beyond))]


def _dropout(layer: Layer, facts: Facts, at: Place) -> list[Known]:
    """Nothing; in forks that do not scale while they train, its share of what is kept."""
    ratio = one(facts, "dropout_ratio", 0.5)
    kept = 1.0 if one(facts, "scale_train", 1) else 1.0 - ratio
    return [at.unchanged(at.x) if kept == 1 else at.times(at.x, kept)]


MAKE: dict[str, Make] = {
    "ReLU": _relu,
    "ReLU6": _relu6,
    "ELU": _elu,
    "Clip": _clip,
    "Swish": _swish,
    "Sigmoid": _plain("Sigmoid"),
    "TanH": _plain("Tanh"),
    "AbsVal": _plain("Abs"),
    "BNLL": _plain("Softplus"),
    "Power": _power,
    "Exp": _exp,
    "Log": _log,
    "Threshold": _threshold,
    "Dropout": _dropout,
}
