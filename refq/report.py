"""`python -m refq.report RESULT.json ... --out DIR`: a result's figures and its page."""

from __future__ import annotations

import argparse
import os
import re
import struct
import sys
from collections.abc import Sequence

from refq import writing
from refq.cli import console
from refq.errors import OptionError
from refq.results import drawing, page, sections
from refq.results.drawing.style import DPI

PAGE = "index.html"


def parser() -> argparse.ArgumentParser:
    out = argparse.ArgumentParser(
        "refq.report",
        allow_abbrev=False,
        description="Figures as PNG and one HTML page from results' JSON.",
    )
    out.add_argument("results", nargs="+", metavar="RESULT.json", help="files of --json")
    out.add_argument("--out", required=True, metavar="DIR", help="folder, made where it is missing")
    return out


def main(arguments: Sequence[str] | None = None) -> int:
    return console.run(_main, parser(), arguments)


def _main(arguments: argparse.Namespace) -> int:
    drawing.require()
    writing.check_folder(arguments.out)
    results = sections.named_apart([sections.load(path) for path in arguments.results])
    shown = [section for result in results for section in result.sections]
    compared = sections.comparison(results)
    if compared:
        shown.insert(0, compared)
    if not any(section.figures for section in shown):
        raise OptionError(
            f"no figures in {', '.join(arguments.results)}",
            "the JSON of an evaluation under a scheme",
            "evaluate with --scheme, and with this version of refq",
        )
    parts = _draw(shown)
    title = shown[0].title if len(results) == 1 else f"{len(results)} results"
    text = page.html(title, parts)
    # everything is drawn before anything is written
    files = {picture.file: picture.png for _, pictures in parts for picture in pictures}
    files[PAGE] = text.encode("utf-8")
    writing.write_folder(arguments.out, files)
    console.tell(*(os.path.join(arguments.out, name) for name in files))
    return 0


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


if __name__ == "__main__":
    sys.exit(main())
