"""Passes over drafts: affine layers are folded into weights, functions become the layers that they
are, and padding that a convolution can do itself is left to it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from refq.errors import WeightsError
from refq.importers.lowering.drafts import Affine, Draft, Drafts
from refq.importers.lowering.expressions import affine, count, parts, put
from refq.networks.layers import Clip, Conv, Dense, Function, Layer, Pad, PReLU, ReLU
from refq.networks.layers.expressions import Expression
from refq.networks.layers.rearrange import reshape

Outputs = dict[str, str]


def fold(drafts: Drafts, outputs: Outputs) -> None:
    """Until nothing changes."""
    changed = True
    while changed:
        drafts.prune(outputs)
        changed = False
        for draft in drafts:
            draft = drafts.nodes.get(draft.name, draft)
            if draft.name not in drafts.nodes:
                continue
            if isinstance(draft.layer, Function):
                changed = _peeled(drafts, draft, outputs) or changed
            elif isinstance(draft.layer, Affine):
                folded = _into_source(drafts, draft, outputs) or _into_reader(
                    drafts, draft, outputs
                )
                changed = folded or changed
            elif isinstance(draft.layer, Pad):
                changed = _into_pads(drafts, draft, outputs) or changed


def _peeled(drafts: Drafts, draft: Draft, outputs: Outputs) -> bool:
    """Takes the innermost part that has a layer of its own out of a function."""
    assert isinstance(draft.layer, Function)
    expression, (source,) = draft.layer.expression, draft.inputs
    maker = drafts.nodes.get(source)
    # those that all of x is read through
    waists = [p for p in parts(expression) if count(p) * count(expression, p) == count(expression)]
    for part in waists:
        numbers = affine(part)
        if numbers is None:
            break
        alone = drafts.only_reader(source, outputs) is not None
        behind = maker is not None and _weighted(maker) and alone
        if behind or (part == expression and _read_by_weights(drafts, draft, numbers, outputs)):
            channels = drafts.shapes[source][0]
            weight, bias = (np.full(channels, number) for number in numbers)
            return _taken_out(drafts, draft, part, Affine(), weight, bias)
    for part in reversed(waists):
        layer = _layer(part)
        if layer is not None:
            return _taken_out(drafts, draft, part, layer)
    return False


def _taken_out(
    drafts: Drafts,
    draft: Draft,
    part: Expression,
    layer: Layer,
    weight: np.ndarray | None = None,
    bias: np.ndarray | None = None,
) -> bool:
    """Computes a part of a function by a layer of its own, before it."""
    assert isinstance(draft.layer, Function)
    rest = put(draft.layer.expression, part, "x")
    if rest == "x":
        drafts.put(draft, layer=layer, weight=weight, bias=bias)
    else:
        name = f"{draft.name}.{layer.kind.lower()}"
        first = drafts.add(name, layer, draft.inputs, weight, bias)
        drafts.put(draft, layer=Function(rest), inputs=(first,))
    return True


def _read_by_weights(
    drafts: Drafts, draft: Draft, numbers: tuple[float, float], outputs: Outputs
) -> bool:
    """Whether the only reader takes a x + b into its weights; b is not added to padding."""
    reader = drafts.only_reader(draft.name, outputs)
    if reader is None:
        return False
    layer = reader.layer
    plain = isinstance(layer, (Conv, Dense)) and not (numbers[1] and any(layer.pads))
    return plain or isinstance(layer, Affine)


def _weighted(draft: Draft) -> bool:
    return draft.layer.weighted or isinstance(draft.layer, Affine)


def _layer(part: Expression) -> Layer | None:
    """The layer that computes a part of a function: ReLU, Clip or PReLU."""
    match part:
        case ("relu", "x") | ("max", "x", 0.0) | ("max", 0.0, "x"):
            return ReLU()
        case ("max", "x", float(low)) | ("max", float(low), "x"):
            return Clip(low, None)
        case ("min", "x", float(high)) | ("min", float(high), "x"):
            return Clip(None, high)
        case ("where", "x", "x", ("mul", "x", float(slope))):
            return PReLU((slope,))
        case (
            ("min" | "max") as outer,
            (("max" | "min") as inner, "x", float(one)),
            float(two),
        ) if outer != inner:
            low, high = (one, two) if outer == "min" else (two, one)
            return Clip(low, high) if low < high else None
        case ("min", ("relu", "x"), float(high)) if high > 0:
            return Clip(0.0, high)
    return None


def _into_source(drafts: Drafts, draft: Draft, outputs: Outputs) -> bool:
    """Folds an affine layer into the weights that it follows (Ioffe and Szegedy 2015)."""
    source = drafts.nodes.get(draft.inputs[0])
    if source is None or not _weighted(source):
        return False
    if drafts.only_reader(source.name, outputs) is None:
        return False
    assert source.weight is not None and source.bias is not None
    assert draft.weight is not None and draft.bias is not None
    columns = draft.weight.reshape(-1, *(1,) * (source.weight.ndim - 1))
    with np.errstate(all="ignore"):
        weight = source.weight.astype(np.float64) * columns
        bias = source.bias.astype(np.float64) * draft.weight + draft.bias
    _check(drafts, source, weight, bias)
    if not isinstance(source.layer, Affine):
        weight, bias = weight.astype(np.float32), bias.astype(np.float32)
    drafts.put(source, weight=weight, bias=bias)
    drafts.instead(draft.name, source.name, outputs)
    return True


def _into_reader(drafts: Drafts, draft: Draft, outputs: Outputs) -> bool:
    """Folds an affine layer into the only convolution that reads it: a shift only where no padding
    is read, which would not be shifted."""
    reader = drafts.only_reader(draft.name, outputs)
    if reader is None or draft.weight is None or draft.bias is None:
        return False
    layer = reader.layer
    if not isinstance(layer, (Conv, Dense)) or reader.weight is None or reader.bias is None:
        return False
    if draft.bias.any() and any(layer.pads):
        return False
    outputs_count, per_group = len(reader.weight), reader.weight.shape[1]
    scale, shift = draft.weight, draft.bias
    if isinstance(layer, Dense):
        pixels = per_group // len(scale)
        scale, shift = np.repeat(scale, pixels), np.repeat(shift, pixels)
        columns, shifts = scale[None], shift[None]
    else:
        groups = np.repeat(np.arange(layer.group), outputs_count // layer.group)
        columns = scale.reshape(layer.group, per_group)[groups][:, :, None, None]
        shifts = shift.reshape(layer.group, per_group)[groups][:, :, None, None]
    with np.errstate(all="ignore"):
        wide = reader.weight.astype(np.float64)
        axes = tuple(range(1, wide.ndim))
        bias = reader.bias.astype(np.float64) + (wide * shifts).sum(axis=axes)
        weight = wide * columns
    _check(drafts, reader, weight, bias)
    drafts.put(
        reader, inputs=draft.inputs, weight=weight.astype(np.float32), bias=bias.astype(np.float32)
    )
    drafts.prune(outputs)
    return True


def _check(drafts: Drafts, draft: Draft, *arrays: np.ndarray) -> None:
    limit = np.finfo(np.float32).max
    if not all((np.abs(array) <= limit).all() for array in arrays):
        raise WeightsError(
            f"node {draft.origin!r}: folded weights that float32 does not hold",
            remedy="check its batch normalisation",
        )


def _into_pads(drafts: Drafts, draft: Draft, outputs: Outputs) -> bool:
    """Leaves padding by zeros to the convolutions that read it."""
    layer = draft.layer
    assert isinstance(layer, Pad)
    if layer.mode != "constant" or layer.value or len(draft.shape) != 3:
        return False
    if layer.before[0] or layer.after[0]:
        return False
    changed = False
    for reader in list(drafts.nodes.values()):
        if draft.name in reader.inputs and isinstance(reader.layer, Conv):
            sides = (*layer.before[1:], *layer.after[1:])
            pads = tuple(a + b for a, b in zip(reader.layer.pads, sides))
            wider = replace(reader.layer, pads=(pads[0], pads[1], pads[2], pads[3]))
            drafts.put(reader, layer=wider, inputs=draft.inputs)
            changed = True
    return changed


def unfolded(drafts: Drafts, outputs: Outputs) -> None:
    """What affine layers are left become 1x1 convolutions of each channel by itself."""
    for draft in drafts:
        if not isinstance(draft.layer, Affine):
            continue
        assert draft.weight is not None and draft.bias is not None
        channels = draft.shape[0]
        conv = Conv(channels, (1, 1), group=channels)
        weight = draft.weight.astype(np.float32).reshape(channels, 1, 1, 1)
        bias, (source,) = draft.bias.astype(np.float32), draft.inputs
        _check(drafts, draft, weight, bias)
        if len(draft.shape) == 3:
            drafts.put(draft, layer=conv, weight=weight, bias=bias)
            continue
        pixels = int(np.prod(draft.shape[1:]))
        maps = drafts.add(f"{draft.name}.map", reshape((channels, 1, pixels)), (source,))
        made = drafts.add(f"{draft.name}.scale", conv, (maps,), weight, bias)
        drafts.put(draft, layer=reshape(draft.shape), inputs=(made,), weight=None, bias=None)
