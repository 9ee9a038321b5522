"""Quantization schemes: one file a scheme, whose name is its command-line name.

A scheme's module defines `plan(network, weights, statistics, options) -> Plan | None` and
`needs_statistics(options) -> bool`; one that works on histograms of codes also
`code_frac_bits(network, statistics, options) -> int`, the fraction bits of those codes. One with
widths to search for also says SEARCHED, the range of them, and SEARCH, its strategy by default;
one that is tuned otherwise names its strategies in SEARCHED; with the strategy `halving` it defines
`halving` and `plan_of`, as ristretto.py does. One that needs more of calibration says so by
`mapped(options)`, `watched(network, options) -> set[str]`, tensors that are not stored, or
`needs_energies(options)`. A trailing underscore keeps a name from Python's own.
"""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

from refq.errors import unknown
from refq.schemes.options import Options

__all__ = ["Options", "find", "known"]

SHARED = ("options", "hybrid_options", "choice", "allocation", "steps", "granular")


def known() -> list[str]:
    """Names of all schemes."""
    modules = [module.name for module in pkgutil.iter_modules(__path__)]
    return sorted(name.rstrip("_") for name in modules if name not in SHARED)


def find(name: str) -> ModuleType:
    """The scheme's module. Raises OptionError with the known names."""
    if name not in known():
        raise unknown("scheme", name, known())
    suffix = "_" if name == "float" else ""
    return importlib.import_module(f"{__name__}.{name}{suffix}")
