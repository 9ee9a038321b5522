"""What the papers report, done again: one file a paper, whose name is its command-line name.

A paper's module defines `tables(study) -> Iterator[Table]`, `figures(study, delta) -> list`,
`NETWORKS`, the networks it is about, and `READS`, the options of schemes that it reads.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from types import ModuleType

from refq.errors import unknown


@functools.cache
def _papers() -> dict[str, ModuleType]:
    """Modules that do a paper's tables again, by name."""
    names = [module.name for module in pkgutil.iter_modules(__path__) if not module.ispkg]
    modules = {name: importlib.import_module(f"{__name__}.{name}") for name in names}
    return {name: module for name, module in modules.items() if hasattr(module, "tables")}


def known() -> list[str]:
    """Names of all papers."""
    return sorted(_papers())


def find(name: str) -> ModuleType:
    """The paper's module. Raises OptionError with the known names."""
    if name not in _papers():
        raise unknown("paper", name, known())
    return _papers()[name]
