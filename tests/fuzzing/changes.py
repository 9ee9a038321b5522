"""Changes that break a file: of its bytes, or of what it holds behind checksums and structure.

A change takes the whole file and a generator of random numbers, and returns the broken file.
"""

from __future__ import annotations

import copy
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import PurePath
from typing import Any

import numpy as np

Change = Callable[[bytes, np.random.Generator], bytes]

EXTREMES = [0, 1, 2**7, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**40]
EXTREMES += [2**63 - 1, 2**63, 2**64 - 1]
ODD: list[Any] = [None, True, False, 0, 1, -1, 2, 7, 31, 32, 63, 255, 65536, 2**31, -(2**31), 2**63]
ODD += [10**25, 0.5, -1.5, 1e300, 5e-324, "", "x", "sat", [], {}, [0], {"a": 1}, [[1, 2], [3]]]
ODD += ["\x1b[2J", "n" * 5000, [1] * 3000, "../../etc/x", "\u202e", {"kind": "affine"}]
# of what HDF5's structures begin with (File Format Specification, III and IV)
SIGNATURES = tuple(
    b"TREE HEAP SNOD GCOL OHDR OCHK FRHP FHDB FHIB BTHD BTLF BTIN FSHD EAHD \x89HDF".split()
)


def in_bytes(data: bytes, rng: np.random.Generator) -> bytes:
    """A few changes: bytes flipped, numbers made extreme, parts cut, doubled, filled or swapped."""
    content = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        if not content:
            break
        # structure lies at the beginning and the end more than between
        edge = min(len(content), 1 << int(rng.integers(4, 13)))
        place = int(rng.integers(edge)) if rng.random() < 0.5 else int(rng.integers(len(content)))
        if rng.random() < 0.2:
            place = len(content) - 1 - int(rng.integers(edge))
        size = int(rng.integers(1, 9))
        match int(rng.integers(7)):
            case 0:
                content[place] ^= 1 << int(rng.integers(8))
            case 1:
                content[place : place + size] = rng.bytes(size)
            case 2:
                _make_extreme(content, place, rng)
            case 3:
                del content[place:]
            case 4:
                del content[place : place + size]
            case 5:
                part = content[place : place + size * 16]
                content[place:place] = part * int(rng.integers(1, 5))
            case _:
                content[place : place + size * 8] = bytes([int(rng.integers(256))]) * size * 8
    return bytes(content)


def _make_extreme(content: bytearray, place: int, rng: np.random.Generator) -> None:
    width = int(rng.choice([1, 2, 4, 8]))
    value = EXTREMES[int(rng.integers(len(EXTREMES)))] % 256**width
    content[place : place + width] = value.to_bytes(width, "little")


def in_hdf5(data: bytes, rng: np.random.Generator) -> bytes:
    """One to four changes: addresses that lead elsewhere, extreme numbers behind a signature,
    blocks in the place of others, the end cut off."""
    content = bytearray(data)
    words = np.frombuffer(data[: len(data) // 8 * 8], "<u8")
    addresses = np.flatnonzero((words > 0) & (words < len(data)) & (words % 4 == 0)) * 8
    begins = [place for each in SIGNATURES for place in _places(data, each)]
    for _ in range(int(rng.integers(1, 5))):
        match int(rng.integers(6)):
            case 0 | 1 if len(addresses):
                place, other = rng.choice(addresses, 2).tolist()
                content[place : place + 8] = data[other : other + 8]
            case 2 | 3 if begins:
                _make_extreme(content, int(rng.choice(begins)) + int(rng.integers(96)), rng)
            case 4 if len(data) > 2048:
                size = 8 << int(rng.integers(8))
                source, target = (int(rng.integers(len(data) - size)) // 8 * 8 for _ in "ab")
                content[target : target + size] = data[source : source + size]
            case _:
                place = int(rng.integers(len(content)))
                content[place : place + 4] = rng.bytes(4)
    return bytes(content[: len(data)] if rng.random() < 0.95 else content[: len(data) * 3 // 4])


def _places(data: bytes, part: bytes) -> list[int]:
    found: list[int] = []
    place = data.find(part)
    while place >= 0 and len(found) < 200:
        found.append(place)
        place = data.find(part, place + 1)
    return found


def in_json(data: bytes, rng: np.random.Generator) -> bytes:
    """Values replaced, so that more than JSON's spelling is tried. What is no JSON: in bytes."""
    if data[:1] != b"{":
        return in_bytes(data, rng)
    return json.dumps(_odd_values(json.loads(data), rng)).encode()


def in_signed_lines(data: bytes, rng: np.random.Generator) -> bytes:
    """Values of one of the lines of JSON replaced; each line's checksum is right."""
    lines = [json.loads(line) for line in data.splitlines()]
    at = int(rng.integers(len(lines)))
    lines[at] = _odd_values(lines[at], rng)
    return b"".join(map(_signed, lines))


def _signed(entry: dict[str, Any]) -> bytes:
    text = json.dumps({key: value for key, value in entry.items() if key != "crc"})[:-1]
    return f'{text}, "crc": "{zlib.crc32(text.encode()):08x}"}}\n'.encode()


def _odd_values(content: Any, rng: np.random.Generator) -> Any:
    """A few values replaced by odd ones, left out, doubled, or moved a little."""
    content = copy.deepcopy(content)
    for _ in range(int(rng.integers(1, 4))):
        at: Any = content
        while isinstance(at, (dict, list)) and at:
            keys = list(at) if isinstance(at, dict) else range(len(at))
            key = keys[int(rng.integers(len(keys)))]
            deeper = at[key]
            if isinstance(deeper, (dict, list)) and deeper and rng.random() < 0.85:
                at = deeper
                continue
            what = rng.random()
            if what < 0.1:
                del at[key]
            elif what < 0.2 and isinstance(at, list):
                at += at[: int(rng.integers(1, 9))]
            elif what < 0.3 and isinstance(deeper, (int, float)):
                at[key] = deeper + int(rng.integers(-3, 4))
            else:
                at[key] = copy.deepcopy(ODD[int(rng.integers(len(ODD)))])
            break
    return content


def in_zip(data: bytes, rng: np.random.Generator) -> bytes:
    """One structured part of an archive changed by its kind, and the archive whole: else checksums
    would stop everything at once."""
    kinds = {".pkl": in_bytes, ".npy": in_bytes, ".json": in_json, ".h5": in_hdf5}
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(target, "w") as archive:
        names = source.namelist()
        parts = [name for name in names if PurePath(name).suffix in kinds]
        chosen = parts[int(rng.integers(len(parts)))]
        for name in names:
            content = source.read(name)
            if name == chosen:
                content = kinds[PurePath(name).suffix](content, rng)
            archive.writestr(name, content)
    return target.getvalue()


def in_png(data: bytes, rng: np.random.Generator) -> bytes:
    """Bytes of a PNG, whose chunks get right checksums again."""
    place, out = 8, bytearray(in_bytes(data, rng))
    while place + 12 <= len(out):
        (length,) = struct.unpack_from(">I", out, place)
        end = place + 8 + length
        if end + 4 > len(out):
            break
        struct.pack_into(">I", out, end, zlib.crc32(out[place + 4 : end]))
        place = end + 4
    return bytes(out)
