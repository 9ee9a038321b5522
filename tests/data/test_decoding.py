"""Image files that are refused: deep, animated, too large, of other programs, no files at all."""

from __future__ import annotations

import os
import socket
import struct
import time
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from refq.data import headers
from refq.data.decoding import FORMATS, decode
from refq.errors import DataError
from tests.data.pictures import error_of, noise, save_image

pil = pytest.importorskip("PIL.Image", reason="image files need Pillow")

EIGHT = "expected 8 bits a channel, without a sign"


def png(
    columns: int, rows: int, bits: int = 8, kind: int = 2, *chunks: tuple[bytes, bytes]
) -> bytes:
    """A PNG that states so many pixels, and holds none but the chunks."""

    def chunk(name: bytes, content: bytes) -> bytes:
        checked = name + content
        return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))

    header = struct.pack(">IIBBBBB", columns, rows, bits, kind, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(bytes(9))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def tiff(
    tags: dict[int, int | tuple[int, ...]], more: int = 0, order: str = "<", body: bytes = b""
) -> bytes:
    """A TIFF of one directory with such tags; behind it, values and body."""
    beyond = 8 + 2 + 12 * len(tags) + 4
    table, values = b"", b""
    for tag, value in sorted(tags.items()):
        numbers = value if isinstance(value, tuple) else (value,)
        packed = struct.pack(f"{order}{len(numbers)}I", *numbers)
        if len(packed) > 4:
            place = struct.pack(f"{order}I", beyond + len(values))
            values, packed = values + packed, place
        table += struct.pack(f"{order}HHI4s", tag, 4, len(numbers), packed)
    mark = b"II*\0" if order == "<" else b"MM\0*"
    directory = struct.pack(f"{order}H", len(tags)) + table + struct.pack(f"{order}I", more)
    return mark + struct.pack(f"{order}I", 8) + directory + values + body


def plain_tiff(**changes: int | tuple[int, ...]) -> dict[int, int | tuple[int, ...]]:
    """Tags of 5x6 grey pixels: tag256=... changes one."""
    usual = {256: 5, 257: 6, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 6, 279: 30}
    return {**usual, **{int(name[3:]): value for name, value in changes.items()}}


def test_the_plain_tiff_is_read(tmp_path: Path) -> None:
    for order in "<>":
        (tmp_path / "a.tif").write_bytes(tiff(plain_tiff(), order=order))
        assert decode(tmp_path / "a.tif").shape == (6, 5, 3)


REFUSED: dict[str, tuple[bytes, str]] = {
    **{
        f"deep{kind}.png": (
            png(5, 6, 16, kind),
            f"deep{kind}.png: pixels of 16 bits a channel; {EIGHT}",
        )
        for kind in (0, 2, 4, 6)
    },
    "deep.tif": (tiff(plain_tiff(tag258=16)), f"pixels of 16 bits a channel; {EIGHT}"),
    "deep.ppm": (b"P6 5 6 256\n" + bytes(180), f"pixels of mode RGB; {EIGHT}"),
    "deep.pgm": (b"P5 5 6 65535\n" + bytes(60), f"pixels of mode I; {EIGHT}"),
    "float.tif": (tiff(plain_tiff(tag258=32, tag339=3)), f"pixels of 32 bits a channel; {EIGHT}"),
    "signed.tif": (
        tiff(plain_tiff(tag339=2)),
        f"pixels of 8 bits a channel, with a sign or in floating point; {EIGHT}",
    ),
    "big.tif": (b"II+\0" + bytes(28), "a BigTIFF; expected a TIFF of 32 bits"),
    "cut.tif": (tiff(plain_tiff())[:60], "a TIFF whose directory is cut off"),
    "pages.tif": (tiff(plain_tiff(), more=8), "more than one page; expected one image"),
    "tile.tif": (
        tiff(plain_tiff(tag322=26_000, tag323=26_000, tag324=8, tag325=9, tag277=1)),
        "tiles of 676,000,000 pixels; expected at most 50,000,000",
    ),
    "strips.tif": (
        tiff(plain_tiff(tag273=tuple(range(1 << 18 | 1)))),
        "a TIFF that states 262,145 values of tag 273; expected at most 262,144 strips",
    ),
    "stated.tif": (
        tiff(plain_tiff(tag700=tuple(range(5_000_000)))),
        "a TIFF that states 5,000,000 values of tag 700",
    ),
    "large.png": (png(7072, 7072), "an image of 7072x7072; expected at most 50,000,000 pixels"),
    "bomb.png": (
        png(30_000, 30_000),
        "(more than 178,956,970 pixels); expected at most 50,000,000",
    ),
    "wide.png": (png(65_537, 2), "an image of 2x65537; expected at most"),
    "large.ppm": (b"P6 7072 7072 255\n", "an image of 7072x7072"),
    "text.png": (
        png(5, 6, 8, 2, *[(b"zTXt", b"k\0\0" + zlib.compress(bytes(900_000)))] * 80),
        "cannot decode",
    ),
    "profile.png": (
        png(5, 6, 8, 2, (b"iCCP", b"k\0\0" + zlib.compress(bytes(1 << 25)))),
        "cannot decode",
    ),
    # Ghostscript would be started for this one
    "post.png": (
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n",
        f"post.png (an unknown format); expected one of {', '.join(FORMATS)}; fetch it again",
    ),
    "void.jpg": (b"", "void.jpg: an empty file"),
    "zip.jpg": (b"PK\3\4" + bytes(60), "zip.jpg (an unknown format)"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(tmp_path: Path, name: str) -> None:
    content, told = REFUSED[name]
    (tmp_path / name).write_bytes(content)
    tracemalloc.start()
    with error_of(DataError, told) as refusal:
        decode(tmp_path / name)
    assert tracemalloc.get_traced_memory()[1] < 150 << 20
    tracemalloc.stop()
    assert str(tmp_path / name) in str(refusal.value)


def test_colours_of_16_bits_are_not_cut_to_8(tmp_path: Path) -> None:
    """Pillow opens them as RGB, RGBA and LA of 8 bits."""
    for kind, samples in ((2, 3), (6, 4), (4, 2)):
        rows = b"".join(b"\0" + bytes(range(samples * 2)) for _ in range(2))
        content = png(1, 2, 16, kind).replace(zlib.compress(bytes(9)), zlib.compress(rows))
        (tmp_path / "deep.png").write_bytes(content)
        with pil.open(tmp_path / "deep.png") as image:
            assert image.mode in ("RGB", "RGBA", "LA")
        with error_of(DataError, "pixels of 16 bits a channel"):
            decode(tmp_path / "deep.png")


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.webp", "a.tif"])
def test_animations_and_pages_are_refused(tmp_path: Path, name: str) -> None:
    first, second = (pil.fromarray(noise(6, 5, 3)) for _ in range(2))
    first.save(tmp_path / name)
    assert decode(tmp_path / name).shape == (6, 5, 3)
    first.save(tmp_path / name, save_all=True, append_images=[second])
    with error_of(DataError, "expected one image; save the p"):
        decode(tmp_path / name)


def test_further_pictures_of_a_jpeg_are_its_previews(tmp_path: Path) -> None:
    first, second = (pil.fromarray(noise(8, 16, 3)) for _ in range(2))
    first.save(tmp_path / "a.jpg")
    first.save(tmp_path / "b.jpg", format="MPO", save_all=True, append_images=[second])
    assert (decode(tmp_path / "a.jpg") == decode(tmp_path / "b.jpg")).all()


def test_orientation_is_not_applied(tmp_path: Path) -> None:
    image = pil.fromarray(noise(8, 16, 3))
    exif = pil.Exif()
    exif[274] = 6
    image.save(tmp_path / "a.jpg", exif=exif)
    assert decode(tmp_path / "a.jpg").shape == (8, 16, 3)


def test_endless_scans_are_refused(tmp_path: Path) -> None:
    save_image(tmp_path / "a.jpg", noise(900, 800, 3))
    whole = (tmp_path / "a.jpg").read_bytes()
    scan = b"\xff\xda\x00\x08\x01\x01\x00\x3f\x00"
    (tmp_path / "a.jpg").write_bytes(whole[:-2] + scan * 3000 + whole[-2:])
    began = time.perf_counter()
    with error_of(
        DataError, "a.jpg: 3,001 scans of 720,000 pixels; expected at most 2,000,000,000"
    ):
        decode(tmp_path / "a.jpg")
    assert time.perf_counter() - began < 2


def test_the_largest_image_fits(tmp_path: Path) -> None:
    rows, columns = 1000, headers.MOST_PIXELS // 1000
    (tmp_path / "a.png").write_bytes(png(columns, rows))
    with error_of(DataError, "cannot decode"):  # its size is taken, its pixels are not there
        decode(tmp_path / "a.png")


def link(path: Path) -> None:
    path.symlink_to("nowhere.png")


def circle(path: Path) -> None:
    path.symlink_to(path.name)


def listening(path: Path) -> None:
    server = socket.socket(socket.AF_UNIX)
    here = os.getcwd()
    os.chdir(path.parent)  # the path may be longer than a socket's name
    server.bind(path.name)
    os.chdir(here)
    server.close()


@pytest.mark.skipif(os.name != "posix", reason="pipes and sockets with names are POSIX's")
@pytest.mark.parametrize(
    "make, told",
    [
        (link, "a link that leads nowhere"),
        (circle, "a link that leads nowhere"),
        (os.mkfifo, "a pipe"),
        (listening, "a socket"),
        (lambda path: path.symlink_to("/dev/zero"), "a device"),
        (os.mkdir, "a folder"),
        (lambda path: None, "No such file or directory"),
    ],
)
def test_what_is_no_file_is_told_at_once(
    tmp_path: Path, make: Callable[[Path], object], told: str
) -> None:
    make(tmp_path / "a.png")
    with error_of(DataError, f"cannot decode {tmp_path / 'a.png'} ({told}); expected a complete"):
        decode(tmp_path / "a.png")


def test_a_file_beyond_all_bounds_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "a.bmp").open("wb") as file:
        file.write(b"BM")
        file.truncate(headers.MOST_BYTES + 1)
    with error_of(DataError, "a.bmp: a file of 268,435,457 bytes; expected at most 268,435,456"):
        decode(tmp_path / "a.bmp")


def test_names_that_are_no_text_are_told(tmp_path: Path) -> None:
    for name in ("caf\udce9.png", "a\x1b[2Jb.png"):
        path = tmp_path / name
        path.write_bytes(b"none")
        with pytest.raises(DataError) as refusal:
            decode(path)
        str(refusal.value).encode("ascii")
        assert str(refusal.value).isprintable()


def test_pixels_are_those_of_pillow(tmp_path: Path) -> None:
    grey = noise(9, 7, 1)[:, :, 0]
    image = pil.fromarray(np.dstack([grey, grey // 2, grey // 3]))
    for name in ("a.png", "a.bmp", "a.tif", "a.ppm", "a.webp", "a.gif"):
        image.save(tmp_path / name, **({"lossless": True} if name == "a.webp" else {}))
        with pil.open(tmp_path / name) as opened:
            assert (decode(tmp_path / name) == np.asarray(opened.convert("RGB"))).all()
