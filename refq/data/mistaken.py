"""Files that people give in the place of data, told by their first bytes."""

from __future__ import annotations

from pathlib import Path

from refq.data.listing import NAME
from refq.errors import DataError
from refq.files import kinds

WANTED = "bundled, random:N, a folder or a packed .h5 file"
UNPACK, FOLDER = "unpack it and give the folder", "give the folder that it is in"
PACK = "save them as image files, or pack them as docs/data.md says"
REMEDIES = {
    kinds.ARCHIVE: UNPACK,
    kinds.ARRAYS: PACK,
    kinds.IMAGE: FOLDER,
    kinds.PICKLE: "of CIFAR-10, give the folder that it is in",
    kinds.POINTER: "run git lfs pull",
}


def check_packed(path: Path) -> None:
    """Raises DataError for a file that cannot be packed images, as it is no HDF5."""
    try:
        head = kinds.head_of(path)
    except OSError as error:
        raise DataError(f"cannot read {path} ({error.strerror})", WANTED) from None
    if kinds.is_hdf5(head):
        return
    if not head:
        raise DataError(f"{path} is an empty file", WANTED, "fetch it again")
    what, sort = kinds.kind(path, head)
    if sort in REMEDIES:
        raise DataError(f"{path} is {what}", WANTED, REMEDIES[sort])
    if path.name == NAME or path.name.endswith("_batch.bin") or path.name.startswith("data_batch"):
        raise DataError(f"{path} is a single file of a data set", WANTED, FOLDER)
    told = f"it is {what}" if what else "it is no HDF5"
    raise DataError(f"cannot read {path} (no packed images: {told})", WANTED)
