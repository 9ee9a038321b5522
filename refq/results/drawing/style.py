"""What all figures share: colours, sizes, fonts, and the PNG they become."""

from __future__ import annotations

import io
import textwrap
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# told apart by colour-blind readers and in grey (Okabe and Ito), without the yellow
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#333333")
OURS, PAPER, BEHIND, INK, GRID = COLOURS[0], COLOURS[1], "#c9d3dc", "#333333", "#e3e3e3"
DPI = 144
SMALL, NORMAL, LARGE = 7.5, 9, 11  # points

# all that figures rely on, so that a user's matplotlibrc does not change them
RC: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": NORMAL,
    "text.usetex": False,
    "text.color": INK,
    "axes.edgecolor": "#888888",
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
    "axes.formatter.use_locale": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "savefig.bbox": None,
    "savefig.facecolor": "white",
    "savefig.transparent": False,
    "figure.facecolor": "white",
}


@contextmanager
def settings() -> Iterator[None]:
    """RC for what is drawn inside, without the warnings about characters the font lacks."""
    import matplotlib

    with matplotlib.rc_context(RC), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def new(width: float, body: float, title: str) -> Figure:
    """A figure of so many inches with its title above them; no global state keeps it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lines = wrapped(title, int(width * 11))
    height = body + 0.12 + 0.19 * (lines.count("\n") + 1)
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    figure.text(0.12 / width, 1 - 0.1 / height, lines, size=LARGE, weight="bold", va="top")
    return figure


def axes_at(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Axes at a place in inches from the lower left."""
    across, up = figure.get_size_inches()
    return figure.add_axes((left / across, bottom / up, width / across, height / up))


def write_at(figure: Figure, left: float, bottom: float, text: str, **how: Any) -> None:
    """Text at a place in inches from the lower left."""
    across, up = figure.get_size_inches()
    figure.text(left / across, bottom / up, plain(text), **how)


def png(figure: Figure) -> bytes:
    out = io.BytesIO()
    # without its version, matplotlib writes equal bytes for equal figures
    figure.savefig(out, format="png", dpi=DPI, metadata={"Software": None})
    return out.getvalue()


def plain(text: str) -> str:
    """Text that matplotlib shows as it is: a dollar sign starts no formula."""
    return text.replace("$", r"\$")


def wrapped(text: str, most: int) -> str:
    """Text in lines of at most so many characters; a longer word is cut."""
    return plain("\n".join(textwrap.wrap(text, most)))


def clipped(text: str, most: int) -> str:
    """One line of at most so many characters, its middle left out where it is longer."""
    if len(text) > most:
        text = f"{text[: most // 2 - 1]}…{text[-(most - most // 2) :]}"
    return plain(text)


def rule(axes: Axes, axis: Literal["y", "both"]) -> None:
    """Faint lines across, behind the data."""
    axes.grid(True, axis=axis, color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
