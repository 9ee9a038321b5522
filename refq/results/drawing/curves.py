"""Lines and points on one pair of axes, a paper's beside ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from refq.results.drawing import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH, BODY = 7.6, 4.0  # inches
MARKERS = "os^Dvp"  # after as many series as there are colours, the next


def draw(figure: Mapping[str, Any]) -> Figure:
    """Series of one name share a colour; a paper's are dashed, with hollow diamonds."""
    from matplotlib.ticker import MaxNLocator

    series = [each for each in figure["series"] if each["x"]]
    labels = [_label(each) for each in series]
    longest = max(map(len, labels), default=0)
    legend_columns = max(1, min(len(series), int(WIDTH * 12) // (longest + 8)))
    legend_rows = -(-len(series) // legend_columns)
    below = 0.6 + 0.18 * legend_rows
    out = style.new(WIDTH, below + BODY + 0.15, figure["title"])
    axes = style.axes_at(out, 0.75, below, WIDTH - 0.95, BODY)
    names = list(dict.fromkeys(each["name"] for each in series))
    handles = []
    for each in series:
        place = names.index(each["name"])
        (handle,) = axes.plot(each["x"], each["y"], **_look(each, place))
        handles.append(handle)
    if series and all(float(x).is_integer() for each in series for x in each["x"]):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.margins(0.05)
    style.rule(axes, "both")
    axes.set_xlabel(style.plain(figure["x_label"]))
    axes.set_ylabel(style.plain(figure["y_label"]))
    if handles:
        out.legend(
            handles,
            [style.plain(label) for label in labels],
            ncols=legend_columns,
            loc="lower left",
            bbox_to_anchor=(0.6 / WIDTH, 0.0),
        )
    else:
        axes.text(0.5, 0.5, "no points", transform=axes.transAxes, ha="center")
    return out


def _label(series: Mapping[str, Any]) -> str:
    name: str = style.clipped(series["name"], 80)
    paper = series["source"] == "paper" and "paper" not in name.lower()
    # matplotlib leaves out labels that start with an underscore
    return f"{' ' if name.startswith('_') else ''}{name}{', paper' if paper else ''}"


def _look(series: Mapping[str, Any], place: int) -> dict[str, Any]:
    colour = style.COLOURS[place % len(style.COLOURS)]
    paper = series["source"] == "paper"
    look: dict[str, Any] = {
        "color": colour,
        "linewidth": 1.6,
        "markersize": 6.5,
        "markeredgewidth": 1.4,
        "linestyle": "--" if paper else "-",
        "marker": "D" if paper else MARKERS[place // len(style.COLOURS) % len(MARKERS)],
        "markerfacecolor": "white" if paper else colour,
    }
    if series["style"] == "points":
        look["linestyle"] = "none"
    elif series["style"] == "line":
        # a level to compare with stays in the background
        look.update(marker="none", linestyle=":", linewidth=1.4)
    return look
