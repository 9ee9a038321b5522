"""The configuration of a Keras model: which layers there are, and which reads which.

Keras 1 and 2 write calls as lists [layer, node, tensor, arguments], Keras 3 as {"args", "kwargs"}.
"""

from __future__ import annotations

import graphlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from refq.importers.contents import DEEPEST, MOST, refuse

Key = tuple[str, int, int]  # a layer, which of its calls, which output of that
CONSTANT = "_CONSTANT_VALUE"  # in the place of a layer's name: a number is read
# they change nothing when a network is run
TRAINING = {
    "Dropout",
    "SpatialDropout2D",
    "GaussianDropout",
    "GaussianNoise",
    "AlphaDropout",
    "ActivityRegularization",
    "Identity",
    "InputLayer",
}
# of training, or of how a layer was made
WITHOUT_EFFECT = {
    "name",
    "trainable",
    "build_config",
    "batch_input_shape",
    "batch_shape",
    "input_shape",
    "input_dim",
    "input_length",
    "input_dtype",
    "sparse",
    "ragged",
    "optional",
    "momentum",
    "seed",
    "noise_shape",
    "rate",
    "p",
    "sigma",
    "stddev",
    "l1",
    "l2",
    "weights",
    "synchronized",
    "fused",
    "virtual_batch_size",
    "renorm",
    "renorm_clipping",
    "renorm_momentum",
    "init",
    "beta_init",
    "gamma_init",
    *(
        f"{part}_{what}"
        for part in (
            *("kernel", "bias", "beta", "gamma", "activity", "W", "b", "moving_mean"),
            *("depthwise", "pointwise", "alpha"),
        )
        for what in ("initializer", "regularizer", "constraint")
    ),
    "moving_variance_initializer",
}


@dataclass
class Layer:
    """One of the list in a configuration. training: whether it is called as in training."""

    name: str
    kind: str
    config: Mapping[str, Any]
    inputs: tuple[str, ...]
    calls: int = 1
    odd: bool = False
    training: bool = False


def in_a_row(listed: Any) -> Iterator[Layer]:
    before: tuple[str, ...] = ()
    for index, each in enumerate(checked(listed)):
        config = inner_config(each)
        name = str(config.get("name") or each.get("name") or f"layer {index + 1}")
        yield Layer(name, str(each.get("class_name")), config, before)
        before = (name,)


def connected(listed: Any) -> Iterator[Layer]:
    """Each layer behind those that it reads."""
    layers = {}
    for each in checked(listed):
        config = inner_config(each)
        name = str(each.get("name") or config.get("name"))
        calls = each.get("inbound_nodes") or []
        first = calls[0] if calls else []
        inputs, more = _call(first)
        training = any(said.get("training") is True for said in more)
        strange = any(list(histories(list(said.values()))) for said in more)
        layers[name] = Layer(
            name,
            str(each.get("class_name")),
            config,
            tuple(source for source, _ in inputs),
            max(1, len(calls)),
            strange or any(place != 0 for _, place in inputs),
            training,
        )
    reads = {
        name: [each for each in layer.inputs if each in layers] for name, layer in layers.items()
    }
    done: set[str] = set()
    in_order = True
    for name, before in reads.items():
        in_order = in_order and done.issuperset(before)
        done.add(name)
    ordered = list(reads) if in_order else list(graphlib.TopologicalSorter(reads).static_order())
    yield from (layers[name] for name in ordered)


def checked(listed: Any) -> list[Mapping[str, Any]]:
    if not isinstance(listed, list) or not 0 < len(listed) <= MOST:
        raise refuse("a model_config without layers", "what Keras writes")
    return listed


def inner_config(layer: Mapping[str, Any]) -> Mapping[str, Any]:
    config = layer.get("config")
    # a model of Keras 1 within a model is a list
    return config if isinstance(config, dict) else {"layers": config, "name": layer.get("name")}


def _call(call: Any) -> tuple[list[tuple[str, int]], list[Mapping[str, Any]]]:
    """(tensors that a layer reads, other arguments) of Keras 3's {"args", "kwargs"}, or of lists
    [layer, node, tensor, arguments]."""
    if isinstance(call, dict):
        return list(histories(call.get("args"))), [call.get("kwargs") or {}]
    more = [each[3] for each in call if isinstance(each, list) and len(each) > 3 and each[3]]
    return list(histories(call)), more


def stored_names(model: Any, prefix: str = "", depth: int = 0) -> dict[str, str]:
    """{path of a layer's arrays in model.weights.h5: its name}: Keras counts layers of a class."""
    config = model.get("config") if isinstance(model, dict) else None
    listed = config.get("layers") if isinstance(config, dict) else config
    if depth > DEEPEST or not isinstance(listed, list):
        return {}
    found: dict[str, str] = {}
    seen: Counter[str] = Counter()
    for each in checked(listed):
        inner = inner_config(each)
        kind = snake(str(each["class_name"]))
        path = f"{prefix}layers/{kind}{f'_{seen[kind]}' if seen[kind] else ''}"
        seen[kind] += 1
        found[path] = str(each.get("name") or inner.get("name"))
        if "layers" in inner:
            found |= stored_names(each, f"{path}/", depth + 1)
    return found


def snake(kind: str) -> str:
    """depthwise_conv2d of DepthwiseConv2D: a class as Keras spells it in paths."""
    words = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W", "", kind))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", words).lower()


def histories(part: Any) -> Iterator[tuple[str, int]]:
    """(layer, which of its outputs) of all tensors, however they are nested."""
    return ((each[0], each[2]) for each in operands(part) if isinstance(each, tuple))


def operands(part: Any, depth: int = 0) -> Iterator[Key | float]:
    """All tensors and numbers, however they are nested."""
    if depth > DEEPEST:
        raise refuse("arguments too deep in each other")
    if type(part) in (int, float):
        yield float(part)
    if isinstance(part, dict):
        history = (part.get("config") or {}).get("keras_history") if "config" in part else None
        if part.get("class_name") == "__keras_tensor__" and history:
            yield str(history[0]), int(history[1]), int(history[2])
            return
        part = list(part.values())
    if isinstance(part, list):
        if len(part) >= 3 and part[0] == CONSTANT:
            yield from operands(part[2], depth + 1)
            return
        if len(part) >= 3 and isinstance(part[0], str) and type(part[1]) is type(part[2]) is int:
            yield part[0], part[1], part[2]
            return
        for each in part:
            yield from operands(each, depth + 1)
