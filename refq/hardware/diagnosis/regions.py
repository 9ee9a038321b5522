"""Where in an array the wrong words lie, if they keep to a part of it."""

from __future__ import annotations

import numpy as np

from refq.hardware.diagnosis.case import Case

NAMES = {
    "n": "image",
    "c": "channel",
    "y": "row",
    "x": "column",
    "o": "output",
    "i": "input channel",
    "ky": "kernel row",
    "kx": "kernel column",
}
LISTED = 4
# of wrong words, how many tell a pattern
ENOUGH = 3
STRIDES = range(2, 65)


def regions(case: Case) -> list[str]:
    """What confines the wrong words, in words: images, channels, rows, borders, lanes, an end."""
    source = case.source(case.wrong)
    index = np.unravel_index(source, case.array.shape) if case.array.shape else ()
    told = []
    for axis, (letter, length) in enumerate(zip(case.array.axes, case.array.shape)):
        if length > 1:
            told += _along(index[axis], length, NAMES.get(letter, f"index {letter}"))
    told += _border(case, index)
    told += _in_file(case)
    return told


def _along(places: np.ndarray, length: int, name: str) -> list[str]:
    """Which images, channels, rows or columns: if they are few, at the ends, or evenly spaced."""
    hit = np.flatnonzero(np.bincount(places, minlength=length))
    of = f"of {length}"
    if hit.size == length:
        return []
    if name in ("row", "column") and set(hit) <= {0, length - 1} and places.size >= ENOUGH:
        return [f"only {_listed(hit, name)} {of} (padding?)"]
    if hit.size <= LISTED and 2 * hit.size <= length:
        return [f"only {_listed(hit, name)} {of}"]
    steps = np.unique(np.diff(hit))
    if steps.size == 1 and steps[0] == 1 and 4 * hit.size <= 3 * length:
        return [f"only {name}s {hit[0]} to {hit[-1]} {of}"]
    if steps.size == 1 and steps[0] > 1 and (hit.size + 1) * steps[0] > length:
        return [f"only one {name} in {steps[0]}, from {hit[0]} on"]
    return []


def _listed(hit: np.ndarray, name: str) -> str:
    numbers = [str(each) for each in hit]
    if len(numbers) == 1:
        return f"{name} {numbers[0]}"
    return f"{name}s {', '.join(numbers[:-1])} and {numbers[-1]}"


def _border(case: Case, index: tuple[np.ndarray, ...]) -> list[str]:
    """Rows or columns at the edge, but neither alone."""
    if case.array.kind != "tensor" or len(case.array.shape) != 4 or case.wrong.size < ENOUGH:
        return []
    height, width = case.array.shape[2:]
    if min(height, width) < 3:
        return []
    y, x = index[2], index[3]
    rows, columns = (y == 0) | (y == height - 1), (x == 0) | (x == width - 1)
    if (rows | columns).all() and not rows.all() and not columns.all():
        return ["only the outermost rows and columns (padding?)"]
    return []


def _in_file(case: Case) -> list[str]:
    """The end of the file, or one lane of it."""
    wrong, size = case.wrong, case.compared
    if wrong.size < ENOUGH or wrong.size == size:
        return []
    if wrong[0] > 0 and wrong[-1] == size - 1 and wrong[-1] - wrong[0] + 1 == wrong.size:
        return [f"every word from word {wrong[0]} of the file on"]
    for stride in STRIDES:
        lane = wrong % stride
        if (lane == lane[0]).all() and wrong.size * stride * 2 > size:
            return [f"only words {lane[0]} of every {stride} in the file: one lane"]
    return []
