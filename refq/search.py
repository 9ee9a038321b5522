"""Bit-width search over Plans (paper A, sections III-A and IV)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from refq.errors import OptionError


@dataclass(frozen=True)
class Trial:
    """One evaluation: the widths tried, and the accuracy in percent."""

    widths: Mapping[str, int]
    accuracy: float
    accepted: bool


def smallest_width(
    accuracy: Callable[[int], float], floor: float, widths: Sequence[int]
) -> tuple[int, tuple[Trial, ...]]:
    """Smallest q, descending through `widths`, before the accuracy first falls below the floor.

    This is the paper's q' with A - A' <= delta. Raises OptionError where no width reaches it.
    """
    trials: list[Trial] = []
    for width in widths:
        reached = accuracy(width)
        trials.append(Trial({"all": width}, reached, reached >= floor))
        if reached < floor:
            break
    accepted = [trial.widths["all"] for trial in trials if trial.accepted]
    if not accepted:
        raise OptionError(
            f"accuracy {trials[0].accuracy:.2f} % at {widths[0]} bits",
            f"at least {floor:.2f} %",
            "allow a larger --delta, or give --frac-act",
        )
    return accepted[-1], tuple(trials)


def layer_by_layer(
    accuracy: Callable[[Mapping[str, int]], float],
    floor: float,
    layers: Sequence[str],
    start: int,
    least: int = 1,
) -> tuple[dict[str, int], tuple[Trial, ...]]:
    """The paper's exhaustive search for E_i: layer after layer, the fewest bits that keep the
    whole network's accuracy at or above the floor, the layers before it already narrowed.

    Returns (widths, every trial). Raises OptionError where the starting width misses the floor.
    """
    widths = dict.fromkeys(layers, start)
    reached = accuracy(widths)
    trials = [Trial(dict(widths), reached, reached >= floor)]
    if reached < floor:
        raise OptionError(
            f"accuracy {reached:.2f} % with {start} bits in every layer",
            f"at least {floor:.2f} %",
            "allow a larger --delta",
        )
    for layer in layers:
        while widths[layer] > least:
            tried = {**widths, layer: widths[layer] - 1}
            reached = accuracy(tried)
            trials.append(Trial(tried, reached, reached >= floor))
            if reached < floor:
                break
            widths = tried
    return widths, tuple(trials)
