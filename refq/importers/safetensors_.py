"""safetensors: a length, a JSON header of names, types, shapes and places, then plain numbers."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from refq.importers import torch_state
from refq.importers.contents import MOST, Contents, checked_shape, mapped, refuse, stored

FORM = "safetensors"
LONGEST = 16 << 20  # bytes of the header
FLOATS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "bfloat16"}
BYTES = {
    "F64": 8,
    "F32": 4,
    "F16": 2,
    "BF16": 2,
    "I64": 8,
    "I32": 4,
    "I16": 2,
    "I8": 1,
    "U8": 1,
    "BOOL": 1,
    "U16": 2,
    "U32": 4,
    "U64": 8,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
}


def sniff(head: bytes, path: Path) -> bool:
    return len(head) > 8 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 32


def read(path: Path) -> Contents:
    data = mapped(path)
    length = int.from_bytes(data[:8], "little")
    if length > min(LONGEST, len(data) - 8):
        raise refuse(f"a header of {length:,} bytes in a file of {len(data):,}", "a complete file")
    header = json.loads(data[8 : 8 + length].decode(), object_pairs_hook=_unique)
    if not isinstance(header, dict) or len(header) > MOST:
        raise refuse("a header that is no JSON object of tensors")
    header.pop("__metadata__", None)
    begin, ends, found, ignored = 8 + length, [], {}, []
    for name, entry in header.items():
        kind, shape, places = (entry.get(key) for key in ("dtype", "shape", "data_offsets"))
        if kind not in BYTES or not _pair(places):
            raise refuse(f"{name}: no known dtype, or no data_offsets")
        ends.append(tuple(places))
        if kind not in FLOATS:
            ignored.append(name)
            continue
        shape = checked_shape(name, shape, np.dtype("u1").itemsize * BYTES[kind])
        if math.prod(shape) * BYTES[kind] != places[1] - places[0]:
            raise refuse(f"{name}: {places[1] - places[0]} bytes for shape {shape} of {kind}")
        found[name] = stored(data, begin + places[0], shape, FLOATS[kind])
    _side_by_side(sorted(ends), len(data) - begin)
    if not found:
        torch_state.without_floats(sorted({header[name]["dtype"] for name in ignored}))
    return torch_state.contents(found, ignored, FORM, by_name=True)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) != len(pairs):
        raise refuse("a header with a name twice")
    return dict(pairs)


def _pair(places: Any) -> bool:
    """Two numbers in order."""
    whole = isinstance(places, list) and len(places) == 2 and all(type(p) is int for p in places)
    return whole and 0 <= places[0] <= places[1]


def _side_by_side(places: list[tuple[int, int]], size: int) -> None:
    """The format wants tensors without gaps and overlaps, up to the end."""
    at = 0
    for begin, end in places:
        if begin != at:
            raise refuse("tensors that overlap or leave gaps", "one behind the other")
        at = end
    if at != size:
        raise refuse(f"{size:,} bytes of tensors, the header tells of {at:,}", "a complete file")
