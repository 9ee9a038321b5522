"""Fields of Keras' layers that several kinds of layers have."""

from __future__ import annotations

from typing import Any

from refq.importers.contents import refuse
from refq.importers.stating import Facts
from refq.networks.layers import Pair


def computed_type(facts: Facts) -> str:
    """The type that a layer computes in, or its policy. How precisely floats were computed does
    not change what they are; others are refused."""
    said = facts.value("dtype", "float32")
    name = said.get("config", {}).get("name") if isinstance(said, dict) else said
    quantized = isinstance(said, dict) and "Quantized" in str(said.get("class_name"))
    if quantized or facts.value("quantization_config"):
        raise refuse(f"{facts.layer}: a quantized layer ({name})", "weights of floats")
    if not any(kind in str(name) for kind in ("float", "uint8", "int32", "None")):
        raise refuse(f"{facts.layer}: dtype {name}", "a kind of float")
    return str(name)


def either(facts: Facts, *names: str, default: Any = None) -> Any:
    """A field under its name of today or of Keras 1."""
    found = [facts.value(name) for name in names]
    return next((each for each in found if each is not None), default)


def two(facts: Facts, value: Any) -> Pair:
    pair = (value, value) if type(value) is int else value
    if isinstance(pair, (list, tuple)) and len(pair) == 2 and all(type(one) is int for one in pair):
        return pair[0], pair[1]
    raise refuse(f"{facts.layer}: {value} for rows and columns", "two whole numbers")
