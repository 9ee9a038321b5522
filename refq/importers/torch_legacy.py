"""State dicts as torch wrote them before 1.6: five pickles, then each storage's size and values."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from refq.importers import pickled, torch_state
from refq.importers.contents import Contents, forget, mapped, refuse

FORM = "torch state dict (legacy)"
MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001


def sniff(head: bytes, path: Path) -> bool:
    # the magic number as a pickled long: ten bytes, little-endian
    return head[:1] == b"\x80" and MAGIC.to_bytes(10, "little") in head[:32]


def read(path: Path) -> Contents:
    data = mapped(path)
    magic, place = pickled.load(data)
    protocol, place = pickled.load(data, place)
    system, place = pickled.load(data, place)
    if magic != MAGIC or protocol != PROTOCOL or not isinstance(system, dict):
        raise refuse("not the beginning of a file that torch wrote")
    if system.get("little_endian") is not True:
        raise refuse("a file of a big-endian machine", "little-endian storages")
    state, place = pickled.load(data, place)
    keys, place = pickled.load(data, place)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise refuse("a list of storages that is none")
    used = _storages(state)
    begins: dict[str, int] = {}
    for key in keys:
        numel = int.from_bytes(data[place : place + 8], "little")
        if key not in used or key in begins or used[key].numel != numel:
            raise refuse(f"storage {key} that no tensor describes so", "a complete file")
        begins[key] = place + 8
        place += 8 + numel * _dtype(used[key]).itemsize
        if place > len(data):
            raise refuse(f"storage {key} is cut off", "a complete file", "fetch it again")

    def values(storage: pickled.Storage) -> np.ndarray:
        if begins.get(storage.key) is None:
            raise refuse(f"no storage {storage.key} in the file", "a complete file")
        forget(data)
        return np.frombuffer(data, _dtype(storage), storage.numel, begins[storage.key])

    return torch_state.contents(*torch_state.tensors(state, values), FORM)


def _dtype(storage: pickled.Storage) -> np.dtype:
    return np.dtype("<u2" if storage.kind == "bfloat16" else storage.kind)


def _storages(state: object) -> dict[str, pickled.Storage]:
    """Every storage that a value within the state uses; values may hold each other in circles."""
    found: dict[str, pickled.Storage] = {}
    waiting, seen = [state], set()
    while waiting:
        value = waiting.pop()
        if type(value) is pickled.Strided:
            known = found.setdefault(value.storage.key, value.storage)
            if known != value.storage:
                raise refuse(f"storage {known.key} described in two ways")
        elif isinstance(value, (dict, list, tuple)) and id(value) not in seen:
            seen.add(id(value))
            waiting.extend(value.values() if isinstance(value, dict) else value)
    return found
