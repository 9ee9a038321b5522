"""Image files to pixels, through Pillow (the extra `images`)."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

import numpy as np

from refq.data import headers
from refq.errors import DataError, printable
from refq.files import given

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
# Pillow knows more, and starts Ghostscript for an EPS, whatever its name
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
EIGHT_BIT_MODES = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr")
REMEDY, SKIP = "fetch it again", ", or leave it out: --bad-images skip"


def pillow(purpose: str) -> ModuleType:
    """PIL.Image. Raises DataError that says what it was wanted for where Pillow is missing."""
    try:
        from PIL import Image
    except ImportError:
        raise DataError(
            f"Pillow is not installed; {purpose} needs it", remedy="pip install 'refq[images]'"
        ) from None
    # what it warns of is refused here, or does not touch the pixels
    warnings.filterwarnings("ignore", module=r"PIL\.")
    return Image


def decode(path: Path) -> np.ndarray:
    """uint8 RGB (rows, columns, 3); grey, palette and CMYK are converted, alpha is dropped.

    An EXIF orientation is not applied. Raises DataError naming a file that is no whole image, or
    one that refq does not take: see docs/data.md.
    """
    pil = pillow(f"reading {path.name}")
    try:
        with given.open_regular(path) as file:
            return _decoded(pil, file)
    except DataError as error:
        remedy = f"{error.remedy or REMEDY}{SKIP}"
        raise DataError(f"{path}: {error.found}", error.wanted, remedy) from None
    except pil.UnidentifiedImageError:
        reason, wanted = "an unknown format", f"one of {', '.join(FORMATS)}"
    except pil.DecompressionBombError:
        reason = f"more than {2 * pil.MAX_IMAGE_PIXELS:,} pixels"
        wanted = f"at most {headers.MOST_PIXELS:,} pixels"
    except Exception as error:  # decoders raise whatever a broken file leads them to
        told = str(getattr(error, "strerror", None) or error) or type(error).__name__
        leads_nowhere = os.path.islink(path) and not os.path.exists(path)
        reason = "a link that leads nowhere" if leads_nowhere else printable(told.splitlines()[0])
        wanted = "a complete image file"
    raise DataError(f"cannot decode {path} ({reason})", wanted, f"{REMEDY}{SKIP}")


def _decoded(pil: ModuleType, file: BinaryIO) -> np.ndarray:
    if not file.seek(0, 2):
        raise DataError("an empty file", f"one of {', '.join(FORMATS)}")
    if file.tell() > headers.MOST_BYTES:
        raise DataError(f"a file of {file.tell():,} bytes", f"at most {headers.MOST_BYTES:,}")
    file.seek(0)
    headers.check(file)
    with pil.open(file, formats=FORMATS) as image:
        headers.check_size(image.height, image.width, image.format)
        if image.format == "JPEG":
            headers.check_scans(file, image.height * image.width)
        # not a JPEG's further pictures (MPO), which are its previews and depths
        if getattr(image, "is_animated", False) and image.format in FORMATS:
            raise DataError("an animation", "one image", "save the picture that is wanted")
        if image.mode not in EIGHT_BIT_MODES or _deep(image):
            deep = image.mode[0] in "IF" or image.mode in EIGHT_BIT_MODES
            wanted = headers.EIGHT_BITS if deep else "grey, RGB, a palette, CMYK or YCbCr"
            raise DataError(f"pixels of mode {image.mode}", wanted, headers.SAVE)
        if "transparency" in image.info and image.mode != "RGBA":
            # Straight to RGB would warn, or take the key colour for a colour.
            image = _converted(image, "RGBA")
        return np.asarray(_converted(image, "RGB"))


def _converted(image: Any, mode: str) -> Any:
    """The image in a mode; memory is its or the other's, for no longer than it takes."""
    if image.mode == mode:
        return image
    made = image.convert(mode)
    image.close()
    return made


def _deep(image: Any) -> bool:
    """Whether it is a PPM of more than 8 bits, whose greatest value comes with its pixels."""
    stated = image.tile[0][3] if image.format == "PPM" and image.tile else None
    return isinstance(stated, tuple) and stated[-1] > 255
