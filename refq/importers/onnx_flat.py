"""A model's nodes as one row of operators: functions and known branches in their places, constants
apart from operators."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from refq.importers import onnx_attributes
from refq.importers.contents import DEEPEST, refuse
from refq.importers.foreign import Branch, Operator
from refq.importers.onnx_opsets import Old, today
from refq.importers.onnx_proto import Function, Graph, Model, Node, Stored
from refq.importers.onnx_values import Values

KEPT: dict[str, str] = {}
MOST = 1 << 15  # nodes, functions in the places of their calls
# letters of a name before others, and of all names that functions multiply
LONGEST, LETTERS = 400, 1 << 26


@dataclass(frozen=True)
class Scope:
    """Where nodes stand. names: what their tensors are called outside; prefix: of other names,
    where `within` has them all or those; called: the functions around; given: the attributes of
    the call; path: names of the nodes around."""

    opsets: Mapping[str, int]
    names: Mapping[str, str] = field(default_factory=dict)
    called: tuple[tuple[str, str, str], ...] = ()
    given: Mapping[str, Any] = field(default_factory=dict)
    path: str = ""
    prefix: str = ""
    depth: int = 0

    def name(self, name: str) -> str:
        if not name:
            return ""
        return self.names.get(name, f"{self.prefix}{name}")


@dataclass
class Flat:
    """Makes operators of nodes. values: of all constants so far, by name."""

    model: Model
    values: Values
    old: Old
    count: int = 0
    letters: int = 0

    def graph(self) -> list[Operator]:
        scope = Scope(self.model.opsets)
        self._enter(self.model.graph, scope)
        return list(self._operators(self.model.graph.nodes, scope))

    def _enter(self, graph: Graph, scope: Scope) -> None:
        """The tensors of a graph."""
        if graph.sparse is not None:
            raise refuse(
                f"{graph.sparse or 'a tensor'}: sparse weights", "weights with all their values"
            )
        read = {name for node in graph.nodes for name in reads(node)} | set(graph.outputs)
        for name, tensor in graph.tensors.items():
            if name in read:
                self.values.enter(scope.name(name), tensor)

    def _operators(self, nodes: Sequence[Node], scope: Scope) -> Iterator[Operator]:
        for node in nodes:
            self.count += 1
            if self.count > MOST:
                raise refuse(f"a graph of more than {MOST} nodes, functions in their places")
            yield from self._node(node, scope)

    def _node(self, node: Node, scope: Scope) -> Iterator[Operator]:
        node = self._named(node, scope)
        key = (node.domain, node.kind, node.overload)
        function = self.model.functions.get(key)
        if function is not None:
            yield from self._call(node, key, function, scope)
            return
        said = onnx_attributes.checked(node)
        if node.kind == "Constant" and not node.domain:
            self.values.constant(node, said)
            return
        if node.kind == "If" and not node.domain:
            yield from self._if(node, said, scope)
            return
        inputs = node.inputs
        graphs = [value for value in said.values() if isinstance(value, Graph)]
        if graphs:  # what they read of the graph around them
            inputs = (*inputs, *dict.fromkeys(map(scope.name, _captured(graphs))))
        attributes = {
            key: self.values.loaded(f"{node.told}.{key}", value)
            if isinstance(value, Stored)
            else value
            for key, value in said.items()
            if not isinstance(value, Graph)
        }
        operator = Operator(node.kind, node.told, inputs, node.outputs, attributes, node.domain)
        if node.domain:
            yield operator
            return
        version = scope.opsets.get("", 0)
        if version < 1:
            raise refuse(
                f"{node.told}: {node.kind} of no stated version", "a version of ONNX's operators"
            )
        yield from today(operator, replace(self.old, opset=version))

    def _named(self, node: Node, scope: Scope) -> Node:
        """With tensors called as outside, and attributes that the call gives."""
        attributes = dict(node.attributes)
        for name, wanted in node.references.items():
            if wanted in scope.given:
                attributes[name] = scope.given[wanted]
        named = replace(
            node,
            name=f"{scope.path}{node.told}",
            inputs=tuple(map(scope.name, node.inputs)),
            outputs=tuple(map(scope.name, node.outputs)),
            attributes=attributes,
            references=KEPT,
        )
        self.letters += sum(map(len, (named.name, *named.inputs, *named.outputs)))
        if self.letters > LETTERS and scope.path:
            raise refuse(f"{named.name}: functions within functions", "fewer or shorter names")
        return named

    def _call(
        self, node: Node, key: tuple[str, str, str], function: Function, scope: Scope
    ) -> Iterator[Operator]:
        """A function's nodes in the place of a call."""
        if key in scope.called or len(scope.called) >= DEEPEST:
            raise refuse(f"{node.told}: a function {node.kind} that calls itself")
        if len(node.inputs) > len(function.inputs) or len(node.outputs) > len(function.outputs):
            raise refuse(f"{node.told}: more than the function {node.kind} has", "its inputs")
        inputs = dict(zip(function.inputs, node.inputs))
        names = {name: inputs.get(name, "") for name in function.inputs}
        prefix = self._prefix(f"{node.told}/")
        given = {**function.defaults, **node.attributes}
        inner = Scope(function.opsets, names, (*scope.called, key), given, prefix, prefix)
        yield from self._operators(function.nodes, inner)
        yield from _renamed(node, map(inner.name, function.outputs))

    def _prefix(self, wanted: str) -> str:
        """Of names that no other tensors have."""
        return self.old.name(wanted if len(wanted) <= LONGEST else f"{wanted[:LONGEST]}.../")

    def _if(self, node: Node, said: Mapping[str, Any], scope: Scope) -> Iterator[Operator]:
        """The branch that is taken, where the condition is constant; else both as attributes."""
        graphs = [said.get(key) for key in ("then_branch", "else_branch")]
        if len(node.inputs) != 1 or not all(isinstance(each, Graph) for each in graphs):
            raise refuse(f"{node.told}: an If without a condition or a branch", "both branches")
        known = self.values.arrays.get(node.inputs[0])
        if known is not None and known.size == 1:
            branch = self._branch(node, graphs[0 if known.reshape(-1)[0] else 1], scope)
            yield from branch.operators
            yield from _renamed(node, branch.outputs)
            return
        branches = [self._branch(node, graph, scope) for graph in graphs]
        captured = dict.fromkeys(map(scope.name, _captured(graphs)))
        attributes = dict(zip(("then_branch", "else_branch"), branches))
        yield Operator("If", node.told, (*node.inputs, *captured), node.outputs, attributes)

    def _branch(self, node: Node, graph: Any, scope: Scope) -> Branch:
        if scope.depth >= DEEPEST:
            raise refuse(f"{node.told}: graphs within graphs", f"at most {DEEPEST}")
        prefix = self._prefix(f"{node.told}/")
        made = [name for each in graph.nodes for name in each.outputs if name]
        own = {name: f"{prefix}{name}" for name in (*graph.tensors, *made)}
        inner = replace(scope, names=_Within(scope, own), path=prefix, depth=scope.depth + 1)
        self._enter(graph, inner)
        operators = tuple(self._operators(graph.nodes, inner))
        return Branch(operators, tuple(map(inner.name, graph.outputs)))


class _Within(dict[str, str]):
    """Names of a branch: its own, and those around it."""

    def __init__(self, scope: Scope, own: Mapping[str, str]) -> None:
        super().__init__(own)
        self.scope = scope

    def get(self, name: str, default: Any = None) -> Any:
        return self[name] if name in self else self.scope.name(name)


def _renamed(node: Node, made: Any) -> Iterator[Operator]:
    """What a body makes, under the names that the node around it has."""
    for name, source in zip(node.outputs, made):
        if name:
            yield Operator("Identity", node.told, (source,), (name,))


def reads(node: Node) -> Iterator[str]:
    """Names that a node reads, and the graphs within it."""
    yield from filter(None, node.inputs)
    yield from _captured([value for value in node.attributes.values() if isinstance(value, Graph)])


def _captured(graphs: Sequence[Any]) -> Iterator[str]:
    """Names that graphs read of what is around them."""
    for graph in graphs:
        known = {*graph.tensors, *graph.inputs}
        known.update(name for node in graph.nodes for name in node.outputs)
        for name in (*(name for node in graph.nodes for name in reads(node)), *graph.outputs):
            if name and name not in known:
                yield name
