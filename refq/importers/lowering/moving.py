"""Handlers of operators that move values: shapes, slices, joins, padding, other sizes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from refq.importers.lowering.values import Held, Value
from refq.importers.lowering.walking import Step, Unheld, handles
from refq.networks.layers import Concat, Pad, Rearrange, Resize, Shape, Slice

MOST_PARTS = 64


@handles("Shape")
def shape(step: Step) -> Value:
    dims = step.held().dims
    start, end = step.attributes.get("start", 0), step.attributes.get("end", len(dims))
    return np.array(dims[start:end], np.int64)


@handles("Size")
def size(step: Step) -> Value:
    return np.array(math.prod(step.held().dims), np.int64)


@handles("Reshape")
def reshaped(step: Step) -> Value:
    x, wanted = step.held(), [int(each) for each in step.needed(1, "shape").reshape(-1)]
    if not step.attributes.get("allowzero", 0):
        wanted = [
            x.dims[n] if each == 0 and n < len(x.dims) else each for n, each in enumerate(wanted)
        ]
    if wanted.count(-1) > 1:
        raise Unheld(f"shape {wanted}")
    if x.batched and wanted[:1] == [step.walker.batch]:
        wanted[0] = 1
    rest = math.prod(each for each in wanted if each != -1)
    total = math.prod(x.dims)
    if -1 in wanted and rest:
        wanted[wanted.index(-1)] = total // rest
    if math.prod(wanted) != total:
        raise Unheld(f"shape {wanted} of {total} values")
    return x.viewed(tuple(wanted))


@handles("Flatten")
def flattened(step: Step) -> Value:
    x = step.held()
    axis = x.axis(step.attributes.get("axis", 1))
    return x.viewed((math.prod(x.dims[:axis]), math.prod(x.dims[axis:])))


@handles("Squeeze")
def squeezed(step: Step) -> Value:
    x, axes = step.held(), step.whole(1, "axes")
    found = [n for n, each in enumerate(x.dims) if each == 1]
    gone = found if axes is None else [x.axis(axis) for axis in axes]
    if not set(gone) <= set(found):
        raise Unheld(f"axes {gone} of {x.dims}")
    return x.viewed(tuple(each for n, each in enumerate(x.dims) if n not in gone))


@handles("Unsqueeze")
def unsqueezed(step: Step) -> Value:
    x, axes = step.held(), step.whole(1, "axes")
    rank = len(x.dims) + len(axes or ())
    new, dims = {axis % rank for axis in axes or ()}, list(x.dims)
    return x.viewed(tuple(1 if n in new else dims.pop(0) for n in range(rank)))


@handles("Transpose")
def transposed(step: Step) -> Value:
    x = step.held()
    rank = len(x.dims)
    axes = [int(axis) for axis in step.attributes.get("perm") or range(rank - 1, -1, -1)]
    dims = tuple(x.dims[axis] for axis in axes)
    if x.batched and axes[0] == 0:
        return replace(step.moved(x, [axis - 1 for axis in axes[1:]]), dims=dims)
    # the batch of one image is an axis like others
    return replace(step.moved(x.viewed((1, *x.dims)), axes), dims=dims)


@handles("DepthToSpace", "SpaceToDepth")
def blocks(step: Step) -> Value:
    x, block = step.image(step.held()), int(step.attributes["blocksize"])
    channels, rows, columns = x.shape
    if step.operator.kind == "SpaceToDepth":
        split = (channels, rows // block, block, columns // block, block)
        made = (channels * block**2, rows // block, columns // block)
        layer = Rearrange(split, (2, 4, 0, 1, 3), made)
    else:
        fewer, made = channels // block**2, (channels // block**2, rows * block, columns * block)
        layer = Rearrange((block, block, fewer, rows, columns), (2, 3, 0, 4, 1), made)
        if step.attributes.get("mode", "DCR") == "CRD":
            layer = Rearrange((fewer, block, block, rows, columns), (0, 3, 1, 4, 2), made)
    return step.add(layer, x)


@handles("Slice")
def sliced(step: Step) -> Value:
    x = step.held()
    starts, ends = (
        [int(each) for each in step.needed(number, name).reshape(-1)]
        for number, name in ((1, "starts"), (2, "ends"))
    )
    axes = step.whole(3, "axes") or list(range(len(starts)))
    steps = step.whole(4, "steps") or [1] * len(starts)
    spans = {}
    for axis, *span in zip(axes, starts, ends, steps):
        axis = x.axis(axis)
        spans[axis] = slice(*span)
    return part(step, x, spans)


def part(step: Step, x: Held, spans: dict[int, slice]) -> Held:
    """Part of a tensor along the file's axes, by Python's slices."""
    ranges = [range(n)[spans.get(axis, slice(None))] for axis, n in enumerate(x.dims)]
    dims = tuple(len(each) for each in ranges)
    if dims == x.dims and all(each.step > 0 for each in ranges):
        return x
    if 0 in dims or any(each.step < 0 and len(each) > 1 for each in ranges):
        raise Unheld(f"{dims} of {x.dims}, or backwards")
    if x.batched and dims[0] != 1:
        raise Unheld("a part of a batch")
    own = ranges[x.first :]
    plain, pieces = step.plain(x), []
    for each, n in zip(own, plain.shape):
        pieces.append((each[0], min(n, each[-1] + 1), max(1, each.step)))
    starts, stops, steps = (tuple(numbers) for numbers in zip(*pieces))
    return step.add(Slice(starts, stops, steps), plain, dims=dims)


@handles("Split")
def split(step: Step) -> Sequence[Value]:
    x = step.held()
    axis, count = x.axis(step.attributes.get("axis", 0)), len(step.operator.outputs)
    sizes = step.whole(1, "split")
    if sizes is None:
        each = -(-x.dims[axis] // int(step.attributes.get("num_outputs", count)))
        sizes = [min(each, x.dims[axis] - n * each) for n in range(count)]
    made, start = list[Value](), 0
    for name, own in zip(step.operator.outputs, sizes):
        # a part that nothing reads makes no node
        made.append(part(step, x, {axis: slice(start, start + own)}) if name else x)
        start += own
    return made


@handles("Gather")
def gathered(step: Step) -> Value:
    x, axis = step.held(), step.held().axis(step.attributes.get("axis", 0))
    indices = step.needed(1)
    places = [int(each) % x.dims[axis] for each in indices.reshape(-1)]
    made = _taken(step, x, axis, places)
    return made.viewed((*x.dims[:axis], *indices.shape, *x.dims[axis + 1 :]))


def _taken(step: Step, x: Held, axis: int, places: list[int]) -> Held:
    """Some places along an axis, as slices one after the other."""
    runs: list[range] = []
    for place in places:
        last = runs[-1] if runs else range(0)
        stride = place - last[-1] if last else 0
        if last and ((len(last) == 1 and stride > 0) or last.step == stride):
            runs[-1] = range(last[0], place + 1, stride)
        else:
            runs.append(range(place, place + 1))
    if len(runs) > MOST_PARTS:
        raise Unheld(f"{len(places)} places in no order")
    parts = [part(step, x, {axis: slice(r[0], r[-1] + 1, r.step)}) for r in runs]
    return joined(step, parts, axis) if len(parts) > 1 else parts[0]


@handles("Concat")
def concatenated(step: Step) -> Value:
    values = [value for value in step.inputs if value is not None]
    held = [value for value in values if isinstance(value, Held)]
    axis = held[0].axis(step.attributes.get("axis", 0))
    # constants around one tensor are padding
    before, after = list[np.ndarray](), list[np.ndarray]()
    for number, value in enumerate(values):
        if isinstance(value, np.ndarray) and value.shape[axis]:
            first = not any(isinstance(each, Held) for each in values[:number])
            (before if first else after).append(value)
    if not before and not after:
        return joined(step, held, axis) if len(held) > 1 else held[0]
    if len(held) > 1:
        raise Unheld("a constant between tensors")
    made = held[0]
    for part in reversed(before):  # the nearest first
        made = _padded(step, made, axis, (part.shape[axis], 0), np.unique(part))
    for part in after:
        made = _padded(step, made, axis, (0, part.shape[axis]), np.unique(part))
    return made


def _padded(step: Step, x: Held, axis: int, sides: tuple[int, int], number: np.ndarray) -> Held:
    if axis < x.first:
        raise Unheld("a constant beside a batch")
    if len(number) != 1:
        raise Unheld("a constant of different values")
    pads = [[0] * len(x.shape) for _ in sides]
    for pad, side in zip(pads, sides):
        pad[axis - x.first] = side
    dims = tuple(n + sum(sides) * (a == axis) for a, n in enumerate(x.dims))
    layer = Pad(tuple(pads[0]), tuple(pads[1]), "constant", float(number[0]))
    return step.add(layer, step.plain(x), dims=dims)


def joined(step: Step, parts: Sequence[Held], axis: int) -> Held:
    """One after the other along the file's axis."""
    dims = tuple(
        sum(part.dims[axis] for part in parts) if n == axis else size
        for n, size in enumerate(parts[0].dims)
    )
    first = 0 if axis == 0 else parts[0].first
    plain = [step.shaped(part, _signal(part.dims[first:])) for part in parts]
    place = axis - first
    if len(parts[0].dims[first:]) == 2 and first and place == 1:
        place = 2
    return step.add(Concat(place), *plain, dims=dims)


def _signal(shape: Shape) -> Shape:
    """A signal's shape as that of a map of one row."""
    return (shape[0], 1, shape[1]) if len(shape) == 2 else shape


@handles("Tile", "Expand")
def repeated(step: Step) -> Value:
    """Rows and columns that are repeated whole; nothing else."""
    x, given = step.held(), [int(each) for each in step.needed(1).reshape(-1)]
    rank = max(len(x.dims), len(given))
    old = (1,) * (rank - len(x.dims)) + x.dims
    sizes = [1] * (rank - len(given)) + given
    tiled = step.operator.kind == "Tile"
    dims = tuple(a * b if tiled else max(a, b) for a, b in zip(old, sizes))
    if dims == old:
        return x.viewed(dims)
    image = step.image(x.viewed(old))
    if image.shape[1:] != (1, 1) or dims[:2] != old[:2] or rank != 4:
        raise Unheld(f"{dims} of {x.dims}")
    return step.add(Resize((dims[2], dims[3])), image)


@handles("Pad")
def padded(step: Step) -> Value:
    x, pads = step.held(), [int(each) for each in step.needed(1, "pads").reshape(-1)]
    mode, number = step.attributes.get("mode", "constant"), step.constant(2, "value", 0.0)
    value = np.zeros(1) if number is None else number
    axes = step.whole(3) if len(step.inputs) > 3 and step.inputs[3] is not None else None
    axes = list(range(len(x.dims))) if axes is None else [x.axis(axis) for axis in axes]
    before, after = [0] * len(x.dims), [0] * len(x.dims)
    for n, axis in enumerate(axes):
        before[axis], after[axis] = pads[n], pads[n + len(axes)]
    spans = {
        n: slice(max(0, -b), x.dims[n] - max(0, -a)) for n, (b, a) in enumerate(zip(before, after))
    }
    if min(*before, *after) < 0:
        x = part(step, x, spans)
    before, after = ([max(0, each) for each in side] for side in (before, after))
    if not any((*before, *after)):
        return x
    if x.batched and (before[0] or after[0]):
        raise Unheld("padding beside a batch")
    dims = tuple(b + n + a for b, n, a in zip(before, x.dims, after))
    sides = [tuple(side[x.first :]) for side in (before, after)]
    signal = len(x.shape) == 2 and x.batched
    if signal:
        sides = [(side[0], 0, side[1]) for side in sides]
    held = step.image(x) if signal else step.plain(x)
    layer = Pad(sides[0], sides[1], mode, float(value.reshape(-1)[0]))
    return step.add(layer, held, dims=dims)


@handles("Resize", "Upsample")
def resized(step: Step) -> Value:
    x = step.held()
    rank = len(x.dims)
    old = step.operator.kind == "Upsample"
    scales = _numbers(step, 1 if old else 2, "scales")
    if scales is None and not old and len(step.inputs) == 2:
        scales = _numbers(step, 1, "scales")  # opset 10
    sizes = None if old else step.whole(3)
    axes = [x.axis(axis) for axis in step.attributes.get("axes") or range(rank)]
    if scales is None and not sizes:
        raise Unheld("neither scales nor sizes")
    whole = [1.0] * rank
    wanted = list(x.dims)
    for n, axis in enumerate(axes):
        if sizes:
            wanted[axis] = sizes[n]
            whole[axis] = sizes[n] / x.dims[axis]
        elif scales is not None:
            whole[axis] = float(scales[n])
            wanted[axis] = math.floor(x.dims[axis] * np.float32(scales[n]))
    plain = {"antialias": 0, "exclude_outside": 0, "keep_aspect_ratio_policy": "stretch"}
    other = [name for name, usual in plain.items() if step.attributes.get(name, usual) != usual]
    mode = step.attributes.get("mode", "nearest")
    if other or mode not in ("nearest", "linear", "bilinear") or wanted[:2] != list(x.dims[:2]):
        raise Unheld(f"mode {mode!r} with {', '.join(other) or f'sizes {wanted} of {x.dims}'}")
    asymmetric = old or len(step.inputs) == 2
    coordinates = "asymmetric" if asymmetric else "half_pixel"
    nearest = "floor" if asymmetric else "round_prefer_floor"
    layer = Resize(
        (wanted[2], wanted[3]) if rank == 4 else (1, wanted[2]),
        "nearest" if mode == "nearest" else "linear",
        step.attributes.get("coordinate_transformation_mode", coordinates),
        step.attributes.get("nearest_mode", nearest),
        None if sizes else ((whole[2], whole[3]) if rank == 4 else (1.0, whole[2])),
    )
    return step.add(layer, step.image(x), dims=tuple(wanted))


def _numbers(step: Step, number: int, name: str) -> np.ndarray | None:
    given = step.constant(number, name)
    return None if given is None or given.size == 0 else given.reshape(-1)
