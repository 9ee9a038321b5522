"""Files that people give in the place of data, told by their first bytes."""

from __future__ import annotations

from pathlib import Path

from refq.data.listing import NAME
from refq.errors import DataError
from refq.files import kinds

WANTED = "bundled, random:N, a folder or a packed .h5, .npy or .npz file"
UNPACK, FOLDER = "unpack it and give the folder", "give the folder that it is in"
REMEDIES = {
    kinds.ARCHIVE: UNPACK,
    kinds.IMAGE: FOLDER,
    kinds.PICKLE: "of CIFAR-10, give the folder that it is in",
    kinds.POINTER: "run git lfs pull",
}


def check_data(path: Path) -> bytes:
    """A file's first bytes. Raises DataError for one that is no HDF5 and has no arrays of NumPy."""
    try:
        head = kinds.head_of(path)
    except OSError as error:
        raise DataError(f"cannot read {path} ({error.strerror})", WANTED) from None
    if kinds.is_hdf5(head):
        return head
    if not head:
        raise DataError(f"{path} is an empty file", WANTED, "fetch it again")
    what, sort = kinds.kind(path, head)
    if sort == kinds.ARRAYS:
        return head
    if sort in REMEDIES:
        raise DataError(f"{path} is {what}", WANTED, REMEDIES[sort])
    if path.name == NAME or path.name.endswith("_batch.bin") or path.name.startswith("data_batch"):
        raise DataError(f"{path} is a single file of a data set", WANTED, FOLDER)
    told = f"it is {what}" if what else "neither HDF5 nor NumPy's"
    raise DataError(f"cannot read {path} ({told})", WANTED)
