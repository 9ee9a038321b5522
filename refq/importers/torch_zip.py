"""State dicts as torch has written them since 1.6: a zip archive of a pickle and plain storages."""

from __future__ import annotations

import io
import mmap
import os
import zipfile
import zlib
from pathlib import Path

import numpy as np

from refq.importers import pickled, torch_state
from refq.importers.contents import MOST, Contents, forget, mapped, refuse

FORM = "torch state dict (zip)"
LONGEST = 4 << 20  # bytes of the directory; a member takes about 100
PIECE = 16 << 20


def sniff(head: bytes, path: Path) -> bool:
    return head[:4] == b"PK\x03\x04"


class _Bounded(io.FileIO):
    """zipfile reads a directory at once, however long the file says that it is."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            size = os.fstat(self.fileno()).st_size - self.tell()
        if size > LONGEST:
            raise refuse(f"a zip archive with a directory of {size:,} bytes", f"{LONGEST:,}")
        return super().read(size)


def directory(path: Path) -> list[zipfile.ZipInfo]:
    with _Bounded(path) as file:
        return zipfile.ZipFile(file).infolist()


class Members:
    """Where the members of an archive lie in the file, each with its checksum tried once."""

    def __init__(self, path: Path) -> None:
        infos = directory(path)
        self.infos = {info.filename: info for info in infos}
        if len(self.infos) != len(infos) or len(infos) > MOST:
            raise refuse("a zip archive with a name twice, or too many", f"up to {MOST} members")
        self.data = mapped(path)
        self.known: dict[str, tuple[int, int]] = {}

    def place(self, name: str) -> tuple[int, int]:
        """(begin, end) of a member's bytes."""
        if name not in self.known:
            self.known[name] = self._place(name)
        return self.known[name]

    def _place(self, name: str) -> tuple[int, int]:
        info = self.infos.get(name)
        if info is None:
            raise refuse(f"no {name} in the archive", "a complete file")
        # torch compresses nothing; so no member is larger than the file
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
            raise refuse(
                f"{name} is compressed or encrypted", "plain members, as torch writes them"
            )
        # the member's own header: 30 bytes, of which the last are the lengths of two texts behind
        header = self.data[info.header_offset : info.header_offset + 30]
        texts = (int.from_bytes(header[at : at + 2], "little") for at in (26, 28))
        begin = info.header_offset + 30 + sum(texts)
        end = begin + info.file_size
        if header[:4] != b"PK\x03\x04" or end > len(self.data):
            raise refuse(f"{name} is not where the archive says", "a complete file")
        if _checksum(self.data, begin, end) != info.CRC:
            raise refuse(f"{name} has another checksum", "a complete file", "fetch it again")
        return begin, end


def _checksum(data: mmap.mmap, begin: int, end: int) -> int:
    total, view = 0, memoryview(data)
    for place in range(begin, end, PIECE):
        total = zlib.crc32(view[place : min(end, place + PIECE)], total)
        forget(data)
    return total


def read(path: Path) -> Contents:
    members = Members(path)
    data = members.data
    pickles = [name for name in members.infos if name.rpartition("/")[2] == "data.pkl"]
    if len(pickles) != 1:
        raise refuse(f"a zip archive with {len(pickles)} data.pkl", "one, as torch.save writes it")
    root = pickles[0].removesuffix("data.pkl")
    if root + "byteorder" in members.infos:
        begin, end = members.place(root + "byteorder")
        if data[begin : min(end, begin + 16)] != b"little":
            raise refuse("a file of a big-endian machine", "little-endian storages")

    def values(storage: pickled.Storage) -> np.ndarray:
        dtype = np.dtype("<u2" if storage.kind == "bfloat16" else storage.kind)
        begin, end = members.place(f"{root}data/{storage.key}")
        if end - begin < storage.numel * dtype.itemsize:
            raise refuse(f"storage {storage.key} is shorter than its {storage.numel:,} values")
        forget(data)
        return np.frombuffer(data, dtype, storage.numel, begin)

    begin, end = members.place(pickles[0])
    if end - begin > pickled.STATE_DICT.most:
        raise refuse(f"a data.pkl of {end - begin:,} bytes", f"{pickled.STATE_DICT.most:,} or less")
    state, _ = pickled.load(data[begin:end])
    return torch_state.contents(*torch_state.tensors(state, values), FORM)
