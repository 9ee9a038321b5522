"""A device's files: which of them hold the arrays of a golden set, and how to read them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from refq.errors import DataError, OptionError, RefqError
from refq.hardware.diagnosis.golden import Entry, GoldenSet, packing_of, read_json
from refq.hardware.files import file_format, file_formats
from refq.hardware.files.array import Array
from refq.hardware.files.layouts import Layout
from refq.hardware.files.words import Packing, Words
from refq.hardware.golden import manifest


@dataclass(frozen=True)
class Asked:
    """What the command line says of the device's files; None where it says nothing."""

    format: str | None = None
    layout: str | None = None
    tile: int | None = None
    lanes: int | None = None
    lane_order: str | None = None
    byte_order: str | None = None


@dataclass(frozen=True)
class Source:
    """Where one array of the device is. name: of the array in the golden set; key: its name in the
    file."""

    entry: Entry
    name: str
    path: Path
    format: str
    key: str


@dataclass(frozen=True)
class Device:
    """Files in a folder, and how words lie in them."""

    folder: Path
    formats: tuple[str, ...]
    layout: Layout
    told: tuple[tuple[str, Packing], ...]
    asked: Asked

    def packing(self, format_: str) -> Packing:
        """As asked; else as the device's manifest or the golden set says, where that is about such
        files; byte order else as is natural to the format."""
        module, asked = file_format(format_), self.asked
        base = self.told[0][1]
        order = asked.byte_order or next(
            (each.byte_order for name, each in self.told if _alike(name, format_)),
            module.BYTE_ORDER,
        )
        lanes = base.lanes if asked.lanes is None else asked.lanes
        return Packing(lanes, asked.lane_order or base.lane_order, order)

    def read(self, source: Source) -> Words:
        entry = source.entry
        shape = self.layout.stored_shape(entry.shape)
        axes = tuple(f"axis{i}" for i in range(len(shape)))
        array = Array(source.key, shape, axes, entry.bits, entry.signed, entry.format)
        return file_format(source.format).read(source.path, array, self.packing(source.format))


def _alike(name: str, other: str) -> bool:
    """Whether a byte order of one format means the same in another."""
    if name == other:
        return True
    return bool(file_format(name).TEXT and file_format(other).TEXT)


def open_device(folder: Path, golden: GoldenSet, asked: Asked) -> Device:
    """How to read a device's folder. Raises DataError where there is none, OptionError for what
    makes no sense."""
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder", "the device's files")
    if asked.format is not None:
        file_format(asked.format)
    told = [(golden.format, golden.packing)]
    layout = golden.layout
    path = folder / manifest.NAME
    if path.is_file():
        stored = read_json(path)
        try:
            own = str(stored.get("format", golden.format))
            file_format(own)
            if "packing" in stored:
                told.insert(0, (own, packing_of(stored["packing"])))
            layout = Layout(stored.get("layout", layout.name), int(stored.get("tile", layout.tile)))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"{path}: {type(error).__name__} {error}", "format, packing") from None
        except RefqError as error:
            raise DataError(f"{path}: {error}") from None
    layout = Layout(asked.layout or layout.name, layout.tile if asked.tile is None else asked.tile)
    first = [asked.format] if asked.format else [told[0][0], golden.format, *file_formats()]
    device = Device(folder, tuple(dict.fromkeys(first)), layout, tuple(told), asked)
    for name in device.formats:
        device.packing(name)  # raises
    return device


def sources(device: Device, entries: Sequence[Entry], golden: GoldenSet) -> list[Source]:
    """Every array that the folder holds under any of its names, in order of computation; where
    there are files of several formats, the first of device.formats. Raises DataError where
    nothing is found."""
    containers = [
        (path, name, set(file_format(name).names(path)))
        for name in device.formats
        for path in _containers(device.folder, file_format(name))
    ]
    found = [
        source
        for entry in entries
        for name in entry.names
        if (source := _source(device, entry, name, containers, golden)) is not None
    ]
    if not found:
        names = [name for entry in entries for name in entry.names]
        shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
        modules = [file_format(name) for name in device.formats]
        kinds = ", ".join(module.SINGLE or f"*{module.SUFFIX}" for module in modules)
        raise DataError(f"{device.folder} holds none of {shown}", f"such names as {kinds}")
    return found


def _containers(folder: Path, module: ModuleType) -> list[Path]:
    """The file of all arrays: of its own name, or the only one of its kind."""
    if module.SINGLE is None:
        return []
    if (folder / module.SINGLE).is_file():
        return [folder / module.SINGLE]
    several = sorted(folder.glob(f"*{module.SUFFIX}"))
    if len(several) > 1:
        names = ", ".join(path.name for path in several[:4])
        raise OptionError(f"{folder} holds {names}", f"one {module.SUFFIX} file")
    return several


def stems(name: str, entry: Entry, golden: GoldenSet) -> list[str]:
    """What an array may be called in a folder: names of layers may have slashes."""
    own = entry.file.removesuffix(file_format(golden.format).SUFFIX)
    same = [own] if name == entry.name and file_format(golden.format).SINGLE is None else []
    return list(dict.fromkeys([name, *same, name.replace("/", "_"), name.replace("/", ".")]))


def _source(
    device: Device,
    entry: Entry,
    name: str,
    containers: list[tuple[Path, str, set[str]]],
    golden: GoldenSet,
) -> Source | None:
    for format_ in device.formats:
        module = file_format(format_)
        for stem in stems(name, entry, golden):
            if module.SINGLE is None:
                path = device.folder / (stem + module.SUFFIX)
                # what is there but is no file is told when it is read
                if os.path.lexists(path):
                    return Source(entry, name, path, format_, stem)
            for path, of, keys in containers:
                if of == format_ and stem in keys:
                    return Source(entry, name, path, format_, stem)
    return None
