"""State dicts as torch has written them since 1.6: a zip archive of a pickle and plain storages."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from importers import pickled, torch_state
from importers.contents import LARGEST, MOST, Contents, refuse

FORM = "torch state dict (zip)"
LONGEST = 64 << 20  # bytes of the pickle, which has names and no values


def sniff(head: bytes, path: Path) -> bool:
    return head[:4] == b"PK\x03\x04"


def read(path: Path) -> Contents:
    archive = zipfile.ZipFile(path)
    members = {info.filename: info for info in archive.infolist()}
    pickles = [name for name in members if name == "data.pkl" or name.endswith("/data.pkl")]
    if len(pickles) != 1 or len(members) > MOST:
        raise refuse(f"a zip archive with {len(pickles)} data.pkl", "one, as torch.save writes it")
    root = pickles[0].removesuffix("data.pkl")

    def member(name: str, most: int) -> bytes:
        info = members.get(root + name)
        if info is None:
            raise refuse(f"no {name} in the archive", "a complete file")
        # torch compresses nothing; so no member is larger than the file
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
            raise refuse(
                f"{name} is compressed or encrypted", "plain members, as torch writes them"
            )
        if info.file_size > most:
            raise refuse(f"{name} of {info.file_size:,} bytes", f"at most {most:,}")
        return archive.read(info)

    if root + "byteorder" in members and member("byteorder", 16) != b"little":
        raise refuse("a file of a big-endian machine", "little-endian storages")

    def values(storage: pickled.Storage) -> np.ndarray:
        dtype = np.dtype("<u2" if storage.kind == "bfloat16" else storage.kind)
        raw = member(f"data/{storage.key}", 8 * LARGEST)
        if len(raw) < storage.numel * dtype.itemsize:
            raise refuse(f"storage {storage.key} is shorter than its {storage.numel:,} values")
        return np.frombuffer(raw, dtype, storage.numel)

    state, _ = pickled.load(member("data.pkl", LONGEST))
    return torch_state.contents(*torch_state.tensors(state, values), FORM)
