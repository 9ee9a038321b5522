"""Names in HDF5 attributes, bounded before they are read.

HDF5 reads an attribute as a whole. Text of fixed length is stored where it stands; text of variable
length is a reference to a global heap, and thousands of references may share one long text.
"""

from __future__ import annotations

from functools import cached_property

import h5py
import numpy as np

from refq.importers import hdf5
from refq.importers.contents import MOST, refuse

LONGEST = 1 << 12  # letters of a name
# of one attribute, by that bound: Keras' ResNet-152 has 517 names, in a heap with a text of 450 kB
MOST_BYTES = 512 << 20
HEAP = b"GCOL\x01\0\0\0"


class Heaps:
    """The global heaps of a file."""

    def __init__(self, path: hdf5.Source) -> None:
        self.path = path

    @cached_property
    def largest(self) -> int:
        """Bytes of the largest: no text of variable length is longer. A heap begins with a
        signature and its size (HDF5 File Format Specification, III.E)."""
        found, rest = 0, b""
        with self.path.open("rb") as file:
            while part := file.read(1 << 24):
                part = rest + part
                place = part.find(HEAP)
                while place >= 0:
                    found = max(found, int.from_bytes(part[place + 8 : place + 16], "little"))
                    place = part.find(HEAP, place + 1)
                rest = part[-15:]
        return found


def names(place: h5py.Group | h5py.Dataset, attribute: str, heaps: Heaps) -> list[str]:
    """The names that an attribute holds, one or a list. Raises WeightsError for anything else."""
    stored = h5py.h5a.open(place.id, attribute.encode())
    count, kind = stored.get_space().get_simple_extent_npoints(), stored.get_type()
    if not count:
        return []  # a list of no names is stored as one of no floats
    if count > MOST or not isinstance(kind, h5py.h5t.TypeStringID):
        raise refuse(f"an attribute {attribute} that is no list of names")
    longest = heaps.largest if kind.is_variable_str() else kind.get_size()
    if count * longest > MOST_BYTES:
        raise refuse(
            f"an attribute {attribute} of {count:,} names, up to {longest:,} bytes each",
            f"{MOST_BYTES:,} bytes or less",
        )
    found = [
        each.decode("utf-8", "replace") if isinstance(each, bytes) else str(each)
        for each in np.ravel(place.attrs[attribute])
    ]
    if max(map(len, found)) > LONGEST:
        raise refuse(f"a name of {max(map(len, found)):,} letters in {attribute}", f"{LONGEST:,}")
    return found
