"""A wrong array, guesses at what was done to it, and how much each of them explains.

A guess predicts the device's words from golden data. It is tried on a few thousand words first; one
that fits there is tried on all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from refq.hardware.files.layouts import Layout
from refq.hardware.files.words import Packing
from refq.hardware.golden.arrays import GoldenArray
from refq.hardware.golden.reading import GoldenSet

SAMPLE = 2048
AT_A_TIME = 1 << 20
# guesses that fit are told up to this number
MOST_FITS = 4
# of the wrong words, what a guess has to explain to be told
WORTH_TELLING = 0.5


@dataclass(frozen=True)
class Case:
    """An array that differs.

    layer: whose stage the device wrote; the array may be another layer's under a name of its own.
    golden: int64, the array of its logical shape. expected: the same (words,) in the order of the
    device's files, zeros filling up tiles; found: the device's words, as many as there are. wrong:
    int64, places of words that differ; unknown: of words that cannot be compared. text: whether
    words lie in lines of text, as packing says. sibling: codes of another golden array by its name,
    int64 of its shape; None where the set has none.
    """

    set: GoldenSet
    array: GoldenArray
    layer: str
    layout: Layout
    packing: Packing
    text: bool
    golden: np.ndarray
    expected: np.ndarray
    found: np.ndarray
    wrong: np.ndarray
    unknown: np.ndarray
    sibling: Callable[[str], np.ndarray | None]

    @property
    def compared(self) -> int:
        return min(self.expected.size, self.found.size)

    def source(self, places: np.ndarray) -> np.ndarray:
        """Elements of the logical array in C order, -1 for fill."""
        return self.layout.source(places, self.array.shape)

    def aligned(self, codes: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Elements of an array of the same logical shape at places of the file."""
        return codes.reshape(-1)[np.maximum(self.source(places), 0)]


@dataclass(frozen=True)
class Guess:
    """name: a stable key. text: what it says of the device. at: places (k,) -> the words it
    predicts there. whole: whether it is about all of the file's words, fill included."""

    name: str
    text: str
    at: Callable[[np.ndarray], np.ndarray]
    whole: bool = False


@dataclass(frozen=True)
class Explanation:
    """explained: how many of the wrong words the guess accounts for, less right words that it
    would make wrong; of: the wrong words."""

    name: str
    text: str
    explained: int
    of: int

    @property
    def exact(self) -> bool:
        return self.explained == self.of


Hypothesis = Callable[[Case], Iterator[Guess]]


def explain(case: Case, hypotheses: Iterable[Hypothesis]) -> list[Explanation]:
    """The guesses that explain every word, in the order of the hypotheses; without one, the best
    that explains half of the wrong words or more; else nothing."""
    fits: list[Explanation] = []
    best: tuple[float, Guess] | None = None
    total = case.wrong.size
    sample, weight = _sample(case)
    for hypothesis in hypotheses:
        for guess in hypothesis(case):
            # several changes are no better an explanation than one of them
            if any(fit.text in guess.text for fit in fits):
                continue
            missed = guess.at(sample) != case.found[sample]
            left = float(weight[missed].sum())
            if not missed.any():
                kept = _missed(case, guess)
                if not kept:
                    fits.append(Explanation(guess.name, guess.text, total, total))
                    if len(fits) == MOST_FITS:
                        return fits
                left = float(kept)
            if best is None or left < best[0]:
                best = (left, guess)
    if fits or best is None or best[0] > (1 - WORTH_TELLING) * total:
        return fits
    guess = best[1]
    explained = total - _missed(case, guess)
    if explained < WORTH_TELLING * total:
        return []
    return [Explanation(guess.name, guess.text, explained, total)]


def _sample(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """(places of wrong words and of right ones, how many words each stands for)."""
    wrong = _spread(case.wrong)
    right = _spread(np.arange(case.compared, dtype=np.int64))
    right = right[~np.isin(right, wrong) & (case.source(right) >= 0)]
    right = right[~np.isin(right, case.unknown)]
    right = right[case.expected[right] == case.found[right]]
    of_right = max(0, case.compared - case.wrong.size) / max(1, right.size)
    weight = np.repeat([case.wrong.size / max(1, wrong.size), of_right], [wrong.size, right.size])
    return np.concatenate([wrong, right]), weight


def _spread(places: np.ndarray) -> np.ndarray:
    """The first hundred and others evenly from the rest, about SAMPLE in all."""
    if places.size <= SAMPLE:
        return places
    return np.unique(
        np.concatenate([places[:100], places[np.linspace(0, places.size - 1, SAMPLE).astype(int)]])
    )


def _missed(case: Case, guess: Guess) -> int:
    """Words that are not as guessed, of those that can be compared."""
    missed, end = 0, case.found.size if guess.whole else case.compared
    for begin in range(0, end, AT_A_TIME):
        places = np.arange(begin, min(begin + AT_A_TIME, end))
        off = places[guess.at(places) != case.found[places]]
        if off.size and not guess.whole:
            off = off[case.source(off) >= 0]
        missed += int((~np.isin(off, case.unknown)).sum())
    return missed
