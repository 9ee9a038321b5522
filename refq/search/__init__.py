"""Bit-width search: the fewest bits that keep the accuracy (paper A, sections III-A and IV).

space.py: what may be chosen, and its cost. layerwise.py, sensitivity.py: strategies, which ask a
Judge (judging.py) about lists of widths. It knows more than it measures: bounds.py, racing.py,
prefix.py and journal.py spare it forward passes. subject.py: networks, measured. running.py: all
of it put together. task.py: what is asked. halving.py: Ristretto's search, of float32 simulations.
"""

from typing import Any

from refq.search import halving, running, tuning
from refq.search.running import Found
from refq.search.space import OBJECTIVES
from refq.search.task import Settings, Task

# of searches for widths, and all
WIDTHS, TUNED = running.STRATEGIES, tuning.STRATEGIES
STRATEGIES = (*running.STRATEGIES, *tuning.STRATEGIES, "halving")
# what each reads of Settings, and what of a scheme's options it finds
SHARED = {"delta", "images", "metric", "strategy", "journal"}
READS = {
    **{name: {*SHARED, "widths", "objective", "confidence", "budget", "seed"} for name in WIDTHS},
    "threshold": {*SHARED, "budget", "step"},
    "bisection": {*SHARED, "budget", "step"},
    "clusters": {*SHARED, "budget"},
    "halving": {*SHARED, "confidence", "seed"},
}
FINDS = {
    "threshold": {"threshold", "low_share", "experiment"},
    "bisection": {"threshold", "low_share", "experiment"},
    "halving": {"bits_wt", "bits_fc"},
}


def run(task: Task) -> Found | tuning.Tuned:
    """The search of a scheme by the strategy that the settings name.

    Raises OptionError where nothing loses so little, or the journal is another search's.
    """
    search: Any = running.run
    if task.settings.strategy in TUNED:
        search = tuning.run
    elif task.settings.strategy == "halving":
        search = halving.run
    found: Found | tuning.Tuned = search(task)
    return found


__all__ = [
    "FINDS",
    "OBJECTIVES",
    "READS",
    "STRATEGIES",
    "TUNED",
    "WIDTHS",
    "Found",
    "Settings",
    "Task",
    "run",
]
