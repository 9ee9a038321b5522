"""Caffe's .prototxt: a NetParameter in the text format of Protocol Buffers, read within bounds.

https://protobuf.dev/reference/protobuf/textformat-spec. Fields have the names of caffe.proto;
enumerations become the numbers that they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from refq.files import given
from refq.importers import caffe_messages as messages
from refq.importers import caffe_schema as schema
from refq.importers import caffe_v0
from refq.importers.caffe_layer import Layer, Net
from refq.importers.contents import DEEPEST, MOST, refuse

MOST_BYTES = 16 << 20  # ResNet-152's has 150 kB
MOST_TOKENS = 1 << 20
TOKEN = re.compile(
    r"""(?P<space>(?:\s|\#[^\n]*)+)|(?P<word>[A-Za-z_]\w*)|(?P<sign>[{}<>:;,\[\]-])
    |(?P<number>0[xX][0-9a-fA-F]{1,16}|(?:\d{1,40}\.?\d{0,40}|\.\d{1,40})(?:[eE][+-]?\d{1,3})?[fF]?)
    |(?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')""",
    re.VERBOSE,
)
ENUMERATIONS = {
    "pool": ("MAX", "AVE", "STOCHASTIC"),
    "norm_region": ("ACROSS_CHANNELS", "WITHIN_CHANNEL"),
    "round_mode": ("CEIL", "FLOOR"),
    "phase": ("TRAIN", "TEST"),
}
OPERATIONS = {
    "eltwise_param": ("PROD", "SUM", "MAX"),
    "reduction_param": ("", "SUM", "ASUM", "SUMSQ", "MEAN"),
}
TRUE, FALSE = ("true", "True", "t"), ("false", "False", "f")
# what the text of forks has besides
MORE = {"pooling_param": {"ceil_mode"}}


class Text(str):
    """A text in quotes; words are plain str."""


Message = dict[str, list[Any]]


def net(path: Path) -> Net:
    """The network that a .prototxt describes, in the form of one from a .caffemodel."""
    return _net(_parsed(given.text(path, MOST_BYTES)))


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    place = 0
    for _ in range(MOST_TOKENS):
        if place == len(text):
            yield "end", ""
            return
        found = TOKEN.match(text, place)
        if found is None:
            raise refuse(f"{text[place : place + 20]!r} in line {_line(text, place)}", "a prototxt")
        place = found.end()
        if found.lastgroup and found.lastgroup != "space":
            yield found.lastgroup, found.group()
    raise refuse(f"a prototxt of more than {MOST_TOKENS:,} words", "a network")


def _line(text: str, place: int) -> int:
    return text.count("\n", 0, place) + 1


class _Parser:
    def __init__(self, text: str) -> None:
        self.tokens = _tokens(text)
        self.kind, self.token = next(self.tokens)

    def take(self, wanted: str = "") -> str:
        token = self.token
        if wanted and token not in wanted.split():
            raise refuse(f"{token or 'the end'!r} in a prototxt", wanted.replace(" ", " or "))
        if self.kind != "end":
            self.kind, self.token = next(self.tokens)
        return token

    def message(self, end: str, depth: int) -> Message:
        if depth > DEEPEST:
            raise refuse("messages too deep in each other", f"at most {DEEPEST}")
        found: Message = {}
        while self.token != end:
            if self.kind != "word":
                raise refuse(f"{self.token or 'the end'!r} where a field begins", "its name")
            values = found.setdefault(self.take(), [])
            colon = self.token == ":" and self.take()
            if self.token == "[":
                self.take()
                while self.token != "]":
                    values.append(self.value(depth))
                    if self.token != "]":
                        self.take(",")
                self.take()
            elif self.token in ("{", "<") or colon:
                values.append(self.value(depth))
            else:
                raise refuse(f"{self.token!r} in a prototxt", "a colon, or a message")
            while self.token in (",", ";") and self.kind == "sign":
                self.take()
        self.take()
        return found

    def value(self, depth: int) -> Any:
        if self.token in ("{", "<") and self.kind == "sign":
            return self.message("}" if self.take() == "{" else ">", depth + 1)
        if self.kind == "text":
            parts = []
            while self.kind == "text":
                parts.append(re.sub(r"\\(.)", r"\1", self.take()[1:-1]))
            return Text("".join(parts))
        negative = self.token == "-" and bool(self.take())
        if self.kind == "word" and not negative:
            return self.take()
        if self.kind not in ("word", "number"):
            raise refuse(f"{self.token or 'the end'!r} in a prototxt", "a value")
        number = _number(self.take())
        return -number if negative else number


def _number(token: str) -> int | float:
    if token[:2] in ("0x", "0X"):
        return int(token, 16)
    return int(token) if token.isdecimal() else float(token.rstrip("fF"))


def _parsed(text: str) -> Message:
    return _Parser(text).message("", 0)


def _net(parsed: Message) -> Net:
    found = Net()
    for name, values in parsed.items():
        if name in ("layer", "layers"):
            if len(values) > MOST:
                raise refuse(f"a network of more than {MOST} layers")
            found.layers += [_layer(_inner(name, value), name) for value in values]
        elif name == "name":
            found.name = str(values[-1])
        elif name == "input":
            found.inputs += [str(value) for value in values]
        elif name == "input_dim":
            found.input_dim += _whole(name, values)
        elif name == "input_shape":
            found.input_shape += [_shape(value) for value in values]
        elif name not in schema.NET.values():
            raise refuse(f"{name} of the network, which refq does not know", "a Caffe prototxt")
    found.layers = caffe_v0.without_padding(found.layers)
    return found


def _inner(name: str, value: Any) -> Message:
    if not isinstance(value, dict):
        raise refuse(f"{name} is no message", f"{name} {{ ... }}")
    return value


def _whole(name: str, values: list[Any]) -> list[int]:
    if not all(type(value) is int and abs(value) < 1 << 63 for value in values):
        raise refuse(f"{name} {values[:4]}", "whole numbers")
    return values


def _shape(value: Any) -> list[int]:
    return _whole("dim", _inner("a shape", value).get("dim", []))


def _v1_type(word: str) -> str:
    """SOFTMAX_LOSS as SoftmaxWithLoss, and others as they differ by spelling alone."""
    spelled = {name.lower(): name for name in schema.V1_TYPES.values()}
    plain = word.replace("_", "").lower()
    return {"softmaxloss": "SoftmaxWithLoss"}.get(plain) or spelled.get(plain, word)


def _layer(parsed: Message, form: str) -> Layer:
    layer = Layer()
    known = schema.V1_LAYER if form == "layers" else schema.V2_LAYER
    names = {*known.values(), *schema.FORKS, "quantization_param"}
    setters: dict[str, Callable[[list[Any]], None]] = {
        "bottom": layer.bottoms.extend,
        "top": layer.tops.extend,
        "loss_weight": layer.loss_weights.extend,
    }
    layer.name = str(parsed.get("name", [""])[-1])
    layer.type = str(parsed.get("type", [""])[-1])
    if form == "layers":
        layer.type = _v1_type(layer.type)
    for name, values in parsed.items():
        if name in setters:
            setters[name](values)
        elif name in ("include", "exclude"):
            layer.rules += [(name, _stated(name, _inner(name, value))) for value in values]
        elif name == "phase":
            layer.phase = _value("", name, values[-1])
        elif name in messages.MESSAGES:
            layer.parameters[name] = _merged(name, values)
        elif name not in names and not name.endswith("_param"):
            layer.unknown = name
    if not all(isinstance(text, str) for text in (*layer.bottoms, *layer.tops)):
        raise refuse(f"{layer.name}: a bottom or top that is no name", "names in quotes")
    if "layer" in layer.parameters:
        return caffe_v0.layer(layer, layer.parameters["layer"], [])
    return layer


def _merged(message: str, values: list[Any]) -> messages.Values:
    merged: Message = {}
    for value in values:
        for name, more in _inner(message, value).items():
            merged.setdefault(name, []).extend(more)
    return _stated(message, merged)


def _stated(message: str, parsed: Message) -> messages.Values:
    """The fields of a message as caffe_messages.stated gives them."""
    known = {*messages.MESSAGES[message].values(), *MORE.get(message, ())}
    skipped = messages.UNREAD | (messages.WITHOUT_EFFECT - messages.REAL)
    found: messages.Values = {}
    for name, values in parsed.items():
        if name == "shape":
            found[name] = [_shape(value) for value in values]
        elif name in skipped or name not in known:
            found[name] = [1]
        else:
            found[name] = [_value(message, name, value) for value in values]
    return found


def _value(message: str, name: str, value: Any) -> Any:
    if name in messages.TEXTS:
        return str(value)
    if type(value) is str:
        words = OPERATIONS.get(message, ()) if name == "operation" else ENUMERATIONS.get(name, ())
        if value in words:
            return words.index(value)
        if value in (*TRUE, *FALSE):
            return int(value in TRUE)
        if name in ("backend", "engine"):
            return value
    elif name in messages.REAL and isinstance(value, (int, float)):
        return float(value)
    elif type(value) is int and abs(value) < 1 << 63:
        return value
    raise refuse(f"{name} {str(value)[:40]!r} of {message or 'a layer'}", "a value of caffe.proto")
