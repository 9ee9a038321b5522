"""Handlers of operators that move values: shapes, orders, padding, other sizes."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from refq.errors import ShapeError
from refq.importers.lowering.parts import around, part
from refq.importers.lowering.values import Value
from refq.importers.lowering.walking import Step, Unheld, handles
from refq.networks.layers import Pad, Rearrange, Resize


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
    x, axis = step.held(), step.attributes.get("axis", 1)
    if axis != len(x.dims):  # behind the last one
        axis = x.axis(axis)
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
    x, axes = step.held(), step.needed(1, "axes").reshape(-1).tolist()
    rank = len(x.dims) + len(axes)
    new, dims = {axis % rank for axis in axes}, list(x.dims)
    if len(new) != len(axes) or not all(-rank <= axis < rank for axis in axes):
        raise ShapeError(f"axes {axes} of a result of rank {rank}", "each axis once")
    return x.viewed(tuple(1 if n in new else dims.pop(0) for n in range(rank)))


@handles("Transpose")
def transposed(step: Step) -> Value:
    x = step.held()
    rank = len(x.dims)
    axes = [int(axis) for axis in step.attributes.get("perm") or range(rank - 1, -1, -1)]
    if sorted(axes) != list(range(rank)):
        raise ShapeError(f"perm {axes} of shape {x.dims}", "each axis once")
    dims = tuple(x.dims[axis] for axis in axes)
    if x.batched and axes[0] == 0:
        return replace(step.moved(x, [axis - 1 for axis in axes[1:]]), dims=dims)
    # the batch of one image is an axis like others
    return replace(step.moved(x.viewed((1, *x.dims)), axes), dims=dims)


@handles("DepthToSpace", "SpaceToDepth")
def blocks(step: Step) -> Value:
    x, block = step.image(step.held()), int(step.attributes["blocksize"])
    channels, rows, columns = x.shape
    mode = step.mode("mode", "DCR", "CRD")
    if step.operator.kind == "SpaceToDepth":
        split = (channels, rows // block, block, columns // block, block)
        made = (channels * block**2, rows // block, columns // block)
        depth_last = step.attributes.get("mode", "DCR") == "CRD"
        layer = Rearrange(split, (0, 2, 4, 1, 3) if depth_last else (2, 4, 0, 1, 3), made)
    else:
        fewer, made = channels // block**2, (channels // block**2, rows * block, columns * block)
        layer = Rearrange((block, block, fewer, rows, columns), (2, 3, 0, 4, 1), made)
        if mode == "CRD":
            layer = Rearrange((fewer, block, block, rows, columns), (0, 3, 1, 4, 2), made)
    return step.add(layer, x)


@handles("Pad")
def padded(step: Step) -> Value:
    x, pads = step.held(), [int(each) for each in step.needed(1, "pads").reshape(-1)]
    mode, value = step.attributes.get("mode", "constant"), step.number(2, "value", 0.0)
    axes = step.whole(3) if len(step.inputs) > 3 and step.inputs[3] is not None else None
    axes = list(range(len(x.dims))) if axes is None else [x.axis(axis) for axis in axes]
    if len(pads) != 2 * len(axes):
        raise ShapeError(f"pads {pads} of {len(axes)} axes", "two numbers an axis")
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
    if mode == "wrap":
        return around(step, x, before, after)
    dims = tuple(b + n + a for b, n, a in zip(before, x.dims, after))
    sides = [tuple(side[x.first :]) for side in (before, after)]
    signal = len(x.shape) == 2 and x.batched
    if signal:
        sides = [(side[0], 0, side[1]) for side in sides]
    held = step.image(x) if signal else step.plain(x)
    layer = Pad(sides[0], sides[1], mode, value or 0.0)
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
    given = sizes or ([] if scales is None else scales.tolist())
    if (scales is not None and sizes) or len(axes) != len(given):
        raise ShapeError(f"scales {scales} and sizes {sizes} of {x.dims}", "one, a number an axis")
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
