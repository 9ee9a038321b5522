"""Arrays of codes as files: one file a format, whose name is its command-line name.

A format's module defines

- SUFFIX of its files; SINGLE, the one file that holds all arrays, or None; TEXT, whether words lie
  in lines of lanes; BYTE_ORDER, the one that is natural to it;
- `size(array, packing) -> int`, the bytes that an array takes: exact for text and raw words, an
  upper estimate for others;
- `writer(folder, packing) -> Writer`, which takes arrays in parts;
- `read(path, array, packing) -> Words`, all words that the file holds of an array, be they fewer
  or more than asked for; DataError where it is malformed;
- where SINGLE is a name, `names(path) -> list[str]`, the arrays in such a file.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from types import ModuleType

from refq.errors import unknown

# modules whose command-line names differ: hex is Python's own, c the language
MODULES = {"hex": "hex_", "c": "c_header"}


@functools.cache
def _formats() -> dict[str, ModuleType]:
    """Modules that define a file format, by command-line name."""
    spelled = {module: name for name, module in MODULES.items()}
    names = [module.name for module in pkgutil.iter_modules(__path__)]
    modules = {name: importlib.import_module(f"{__name__}.{name}") for name in names}
    return {
        spelled.get(name, name): each for name, each in modules.items() if hasattr(each, "SUFFIX")
    }


def file_formats() -> list[str]:
    """Names of all formats."""
    return sorted(_formats())


def file_format(name: str) -> ModuleType:
    """The format's module. Raises OptionError with the known names."""
    if name not in _formats():
        raise unknown("file format", name, file_formats())
    return _formats()[name]
