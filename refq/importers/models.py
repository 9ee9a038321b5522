"""Whole networks from other tools' files: one module a format, whose name ends with `_model`.

A format has `FORM`, its name in words, `sniff(head, path)`, from the file's first bytes, and
`read(path, asked)`, which gives a Foreign.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from pathlib import Path
from types import ModuleType

from refq import importers
from refq.errors import OptionError, WeightsError
from refq.importers import caffe_model, lowering, mistaken
from refq.importers.contents import one_line
from refq.importers.foreign import Asked, Model

ENDING = "_model"


@functools.cache
def formats() -> tuple[ModuleType, ...]:
    """Those with a magic number first."""
    names = [module.name for module in pkgutil.iter_modules(importers.__path__)]
    modules = [
        importlib.import_module(f"refq.importers.{name}") for name in names if ENDING in name
    ]
    return tuple(sorted((m for m in modules if hasattr(m, "FORM")), key=lambda m: m.ORDER))


def fitting(path: Path) -> list[ModuleType]:
    """Formats that a file may be of, the likeliest first. Raises WeightsError for a file that
    cannot be read."""
    mistaken.check_regular(path)
    with one_line(path, "a model file"):
        with path.open("rb") as file:
            head = file.read(importers.HEAD)
        known = [form for form in formats() if form.sniff(head, path)]
        if not known:
            mistaken.check_head(path, head)
        return known


def read(path: Path, asked: Asked = Asked()) -> Model:  # noqa: B008 - frozen
    """The network of a file of any known format. Raises WeightsError in one line for what is none,
    or has operators that no network of refq holds."""
    known = fitting(path)
    if not known:
        raise WeightsError(
            f"{path} is no model of a known format",
            ", ".join(form.FORM for form in formats()),
            "weights alone are read by refq.convert",
        )
    if asked.prototxt and known[0] is not caffe_model:
        raise OptionError(f"--prototxt with {path.name} ({known[0].FORM})", "a Caffe model")
    with one_line(path, known[0].FORM):
        return lowering.lowered(known[0].read(path, asked), asked)
