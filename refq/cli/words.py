"""Options of how integers lie in files, those that refq writes and those of a device."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from refq.cli.command import Group, Option, Request
from refq.hardware.files import file_format, file_formats, raw
from refq.hardware.files.layouts import LAYOUTS, TILED
from refq.hardware.files.words import HIGH_FIRST, LOW_FIRST

NAMES = ("format", "layout", "tile", "lanes", "lane_order", "byte_order")


def rows(group: Group, **defaults: Any) -> tuple[Option, ...]:
    """The options, with what a command takes for those that are not typed."""
    made = (
        Option("--format F", group, ", ".join(file_formats())),
        Option("--layout L", group, ", ".join(LAYOUTS)),
        Option("--tile N", group, "channels of a tile", kind=int),
        Option("--lanes N", group, "words in a line of text", kind=int),
        Option("--lane-order O", group, f"of a line's words: {LOW_FIRST} or {HIGH_FIRST}"),
        Option("--byte-order O", group, "of words, or of lines of text: little or big"),
    )
    return tuple(replace(row, default=defaults.get(row.name)) for row in made)


def check(asked: Request, layout: str, formats: Iterable[str], lanes: int) -> None:
    """Raises OptionError for what was typed and says nothing of files in this layout, of one of
    these formats, with so many lanes."""
    names = sorted(set(formats))
    modules, beside = [file_format(name) for name in names], f"with {', '.join(names)}"
    if layout != TILED:
        asked.refuse(["tile"], f"with layout {layout}", f"--layout {TILED}")
    if not any(module.TEXT for module in modules):
        asked.refuse(["lanes", "lane_order"], beside, "a format of text")
    if not any(module.TEXT or module is raw for module in modules):
        asked.refuse(["byte_order"], beside, "a format of text, or raw")
    if lanes == 1:
        asked.refuse(["lane_order"], "with one lane", "--lanes with it")
