"""Results' files as one page and its pictures."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping, Sequence

from refq.errors import OptionError, listed
from refq.results import drawing, page, sections
from refq.results.drawing.style import DPI

PAGE = "index.html"


def page_of(paths: Sequence[str]) -> Mapping[str, bytes]:
    """{name: content} of the pictures and the page of results, everything drawn. Raises OptionError
    where there is nothing to draw."""
    results = sections.named_apart([sections.load(path) for path in paths])
    shown = [section for result in results for section in result.sections]
    compared = sections.comparison(results)
    if compared:
        shown.insert(0, compared)
    if not any(section.figures for section in shown):
        raise OptionError(
            f"no figures in {listed(paths)}",
            "the JSON of an evaluation under a scheme",
            "evaluate with --scheme, and with this version of refq",
        )
    parts = _draw(shown)
    title = shown[0].title if len(results) == 1 else f"{len(results)} results"
    text = page.html(title, parts)
    # everything is drawn before anything is written
    files = {picture.file: picture.png for _, pictures in parts for picture in pictures}
    files[PAGE] = text.encode("utf-8")
    return files


def _draw(shown: Sequence[sections.Section]) -> list[tuple[sections.Section, list[page.Picture]]]:
    """Every section with its pictures, whose files are numbered through."""
    parts, number = [], 0
    for section in shown:
        pictures = []
        for figure in section.figures:
            number += 1
            png = drawing.draw(figure)
            # a PNG's first chunk says its columns and rows
            width, height = struct.unpack(">II", png[16:24])
            file = f"{number:02}-{_slug(section.title)}-{figure['kind']}.png"
            pictures.append(page.Picture(figure["title"], file, png, (width / DPI, height / DPI)))
        parts.append((section, pictures))
    return parts


def _slug(title: str) -> str:
    """Letters and digits for a file's name."""
    return re.sub(r"[^a-z0-9_.]+", "-", title.lower()).strip("-.")[:60] or "figure"
