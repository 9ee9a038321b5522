"""What a file is, by its first bytes and its name: for files that are given in another's place."""

from __future__ import annotations

from pathlib import Path

from refq.files import given

HDF5 = b"\x89HDF\r\n\x1a\n"
USER_BLOCKS = (0, 512, 1024, 2048, 4096)  # where HDF5's mark may stand
ARCHIVE, ARRAYS, IMAGE, PICKLE, POINTER, TEXT = range(6)
# place, bytes, what it is, of which sort
MARKS = (
    (0, b"PK\3\4", "a zip archive", ARCHIVE),
    (0, b"PK\5\6", "an empty zip archive", ARCHIVE),
    (257, b"ustar", "a tar archive", ARCHIVE),
    (0, b"\x1f\x8b", "a gzip archive", ARCHIVE),
    (0, b"BZh", "a bzip2 archive", ARCHIVE),
    (0, b"\xfd7zXZ\0", "an xz archive", ARCHIVE),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", ARCHIVE),
    (0, b"Rar!\x1a\x07", "a RAR archive", ARCHIVE),
    (0, b"\x28\xb5\x2f\xfd", "a Zstandard archive", ARCHIVE),
    (0, b"\x93NUMPY", "an array of NumPy", ARRAYS),
    (0, b"\xff\xd8\xff", "a single image (JPEG)", IMAGE),
    (0, b"\x89PNG", "a single image (PNG)", IMAGE),
    (0, b"GIF8", "a single image (GIF)", IMAGE),
    (0, b"BM", "a single image (BMP)", IMAGE),
    (0, b"II*\0", "a single image (TIFF)", IMAGE),
    (0, b"MM\0*", "a single image (TIFF)", IMAGE),
    (8, b"WEBP", "a single image (WebP)", IMAGE),
    (0, b"version https://git-lfs", "a Git LFS pointer", POINTER),
    (0, b"\x80\x02}", "a pickle", PICKLE),
    (0, b"\x80\x03}", "a pickle", PICKLE),
    (0, b"\x80\x04\x95", "a pickle", PICKLE),
    (0, b"\x80\x05\x95", "a pickle", PICKLE),
)
LONGEST_HEAD = USER_BLOCKS[-1] + len(HDF5)


def head_of(path: Path) -> bytes:
    """The first bytes. Raises OSError for what is no regular file, or cannot be read."""
    with given.open_regular(path) as file:
        return file.read(LONGEST_HEAD)


def is_hdf5(head: bytes) -> bool:
    return any(head.startswith(HDF5, place) for place in USER_BLOCKS)


def kind(path: Path, head: bytes) -> tuple[str, int | None]:
    """(what the file is, its sort); ("", None) for HDF5 and for what is not known."""
    if path.suffix == ".npz" and head.startswith(b"PK"):
        return "arrays of NumPy (.npz)", ARRAYS
    for place, mark, what, sort in MARKS:
        if head.startswith(mark, place):
            return what, sort
    if is_hdf5(head):
        return "", None
    begin = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if begin[:1] in (b"{", b"[") and b"\0" not in head:
        return "JSON", TEXT
    if head and not any(byte < 9 or 13 < byte < 32 for byte in head):
        return "text", TEXT
    return "", None
