"""Inputs that are no images: arrays of `.npy`, `.npz` and HDF5 files, read row by row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from refq.data.dataset import Dataset, shown
from refq.data.fitting import Fit, fit
from refq.data.joining import joined
from refq.data.labels import checked
from refq.data.stored import Stored
from refq.errors import DataError, listed
from refq.networks.layers import Shape

# what inputs are called where a file has several arrays, in any letters
NAMES = ("images", "inputs", "x", "data")
LABELS = "labels"
KINDS = "numbers of at most 64 bits: float, int, uint or bool"
# bytes of one input
LARGEST = 1 << 28


@dataclass(frozen=True)
class Source:
    """A file of arrays. name: of the array that the user wants; empty where nothing is said. parts:
    shapes of the network's inputs, by name, where its file has several."""

    path: Path
    arrays: Mapping[str, Stored]
    name: str = ""
    parts: Mapping[str, Shape] = field(default_factory=dict)

    def of(self, array: Stored) -> str:
        """Where an array is, for messages."""
        return f"{self.path}: {shown(array.name)}" if array.name else str(self.path)


def open_arrays(source: Source, input_shape: Shape) -> Dataset:
    """The inputs in a file, and the labels that are beside them.

    An image of the data set is a row in the network's shape, uint8 where it is stored so, else
    float32. Raises DataError for arrays that do not fit the network.
    """
    several = not source.name and bool(set(source.parts) & set(source.arrays))
    array = _joined(source) if several else chosen(source)
    if not array.numeric:
        told = "objects are pickles, which may hold any program" if array.dtype.hasobject else ""
        raise DataError(f"{source.of(array)}: values of dtype {array.dtype}", KINDS, told)
    how = _fit(source, array, input_shape)
    labels = source.arrays.get(LABELS)
    if array.name == LABELS:
        labels = None
    return Dataset(
        shown(": ".join(filter(None, (source.path.name, array.name)))) + f" ({array.dtype.name})",
        array.shape[0],
        _reader(source, array, how),
        lambda index: f"{source.path}, row {index}",
        None if labels is None else checked(labels.values(), array.shape[0], source.of(labels)),
        notes=_notes(source, array, how, input_shape),
        array=array.dtype,
    )


def _joined(source: Source) -> Stored:
    return joined(source.arrays, source.parts, str(source.path))


def chosen(source: Source) -> Stored:
    """The array of the inputs: the one that is asked for, one that is called as inputs are, or the
    only one of two or more axes."""
    arrays = source.arrays
    if source.name:
        return arrays[source.name]
    for among in (
        [name for name in arrays if name.lower() in NAMES],
        [name for name, each in arrays.items() if len(each.shape) > 1 and name != LABELS],
        list(arrays) if len(arrays) == 1 else [],
    ):
        if len(among) == 1:
            return arrays[among[0]]
        if among:
            break
    found = shown(listed(arrays)) if arrays else "no arrays"
    raise DataError(
        f"{source.path} holds {found}",
        f"one array named {', '.join(NAMES)}, or one alone of two or more axes",
        f"{source.path}:NAME says which one the inputs are" if arrays else "",
    )


def _fit(source: Source, array: Stored, input_shape: Shape) -> Fit:
    """Raises DataError where the rows of an array are no inputs of the network."""
    shape = array.shape
    wanted = ", ".join(map(str, ("N", *input_shape)))
    where = f"{source.of(array)}: shape {shape}"
    how = fit(shape[1:], input_shape) if shape else None
    if how is None:
        one = fit(shape, input_shape) is not None
        remedy = "of a single input, save x[None]" if one else _remedy(shape, input_shape)
        raise DataError(where, f"({wanted}), or channels last", remedy)
    if shape[0] == 0:
        raise DataError(where, "1 or more inputs")
    nbytes = int(np.prod(shape[1:], dtype=object)) * array.dtype.itemsize
    if nbytes > LARGEST:
        raise DataError(f"{source.of(array)}: inputs of {nbytes:,} bytes", f"at most {LARGEST:,}")
    return how


def _remedy(shape: Shape, input_shape: Shape) -> str:
    """What may be wrong with a shape."""
    if len(shape) != 1 + len(input_shape):
        return "reshape it"
    channels = {shape[1], shape[-1]}
    if input_shape[0] not in channels:
        return f"the network has {input_shape[0]} channel{'s' if input_shape[0] > 1 else ''}"
    return "scale or crop the inputs to the network's size"


def _notes(source: Source, array: Stored, how: Fit, input_shape: Shape) -> tuple[str, ...]:
    notes = []
    if array.shape[1:] != input_shape:
        found, taken = ("x".join(map(str, each)) for each in (array.shape[1:], input_shape))
        last = ", channels last," if how.channels_last else ""
        notes.append(f"rows of {found or 'one value'}{last} taken as {taken}")
    read = (array.name, LABELS, *(array.name.split(" + ") if source.parts else ()))
    others = [name for name in source.arrays if name not in read]
    if others:
        notes.append(f"arrays that are not read: {shown(listed(others))}")
    return tuple(notes)


def _reader(source: Source, array: Stored, how: Fit) -> Callable[[int], np.ndarray]:
    rows = array.rows()

    def read(index: int) -> np.ndarray:
        row = rows(index)
        if row.dtype == np.uint8:
            return how(row)
        with np.errstate(over="ignore"):
            values = how(row.astype(np.float32))
        if row.dtype.kind == "f" and not np.isfinite(values).all():
            raise _infinite(f"{source.path}, row {index}", row)
        return values

    return read


def _infinite(where: str, row: np.ndarray) -> DataError:
    with np.errstate(over="ignore"):
        place: Any = tuple(np.argwhere(~np.isfinite(row.astype(np.float32)))[0].tolist())
    found = f"{where}: {row[place]} at [{', '.join(map(str, place))}]"
    return DataError(found, "finite numbers that float32 holds", "mend it, or --bad-images skip")
