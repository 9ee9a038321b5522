"""Operators of older versions of ONNX as version 21 has them.

Attributes that became inputs stay as they are: those who read operators know both forms. What had
another meaning gets attributes, or other operators, that say the same today.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from refq.importers.contents import refuse
from refq.importers.foreign import Operator

# attributes that said how a tool may store things
IDLE = {"consumed_inputs"}
# TensorProto.DataType by the texts of Cast before version 6
TYPES = {"FLOAT": 1, "UINT8": 2, "INT8": 3, "UINT16": 4, "INT16": 5, "INT32": 6, "INT64": 7}
TYPES |= {"BOOL": 9, "FLOAT16": 10, "DOUBLE": 11, "UINT32": 12, "UINT64": 13}
# of Resize in version 10, as of Upsample
OLD_RESIZE = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}


@dataclass
class Old:
    """What rules know: the version, and constants by name, to which they may add. numbers: the last
    one behind a name that was wanted."""

    opset: int
    constants: dict[str, np.ndarray]
    names: set[str] = field(default_factory=set)
    numbers: dict[str, int] = field(default_factory=dict)

    def name(self, wanted: str) -> str:
        """A name of no tensor yet: as wanted, or with a number."""
        name, number = wanted, self.numbers.get(wanted, 1)
        while name in self.names:
            number += 1
            name = f"{wanted}_{number}"
        self.names.add(name)
        self.numbers[wanted] = number
        return name

    def constant(self, wanted: str, array: np.ndarray) -> str:
        name = self.name(wanted)
        self.constants[name] = array
        return name

    def known(self, operator: Operator, number: int) -> np.ndarray | None:
        """An input that is a constant of the file."""
        name = operator.inputs[number] if number < len(operator.inputs) else ""
        return self.constants.get(name)


Rule = Callable[[Operator, Old], "tuple[Operator, ...]"]


def today(operator: Operator, old: Old) -> tuple[Operator, ...]:
    """Operators of version 21 that compute the same. Raises WeightsError for what only training
    does, and for broadcasting as it was before version 7."""
    if IDLE & operator.attributes.keys():
        operator = without(operator, *IDLE)
    if "broadcast" in operator.attributes:
        operator = _broadcast(operator)
    rule = RULES.get(operator.kind)
    return rule(operator, old) if rule else (operator,)


def without(operator: Operator, *names: str, **more: Any) -> Operator:
    """The operator with fewer attributes, and more."""
    kept = {key: value for key, value in operator.attributes.items() if key not in names}
    return replace(operator, attributes={**kept, **more})


def _broadcast(operator: Operator) -> Operator:
    """Before version 7 the second input was spread only where `broadcast` said so, from `axis` on;
    without an axis as NumPy has it."""
    if operator.attributes.get("axis") is not None:
        raise refuse(
            f"{operator.name}: broadcast from axis {operator.attributes['axis']} of a "
            f"{operator.kind}",
            "operators of version 7 or newer",
            "convert it with onnx.version_converter",
        )
    return without(operator, "broadcast", "axis")


def _batch_norm(operator: Operator, old: Old) -> tuple[Operator, ...]:
    said, more = operator.attributes, [name for name in operator.outputs[1:] if name]
    training = said.get("training_mode") or more or (old.opset < 7 and not said.get("is_test"))
    if training or said.get("spatial") == 0:
        what = "in training mode" if training else "of single pixels"
        raise refuse(
            f"{operator.name}: a BatchNormalization {what}",
            "one by the stored means",
            "export after model.eval()",
        )
    plain = replace(operator, outputs=operator.outputs[:1])
    return (without(plain, "momentum", "training_mode", "spatial", "is_test"),)


def _dropout(operator: Operator, old: Old) -> tuple[Operator, ...]:
    """In inference it leaves all as it is; its mask, where something reads it, is all true."""
    training = operator.inputs[2] if len(operator.inputs) > 2 else ""
    known = old.known(operator, 2)
    seen = old.opset < 7 and not operator.attributes.get("is_test")
    if seen or (training and (known is None or known.any())):
        raise refuse(
            f"{operator.name}: a Dropout in training mode",
            "a network for inference",
            "export after model.eval()",
        )
    inputs, outputs = operator.inputs[:1], operator.outputs[:1]
    kept = Operator("Identity", operator.name, inputs, outputs)
    if len(operator.outputs) < 2 or not operator.outputs[1]:
        return (kept,)
    mask = Operator("Equal", operator.name, (inputs[0], inputs[0]), operator.outputs[1:])
    return kept, mask


def _upsample(operator: Operator, old: Old) -> tuple[Operator, ...]:
    said, scales = operator.attributes, "".join(operator.inputs[1:2])
    if not scales:
        listed = said.get("scales")
        if listed is None and "height_scale" in said and "width_scale" in said:
            listed = (1.0, 1.0, said["height_scale"], said["width_scale"])
        if listed is None:
            raise refuse(f"{operator.name}: an Upsample without scales", "scales")
        scales = old.constant(f"{operator.name}.scales", np.array(listed, np.float32))
    mode = {"bilinear": "linear"}.get(said.get("mode", ""), said.get("mode", "nearest"))
    inputs = (operator.inputs[0], "", scales)
    return (
        replace(operator, kind="Resize", inputs=inputs, attributes=OLD_RESIZE | {"mode": mode}),
    )


def _resize(operator: Operator, old: Old) -> tuple[Operator, ...]:
    """Version 10 has no region of interest among its inputs, and leaves open what `nearest` is:
    where it makes maps smaller, runtimes take the pixel above."""
    if old.opset != 10:
        return (operator,)
    scales = old.known(operator, 1)
    mode = operator.attributes.get("mode", "nearest")
    nearest = "floor"
    if mode == "nearest" and scales is not None and (scales < 1).any():
        if (scales > 1).any():
            raise refuse(f"{operator.name}: a Resize of scales {scales.tolist()}", "of version 11")
        nearest = "ceil"
    said = OLD_RESIZE | {"mode": mode, "nearest_mode": nearest}
    inputs = (operator.inputs[0], "", *operator.inputs[1:2])
    return (replace(operator, inputs=inputs, attributes=said),)


def _softmax(operator: Operator, old: Old) -> tuple[Operator, ...]:
    """Before version 13 it took all axes from `axis` on as one."""
    axis = operator.attributes.get("axis", 1 if old.opset < 13 else -1)
    if old.opset >= 13 or axis == -1:
        return (without(operator, axis=axis),)
    (source,), (output,), name = operator.inputs, operator.outputs, operator.name
    flat, soft, shape = (old.name(f"{output}.{part}") for part in ("flat", "soft", "shape"))
    return (
        Operator("Flatten", name, (source,), (flat,), {"axis": axis}),
        Operator(operator.kind, name, (flat,), (soft,), {"axis": -1}),
        Operator("Shape", name, (source,), (shape,)),
        Operator("Reshape", name, (soft, shape), (output,)),
    )


def _cast(operator: Operator, old: Old) -> tuple[Operator, ...]:
    to = operator.attributes.get("to")
    if isinstance(to, str):
        if to.upper() not in TYPES:
            raise refuse(f"{operator.name}: a Cast to {to}", ", ".join(TYPES))
        return (without(operator, to=TYPES[to.upper()]),)
    return (operator,)


def _split(operator: Operator, old: Old) -> tuple[Operator, ...]:
    """Before version 18 the outputs say how many equal parts there are."""
    stated = operator.attributes.keys() & {"split", "num_outputs"} or any(operator.inputs[1:2])
    return (operator if stated else without(operator, num_outputs=len(operator.outputs)),)


def _pad(operator: Operator, old: Old) -> tuple[Operator, ...]:
    if "paddings" in operator.attributes:  # version 1
        return (without(operator, "paddings", pads=operator.attributes["paddings"]),)
    return (operator,)


def _reshape(operator: Operator, old: Old) -> tuple[Operator, ...]:
    if "shape" in operator.attributes and len(operator.inputs) == 1:  # before version 5
        shape = np.array(operator.attributes["shape"], np.int64)
        name = old.constant(f"{operator.name}.shape", shape)
        operator = replace(operator, inputs=(*operator.inputs, name))
    return (without(operator, "shape"),)


def _tile(operator: Operator, old: Old) -> tuple[Operator, ...]:
    if old.opset < 6:
        raise refuse(f"{operator.name}: a Tile of version {old.opset}", "of version 6 or newer")
    return (operator,)


def _prelu(operator: Operator, old: Old) -> tuple[Operator, ...]:
    slopes = old.known(operator, 1)
    if old.opset < 7 and slopes is not None and slopes.size > 1 and slopes.ndim == 1:
        # a number each channel, the second axis of an image
        name = old.constant(f"{operator.inputs[1]}.channels", slopes[:, None, None])
        return (replace(operator, inputs=(operator.inputs[0], name)),)
    return (operator,)


def _concat(operator: Operator, old: Old) -> tuple[Operator, ...]:
    return (without(operator, axis=operator.attributes.get("axis", 1)),)  # a default of version 1


def _top_k(operator: Operator, old: Old) -> tuple[Operator, ...]:
    if "k" in operator.attributes and len(operator.inputs) == 1:  # before version 10
        k = np.array([operator.attributes["k"]], np.int64)
        name = old.constant(f"{operator.name}.k", k)
        operator = without(replace(operator, inputs=(*operator.inputs, name)), "k")
    return (operator,)


RULES: Mapping[str, Rule] = {
    "BatchNormalization": _batch_norm,
    "Dropout": _dropout,
    "Upsample": _upsample,
    "Resize": _resize,
    "Softmax": _softmax,
    "LogSoftmax": _softmax,
    "Hardmax": _softmax,
    "Cast": _cast,
    "Split": _split,
    "Pad": _pad,
    "Reshape": _reshape,
    "Tile": _tile,
    "PRelu": _prelu,
    "Concat": _concat,
    "TopK": _top_k,
}
