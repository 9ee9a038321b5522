"""Where the weights and images that come with refq lie."""

from __future__ import annotations

from pathlib import Path

from refq.errors import DataError


def path(name: str) -> Path:
    """A bundled file: inside an installed package, or in the checkout's weights/ folder."""
    here = Path(__file__).parents[1]
    for folder in (here / "bundled_files", here.parent / "weights"):
        if (folder / name).is_file():
            return folder / name
    raise DataError(
        f"no bundled file {name}", remedy="give --weights and --data, or reinstall refq"
    )
