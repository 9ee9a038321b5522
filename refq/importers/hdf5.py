"""What importers make of HDF5 files: datasets as tensors, attributes as names and texts."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from refq.hdf5.file import File, opened
from refq.hdf5.nodes import Dataset, Foreign, Group
from refq.importers.contents import MOST, Tensor, checked_shape, floats, refuse

LONGEST = 1 << 12  # letters of a name


def top_names(path: Path) -> set[str]:
    """Names of what is in the root, and of its attributes behind an @."""
    root = opened(path).root
    return {*root.names, *(f"@{name}" for name in root.attributes)}


def tensor(file: File, dataset: Dataset, name: str) -> Tensor:
    """A dataset of floats, read from the file when it is asked for."""
    dtype = dataset.dtype
    if dtype.kind != "f" or dtype.itemsize > 8:
        raise refuse(f"{name}: values of type {dtype.kind}{dtype.itemsize}", "floats")
    shape = checked_shape(name, dataset.shape, dtype.itemsize)
    if dataset.hollow:
        raise refuse(f"{name}: {dataset.nbytes:,} bytes, of which the file stores hardly any")
    return Tensor(shape, lambda: floats(file.read(dataset), ""))


def names(place: Group | Dataset, attribute: str) -> list[str]:
    """The names that an attribute holds, one or a list. Raises WeightsError for anything else."""
    value = place.attributes[attribute]
    if isinstance(value, Foreign):
        raise refuse(f"an attribute {attribute} that is no list of names ({value.why})")
    # a list of no names is stored as one of no floats
    found = [value] if isinstance(value, str) else value if isinstance(value, tuple) else [0]
    told = [each for each in found if isinstance(each, str)]
    if len(told) < len(found) or len(told) > MOST:
        raise refuse(f"an attribute {attribute} that is no list of names")
    longest = max(map(len, told), default=0)
    if longest > LONGEST:
        raise refuse(f"a name of {longest:,} letters in {attribute}", f"{LONGEST:,}")
    return told


def text(place: Group | Dataset, attribute: str) -> str:
    """An attribute that is text; empty without it."""
    value = place.attributes.get(attribute, "")
    if isinstance(value, tuple) and len(value) == 1:
        value = value[0]
    if isinstance(value, Foreign):
        raise refuse(f"an attribute {attribute} that is no text to be read ({value.why})")
    if not isinstance(value, str):
        raise refuse(f"an attribute {attribute} that is no text")
    return value


def numbers(file: File, dataset: Dataset, most: int) -> np.ndarray:
    """Values of a small dataset."""
    if dataset.size > most or dataset.dtype.itemsize > 16:
        raise refuse(f"{dataset.path}: {dataset.nbytes:,} bytes of letters", "a network")
    return file.read(dataset)
