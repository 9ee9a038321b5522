"""A golden set as it is read: its manifest, and the codes of its arrays."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from refq.errors import DataError
from refq.hardware.files.files import sha256, within
from refq.hardware.golden import manifest
from refq.hardware.golden.arrays import GoldenArray
from refq.hardware.golden.manifest import Manifest

AGAIN = "export the golden set again"


@dataclass(frozen=True)
class GoldenSet:
    """A folder that refq.export wrote. hashed: whether SHA-256s are computed."""

    folder: Path
    manifest: Manifest
    hashed: bool = True

    def array(self, name: str) -> GoldenArray | None:
        """The array of that name, its own or another."""
        return self._by_name.get(name)

    @cached_property
    def _by_name(self) -> dict[str, GoldenArray]:
        arrays = reversed(self.manifest.arrays)
        return {name: array for array in arrays for name in array.names}

    def check_files(self, arrays: Iterable[GoldenArray]) -> None:
        """Raises DataError where a file of these arrays is missing or not what was written: by its
        length, and, unless the set was opened without hashes, by its SHA-256."""
        for name in dict.fromkeys(self.manifest.form.file(array) for array in arrays):
            path, stated = within(self.folder, name), self.manifest.files.get(name)
            if stated is None:
                raise DataError(f"{self.folder}: the manifest does not list {name}", "its SHA-256")
            try:
                size = path.stat().st_size
            except OSError as error:
                raise DataError(f"cannot read {path} ({error.strerror})") from None
            if size != stated.bytes:
                raise DataError(f"{path} has {size} bytes", f"{stated.bytes}", AGAIN)
            if self.hashed and sha256(path) != stated.sha256:
                raise DataError(f"{path} is not what was exported (SHA-256)", "", AGAIN)

    def read(self, array: GoldenArray) -> np.ndarray:
        """An array's codes, int64 of its logical shape. Raises DataError where they are not those
        that the manifest tells."""
        form = self.manifest.form
        path, stored = within(self.folder, form.file(array)), form.stored(array)
        words = form.module.read(path, stored, form.packing)
        if words.codes.size != stored.words or words.unknown.size:
            raise DataError(f"{path}: {words.codes.size} words", f"{stored.words}")
        codes: np.ndarray = form.layout.restored(words.codes, array.shape)
        plain = np.ascontiguousarray(codes, "<i8").data
        digest = hashlib.sha256(plain).hexdigest() if self.hashed else None
        if digest and digest != self.manifest.digests[array.name]:
            changed = f"{array.name} of {self.folder} is not what was exported (codes_sha256)"
            raise DataError(changed, remedy=AGAIN)
        return codes


def load(folder: Path, hashed: bool = True) -> GoldenSet:
    """The golden set in a folder. Raises DataError where there is none, or one that makes no
    sense."""
    return GoldenSet(folder, manifest.load(folder), hashed)
