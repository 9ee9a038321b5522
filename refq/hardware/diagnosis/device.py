"""A device's files: which of them hold the arrays of a golden set, and how to read them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

from refq.errors import DataError, OptionError, listed
from refq.hardware.files import file_format, file_formats
from refq.hardware.files.files import within
from refq.hardware.files.layouts import Layout
from refq.hardware.files.words import Packing, Words
from refq.hardware.golden import manifest
from refq.hardware.golden.arrays import GoldenArray
from refq.hardware.golden.form import Form
from refq.hardware.golden.manifest import Manifest


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

    array: GoldenArray
    name: str
    path: Path
    format: str
    key: str


@dataclass(frozen=True)
class Device:
    """Files in a folder, and how words lie in them. told: forms of such files, the likeliest
    first."""

    folder: Path
    formats: tuple[str, ...]
    layout: Layout
    told: tuple[Form, ...]
    asked: Asked

    def packing(self, name: str) -> Packing:
        """Of files of that format: as asked; else as the device's manifest or the golden set says,
        where that is about such files; byte order else as is natural to the format."""
        asked, base = self.asked, self.told[0].packing
        orders = (form.packing.byte_order for form in self.told if _alike(form.format, name))
        order = asked.byte_order or next(orders, file_format(name).BYTE_ORDER)
        lanes = base.lanes if asked.lanes is None else asked.lanes
        return Packing(lanes, asked.lane_order or base.lane_order, order)

    def read(self, source: Source) -> Words:
        form = Form(source.format, self.layout, self.packing(source.format))
        stored = replace(form.stored(source.array), name=source.key)
        words: Words = form.module.read(source.path, stored, form.packing)
        return words


def _alike(name: str, other: str) -> bool:
    """Whether a byte order of one format means the same in another."""
    return name == other or bool(file_format(name).TEXT and file_format(other).TEXT)


def open_device(folder: Path, golden: Manifest, asked: Asked) -> Device:
    """How to read a device's folder. Raises DataError where there is none, OptionError for what
    makes no sense."""
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder", "the device's files")
    if asked.format is not None:
        file_format(asked.format)
    form, layout = manifest.form_of_device(folder, golden.form)
    told = (form, golden.form) if form else (golden.form,)
    layout = Layout(asked.layout or layout.name, layout.tile if asked.tile is None else asked.tile)
    likely = [asked.format] if asked.format else [*(form.format for form in told), *file_formats()]
    device = Device(folder, tuple(dict.fromkeys(likely)), layout, told, asked)
    for name in device.formats:
        device.packing(name)  # raises
    return device


def sources(device: Device, arrays: Sequence[GoldenArray]) -> list[Source]:
    """Every array that the folder holds under any of its names, in order of computation; where
    there are files of several formats, the first of device.formats. Raises DataError where
    nothing is found."""
    containers = [
        Container(path, name, frozenset(file_format(name).names(path)))
        for name in device.formats
        for path in _containers(device.folder, file_format(name))
    ]
    there = [
        source
        for array in arrays
        for name in array.names
        if (source := _source(device, array, name, containers))
    ]
    if not there:
        names = [name for array in arrays for name in array.names]
        modules = [file_format(name) for name in device.formats]
        kinds = ", ".join(module.SINGLE or f"*{module.SUFFIX}" for module in modules)
        found = f"{device.folder} holds none of {listed(names, 4)}"
        raise DataError(found, f"such names as {kinds}")
    return there


@dataclass(frozen=True)
class Container:
    """A file of several arrays, whose names in it are the keys."""

    path: Path
    format: str
    keys: frozenset[str]


def _containers(folder: Path, module: ModuleType) -> list[Path]:
    """The file of all arrays: of its own name, or the only one of its kind."""
    if module.SINGLE is None:
        return []
    if (folder / module.SINGLE).is_file():
        return [within(folder, module.SINGLE)]
    several = [within(folder, path.name) for path in sorted(folder.glob(f"*{module.SUFFIX}"))]
    if len(several) > 1:
        names = listed((path.name for path in several), 4)
        raise OptionError(f"{folder} holds {names}", f"one {module.SUFFIX} file")
    return several


def stems(name: str) -> list[str]:
    """What an array may be called in a folder: names of layers may have slashes."""
    return list(dict.fromkeys([name, name.replace("/", "_"), name.replace("/", ".")]))


def _source(
    device: Device, array: GoldenArray, name: str, containers: Sequence[Container]
) -> Source | None:
    for format_ in device.formats:
        module = file_format(format_)
        for stem in stems(name):
            file = stem + module.SUFFIX
            # what is there but is no file is told when it is read
            if module.SINGLE is None and os.path.lexists(device.folder / file):
                return Source(array, name, within(device.folder, file), format_, stem)
            for each in containers:
                if each.format == format_ and stem in each.keys:
                    return Source(array, name, each.path, format_, stem)
    return None
