"""From another tool's model to refq's weight file with a graph of its own."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from refq.importers.foreign import Model
from refq.networks import weights
from refq.networks.graph import Network
from refq.tables import Table


@dataclass(frozen=True)
class Whole:
    """What became of a model file. notes: what was cut off, turned, or assumed."""

    file: str
    network: Network
    sha256: str
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        network = self.network
        return {
            "file": self.file,
            "network": network.name,
            "parameters": dict(network.parameters),
            "input_shape": list(network.input_shape),
            "outputs": {name: list(network.shapes[name]) for name in network.outputs},
            "layers": dict(Counter(node.layer.kind for node in network.nodes)),
            "sha256": self.sha256,
            "notes": list(self.notes),
        }

    def to_text(self) -> str:
        content = self.to_json()
        rows = [{"layer": kind, "count": count} for kind, count in content["layers"].items()]
        shapes = (f"{name} {_spelled(shape)}" for name, shape in content["outputs"].items())
        lines = [
            f"{self.file}: a network of its own",
            f"network  {self.network.name}  graph {self.network.parameters['graph'][:12]}",
            f"weights  sha256 {self.sha256[:12]}",
            f"input    {_spelled(content['input_shape'])}",
            f"outputs  {', '.join(shapes)}",
            "",
            *Table("Layers", rows).lines(),
        ]
        return "\n".join([*lines, *(f"note     {note}" for note in self.notes)])


def _spelled(shape: list[int]) -> str:
    return "x".join(map(str, shape))


def write(model: Model, file: Path, out: Path, stated: dict[str, Any]) -> Whole:
    """Writes `out`, whole or not at all. stated: more of what the file says of itself."""
    source = f"converted from {file.name}, {model.weights.metadata['source']}"
    metadata = {**model.weights.metadata, **stated, "source": source}
    kept = replace(model.weights, metadata=metadata)
    weights.save(out, model.network, kept)
    return Whole(file.name, model.network, kept.sha256, model.notes)
