"""Attributes of ONNX's nodes: which an operator has, and what values they may have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from refq.importers.contents import refuse
from refq.importers.onnx_operators import ATTRIBUTES
from refq.importers.onnx_proto import Graph, Node, Stored, Unread

# by the letters of ATTRIBUTES: Python's type, in words, and what is meant where nothing is stated
TYPES: dict[str, tuple[type, str, Any]] = {
    "i": (int, "one whole number", 0),
    "f": (float, "one number", 0.0),
    "s": (str, "a text", ""),
    "I": (tuple, "whole numbers", ()),
    "F": (tuple, "numbers", ()),
    "S": (tuple, "texts", ()),
    "t": (Stored, "a tensor", None),
    "g": (Graph, "a graph", None),
    "?": (Unread, "another value", None),
}
OF_LISTS: dict[str, tuple[type, str]] = {
    "I": (int, "a list of integers"),
    "F": (float, "a list of floats"),
    "S": (str, "a list of texts"),
}
# how many numbers a window's lists have, and the least of them
LISTS = {"kernel_shape": (2, 1), "strides": (2, 1), "dilations": (2, 1), "pads": (4, 0)}
WINDOWS = {"Conv", "MaxPool", "AveragePool"}
AUTO = {"NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"}


def checked(node: Node) -> Mapping[str, Any]:
    """The attributes of a node. Raises WeightsError, naming the node and the attribute, for one
    that its operator does not have, and for values of another type. Operators of other domains
    have their own."""
    if node.domain or node.kind not in ATTRIBUTES:
        return node.attributes
    known = dict(word.split(":") for word in ATTRIBUTES[node.kind].split())
    values = {}
    for name, value in node.attributes.items():
        if name not in known:
            raise refuse(
                f"{node.told}: {name} of a {node.kind}, which refq does not know",
                ", ".join(known) or "no attributes",
            )
        letters = known[name]
        # protobuf 3 leaves out zeros and lists of nothing
        values[name] = TYPES[letters[0]][2] if value is None else value
        if not any(_is(letter, values[name]) for letter in letters):
            raise refuse(
                f"{node.told}: {name} {in_words(value)} of a {node.kind}", TYPES[letters[0]][1]
            )
    return values


def _is(letter: str, value: Any) -> bool:
    if letter == "?":
        return False  # read by nobody
    if letter in OF_LISTS:
        of = OF_LISTS[letter][0]
        return isinstance(value, tuple) and all(type(each) is of for each in value)
    return type(value) is TYPES[letter][0]


def in_words(value: Any) -> Any:
    """A value as messages tell it: whole numbers as a list, what no layer has by its kind."""
    if isinstance(value, tuple):
        if all(type(each) is int for each in value):
            return list(value)
        return next(words for of, words in OF_LISTS.values() if type(value[0]) is of)
    if isinstance(value, Unread):
        return value.what
    if isinstance(value, (Graph, Stored)):
        return "a graph" if isinstance(value, Graph) else "a tensor"
    return value


def check_window(name: str, kind: str, said: Mapping[str, Any]) -> None:
    """Raises WeightsError for a window over images that has other than rows and columns. said:
    lists as in_words has them."""
    for key, (count, least) in LISTS.items():
        stated = said.get(key) or []
        if stated and (len(stated) != count or min(stated) < least):
            raise refuse(
                f"{name}: {key} {stated} of a {kind}",
                f"{count} whole numbers of {least} or more, for rows and columns",
            )
    if "group" in said and (said["group"] or 0) < 1:
        raise refuse(f"{name}: group {said['group'] or 0} of a {kind}", "1 or more")
    auto = said.get("auto_pad") or "NOTSET"
    if auto not in AUTO:
        raise refuse(f"{name}: auto_pad {auto} of a {kind}", ", ".join(sorted(AUTO)))
    if auto != "NOTSET" and any(said.get("pads") or ()):
        raise refuse(
            f"{name}: auto_pad {auto} beside pads {said['pads']} of a {kind}",
            "one or the other, as ONNX has it",
        )
