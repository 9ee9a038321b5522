"""Values of an ONNX model that lie in files beside it, where the user allows a folder.

A model may name any file of the machine, so nothing is opened but regular files that lie in the
model's own folder and in the one that the user names, links followed.
"""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from refq.files.given import open_regular
from refq.importers.contents import refuse
from refq.importers.onnx_proto import Stored

REMEDY = "save it with save_as_external_data=False, or allow its folder by --external-data"


@dataclass
class Outside:
    """model: the model's path. allowed: the folder that the user names, or None. files: those that
    were opened, by location."""

    model: Path
    allowed: str | None
    files: dict[str, mmap.mmap] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        return sum(map(len, self.files.values()))

    def place(self, tensor: Stored, size: int) -> tuple[mmap.mmap, int]:
        """(a file's bytes, where the tensor's begin); size: how many bytes it has. Raises
        WeightsError for files that are not allowed, and where the bytes are not in the file."""
        said = tensor.external or {}
        location = said.get("location", "")
        data = self._file(tensor.name, location)
        begin, length = (_number(tensor.name, said, key) for key in ("offset", "length"))
        begin = begin or 0
        if length is not None and length != size:
            raise refuse(f"{tensor.name}: {length:,} bytes of {location}", f"{size:,}")
        if begin + size > len(data):
            raise refuse(
                f"{tensor.name}: bytes {begin:,} to {begin + size:,} of {location}",
                f"up to {len(data):,}, its size",
                "fetch it again",
            )
        return data, begin

    def _file(self, name: str, location: str) -> mmap.mmap:
        if location in self.files:
            return self.files[location]
        if self.allowed is None:
            raise refuse(f"{name}: values in another file, {location}", "a model in one", REMEDY)
        path = self._allowed(name, location)
        try:
            with open_regular(path) as file:
                data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise refuse(
                f"{name}: values in {location}, which cannot be read ({why})",
                "a regular file beside the model",
            ) from None
        return self.files.setdefault(location, data)

    def _allowed(self, name: str, location: str) -> Path:
        """The file that a location leads to. Raises WeightsError for one outside of the folders."""
        parts = re.split(r"[/\\]", location)
        if not location or "\0" in location or ".." in parts or not parts[0] or ":" in parts[0]:
            raise refuse(f"{name}: values in {location!r}", "a file in the model's own folder")
        for folder in (self.model.parent, Path(str(self.allowed))):
            place = os.path.realpath(self.model.parent / location)
            inside = os.path.realpath(folder)
            if os.path.commonpath([inside, place]) != inside:
                raise refuse(
                    f"{name}: values in {location}, which is not in {folder}",
                    "a file in the model's own folder, and in the one of --external-data",
                )
        return Path(place)


def _number(name: str, said: Mapping[str, str], key: str) -> int | None:
    text = said.get(key)
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise refuse(f"{name}: {key} {text!r} in another file", "a number of bytes")
    return int(text)
