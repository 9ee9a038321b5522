"""A golden set as a reader of its manifest sees it."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from refq.errors import DataError, OptionError, RefqError
from refq.formats.fixed import Overflow, Rounding
from refq.hardware.files import file_format
from refq.hardware.files.array import Array, file_stem
from refq.hardware.files.files import sha256
from refq.hardware.files.layouts import Layout
from refq.hardware.files.words import MAX_LANES, Packing
from refq.hardware.golden import manifest
from refq.hardware.golden.arrays import TENSOR

# one image of the largest layers has some 10**7 words; nothing sound comes near
MOST_WORDS = 1 << 40


@dataclass(frozen=True)
class Layer:
    """A layer of the network, as the manifest tells it.

    accumulator: bits, overflow, frac_bits, rounding of a declared one. stored: format and storage
    code of what is kept of its output.
    """

    name: str
    type: str
    inputs: tuple[str, ...]
    accumulator: Mapping[str, Any] | None
    stored: Mapping[str, Any] | None


@dataclass(frozen=True)
class Entry:
    """One array of the set. shape: logical, N C H W or of the parameter. frac_bits: an integer
    array that broadcasts along the shape's axes, or None for plain numbers."""

    name: str
    layer: str
    stage: str
    kind: str
    shape: tuple[int, ...]
    stored_shape: tuple[int, ...]
    stored_axes: tuple[str, ...]
    bits: int
    signed: bool
    frac_bits: np.ndarray | None
    format: str
    file: str
    codes_sha256: str
    also: tuple[str, ...]

    @property
    def words(self) -> int:
        return math.prod(self.shape)

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name, *self.also)

    @property
    def axes(self) -> tuple[str, ...]:
        """A letter for each logical axis."""
        named = ("n", "c", "y", "x") if self.kind == TENSOR else ("o", "i", "ky", "kx")
        short = len(self.shape) <= len(named)
        return named[: len(self.shape)] if short else tuple(f"i{i}" for i in range(len(self.shape)))

    def fraction(self, index: Sequence[int]) -> int | None:
        """Fraction bits of the word there."""
        if self.frac_bits is None:
            return None
        return int(np.broadcast_to(self.frac_bits, self.shape)[tuple(index)])


@dataclass(frozen=True)
class GoldenSet:
    folder: Path
    layers: Mapping[str, Layer]
    entries: tuple[Entry, ...]
    rounding: Rounding
    overflow: Overflow
    format: str
    layout: Layout
    packing: Packing
    files: Mapping[str, Mapping[str, Any]]
    hashed: bool = True

    def entry(self, name: str) -> Entry | None:
        """The array of that name, its own or another."""
        return self._by_name.get(name)

    @cached_property
    def _by_name(self) -> dict[str, Entry]:
        return {name: entry for entry in reversed(self.entries) for name in entry.names}

    def check_files(self, entries: Sequence[Entry]) -> None:
        """Raises DataError where a file of these arrays is missing or not what was written: by its
        length, and, unless the set was opened without hashes, by its SHA-256."""
        for name in dict.fromkeys(entry.file for entry in entries):
            path, stated = self.folder / name, self.files.get(name)
            if stated is None:
                raise DataError(f"{self.folder}: the manifest does not list {name}", "its SHA-256")
            try:
                if path.stat().st_size != stated["bytes"]:
                    found = f"{path} has {path.stat().st_size} bytes"
                    raise DataError(found, f"{stated['bytes']}", "export the golden set again")
            except OSError as error:
                raise DataError(f"cannot read {path} ({error.strerror})") from None
            if self.hashed and sha256(path) != stated["sha256"]:
                raise DataError(
                    f"{path} is not what was exported (SHA-256)", "", "export the golden set again"
                )

    def read(self, entry: Entry) -> np.ndarray:
        """An array's codes, int64 of its logical shape. Raises DataError where they are not those
        that the manifest tells."""
        module = file_format(self.format)
        array = Array(
            file_stem(entry.name),
            entry.stored_shape,
            entry.stored_axes,
            entry.bits,
            entry.signed,
            entry.format,
        )
        words = module.read(self.folder / entry.file, array, self.packing)
        if words.codes.size != array.words or words.unknown.size:
            raise DataError(
                f"{self.folder / entry.file}: {words.codes.size} words", f"{array.words}"
            )
        codes = self.layout.restored(words.codes, entry.shape)
        if self.hashed:
            plain = np.ascontiguousarray(codes, "<i8")
            if hashlib.sha256(plain.data).hexdigest() != entry.codes_sha256:
                raise DataError(
                    f"{entry.name} of {self.folder} is not what was exported (codes_sha256)",
                    remedy="export the golden set again",
                )
        return codes


def load(folder: Path, hashed: bool = True) -> GoldenSet:
    """The golden set in a folder. Raises DataError where there is none, or one that makes no
    sense."""
    path = folder / manifest.NAME
    stored = read_json(path)
    if stored.get("refq_golden") != 1:
        raise DataError(f"{path}: refq_golden {stored.get('refq_golden')!r}", "1, a golden set")
    try:
        layers = {each["name"]: _layer(each) for each in stored["layers"]}
        layout = Layout(stored["layout"], stored["tile"])
        entries = tuple(_entry(each, layout) for each in stored["arrays"])
        return GoldenSet(
            folder,
            layers,
            entries,
            Rounding(stored["rounding"]),
            Overflow(stored["overflow"]),
            _text(stored["format"]),
            layout,
            packing_of(stored["packing"]),
            _files(stored["files"]),
            hashed,
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise DataError(
            f"{path}: {type(error).__name__} {error}", "what refq.export writes"
        ) from None
    except RefqError as error:
        raise DataError(f"{path}: {error}") from None


def read_json(path: Path) -> dict[str, Any]:
    try:
        stored = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise DataError(
            f"cannot read {path} ({error.strerror})", "a folder that refq.export wrote"
        ) from None
    except (ValueError, RecursionError):
        raise DataError(f"{path} is no JSON", "what refq.export writes") from None
    if not isinstance(stored, dict):
        raise DataError(f"{path} holds a {type(stored).__name__}", "a JSON object")
    return stored


def packing_of(stored: Mapping[str, Any]) -> Packing:
    lanes = stored["lanes"]
    if not isinstance(lanes, int) or not 1 <= lanes <= MAX_LANES:
        raise OptionError(f"{lanes!r} lanes", f"1 to {MAX_LANES}")
    return Packing(lanes, stored["lane_order"], stored["byte_order"])


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _whole(value: Any, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ValueError(f"{value!r} is no whole number from {least} to {most}")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{value!r} is neither true nor false")
    return value


def _layer(stored: Mapping[str, Any]) -> Layer:
    kept, declared = stored.get("stored"), stored.get("accumulator")
    # what a diagnosis computes with
    if kept:
        _whole(kept["bits"], 1, 32)
        _whole(kept["frac_bits"], -64, 64)
        _flag(kept["signed"])
        for drop in kept.get("drops") or ():
            _whole(drop, 0, 64)
        if code := kept.get("code"):
            _whole(code["bits"], 1, 31)
            _flag(code["nearest"])
            if _text(code["kind"]) == "shift":
                _whole(code["drop"], 0, 31)
    if declared and declared["bits"] is not None:
        bits = declared["bits"]
        for each in bits if isinstance(bits, list) else [bits]:
            _whole(each, 2, 62)
        Overflow(declared["overflow"]), Rounding(declared["rounding"])
    inputs = tuple(_text(each) for each in stored["inputs"])
    if not inputs and stored["type"] != "Input":
        raise ValueError(f"layer {stored['name']} without inputs")
    return Layer(_text(stored["name"]), _text(stored["type"]), inputs, declared, kept)


def _entry(stored: Mapping[str, Any], layout: Layout) -> Entry:
    shape, stored_shape = (
        tuple(_whole(each, 0, MOST_WORDS) for each in stored[key])
        for key in ("shape", "stored_shape")
    )
    if layout.stored_shape(shape) != stored_shape or math.prod(stored_shape) > MOST_WORDS:
        raise ValueError(f"stored_shape {stored_shape} of {stored['name']}, {shape} in {layout}")
    name, layer, stage, kind, format_, file, digest = (
        _text(stored[key])
        for key in ("name", "layer", "stage", "kind", "format", "file", "codes_sha256")
    )
    if file in ("", ".", "..") or "/" in file or "\\" in file:
        raise ValueError(f"file {file!r} of {name}, not one in the folder")
    return Entry(
        name,
        layer,
        stage,
        kind,
        shape,
        stored_shape,
        tuple(map(_text, stored["stored_axes"])),
        _whole(stored["bits"], 1, 63),
        _flag(stored["signed"]),
        _frac_bits(stored["frac_bits"], kind, shape),
        format_,
        file,
        digest,
        tuple(map(_text, stored["also"])),
    )


def _files(stored: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {
        name: {"bytes": _whole(each["bytes"], 0, 1 << 62), "sha256": _text(each["sha256"])}
        for name, each in stored.items()
    }


def _frac_bits(stored: Any, kind: str, shape: tuple[int, ...]) -> np.ndarray | None:
    """Lists run along the channels of tensors, along outputs (and inputs) of parameters."""
    if stored is None:
        return None
    found = np.array(stored)
    if found.dtype.kind != "i":
        raise TypeError(f"frac_bits {stored!r}, not whole numbers")
    before = 1 if kind == TENSOR and found.ndim else 0
    found = found.reshape((1,) * before + found.shape)
    found = found.reshape(found.shape + (1,) * (len(shape) - found.ndim)) if found.ndim else found
    np.broadcast_to(found, shape)  # raises ValueError
    return found
