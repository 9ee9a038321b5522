"""Where the weights and images that come with refq lie."""

from __future__ import annotations

import functools
import hashlib
import json
from pathlib import Path
from typing import Any

from refq.errors import DataError

HERE = Path(__file__).parents[1]
# inside an installed package, or in the checkout
FOLDERS = (HERE / "bundled_files", HERE.parent / "weights")


def folders() -> list[Path]:
    return [each for each in FOLDERS if each.is_dir()]


def path(name: str) -> Path:
    """Raises DataError where there is none of that name."""
    for folder in FOLDERS:
        if (folder / name).is_file():
            return folder / name
    raise DataError(
        f"no bundled file {name}", remedy="give --weights and --data, or reinstall refq"
    )


def holds(file: Path) -> bool:
    """Whether a file is, byte for byte, one that comes with refq: it is trusted as the code is."""
    try:
        if file.resolve().parent not in [folder.resolve() for folder in FOLDERS]:
            return False
        told = _stated(file.with_name("manifest.json"))[file.name]
        if file.stat().st_size != told["bytes"]:
            return False
        return bool(hashlib.sha256(file.read_bytes()).hexdigest() == told["sha256"])
    except (OSError, ValueError, KeyError):
        return False


@functools.cache
def _stated(manifest: Path) -> dict[str, Any]:
    """{name: its bytes and SHA-256}."""
    files: dict[str, Any] = json.loads(manifest.read_text("utf-8"))["files"]
    return files
