"""Quantization schemes: one file a scheme, whose name is its command-line name.

A scheme's module defines `plan(network, weights, statistics, options) -> Plan | None` and
`wanted(network, options) -> Wanted`, what the statistics are to hold; READS names the options that
it reads, without which it reads none. One with widths to search for
also says SEARCHED, the range of them, and SEARCH, its strategy by default; one that is tuned
otherwise names its strategies in SEARCHED; with the strategy `halving` it defines `halving` and
`plan_of`, as ristretto.py does. A trailing underscore keeps a name from Python's own.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from types import ModuleType

from refq.errors import unknown
from refq.schemes.options import Options

__all__ = ["Options", "find", "known"]


@functools.cache
def _schemes() -> dict[str, ModuleType]:
    """Modules that define a scheme, by name."""
    names = [module.name for module in pkgutil.iter_modules(__path__) if not module.ispkg]
    modules = {name: importlib.import_module(f"{__name__}.{name}") for name in names}
    return {name.rstrip("_"): own for name, own in modules.items() if hasattr(own, "plan")}


def known() -> list[str]:
    """Names of all schemes."""
    return sorted(_schemes())


def find(name: str) -> ModuleType:
    """The scheme's module. Raises OptionError with the known names."""
    if name not in _schemes():
        raise unknown("scheme", name, known())
    return _schemes()[name]
