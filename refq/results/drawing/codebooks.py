"""Codebooks: each value a tick, a paper's beside ours, the data's histogram behind them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from refq.results.drawing import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 8.6  # inches
ROW, PAIR = 1.0, 1.25  # a row with its margins, of one codebook or of two
LEFT, BELOW = 0.65, 0.4
DECADES = 5  # of density that the background spans


def draw(figure: Mapping[str, Any]) -> Figure:
    """One row a codebook, each with its own range."""
    panels = figure["panels"]
    behind = any(panel["counts"] for panel in panels)
    label = figure["x_label"] or "value code"
    if behind:
        label += f"  (grey: density of the data, logarithmic, {DECADES} decades)"
    row = PAIR if any(panel["paper"] for panel in panels) else ROW
    out = style.new(WIDTH, BELOW + len(panels) * row, figure["title"])
    for place, panel in enumerate(panels):
        bottom = BELOW + (len(panels) - 1 - place) * row + 0.2
        axes = style.axes_at(out, LEFT, bottom, WIDTH - LEFT - 0.2, row - 0.5)
        _row(axes, panel)
    style.write_at(out, WIDTH / 2, 0.08, label, ha="center", va="bottom")
    return out


def _row(axes: Axes, panel: Mapping[str, Any]) -> None:
    from matplotlib.ticker import MaxNLocator

    bands = [("refq", panel["values"], style.OURS)]
    if panel["paper"]:
        bands.append(("paper", panel["paper"], style.PAPER))
    if panel["counts"]:
        axes.stairs(_heights(panel), panel["edges"], fill=True, color=style.BEHIND, lw=0)
    share = 1 / len(bands)
    middles = []
    for number, (_, values, colour) in enumerate(bands):
        top = 1 - number * share
        axes.vlines(values, top - 0.88 * share, top - 0.12 * share, color=colour, lw=1.3)
        middles.append(top - share / 2)
    axes.set_ylim(0, 1)
    axes.set_yticks(middles, [name for name, _, _ in bands])
    for tick, (_, _, colour) in zip(axes.get_yticklabels(), bands, strict=True):
        tick.set_color(colour)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    everything = [*panel["values"], *panel["paper"], *panel["edges"]]
    low, high = min(everything), max(everything)
    room = 0.01 * (high - low) or 0.5
    axes.set_xlim(low - room, high + room)
    axes.xaxis.set_major_locator(MaxNLocator(10, integer=True))
    distinct = len(set(panel["values"]))
    name = style.clipped(panel["name"], 80)
    axes.set_title(
        f"{name}: {distinct} value{'s' if distinct > 1 else ''}",
        loc="left",
        size=style.SMALL + 0.5,
        pad=4,
    )


def _heights(panel: Mapping[str, Any]) -> np.ndarray:
    """float64 (n,) of 0 to 1: the density's logarithm below the densest bin's."""
    density = np.asarray(panel["counts"], np.float64) / np.diff(panel["edges"])
    if not density.max() > 0:
        return np.zeros(len(density))
    with np.errstate(divide="ignore"):
        levels = np.log10(density / density.max())
    return np.clip(1 + levels / DECADES, 0, 1)
