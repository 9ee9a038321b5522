"""Right words in wrong places: layouts, lanes, bytes, images, offsets."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np

from refq.hardware.diagnosis.case import Case, Guess
from refq.hardware.files.layouts import NCHW, NHWC, TILED, Layout
from refq.hardware.files.words import (
    BIG,
    HIGH_FIRST,
    LITTLE,
    LOW_FIRST,
    Packing,
    from_hex,
    hex_lines,
)

TILES = (4, 8, 16, 32)
LANES = range(2, 65)
# words of an image that tell which image it is
TOLD_BY = 4096


def layouts(case: Case) -> Iterator[Guess]:
    """Another layout than the files were read with, as long as it has as many words."""
    shape, flat = case.array.shape, case.golden.reshape(-1)
    candidates = [Layout(NCHW), Layout(NHWC), *(Layout(TILED, tile) for tile in TILES)]
    for layout in candidates:
        if layout.words(shape) != case.found.size or len(shape) < 2:
            continue
        if layout.stored_shape(shape) == case.layout.stored_shape(shape):
            continue

        def at(places: np.ndarray, layout: Layout = layout) -> np.ndarray:
            source = layout.source(places, shape)
            # what fills up a tile is the device's own affair
            return np.where(source >= 0, flat[np.maximum(source, 0)], case.found[places])

        text = f"layout: words lie in {layout}, read as {case.layout}"
        yield Guess("layout", text, at, whole=True)


def axes(case: Case) -> Iterator[Guess]:
    """The array's axes in any other order."""
    shape, names = case.array.shape, case.array.axes
    if len(shape) < 2 or len(shape) > 5 or math.prod(shape) != case.found.size:
        return
    long = [axis for axis in range(len(shape)) if shape[axis] > 1]
    # layouts have told the first of these already
    last = (0, *range(2, len(shape)), 1)
    seen = {tuple(axis for axis in last if shape[axis] > 1), tuple(long)}
    for order in itertools.permutations(range(len(shape))):
        moved = tuple(axis for axis in order if shape[axis] > 1)
        if moved in seen:
            continue
        seen.add(moved)
        turned = case.golden.transpose(order)

        def at(places: np.ndarray, turned: np.ndarray = turned) -> np.ndarray:
            return turned[np.unravel_index(places, turned.shape)]

        spelled = " ".join(names[axis] for axis in order)
        kind = "transposed: " if len(long) == 2 else ""
        text = f"layout: {kind}words lie in the order {spelled}, read as {case.layout}"
        yield Guess("layout", text, at, whole=True)


def images(case: Case) -> Iterator[Guess]:
    """The images of a batch in another order."""
    count = case.array.shape[0]
    if case.array.kind != "tensor" or count < 2 or case.found.size != case.expected.size:
        return
    size = case.expected.size // count
    places = np.unique(np.linspace(0, size - 1, min(size, TOLD_BY)).astype(np.int64))
    places = places[case.source(places) >= 0]
    wanted = case.expected.reshape(count, size)
    told = {wanted[i, places].tobytes(): i for i in reversed(range(count))}
    came = [told.get(row[places].tobytes()) for row in case.found.reshape(count, size)]
    order = np.array([-1 if each is None else each for each in came])
    if (order < 0).any() or (order == np.arange(count)).all():
        return

    def at(places: np.ndarray) -> np.ndarray:
        return wanted[order[places // size], places % size]

    listed = ", ".join(map(str, order[:8])) + (", ..." if count > 8 else "")
    yield Guess("images", f"images in another order: the device's are the golden {listed}", at)


def line_packing(case: Case) -> Iterator[Guess]:
    """Lines of text whose bytes, or lanes, are in the other order."""
    told, bits, signed = case.packing, case.array.bits, case.array.signed
    if not case.text:
        return
    other_bytes = LITTLE if told.byte_order == BIG else BIG
    other_lanes = HIGH_FIRST if told.lane_order == LOW_FIRST else LOW_FIRST
    changes = [
        ("byte order", other_bytes, Packing(told.lanes, told.lane_order, other_bytes)),
        ("lane order", other_lanes, Packing(told.lanes, other_lanes, told.byte_order)),
        (
            "byte and lane order",
            f"{other_bytes}, {other_lanes}",
            Packing(told.lanes, other_lanes, other_bytes),
        ),
    ]
    for what, name, packing in changes:
        if packing.lane_order != told.lane_order and told.lanes == 1:
            continue
        if told.lanes > 1 and packing.digits(bits) != told.digits(bits):
            continue

        def at(places: np.ndarray, packing: Packing = packing) -> np.ndarray:
            lanes = told.lanes
            lines = np.unique(places // lanes)
            inside = lines[:, None] * lanes + np.arange(lanes)
            codes = np.where(
                inside < case.expected.size,
                case.expected[np.minimum(inside, case.expected.size - 1)],
                0,
            )
            text = hex_lines(codes, bits, packing)[:, :-1]
            short = told.lanes * told.digits(bits) - text.shape[1]
            if short > 0:
                text = np.pad(text, ((0, 0), (short, 0)), constant_values=ord("0"))
            words = from_hex(text, bits, signed, told)
            if words is None:
                return case.expected[places]
            row = np.searchsorted(lines, places // lanes)
            return words.codes.reshape(-1, lanes)[row, places % lanes]

        short_name = "byte-order" if "byte" in what else "lane-order"
        yield Guess(short_name, f"{what}: lines are {name}", at)


def word_bytes(case: Case) -> Iterator[Guess]:
    """Bytes of binary words in the other order."""
    if case.text:
        return
    for size in (2, 4, 8):
        if case.array.bits > 8 * size:
            continue
        for signed in (True, False):
            kind = np.dtype(f"{'i' if signed else 'u'}{size}")

            def at(places: np.ndarray, kind: np.dtype = kind) -> np.ndarray:
                return case.expected[places].astype(kind).byteswap().astype(np.int64)

            yield Guess("byte-order", f"byte order: words of {size} bytes are swapped", at)


def lanes(case: Case) -> Iterator[Guess]:
    """Words in groups, each group from its last to its first."""
    size = case.expected.size
    for count in LANES:

        def at(places: np.ndarray, count: int = count) -> np.ndarray:
            source = places - 2 * (places % count) + count - 1
            return np.where(source < size, case.expected[np.minimum(source, size - 1)], 0)

        if count <= size:
            yield Guess("lane-order", f"lane order: every {count} words are reversed", at)


def offsets(case: Case) -> Iterator[Guess]:
    """Every word some places late or early. What comes in at the end is not predicted."""
    size = case.expected.size
    steps = {1, 2, 3, 4, case.packing.lanes}
    stored = case.layout.stored_shape(case.array.shape)
    steps |= {math.prod(stored[axis:]) for axis in range(1, len(stored))}
    for step in sorted(steps):
        for late in (step, -step):
            if step >= size // 2:
                continue

            def at(places: np.ndarray, late: int = late) -> np.ndarray:
                source = places - late
                inside = (source >= 0) & (source < size)
                known = case.expected[np.clip(source, 0, size - 1)]
                return np.where(inside, known, case.found[places])

            words = "1 word" if step == 1 else f"{step} words"
            yield Guess(
                "offset", f"offset: words come {words} {'late' if late > 0 else 'early'}", at
            )
