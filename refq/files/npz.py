"""NumPy's `.npz` archives from outside: which arrays are in them, and where."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

from refq.errors import DataError
from refq.files import npy

# the others take gigabytes for kilobytes
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# what zipfile raises for archives that are no good
ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    OSError,
    OverflowError,
)


def names(archive: zipfile.ZipFile) -> list[str]:
    """Names of the arrays in an archive."""
    entries = archive.namelist()
    return [name.removesuffix(npy.SUFFIX) for name in entries if name.endswith(npy.SUFFIX)]


def entry(path: Path, archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    """Where an array is in the file at `path`. Raises KeyError where it is not, DataError where it
    is twice, NotImplementedError for a compression that is not read."""
    if archive.namelist().count(name + npy.SUFFIX) > 1:
        raise DataError(f"{path}: {name} twice", "each array once")
    found = archive.getinfo(name + npy.SUFFIX)
    if found.compress_type not in METHODS:
        raise NotImplementedError(f"compressed by method {found.compress_type}")
    return found


def reason(error: Exception) -> str:
    """What was wrong with an archive, in a few words."""
    return " ".join(str(error).split())[:80] or type(error).__name__
