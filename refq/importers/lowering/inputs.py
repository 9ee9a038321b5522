"""The inputs of a file as a network's one: images, signals, vectors, or several side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping

from refq.errors import OptionError, WeightsError, clipped
from refq.importers.foreign import Asked, Foreign
from refq.importers.lowering.drafts import Drafts
from refq.importers.lowering.values import Held, Value
from refq.networks.graph import INPUT
from refq.networks.layers import Shape, Slice
from refq.networks.layers.rearrange import reshape, transpose

Dims = tuple[int | None, ...]
LARGEST = 1 << 16  # rows or columns


def begun(foreign: Foreign, asked: Asked) -> tuple[Drafts, dict[str, Value], list[str]]:
    """(drafts that know the network's input, what the file's inputs are of it, notes)."""
    inputs = {name: _sized(name, dims, asked, foreign) for name, dims in foreign.inputs.items()}
    if not inputs:
        raise WeightsError(f"a {foreign.format} file whose network reads nothing", "an input")
    notes = _resized(foreign, inputs, asked)
    turned = {name for name in inputs if _is_last(foreign, name, inputs[name])}
    maps = {
        name: _as_map(name, (d[0], d[3], d[1], d[2]) if name in turned else d)
        for name, d in inputs.items()
    }
    for name in turned:
        notes.append(f"input {clipped(name)} has its channels last; images have them first")
    if len(maps) == 1:
        ((name, shape),) = maps.items()
        drafts = Drafts({INPUT: shape})
        return drafts, {name: _held(drafts, name, shape, inputs[name], name in turned)}, notes
    if len({shape[1:] for shape in maps.values()}) > 1:
        maps = {name: (math.prod(shape), 1, 1) for name, shape in maps.items()}
    channels = sum(shape[0] for shape in maps.values())
    drafts = Drafts({INPUT: (channels, *next(iter(maps.values()))[1:])})
    values, first = dict[str, Value](), 0
    told = []
    for name, shape in maps.items():
        part = Slice((first, 0, 0), (first + shape[0], *shape[1:]), (1, 1, 1))
        tensor = drafts.add(name, part, (INPUT,))
        values[name] = _held(drafts, name, shape, inputs[name], name in turned, tensor)
        told.append(f"{clipped(name)} channels {first} to {first + shape[0] - 1}")
        first += shape[0]
    notes.append(f"{len(maps)} inputs are one: {', '.join(told)}")
    return drafts, values, notes


def _held(
    drafts: Drafts, name: str, shape: Shape, dims: Shape, turned: bool, tensor: str = INPUT
) -> Held:
    if not turned:
        return Held(tensor, dims)
    # rows, columns, channels again, as the file reads them; the file turns them at once
    full = (dims[3], dims[1], dims[2])
    if drafts.shapes[tensor] != full:
        tensor = drafts.add(f"{name}.map", reshape(full), (tensor,))
    back = drafts.add(f"{name}.turned", transpose(full, (1, 2, 0)), (tensor,))
    return Held(back, dims)


def _sized(name: str, dims: Dims, asked: Asked, foreign: Foreign) -> Shape:
    """Sizes with a batch of one; open rows and columns as they are asked for."""
    rank = len(dims)
    last = _is_last(foreign, name, dims)
    pixels = range(1, rank - 1) if last else range(2, rank)
    sizes = list(dims)
    if sizes and (sizes[0] is None or rank >= 2):
        sizes[0] = 1  # the batch, open or as the file fixed it
    wanted = asked.input_size
    if wanted is not None:
        for number, axis in enumerate(pixels):
            size = wanted[min(number, 1)] if len(pixels) > 1 else wanted[1]
            sizes[axis] = size
    unknown = [axis for axis, size in enumerate(sizes) if size is None]
    if unknown:
        raise OptionError(
            f"input {clipped(name)} of open size {_spelled(dims)}",
            "--input-size ROWSxCOLUMNS (one number for both)",
        )
    known = tuple(size for size in sizes if size is not None)
    if min(known, default=1) < 1 or max(known, default=1) > LARGEST * 16:
        raise WeightsError(f"input {clipped(name)} of shape {_spelled(dims)}", "sizes of 1 or more")
    return known


def _resized(foreign: Foreign, inputs: Mapping[str, Shape], asked: Asked) -> list[str]:
    """Notes of inputs whose size in the file is another than is asked for. Raises OptionError where
    none has rows and columns."""
    if asked.input_size is not None and all(len(dims) < 3 for dims in inputs.values()):
        raise OptionError("--input-size with inputs that are vectors", "none: the file fixes them")
    return [
        f"input {clipped(name)} is {_spelled(dims)}, in the file {_spelled(stated)}"
        for (name, dims), stated in zip(inputs.items(), foreign.inputs.values())
        if any(had not in (None, size) for had, size in zip(stated[1:], dims[1:]))
    ]


def _spelled(dims: Dims) -> str:
    return "x".join("?" if size is None else str(size) for size in dims)


def _is_last(foreign: Foreign, name: str, dims: Dims) -> bool:
    """Whether an image's channels come last: the file turns it at once, and so it is."""
    readers = [each for each in foreign.operators if name in each.inputs]
    axes = [tuple(each.attributes.get("perm", ())) for each in readers if each.kind == "Transpose"]
    return len(dims) == 4 and len(axes) == len(readers) > 0 and set(axes) == {(0, 3, 1, 2)}


def _as_map(name: str, dims: Shape) -> Shape:
    """(channels, rows, columns): a signal has one row, a vector one pixel."""
    shape = dims[1:] if len(dims) > 1 else dims
    if len(shape) > 3 or not shape:
        raise WeightsError(
            f"input {clipped(name)} of shape {_spelled(dims)}",
            "a batch of images, signals, vectors",
        )
    return (shape[0], shape[1] if len(shape) == 3 else 1, shape[-1] if len(shape) > 1 else 1)
