"""Small multiples of histograms (paper A, Fig. 1)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from refq.results.drawing import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PANEL_WIDTH, PANEL_HEIGHT = 2.2, 1.55  # inches, with their margins
LEFT, BELOW = 0.75, 0.25
LEAST_SHARE = 1e-8  # of the largest bin, on a logarithmic axis


def draw(figure: Mapping[str, Any]) -> Figure:
    """One panel a histogram, all with the same vertical axis."""
    from matplotlib.ticker import MaxNLocator

    panels = figure["panels"]
    columns = _columns(len(panels))
    rows = -(-len(panels) // columns)
    panel_width, panel_height = PANEL_WIDTH, PANEL_HEIGHT
    if columns < 3:
        panel_width, panel_height = 6.6 / columns, 2.9
    width = LEFT + columns * panel_width + 0.15
    out = style.new(width, BELOW + rows * panel_height, figure["title"])
    low, high = _limits([count for panel in panels for count in panel["counts"]], figure["log"])
    for place, panel in enumerate(panels):
        row, column = divmod(place, columns)
        axes = style.axes_at(
            out,
            LEFT + column * panel_width,
            BELOW + (rows - 1 - row) * panel_height + 0.25,
            panel_width - 0.22,
            panel_height - 0.5,
        )
        if figure["log"]:
            axes.set_yscale("log")
        axes.set_ylim(low, high)
        axes.stairs(
            panel["counts"], panel["edges"], baseline=low, fill=True, color=style.OURS, lw=0
        )
        axes.set_xlim(panel["edges"][0], panel["edges"][-1])
        axes.xaxis.set_major_locator(MaxNLocator(4))
        style.rule(axes, "y")
        name = style.clipped(panel["name"], int(panel_width * 14))
        axes.set_title(name, loc="left", size=style.SMALL + 0.5, pad=4)
        if column:
            axes.tick_params(labelleft=False, left=False)
    style.write_at(out, width / 2, 0.1, figure["x_label"], ha="center", va="bottom")
    middle = BELOW + rows * panel_height / 2
    style.write_at(out, 0.12, middle, figure["y_label"], rotation=90, ha="left", va="center")
    return out


def _columns(count: int) -> int:
    """Up to four side by side, and no row of one left over where it can be helped."""
    if count <= 4:
        return count if count < 4 else 2
    return 3 if count <= 9 else 4


def _limits(counts: list[float], log: bool) -> tuple[float, float]:
    most = max(counts)
    if most == 0:
        return (0.1, 1.0) if log else (0.0, 1.0)
    if not log:
        return 0.0, 1.05 * most
    least = max(min(count for count in counts if count > 0), LEAST_SHARE * most)
    # whole decades, with room above the tallest
    return 10.0 ** math.floor(math.log10(least) - 0.01), 2 * most
