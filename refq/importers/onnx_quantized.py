"""Whether an ONNX model is quantized already: by its nodes, whatever tool wrote them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from refq.importers.contents import refuse
from refq.importers.onnx_proto import Graph, Model, Node

# ONNX's QuantizeLinear and QLinearConv, ONNX Runtime's QGemm and MatMulNBits, QONNX's Quant ...
KINDS = re.compile(
    r"(?i:.*quant)|QLinear|QGemm|QAttention|QMoE|QOrdered|.*Integer|MatMul.*(4|NBits)$"
)
# QONNX's own domains, where all nodes are of quantized networks: Trunc, MultiThreshold ...
DOMAINS = re.compile(r"(onnx\.)?(brevitas|qonnx|finn)(\..*)?$")


def check(model: Model) -> None:
    """Raises WeightsError, naming the first node of a quantized network."""
    bodies = (model.graph.nodes, *(function.nodes for function in model.functions.values()))
    for nodes in bodies:
        for node in every(nodes):
            if KINDS.match(node.kind) or DOMAINS.match(node.domain):
                domain = node.domain or "ONNX"
                raise refuse(
                    f"{node.told}: {node.kind} of {domain}, so the model is quantized",
                    "a model of floats",
                    "export it before it is quantized",
                )


def every(nodes: Sequence[Node]) -> Iterator[Node]:
    """Nodes, and those of the graphs within them."""
    for node in nodes:
        yield node
        for value in node.attributes.values():
            if isinstance(value, Graph):
                yield from every(value.nodes)
