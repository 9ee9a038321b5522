"""weights/manifest.json: how every bundled file was made."""

from __future__ import annotations

import hashlib
import json
import platform
import re
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from glyph_fonts import CLASSES, Face
from PIL import features

from refq.errors import DataError
from refq.files import writing

# Phrases by which a licence is known in copyright files without machine-readable fields.
PHRASES = {
    "SIL Open Font Licen[sc]e": "OFL-1.1",
    "GNU General Public Licen[sc]e|GNU GPL": "GPL",
    "Apache Licen[sc]e": "Apache-2.0",
    "[Pp]ublic [Dd]omain": "public-domain",
    "Bitstream Vera": "Bitstream-Vera",
    "Creative Commons|CC0": "CC",
}


def update(path: Path, section: str, value: Any) -> None:
    """Replaces one section of the manifest and brings the hashes of all files up to date."""
    manifest: dict[str, Any] = {}
    if path.is_file():
        try:
            manifest = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            raise DataError(f"{path} is not JSON", remedy="delete it and run again") from None
    manifest[section] = value
    manifest["files"] = {
        file.name: {
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
            "bytes": file.stat().st_size,
        }
        for file in sorted(path.parent.glob("*.h5"))
    }
    writing.write_json(str(path), {key: manifest[key] for key in sorted(manifest)})


def versions(*packages: str) -> dict[str, str]:
    """Versions of Python and of the given distributions."""
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def describe(command: str, seed: int, sides: Mapping[str, Sequence[Face]]) -> dict[str, Any]:
    """The images' section: command, versions, and each font with its package, hash and side."""
    owners = _owners([face.path for faces in sides.values() for face in faces])
    packages: dict[str, dict[str, Any]] = {}
    for side, faces in sides.items():
        for face in faces:
            owner = owners.get(face.path, "unpackaged")
            entry = packages.setdefault(
                owner, {"version": _version(owner), "licences": _licences(owner), "fonts": []}
            )
            entry["fonts"].append(
                {
                    "file": Path(face.path).name,
                    "sha256": face.sha256,
                    "family": face.family,
                    "split": side,
                }
            )
    return {
        "what": f"{len(CLASSES)} classes ({CLASSES}), 32x32 RGB; test fonts unseen in training",
        "command": command,
        "seed": seed,
        "versions": {
            **versions("Pillow", "fonttools", "numpy", "h5py"),
            "freetype": str(features.version("freetype2")),
            "libjpeg-turbo": str(features.version("libjpeg_turbo")),
        },
        "families": {
            side: sorted({face.family for face in faces}) for side, faces in sides.items()
        },
        "packages": {name: packages[name] for name in sorted(packages)},
    }


def _dpkg(*arguments: str) -> str:
    """Output of dpkg-query; empty on systems without it."""
    try:
        return subprocess.run(
            ["dpkg-query", *arguments], capture_output=True, text=True, check=False
        ).stdout
    except OSError:
        return ""


def _owners(paths: Sequence[str]) -> dict[str, str]:
    lines = _dpkg("-S", *paths).splitlines()
    pairs = (line.partition(": ") for line in lines)
    return {path: package.partition(":")[0] for package, _, path in pairs}


def _version(package: str) -> str:
    return _dpkg("-W", "-f", "${Version}", package) if package != "unpackaged" else ""


def _licences(package: str) -> list[str]:
    """Short names as Debian's copyright file states them, or as its wording suggests."""
    file = Path("/usr/share/doc") / package / "copyright"
    if not file.is_file():
        return []
    text = file.read_text(encoding="utf-8", errors="replace")
    stated = {name.strip() for name in re.findall(r"^Licen[sc]e: *(\S[^\n]*)", text, re.MULTILINE)}
    if text.startswith("Format") and stated:
        return sorted(stated)
    return sorted(name for phrase, name in PHRASES.items() if re.search(phrase, text))
