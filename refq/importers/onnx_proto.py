"""ONNX's messages (onnx.proto) as plain data, walked once for all who read models.

Values stay where they are in the file until `onnx_tensors` is asked for them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from refq.importers import wire
from refq.importers.contents import DEEPEST, MOST, refuse

Parts = Mapping[int, tuple[wire.Field, ...]]
NOTHING: dict[str, Any] = {}


@dataclass(frozen=True)
class Stored:
    """A TensorProto. kind: its TensorProto.DataType. raw, typed: where its values lie in `data`, as
    bytes or as fields by number; external: what it says of another file that they lie in."""

    name: str
    kind: int
    shape: tuple[int, ...]
    data: wire.Data = field(repr=False)
    raw: wire.Field | None = None
    typed: Parts = field(default_factory=dict)
    external: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Unread:
    """An attribute of a kind that no layer of a network has, in words."""

    what: str


@dataclass(frozen=True)
class Node:
    """A NodeProto. attributes: numbers, texts, tuples of them, Stored, Graph or Unread; references:
    {attribute: the attribute of the function around it that gives its value}."""

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    domain: str = ""
    overload: str = ""
    references: Mapping[str, str] = field(default_factory=dict)

    @property
    def told(self) -> str:
        """What messages call it."""
        return self.name or next(filter(None, self.outputs), "") or self.kind


@dataclass(frozen=True)
class Value:
    """A ValueInfoProto. form: `tensor` or another kind of value; kind: a DataType, 0 where it is
    not stated. shape: None where it is not stated, its open sizes None."""

    name: str
    form: str = "tensor"
    kind: int = 0
    shape: tuple[int | None, ...] | None = None


@dataclass(frozen=True)
class Graph:
    """quantized: how many tensors it tells of how they are quantized; sparse: the first of its
    tensors that is stored without its zeros."""

    name: str
    nodes: tuple[Node, ...]
    tensors: Mapping[str, Stored]
    inputs: Mapping[str, Value]
    outputs: tuple[str, ...]
    quantized: int = 0
    sparse: str | None = None


@dataclass(frozen=True)
class Function:
    """attributes: those that a call may give; defaults: those that have a value without."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    opsets: Mapping[str, int]
    attributes: tuple[str, ...]
    defaults: Mapping[str, Any]


@dataclass(frozen=True)
class Model:
    """functions: by (domain, name, overload). opsets: versions by domain, ONNX's own under the
    empty name. metadata: its keys. training: how many ways of training it tells."""

    producer: str
    graph: Graph
    opsets: Mapping[str, int]
    functions: Mapping[tuple[str, str, str], Function]
    metadata: tuple[str, ...] = ()
    training: int = 0


# fields of an attribute that are not read: what they hold
UNREAD = {
    10: "a list of tensors",
    11: "a list of graphs",
    14: "a type",
    15: "a list of types",
    22: "a sparse tensor",
    23: "a list of sparse tensors",
}
FORMS = {1: "tensor", 4: "sequence", 5: "map", 8: "sparse tensor", 9: "optional value"}
# AttributeProto.AttributeType: the value whose field protobuf 3 leaves out
EMPTY: dict[int, Any] = {1: 0.0, 2: 0, 3: "", 6: (), 7: (), 8: ()}


def model(data: wire.Data) -> Model:
    """Raises WeightsError where the file is no model, or one of more than MOST parts."""
    return _Walk(data).model()


@dataclass
class _Walk:
    data: wire.Data
    parts: int = 0
    depth: int = 0

    def _count(self) -> None:
        self.parts += 1
        if self.parts > MOST:
            raise refuse(f"a graph of more than {MOST} nodes or tensors")

    def _fields(self, part: wire.Field) -> dict[int, list[wire.Field]]:
        """A message's fields by their numbers."""
        if part.kind != wire.BYTES:
            raise refuse("a number where a message belongs", "an ONNX model")
        found: dict[int, list[wire.Field]] = {}
        for each in wire.fields(self.data, part.begin, part.end):
            found.setdefault(each.number, []).append(each)
        return found

    def _texts(self, found: Mapping[int, list[wire.Field]], number: int) -> tuple[str, ...]:
        return tuple(wire.text(self.data, each) for each in found.get(number, ()))

    def _text(self, found: Mapping[int, list[wire.Field]], number: int) -> str:
        """Of a field that is there once; of several the last one counts."""
        return (self._texts(found, number) or ("",))[-1]

    def model(self) -> Model:
        found = self._fields(wire.Field(0, wire.BYTES, 0, 0, len(self.data)))
        graphs = [part for part in found.get(7, ()) if part.kind == wire.BYTES]
        if len(graphs) != 1:
            raise refuse(f"{len(graphs)} graphs", "an ONNX model, which has one")
        functions = {}
        for part in found.get(25, ()):
            key, function = self._function(part)
            functions[key] = function
        return Model(
            self._text(found, 2),
            self._graph(graphs[0]),
            self._opsets(found, 8),
            functions,
            tuple(self._text(self._fields(part), 1) for part in found.get(14, ())[:MOST]),
            len(found.get(20, ())),
        )

    def _opsets(self, found: Mapping[int, list[wire.Field]], number: int) -> dict[str, int]:
        opsets = {}
        for part in found.get(number, ()):
            stated = self._fields(part)
            domain = own_domain(self._text(stated, 1))
            opsets[domain] = stated[2][-1].value if 2 in stated else 0
        return opsets

    def _function(self, part: wire.Field) -> tuple[tuple[str, str, str], Function]:
        self._count()
        found = self._fields(part)
        key = own_domain(self._text(found, 10)), self._text(found, 1), self._text(found, 13)
        defaults = dict(self._attribute(each)[:2] for each in found.get(11, ()))
        return key, Function(
            self._texts(found, 4),
            self._texts(found, 5),
            tuple(self._node(each) for each in found.get(7, ())),
            self._opsets(found, 9),
            (*self._texts(found, 6), *defaults),
            defaults,
        )

    def _graph(self, part: wire.Field) -> Graph:
        self.depth += 1
        if self.depth > DEEPEST:
            raise refuse("graphs within graphs within graphs", f"at most {DEEPEST}")
        found = self._fields(part)
        nodes = tuple(self._node(each) for each in found.get(1, ()))
        tensors = [self.tensor(each) for each in found.get(5, ())]
        twice = [name for name, count in Counter(t.name for t in tensors).items() if count > 1]
        if twice:
            raise refuse(f"two tensors named {twice[0]}", "one of each name")
        sparse = [self._fields(each) for each in found.get(15, ())]
        values = [self._value(each) for each in found.get(11, ())]
        self.depth -= 1
        return Graph(
            self._text(found, 2),
            nodes,
            {tensor.name: tensor for tensor in tensors},
            {value.name: value for value in values},
            tuple(self._value(each).name for each in found.get(12, ())),
            len(found.get(14, ())),
            next((self.tensor(each[1][0]).name if 1 in each else "" for each in sparse), None),
        )

    def _value(self, part: wire.Field) -> Value:
        self._count()
        found = self._fields(part)
        name = self._text(found, 1)
        for each in found.get(2, ()):
            stated = self._fields(each)
            form = next((number for number in FORMS if number in stated), 0)
            if form != 1:
                return Value(name, FORMS.get(form, "tensor"))
            tensor = self._fields(stated[1][-1])
            kind = tensor[1][-1].value if 1 in tensor else 0
            shape = self._shape(tensor[2][-1]) if 2 in tensor else None
            return Value(name, "tensor", kind, shape)
        return Value(name)

    def _shape(self, part: wire.Field) -> tuple[int | None, ...]:
        sizes: list[int | None] = []
        for each in self._fields(part).get(1, ())[:9]:  # one more than refq has
            stated = self._fields(each).get(1)
            (size,) = wire.integers(self.data, stated[-1]) if stated else (0,)
            # zero and less are some exporters' words for open ones
            sizes.append(size if size > 0 else None)
        return tuple(sizes)

    def _node(self, part: wire.Field) -> Node:
        self._count()
        found = self._fields(part)
        attributes, references = {}, {}
        for each in found.get(5, ()):
            name, value, reference = self._attribute(each)
            if name in attributes or name in references:
                raise refuse(f"{self._text(found, 3)}: attribute {name} twice", "once")
            if reference:
                references[name] = reference
            else:
                attributes[name] = value
        return Node(
            self._text(found, 4),
            self._text(found, 3),
            self._texts(found, 1),
            self._texts(found, 2),
            attributes or NOTHING,
            own_domain(self._text(found, 7)),
            self._text(found, 8),
            references or NOTHING,
        )

    def _attribute(self, part: wire.Field) -> tuple[str, Any, str]:
        """(name, value, the function's attribute that it refers to)."""
        found = self._fields(part)
        value: Any = EMPTY.get(found[20][-1].value) if 20 in found else None
        for number, parts in found.items():
            last = parts[-1]
            match number:
                case 2:
                    value = wire.one_float(self.data, last)
                case 3:
                    (value,) = wire.integers(self.data, last)
                case 4:
                    value = wire.text(self.data, last)
                case 5:
                    value = self.tensor(last)
                case 6:
                    value = self._graph(last)
                case 7:
                    count = sum(wire.count_floats(each, 4) for each in parts)
                    if count > wire.MOST_INTEGERS:
                        raise refuse(f"a list of {count:,} floats", f"{wire.MOST_INTEGERS:,}")
                    value = tuple(wire.floats(self.data, parts, 4).tolist())
                case 8:
                    listed: list[int] = []
                    for each in parts:
                        wire.more_integers(listed, self.data, each)
                    value = tuple(listed)
                case 9:
                    value = tuple(wire.text(self.data, each) for each in parts)
                case _ if number in UNREAD:
                    value = Unread(UNREAD[number])
        return self._text(found, 1), value, self._text(found, 21)

    def tensor(self, part: wire.Field) -> Stored:
        self._count()
        found = self._fields(part)
        dims: list[int] = []
        for each in found.get(1, ()):
            wire.more_integers(dims, self.data, each)
        located = 14 in found and found[14][-1].value
        external = [self._fields(each) for each in found.get(13, ())] if 13 in found else []
        said = {self._text(each, 1): self._text(each, 2) for each in external}
        return Stored(
            self._text(found, 8),
            found[2][-1].value if 2 in found else 0,
            tuple(dims),
            self.data,
            found[9][-1] if 9 in found else None,
            {number: tuple(found[number]) for number in (4, 5, 6, 7, 10, 11) if number in found},
            said if located or external else None,
        )


def own_domain(name: str) -> str:
    """A domain's name, ONNX's own by its empty one."""
    return "" if name == "ai.onnx" else name
