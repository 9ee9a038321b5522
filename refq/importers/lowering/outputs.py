"""Which tensors are the network's outputs: the file's, those asked for, or, where an epilogue is
beyond any network, the last ones before it.
"""

from __future__ import annotations

import numpy as np

from refq.errors import OptionError, WeightsError, clipped, unknown
from refq.importers.foreign import Asked
from refq.importers.lowering.drafts import Affine
from refq.importers.lowering.values import Beyond, Held
from refq.importers.lowering.walking import Walker
from refq.networks.graph import INPUT
from refq.networks.layers import Clip, Function, Rearrange, Slice
from refq.networks.layers.rearrange import reshape

# what an epilogue begins with is cut off with it
MOVING = (Affine, Clip, Function, Rearrange, Slice)


def chosen(walker: Walker, asked: Asked) -> tuple[dict[str, str], list[str]]:
    """({name of an output: the node that makes it}, notes)."""
    values, names = walker.values, list(asked.outputs or walker.foreign.outputs)
    outputs, notes = dict[str, str](), list[str]()
    cut: dict[str, Beyond] = {}
    for name in names:
        if name not in values:
            made = [each for each in values if isinstance(values[each], Held)]
            raise unknown("output", name, made[-40:])
        value = values[name]
        if isinstance(value, np.ndarray):
            notes.append(f"output {clipped(name)} is constant, and left out")
        elif isinstance(value, Beyond):
            if asked.outputs:
                raise OptionError(
                    f"output {clipped(name)}: {value.operator}: {value.why}", "another"
                )
            cut[name] = value
        else:
            outputs[name] = _node(walker, name, value)
    for name, tensor in _before(walker, cut, set(outputs.values())).items():
        outputs.setdefault(name, tensor)
    first = dict.fromkeys(value.operator + ": " + value.why for value in cut.values())
    for why in first:
        lost = [clipped(name) for name in cut if f"{cut[name].operator}: {cut[name].why}" == why]
        notes.append(f"cut off before output {', '.join(lost)}: {why}")
    if not outputs:
        raise WeightsError(
            next(iter(first), "a network without outputs"),
            "operators that a network of refq holds (docs/operators.md)",
        )
    return outputs, notes


def _node(walker: Walker, name: str, value: Held) -> str:
    """The node of an output, in the shape that the file gives it, and no other output's."""
    tensor = walker.made(value)
    shape = value.shape
    if walker.drafts.shapes[tensor] != shape or tensor == INPUT:
        tensor = walker.drafts.add(f"{name}.shape", reshape(shape), (tensor,))
    return tensor


def _before(walker: Walker, cut: dict[str, Beyond], taken: set[str]) -> dict[str, str]:
    """{name: node} of what a cut epilogue reads: the last tensors that are computed."""
    drafts = walker.drafts
    sources = dict.fromkeys(each for value in cut.values() for each in value.sources)
    if not sources:
        return {}
    tensors = dict.fromkeys(_back(walker, walker.made(each)) for each in sources)
    named = {}
    names = {
        value.tensor: name
        for name, value in walker.values.items()
        if isinstance(value, Held) and value.expression == "x"
    }
    for tensor in tensors:
        if tensor in taken or tensor == INPUT:
            continue
        dims = next(
            (
                each.shape
                for each in walker.values.values()
                if isinstance(each, Held) and each.tensor == tensor and each.expression == "x"
            ),
            drafts.shapes[tensor],
        )
        own = tensor
        if drafts.shapes[tensor] != dims:
            own = drafts.add(f"{tensor}.shape", reshape(dims), (tensor,))
        named[names.get(tensor, tensor)] = own
    return named


def _back(walker: Walker, tensor: str) -> str:
    """The tensor that slices and functions of one are made of."""
    while True:
        draft = walker.drafts.nodes.get(tensor)
        if draft is None or not isinstance(draft.layer, MOVING) or len(draft.inputs) != 1:
            return tensor
        if draft.inputs[0] == INPUT:
            return tensor
        tensor = draft.inputs[0]
