"""What an ONNX model states besides its graph, which is told and not read."""

from __future__ import annotations

from collections.abc import Mapping

from refq.errors import listed
from refq.importers.onnx_operators import NEWEST
from refq.importers.onnx_proto import Model
from refq.importers.onnx_tensors import NAMES

HALVES = {10, 16}


def notes(model: Model, images: Mapping[str, str]) -> list[str]:
    """images: types of inputs that are no float32."""
    opset = model.opsets.get("", 0)
    keys = listed(filter(None, model.metadata), 5)
    halves = sorted(
        {NAMES[to] for node in model.graph.nodes if (to := node.attributes.get("to")) in HALVES}
    )
    told = {
        f"operators of version {opset}, where refq knows those to {NEWEST}": opset > NEWEST,
        f"metadata ({keys}), which refq does not read": keys,
        "how it is trained, which refq does not read": model.training,
        "how tensors are quantized, which refq does not read": model.graph.quantized,
        f"images of {listed(dict.fromkeys(images.values()))}, where refq's are float32": images,
        f"casts to {', '.join(halves)}, where refq computes in float32": halves,
    }
    return [f"the model states {line}" for line, there in told.items() if there]
