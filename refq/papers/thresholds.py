"""Paper B's Fig. 4: thresholds of energy, below which filters have four bits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from refq.errors import OptionError
from refq.papers import complexity
from refq.papers.granularity import error, lost
from refq.papers.study import Study
from refq.plans.cost import mac_complexity
from refq.plans.plan import Plan
from refq.results import charts
from refq.schemes.hybrid_options import HybridOptions
from refq.tables import Column, Row, Table, less

# points that an accepted threshold may lose where no search is asked for
DELTA = 1.0
# times the mean energy of a layer
THRESHOLDS = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
# columns of a table that may have no rows
LOOP = tuple(map(Column, ("step", "threshold", "top-1 error", "saved %", "accepted")))


@dataclass(frozen=True)
class Step:
    """A step of Fig. 4: filters below so many times their layer's mean energy have 4 bits.

    top1_error in percent; saved: percent of the complexity; accepted: within the points that may
    be lost."""

    threshold: float
    top1_error: float
    saved: float
    accepted: bool

    @property
    def verdict(self) -> str:
        return "yes" if self.accepted else "no"


def ladder(study: Study, delta: float) -> list[Step]:
    """Errors and savings over a ladder of thresholds."""
    alpha = error(study, None)
    assert alpha is not None  # asked for with labels alone
    steps = []
    for threshold in THRESHOLDS:
        plan = study.plan("energy", hybrid=HybridOptions(threshold=threshold))
        top1 = error(study, plan)
        assert top1 is not None
        steps.append(Step(threshold, top1, _saved(study, plan), top1 <= alpha + delta))
    return steps


def _saved(study: Study, plan: Plan) -> float:
    """Percent of the complexity at ImageNet's size."""
    amount = sum(mac_complexity(study.at_size, plan).values())
    return 100 * (1 - amount / sum(study.at_size.macs().values()))


def trace_tables(study: Study, delta: float | None) -> Iterator[Table]:
    """A ladder of thresholds on the test images; the loop on the calibration's, where delta points
    may be lost."""
    alpha, asked = error(study, None), DELTA if delta is None else delta
    yield Table(
        "Fig. 4: thresholds of energy",
        [
            {
                "threshold": step.threshold,
                "top-1 error": step.top1_error,
                "lost": less(step.top1_error, alpha),
                "saved %": step.saved,
                "accepted": step.verdict,
            }
            for step in ladder(study, asked)
        ],
        [f"threshold: times the mean energy of a layer; accepted: at most {asked:g} points lost"],
    )
    if delta is not None:
        yield _loop_table(study, delta)


def _loop_table(study: Study, delta: float) -> Table:
    """The loop's steps, and what the last that was kept does to the test images."""
    trace, note = loop(study, delta)
    rows: list[Row] = [
        {
            "step": str(number),
            "threshold": step.threshold,
            "top-1 error": step.top1_error,
            "saved %": step.saved,
            "accepted": step.verdict,
        }
        for number, step in enumerate(trace)
    ]
    kept = [step.threshold for step in trace if step.accepted]
    if kept:
        plan = study.plan("energy", hybrid=HybridOptions(threshold=max(kept)))
        top1, points = lost(study, plan)
        rows.append(
            {
                "step": "evaluated",
                "threshold": max(kept),
                "top-1 error": top1,
                "saved %": _saved(study, plan),
                "accepted": None,
            }
        )
        note += f"; evaluated on the test images it loses {points:.2f} points"
    return Table("Fig. 4: the loop on the calibration images", rows, [note], LOOP)


def loop(study: Study, delta: float) -> tuple[list[Step], str]:
    """The steps of Fig. 4's loop, and how it went; none where no threshold keeps the accuracy."""
    try:
        searched, note = study.search("energy", delta, "threshold")
    except OptionError as reason:
        return [], f"no threshold: {reason}"
    full = sum(study.network.macs().values()) / complexity.MILLION
    trace = [
        Step(
            threshold=trial["setting"],
            top1_error=100 - trial["accuracy"],
            saved=100 * (1 - trial["macs"] / full),
            accepted=trial["accepted"],
        )
        for trial in searched["trials"]
    ]
    return trace, note


def figure(study: Study, delta: float | None) -> dict[str, Any]:
    """Fig. 4: top-1 error against what thresholds save."""
    steps, alpha = ladder(study, 0.0), error(study, None)
    saved = [step.saved for step in steps]
    series = [
        charts.line("test images", saved, [step.top1_error for step in steps]),
        charts.line("float, test images", [min(saved), max(saved)], [alpha, alpha], style="line"),
    ]
    trace = loop(study, delta)[0] if delta is not None else []
    if trace:
        errors = [step.top1_error for step in trace]
        series.append(charts.line("the loop", [step.saved for step in trace], errors))
    return charts.curves(
        "Thresholds of energy (Fig. 4)", "complexity saved, %", "top-1 error, %", series
    )
