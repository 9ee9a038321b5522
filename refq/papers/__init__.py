"""What the papers report, done again: one file a paper, whose name is its command-line name.

A paper's module defines `tables(study) -> Iterator[Table]`, `figures(study, delta) -> list`, and
`NETWORKS`, the networks it is about.
"""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

from refq.errors import unknown

SHARED = ("study", "codebooks", "complexity", "granularity", "mixing", "accumulators")


def known() -> list[str]:
    """Names of all papers."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name not in SHARED)


def find(name: str) -> ModuleType:
    """The paper's module. Raises OptionError with the known names."""
    if name not in known():
        raise unknown("paper", name, known())
    return importlib.import_module(f"{__name__}.{name}")
