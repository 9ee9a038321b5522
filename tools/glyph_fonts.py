"""Fonts for the glyph images: which faces are usable, and which of them belong together."""

from __future__ import annotations

import hashlib
import logging
import multiprocessing
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from fontTools.ttLib import TTFont, TTLibError
from PIL import Image, ImageDraw, ImageFont

from refq.errors import DataError

CLASSES = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

# Debian 12 packages, without their common "fonts-"; apt install brings the same faces back.
_NAMES = """
adf-accanthis adf-baskervald adf-berenis adf-gillius adf-ikarius adf-irianis adf-libris adf-mekanus
adf-oldania adf-romande adf-switzera adf-tribun adf-universalis adf-verana agave allerta
anonymous-pro arapey averia-sans-gwf averia-serif-gwf b612 beteckna breip cabin cabinsketch
cantarell cardo century-catalogue clear-sans cmu comfortaa comic-neue compagnon courier-prime
croscore crosextra-caladea crosextra-carlito dancingscript dejavu-core dejavu-extra dkg-handwriting
dosis dustin ebgaramond ecolier-court elstob engadget essays1743 eurofurence fantasque-sans fanwood
firacode freefont-ttf georgewilliams gfs-artemisia gfs-didot gfs-neohellenic gnutypewriter go
gotico-antiqua goudybookletter hack havana hermit inconsolata inter isabella jetbrains-mono
johnsmith-induni junction junicode jura karla kaushanscript kristi lato league-mono league-spartan
leckerli-one lemonada liberation2 lindenhill linuxlibertine lobstertwo manrope mmcedar monofur
mononoki national-park ocr-a ocr-b oldstandard open-sans opendin opendyslexic oxygen paratype play
prociono quattrocento quicksand radisnoir roadgeek roboto-slab roboto-unhinted routed-gothic
rufscript sil-andika sil-gentiumplus sil-harmattan sjfonts smc-chilanka smc-gayathri smc-manjari
sora staypuft stix summersby teluguvijayam tiresias tlwg-purisa-ttf tlwg-umpush-ttf train tuffy
urw-base35 vollkorn yanone-kaffeesatz yrsa-rasa
"""
PACKAGES = tuple(f"fonts-{name}" for name in _NAMES.split())

# Faces that hold all characters but draw something else, or nobody could read.
EXCLUDED = (
    "OCRBE",
    "OCRBX",
    "D050000L",
    "StandardSymbolsPS",
    "LinBiolinum_K",
    "Joscelyn",
    "femkeklaver",
)
FAINT = ("Hairline", "Thin")
# Letters whose small form is not a smaller capital: alike, they betray a font of capitals only.
TELLTALE = "ABDEFGHQRT"
SMALL_CAPITALS = 0.55
SIDE = 16


@dataclass(frozen=True)
class Face:
    """A usable font file. group names the families that must stay on one side of a split."""

    path: str
    family: str
    style: str
    sha256: str
    group: str = ""


def usable(folders: Sequence[Path], workers: int) -> list[Face]:
    """Faces with 62 distinct outlines, sorted by file name. Raises DataError without any."""
    for folder in folders:
        if not folder.is_dir():
            raise DataError(f"no font folder {folder}", remedy="check the path given to --fonts")
    files = (path for folder in folders for path in folder.rglob("*.[ot]tf"))
    paths = sorted(set(files), key=lambda path: (path.name, str(path)))
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        looked = pool.map(_look, paths, chunksize=8)
    faces: dict[tuple[str, str], tuple[Face, np.ndarray]] = {}
    for found in looked:
        if found is not None:
            faces.setdefault((found[0].family, found[0].style), found)
    if not faces:
        raise DataError(
            f"no usable font under {', '.join(map(str, folders))}",
            "TrueType or OpenType faces with A-Z, a-z and 0-9",
            "apt install the packages named in tools/glyph_fonts.py",
        )
    return _grouped(list(faces.values()))


def _look(path: Path) -> tuple[Face, np.ndarray] | None:
    """The face and its shapes, or None where it is of no use."""
    if path.name.startswith(EXCLUDED):
        return None
    logging.getLogger("fontTools").setLevel(logging.CRITICAL)  # remarks on harmless blemishes
    try:
        with TTFont(path, lazy=True) as font:
            cmap, names = font.getBestCmap() or {}, font["name"]
            family, style = names.getBestFamilyName(), names.getBestSubFamilyName()
        if not family or any(ord(character) not in cmap for character in CLASSES):
            return None
        if any(word in f"{path.stem} {style}" for word in FAINT):
            return None
        shapes = _shapes(path)
    except (TTLibError, OSError, KeyError, AssertionError):
        return None  # damaged or bitmap-only: any other face will do
    if shapes is None:
        return None
    return Face(str(path), family, style or "", _sha256(path)), shapes


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _shapes(path: Path) -> np.ndarray | None:
    """The characters' ink boxes brought to SIDE x SIDE pixels, as unit vectors without mean
    (62, SIDE * SIDE); None where one is blank, two are equal or small letters are capitals."""
    font = ImageFont.truetype(str(path), 48, layout_engine=ImageFont.Layout.BASIC)
    rows, seen = [], set()
    for character in CLASSES:
        left, top, right, bottom = font.getbbox(character, anchor="ls")
        if right <= left or bottom <= top:
            return None
        image = Image.new("L", (round(right - left), round(bottom - top)))
        ImageDraw.Draw(image).text((-left, -top), character, 255, font, anchor="ls")
        box = image.getbbox()
        if box is None:
            return None
        ink = image.crop(box)
        seen.add((ink.size, ink.tobytes()))
        rows.append(np.asarray(ink.resize((SIDE, SIDE), Image.Resampling.BOX)).ravel())
    shapes = np.stack(rows).astype(np.float32)
    shapes -= shapes.mean(axis=1, keepdims=True)
    shapes /= np.linalg.norm(shapes, axis=1, keepdims=True) + 1e-6
    capital = [CLASSES.index(letter) for letter in TELLTALE]
    small = [CLASSES.index(letter.lower()) for letter in TELLTALE]
    likeness = float((shapes[capital] * shapes[small]).sum(axis=1).mean())
    if len(seen) < len(CLASSES) or likeness > SMALL_CAPITALS:
        return None
    return shapes


def _grouped(found: list[tuple[Face, np.ndarray]], alike: float = 0.92) -> list[Face]:
    """Faces with their groups: families that share their name's first word (DejaVu Sans, DejaVu
    Serif) or hold near-copies of each other's faces (Arimo, Liberation Sans)."""
    flat = np.stack([shapes.ravel() for _, shapes in found]) / np.sqrt(len(CLASSES))
    near = flat @ flat.T > alike
    parent = {face.family: face.family for face, _ in found}

    def root(family: str) -> str:
        while parent[family] != family:
            family = parent[family]
        return family

    def join(one: str, other: str) -> None:
        first, second = sorted((root(one), root(other)))
        parent[second] = first

    by_word: dict[str, str] = {}
    for index, (face, _) in enumerate(found):
        join(face.family, by_word.setdefault(face.family.split()[0].lower(), face.family))
        for other in np.flatnonzero(near[index, :index]):
            join(face.family, found[other][0].family)
    return [
        Face(face.path, face.family, face.style, face.sha256, root(face.family))
        for face, _ in found
    ]


def split(faces: Sequence[Face], share: float, seed: int) -> tuple[list[Face], list[Face]]:
    """Faces to train on, and faces held out: about `share` of the groups, by a hash of the name,
    so that a group's side does not depend on which other fonts are installed."""

    def held(face: Face) -> bool:
        digest = hashlib.sha256(f"{seed}/{face.group}".encode()).digest()
        return int.from_bytes(digest[:4], "big") < share * 2**32

    train = [face for face in faces if not held(face)]
    test = [face for face in faces if held(face)]
    if not train or not test:
        raise DataError(
            f"{len(train)} faces to train on and {len(test)} held out",
            "some of each",
            "install more of the packages named in tools/glyph_fonts.py",
        )
    return train, test
