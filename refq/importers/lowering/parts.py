"""Handlers of operators that take tensors apart and put them side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from refq.errors import ShapeError
from refq.importers.lowering.values import Held, Value
from refq.importers.lowering.walking import Step, Unheld, handles
from refq.networks.layers import Concat, Pad, Resize, Shape, Slice

MOST_PARTS = 64


@handles("Slice")
def sliced(step: Step) -> Value:
    x = step.held()
    starts, ends = (
        [int(each) for each in step.needed(number, name).reshape(-1)]
        for number, name in ((1, "starts"), (2, "ends"))
    )
    axes = step.whole(3, "axes") or list(range(len(starts)))
    steps = step.whole(4, "steps") or [1] * len(starts)
    spans = {x.axis(axis): slice(*span) for axis, *span in zip(axes, starts, ends, steps)}
    if {len(starts), len(ends), len(axes), len(steps)} != {len(spans)}:
        raise ShapeError(f"starts {starts}, ends {ends} of axes {axes}", "one an axis")
    for axis, span in list(spans.items()):
        places = range(x.dims[axis])[span]
        if places.step < 0 and len(places) > 1:
            x = _taken(step, x, axis, list(places))
            del spans[axis]
    return part(step, x, spans)


def part(step: Step, x: Held, spans: dict[int, slice]) -> Held:
    """Part of a tensor along the file's axes, by Python's slices."""
    ranges = [range(n)[spans.get(axis, slice(None))] for axis, n in enumerate(x.dims)]
    dims = tuple(len(each) for each in ranges)
    if dims == x.dims and all(each.step > 0 for each in ranges):
        return x
    if 0 in dims:
        raise Unheld(f"{dims} of {x.dims}")
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
        if step.attributes.get("num_outputs", count) != count:
            raise ShapeError(f"{step.attributes['num_outputs']} num_outputs", f"{count}")
        each = -(-x.dims[axis] // count)
        sizes = [min(each, x.dims[axis] - n * each) for n in range(count)]
    if len(sizes) != count or min(sizes) < 0 or sum(sizes) != x.dims[axis]:
        raise ShapeError(f"parts of {sizes} in {count} outputs", f"{x.dims[axis]} in all")
    made, start = list[Value](), 0
    for name, own in zip(step.operator.outputs, sizes):
        # a part that nothing reads makes no node
        made.append(part(step, x, {axis: slice(start, start + own)}) if name else x)
        start += own
    return made


@handles("Gather")
def gathered(step: Step) -> Value:
    x, axis = step.held(), step.held().axis(step.attributes.get("axis", 0))
    indices, places = step.needed(1), range(x.dims[axis])
    if not indices.size or indices.min() < -len(places) or indices.max() >= len(places):
        raise ShapeError(f"indices of axis {axis} of {x.dims}", f"some below {len(places)}")
    made = _taken(step, x, axis, [places[each] for each in indices.reshape(-1)])
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
    joins, before = list[Held](), list[np.ndarray]()
    for value in values:
        if isinstance(value, Held):
            for part in reversed(before):  # the nearest first
                value = _padded(step, value, axis, (part.shape[axis], 0), part)
            joins.append(value)
            before = []
        elif not isinstance(value, np.ndarray) or not value.size:
            continue
        elif joins:  # constants beside a tensor are padding of it
            joins[-1] = _padded(step, joins[-1], axis, (0, value.shape[axis]), value)
        else:
            before.append(value)
    return joined(step, joins, axis) if len(joins) > 1 else joins[0]


def _padded(step: Step, x: Held, axis: int, sides: tuple[int, int], constant: np.ndarray) -> Held:
    """With places before and after that all hold the constant's one value."""
    if axis < x.first:
        raise Unheld("a constant beside a batch")
    if (constant != constant.flat[0]).any():
        raise Unheld("a constant of different values")
    rest = [size for n, size in enumerate(constant.shape) if n != axis]
    if rest != [size for n, size in enumerate(x.dims) if n != axis]:
        raise ShapeError(f"constants of shape {constant.shape} beside {x.dims}", "equal sizes")
    pads = [[0] * len(x.shape) for _ in sides]
    for pad, side in zip(pads, sides):
        pad[axis - x.first] = side
    dims = tuple(n + sum(sides) * (a == axis) for a, n in enumerate(x.dims))
    layer = Pad(tuple(pads[0]), tuple(pads[1]), "constant", float(constant.flat[0]))
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


def around(step: Step, x: Held, before: Sequence[int], after: Sequence[int]) -> Held:
    """The file's axes as rings: the last places again before the first, and the first behind."""
    for axis, (first, last) in enumerate(zip(before, after)):
        size = x.dims[axis]
        if max(first, last) > size:
            raise Unheld(f"{max(first, last)} places around {size}")
        ends = [(size - first, size), (0, size), (0, last)]
        parts = [part(step, x, {axis: slice(*end)}) for end in ends if end[0] < end[1]]
        x = joined(step, parts, axis) if len(parts) > 1 else x
    return x


def _signal(shape: Shape) -> Shape:
    """A signal's shape as that of a map of one row."""
    return (shape[0], 1, shape[1]) if len(shape) == 2 else shape


@handles("Tile", "Expand")
def repeated(step: Step) -> Value:
    """Nearest rows and columns of one pixel; else copies side by side."""
    x, given = step.held(), [int(each) for each in step.needed(1).reshape(-1)]
    rank = max(len(x.dims), len(given))
    old = (1,) * (rank - len(x.dims)) + x.dims
    sizes = [1] * (rank - len(given)) + given
    tiled = step.operator.kind == "Tile"
    dims = tuple(a * b if tiled else max(a, b) for a, b in zip(old, sizes))
    fits = (
        len(given) == len(x.dims)
        if tiled
        else all(b in (1, a) or a == 1 for a, b in zip(old, sizes))
    )
    if min(given) < 1 or not fits:
        raise ShapeError(
            f"{step.operator.kind} of shape {x.dims} by {given}", "numbers that fit it"
        )
    x = x.viewed(old)
    if dims == old:
        return x
    if x.batched and dims[0] != 1:
        raise Unheld(f"{dims} of {old}: copies of a batch")
    if x.batched and rank == 4 and old[2:] == (1, 1) and dims[1] == old[1]:
        return step.add(Resize((dims[2], dims[3])), step.image(x))
    for axis, (new, size) in enumerate(zip(dims, old)):
        if new // size > MOST_PARTS:
            raise Unheld(f"{dims} of {old}: more than {MOST_PARTS} copies")
        x = joined(step, [x] * (new // size), axis) if new != size else x
    return x
