"""A pass over drafts: what only renames is joined, moved down, and left out where it is nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from refq.importers.lowering.drafts import Affine, Draft, Drafts
from refq.networks.layers import Clip, Function, Rearrange, ReLU, Shape
from refq.networks.layers.rearrange import reshape

# of each value by itself, so that values may be moved before or after
EACH = (Clip, Function, ReLU)


def merge(drafts: Drafts, outputs: dict[str, str]) -> None:
    """Until nothing changes: drops what does nothing, joins two that follow each other, and lets
    elementwise layers go before what renames."""
    changed = True
    while changed:
        drafts.prune(outputs)
        changed = False
        for draft in drafts:
            if draft.name not in drafts.nodes or not isinstance(draft.layer, Rearrange):
                continue
            draft = drafts.nodes[draft.name]
            source = drafts.shapes[draft.inputs[0]]
            layer = plainest(cast(Rearrange, draft.layer), source)
            if layer is None:
                drafts.instead(draft.name, draft.inputs[0], outputs)
                changed = True
                continue
            before = drafts.nodes.get(draft.inputs[0])
            if before is not None and isinstance(before.layer, Rearrange):
                both = _joined(before.layer, layer)
                if both is not None:
                    drafts.put(draft, layer=both, inputs=before.inputs)
                    changed = True
                    continue
            if layer != draft.layer:
                drafts.put(draft, layer=layer)
                changed = True
            changed = _down(drafts, drafts.nodes[draft.name], outputs) or changed


def plainest(layer: Rearrange, source: Shape) -> Rearrange | None:
    """The same in few words; None for nothing at all."""
    kept = [axis for axis in layer.axes if layer.split[axis] != 1]
    if kept != sorted(kept):
        return layer
    return None if layer.shape == source else reshape(layer.shape)


def _is_reshape(layer: Rearrange) -> bool:
    return layer.axes == tuple(range(len(layer.axes)))


def _joined(one: Rearrange, two: Rearrange) -> Rearrange | None:
    """What does both, one after the other; None where that takes two."""
    if _is_reshape(one):
        return two
    if _is_reshape(two):
        return Rearrange(one.split, one.axes, two.shape)
    turned = tuple(one.split[axis] for axis in one.axes)
    # sizes of 1 are in nobody's way: the second may see what the first made with or without them
    if two.split == turned:
        return Rearrange(one.split, tuple(one.axes[axis] for axis in two.axes), two.shape)
    first, second = _without_ones(one), _without_ones(two)
    turned = tuple(first.split[axis] for axis in first.axes)
    if second.split == turned:
        return Rearrange(first.split, tuple(first.axes[axis] for axis in second.axes), two.shape)
    return None


def _without_ones(layer: Rearrange) -> Rearrange:
    kept = [axis for axis, size in enumerate(layer.split) if size != 1]
    axes = tuple(kept.index(axis) for axis in layer.axes if axis in kept)
    return Rearrange(tuple(layer.split[axis] for axis in kept), axes, layer.shape)


def _down(drafts: Drafts, draft: Draft, outputs: dict[str, str]) -> bool:
    """Lets the only reader, an elementwise layer, go first."""
    reader = drafts.only_reader(draft.name, outputs)
    if reader is None:
        return False
    source = drafts.shapes[draft.inputs[0]]
    layer = cast(Rearrange, draft.layer)
    # numbers of each channel stay theirs where channels do
    channels = (
        isinstance(reader.layer, Affine) and _is_reshape(layer) and source[0] == draft.shape[0]
    )
    if not channels and not isinstance(reader.layer, EACH):
        return False
    # the two swap their names, so that who reads the second still does
    first = drafts.free(f"{reader.name}.before")
    drafts.nodes[first] = replace(reader, name=first, inputs=draft.inputs, shape=source)
    drafts.shapes[first] = source
    drafts.nodes[reader.name] = replace(
        reader, layer=layer, inputs=(first,), origin=draft.origin, weight=None, bias=None
    )
    del drafts.nodes[draft.name]
    return True
