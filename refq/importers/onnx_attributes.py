"""Attributes of ONNX's nodes: which are known of a kind, and what values they may have."""

from __future__ import annotations

from typing import Any

from refq.importers.contents import refuse

# attributes that are read, or that change nothing when a network is run; of other kinds none is
# read, as no network has them
KNOWN = {
    "Conv": {"auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"},
    "Gemm": {"alpha", "beta", "transA", "transB", "broadcast"},
    "BatchNormalization": {
        "epsilon",
        "momentum",
        "spatial",
        "training_mode",
        "is_test",
        "consumed_inputs",
    },
    "MaxPool": {
        "auto_pad",
        "ceil_mode",
        "dilations",
        "kernel_shape",
        "pads",
        "storage_order",
        "strides",
    },
    "AveragePool": {
        "auto_pad",
        "ceil_mode",
        "count_include_pad",
        "dilations",
        "kernel_shape",
        "pads",
        "strides",
    },
    "GlobalAveragePool": set(),
    "ReduceMean": {"axes", "keepdims", "noop_with_empty_axes"},
    "LRN": {"size", "alpha", "beta", "bias"},
    "Relu": {"consumed_inputs"},
    "Clip": {"min", "max", "consumed_inputs"},
    "Concat": {"axis"},
    "Add": {"axis", "broadcast", "consumed_inputs"},
    "Sum": {"consumed_inputs"},
    "Flatten": {"axis"},
    "Reshape": {"shape", "allowzero", "consumed_inputs"},
    "Pad": {"mode", "pads", "value", "paddings"},
    "Dropout": {"ratio", "seed", "is_test", "consumed_inputs"},
}
# how many numbers a window's lists have, and the least of them
LISTS = {"kernel_shape": (2, 1), "strides": (2, 1), "dilations": (2, 1), "pads": (4, 0)}
WINDOWS = {"Conv", "MaxPool", "AveragePool"}
AUTO = {"NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"}
# attributes that have the same type wherever they are
TYPES: dict[type, tuple[str, set[str]]] = {
    int: (
        "one whole number",
        {"group", "ceil_mode", "count_include_pad", "size", "transA", "transB", "keepdims"}
        | {"training_mode", "spatial", "noop_with_empty_axes", "allowzero", "value_int"},
    ),
    float: ("one number", {"alpha", "beta", "bias", "epsilon", "min", "max"}),
    list: ("whole numbers", {*LISTS, "axes", "perm", "shape", "paddings", "value_ints"}),
    str: ("a text", {"auto_pad", "mode"}),
}
# fields of an attribute that no layer of a network has: what they hold
UNREAD = {
    6: "a graph",
    7: "a list of floats",
    9: "a list of texts",
    10: "a list of tensors",
    11: "a list of graphs",
}


def check(node: Any) -> None:
    """Raises WeightsError, naming the node and the attribute, for one that refq does not know and
    for values that the operator does not have. Operators of other domains have their own."""
    if "." in node.kind:
        return
    name, said = node.name or node.outputs[0], node.attributes
    strange = sorted(said.keys() - KNOWN.get(node.kind, said.keys()))
    if strange:
        raise refuse(
            f"{name}: {strange[0]} of a {node.kind}, which refq does not know",
            "the attributes of docs/convert.md",
        )
    for kind, (wanted, keys) in TYPES.items():
        for key in sorted(keys & said.keys()):
            if said[key] is not None and type(said[key]) is not kind:
                raise refuse(f"{name}: {key} {said[key]} of a {node.kind}", wanted)
    if node.kind in WINDOWS:
        _check_window(name, node)


def _check_window(name: str, node: Any) -> None:
    said = node.attributes
    for key, (count, least) in LISTS.items():
        stated = said.get(key) or []
        if stated and (len(stated) != count or min(stated) < least):
            raise refuse(
                f"{name}: {key} {stated} of a {node.kind}",
                f"{count} whole numbers of {least} or more, for rows and columns",
            )
    if "group" in said and (said["group"] or 0) < 1:
        raise refuse(f"{name}: group {said['group'] or 0} of a {node.kind}", "1 or more")
    auto = said.get("auto_pad") or "NOTSET"
    if auto not in AUTO:
        raise refuse(f"{name}: auto_pad {auto} of a {node.kind}", ", ".join(sorted(AUTO)))
    if auto != "NOTSET" and any(said.get("pads") or ()):
        raise refuse(
            f"{name}: auto_pad {auto} beside pads {said['pads']} of a {node.kind}",
            "one or the other, as ONNX has it",
        )
