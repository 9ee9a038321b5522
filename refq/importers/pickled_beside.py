"""What checkpoints hold beside a state dict: names that are known and never called.

Their calls become a dict, a list or Beside, which says what was there, so that a training script's
settings, random states and counters do not stand in the way of the weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

# of which a pickle fills in what they hold afterwards
DICTS = {"collections defaultdict", "collections Counter"}
LISTS = {"collections deque", "__builtin__ set", "builtins set"}
# a class alone, as the argument of another call
CLASSES = {
    f"{module} {name}"
    for module in ("builtins", "__builtin__")
    for name in (
        "int",
        "float",
        "str",
        "bool",
        "list",
        "dict",
        "tuple",
        "bytes",
        "object",
        "complex",
    )
}
OTHERS = {
    *(
        f"numpy.{core}.multiarray {name}"
        for core in ("core", "_core")
        for name in ("scalar", "_reconstruct")
    ),
    "numpy dtype",
    "numpy ndarray",
    "_codecs encode",
    "torch device",
    "torch Generator",
    "torch.torch_version TorchVersion",
    "argparse Namespace",
    "types SimpleNamespace",
    "copy_reg _reconstructor",
    "copyreg _reconstructor",
    "builtins frozenset",
    "__builtin__ frozenset",
    "builtins bytearray",
    "__builtin__ bytearray",
    "datetime datetime",
    "datetime date",
    "datetime timedelta",
    "pathlib PosixPath",
    "pathlib WindowsPath",
    "pathlib PurePosixPath",
    "pathlib._local PosixPath",
    "pathlib._local WindowsPath",
    "decimal Decimal",
    "uuid UUID",
}
NAMES = DICTS | LISTS | CLASSES | OTHERS


@dataclass(frozen=True)
class Beside:
    """Something that is no weight."""

    name: str


def made(name: str) -> Any:
    """What the call of such a name gives."""
    if name in DICTS:
        return {}
    return [] if name in LISTS else Beside(name)
