"""A golden set's network as plain C99 that computes it again and compares every word.

The sources in this folder were written from docs/contract.md and share no code with kernels or
oracle; layers.c, made here, is all that depends on the network.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from refq.hardware.c_model import source, tables

GENERATED = "layers.c"
VECTORS = "vectors"


def write(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Writes sources, layers.c and a Makefile into an existing folder, whose subfolder `vectors`
    holds the golden set of a manifest, in format raw and layout NCHW.

    Raises OptionError, before anything is written, for a set or a layer that the C model does not
    know, and where an array is missing that it needs.
    """
    text = source.text(tables.model(manifest))
    for name, content in static_sources().items():
        (folder / name).write_bytes(content)
    (folder / GENERATED).write_text(text, "ascii")


def static_sources() -> dict[str, bytes]:
    """{file name: content} of what is the same for every network."""
    files = resources.files(__name__).iterdir()
    wanted = (file for file in files if file.name == "Makefile" or file.name[-2:] in (".c", ".h"))
    return {file.name: file.read_bytes() for file in sorted(wanted, key=lambda file: file.name)}
