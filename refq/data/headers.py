"""What image files state in their headers, checked before a decoder takes memory for it.

Pillow reads headers lazily and checks pixels, but not what TIFF tiles take, nor bits of a channel:
it would cut 16 bits to 8 without a word.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

from refq.errors import DataError

MOST_PIXELS = 50_000_000
MOST_WEBP_PIXELS = 25_000_000  # its decoder takes twice the memory of others
LONGEST = 1 << 16  # rows or columns
MOST_BYTES = 256 << 20  # of a file; 50 million pixels of 4 bytes are 200 MB
MOST_SCANNED = 2_000_000_000  # pixels times scans of a progressive JPEG, which takes some 20 s
MOST_STATED = 16 << 20  # bytes of what a TIFF's directory states: colour profile, places of strips
MOST_PLACES = 1 << 18  # strips or tiles
EIGHT_BITS, SAVE = "8 bits a channel, without a sign", "save it so"
# of TIFF: bytes of a value of each type, and tags
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
BITS, TILE_COLUMNS, TILE_ROWS, SAMPLE_FORMAT = 258, 322, 323, 339
PLACES = {273, 279, 324, 325}
UNSIGNED = {1, 4}  # or not defined


def check(file: BinaryIO) -> None:
    """Raises DataError for a file whose header states what refq does not take: more than 8 bits,
    several pages, sizes out of proportion. Leaves the file at its beginning."""
    head = file.read(32)
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        _check_tiff(file, head)
    elif head[:8] == b"\x89PNG\r\n\x1a\n" and len(head) == 32 and head[24] > 8:
        raise DataError(f"pixels of {head[24]} bits a channel", EIGHT_BITS, SAVE)
    file.seek(0)


def check_size(rows: int, columns: int, kind: str | None = None) -> None:
    """Raises DataError for an image that is too large. kind: as Pillow calls it."""
    most = MOST_WEBP_PIXELS if kind == "WEBP" else MOST_PIXELS
    if rows * columns > most or max(rows, columns) > LONGEST:
        raise DataError(
            f"an image of {rows}x{columns}",
            f"at most {most:,} pixels, and {LONGEST:,} rows or columns",
            "scale it down first",
        )


def check_scans(file: BinaryIO, pixels: int) -> None:
    """Raises DataError for a progressive JPEG that would be decoded for minutes: each scan passes
    through all pixels, and one that says nothing has few bytes."""
    file.seek(0)
    scans = file.read().count(b"\xff\xda")
    file.seek(0)
    if scans * pixels > MOST_SCANNED:
        raise DataError(
            f"{scans:,} scans of {pixels:,} pixels",
            f"at most {MOST_SCANNED:,} pixels in all",
            "save it again",
        )


def _check_tiff(file: BinaryIO, head: bytes) -> None:
    if b"+" in head[:4]:
        raise DataError("a BigTIFF", "a TIFF of 32 bits", "save it as PNG")
    try:
        tags, more = _directory(file, "<" if head[:2] == b"II" else ">", head)
    except struct.error:
        raise DataError("a TIFF whose directory is cut off", "a complete image file") from None
    if more:
        raise DataError("more than one page", "one image", "save the page that is wanted")
    bits = max(tags.get(BITS, (1,)))
    if bits > 8 or not UNSIGNED.issuperset(tags.get(SAMPLE_FORMAT, ())):
        kind = "" if bits > 8 else ", with a sign or in floating point"
        raise DataError(f"pixels of {bits} bits a channel{kind}", EIGHT_BITS, SAVE)
    tile = max(tags.get(TILE_ROWS, (0,))) * max(tags.get(TILE_COLUMNS, (0,)))
    if tile > MOST_PIXELS:
        raise DataError(f"tiles of {tile:,} pixels", f"at most {MOST_PIXELS:,}", "save it again")


def _directory(file: BinaryIO, order: str, head: bytes) -> tuple[dict[int, tuple[int, ...]], bool]:
    """(values of the tags that are looked at, whether another directory follows the first)."""
    file.seek(struct.unpack(f"{order}I", head[4:8])[0])
    (count,) = struct.unpack(f"{order}H", file.read(2))
    table, following = file.read(12 * count), file.read(4)
    tags: dict[int, tuple[int, ...]] = {}
    total = 0
    for tag, kind, number, place in struct.iter_unpack(f"{order}HHI4s", table):
        size = SIZES.get(kind, 1) * number
        total += size
        if total > MOST_STATED or (tag in PLACES and number > MOST_PLACES):
            raise DataError(
                f"a TIFF that states {number:,} values of tag {tag}",
                f"at most {MOST_PLACES:,} strips or tiles, and {MOST_STATED:,} bytes",
                "save it again",
            )
        if tag in (BITS, SAMPLE_FORMAT, TILE_COLUMNS, TILE_ROWS) and kind in (3, 4):
            if size > 4:
                file.seek(struct.unpack(f"{order}I", place)[0])
                place = file.read(size)
            tags[tag] = struct.unpack(f"{order}{number}{'H' if kind == 3 else 'I'}", place[:size])
    return tags, following not in (b"", bytes(4))
