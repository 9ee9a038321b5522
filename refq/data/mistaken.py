"""Files that people give in the place of data, told by their first bytes."""

from __future__ import annotations

from pathlib import Path

from refq.data.listing import NAME
from refq.errors import DataError
from refq.files import given

WANTED = "bundled, random:N, a folder or a packed .h5 file"
HDF5 = b"\x89HDF\r\n\x1a\n"
USER_BLOCKS = (0, 512, 1024, 2048, 4096)  # where HDF5's mark may stand
UNPACK, FOLDER = "unpack it and give the folder", "give the folder that it is in"
PACK = "save them as image files, or pack them as docs/data.md says"
# place, bytes, what it is, what to do
KINDS = (
    (0, b"PK\3\4", "a zip archive", UNPACK),
    (0, b"PK\5\6", "an empty zip archive", UNPACK),
    (257, b"ustar", "a tar archive", UNPACK),
    (0, b"\x1f\x8b", "a gzip archive", UNPACK),
    (0, b"BZh", "a bzip2 archive", UNPACK),
    (0, b"\xfd7zXZ\0", "an xz archive", UNPACK),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", UNPACK),
    (0, b"Rar!\x1a\x07", "a RAR archive", UNPACK),
    (0, b"\x28\xb5\x2f\xfd", "a Zstandard archive", UNPACK),
    (0, b"\x93NUMPY", "an array of NumPy", PACK),
    (0, b"\xff\xd8\xff", "a single image (JPEG)", FOLDER),
    (0, b"\x89PNG", "a single image (PNG)", FOLDER),
    (0, b"GIF8", "a single image (GIF)", FOLDER),
    (0, b"BM", "a single image (BMP)", FOLDER),
    (0, b"II*\0", "a single image (TIFF)", FOLDER),
    (0, b"MM\0*", "a single image (TIFF)", FOLDER),
    (8, b"WEBP", "a single image (WebP)", FOLDER),
    (0, b"version https://git-lfs", "a Git LFS pointer", "run git lfs pull"),
    (0, b"\x80\x02}", "a pickle", "of CIFAR-10, give the folder that it is in"),
    (0, b"\x80\x03}", "a pickle", "of CIFAR-10, give the folder that it is in"),
    (0, b"\x80\x04\x95", "a pickle", "of CIFAR-10, give the folder that it is in"),
    (0, b"\x80\x05\x95", "a pickle", "of CIFAR-10, give the folder that it is in"),
)


def check_packed(path: Path) -> None:
    """Raises DataError for a file that cannot be packed images, as it is no HDF5."""
    try:
        with given.open_regular(path) as file:
            head = file.read(USER_BLOCKS[-1] + len(HDF5))
    except OSError as error:
        raise DataError(f"cannot read {path} ({error.strerror})", WANTED) from None
    if any(head.startswith(HDF5, place) for place in USER_BLOCKS):
        return
    if not head:
        raise DataError(f"{path} is an empty file", WANTED, "fetch it again")
    for place, mark, kind, remedy in KINDS:
        if head.startswith(mark, place):
            kind = "arrays of NumPy (.npz)" if path.suffix == ".npz" else kind
            raise DataError(f"{path} is {kind}", WANTED, PACK if path.suffix == ".npz" else remedy)
    if path.name == NAME or path.name.endswith("_batch.bin") or path.name.startswith("data_batch"):
        raise DataError(f"{path} is a single file of a data set", WANTED, FOLDER)
    raise DataError(f"cannot read {path} (no packed images: it is no HDF5)", WANTED)
