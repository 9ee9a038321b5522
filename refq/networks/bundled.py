"""Where the weights and images that come with refq lie."""

from __future__ import annotations

from pathlib import Path

from refq.errors import DataError


def folders() -> list[Path]:
    """Where they are looked for: inside an installed package, in the checkout's weights/."""
    here = Path(__file__).parents[1]
    return [each for each in (here / "bundled_files", here.parent / "weights") if each.is_dir()]


def path(name: str) -> Path:
    """A bundled file. Raises DataError where there is none of that name."""
    for folder in folders():
        if (folder / name).is_file():
            return folder / name
    raise DataError(
        f"no bundled file {name}", remedy="give --weights and --data, or reinstall refq"
    )
