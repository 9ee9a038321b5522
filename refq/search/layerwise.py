"""The paper's exhaustive search for E_i; with a single layer, for its q' of the whole network."""

from __future__ import annotations

from refq.search.judging import Judge
from refq.search.space import Space, Widths, changed


def search(space: Space, judge: Judge) -> Widths:
    """Layer after layer, the fewest bits that keep the whole network's accuracy at or above the
    floor, the layers before it already narrowed."""
    widths = space.top
    for layer in range(len(widths)):
        while widths[layer] > space.least and judge(changed(widths, layer, -1)):
            widths = changed(widths, layer, -1)
    return widths
