"""Bit-width search: the fewest bits that keep the accuracy (paper A, sections III-A and IV).

space.py: what may be chosen, and its cost. layerwise.py, sensitivity.py: strategies, which ask a
Judge (judging.py) about lists of widths. It knows more than it measures: bounds.py, racing.py,
prefix.py and journal.py spare it forward passes. subject.py: networks, measured. running.py: all
of it put together. halving.py: Ristretto's search, of float32 simulations.
"""

from collections.abc import Callable
from types import ModuleType
from typing import Any

from refq.data import Dataset
from refq.data.preprocessing import Preprocessing
from refq.networks.graph import Network
from refq.networks.weights import Weights
from refq.schemes import Options
from refq.schemes.statistics import Statistics
from refq.search import halving, running, tuning
from refq.search.running import Found
from refq.search.settings import Settings
from refq.search.space import OBJECTIVES

# of searches for widths, and all
WIDTHS, TUNED = running.STRATEGIES, tuning.STRATEGIES
STRATEGIES = (*running.STRATEGIES, *tuning.STRATEGIES, "halving")


def run(
    network: Network,
    weights: Weights,
    scheme: ModuleType,
    statistics: Statistics | None,
    options: Options,
    dataset: Dataset,
    preprocessing: Preprocessing,
    settings: Settings,
    ops: ModuleType,
    told: Callable[[Any], object] = lambda trial: None,
) -> Found | tuning.Tuned:
    """The search of a scheme by the strategy that the settings name.

    Raises OptionError where nothing loses so little, or the journal is another search's.
    """
    search: Any = running.run
    if settings.strategy in TUNED:
        search = tuning.run
    elif settings.strategy == "halving":
        search = halving.run
    found: Found | tuning.Tuned = search(
        network, weights, scheme, statistics, options, dataset, preprocessing, settings, ops, told
    )
    return found


__all__ = ["OBJECTIVES", "STRATEGIES", "TUNED", "WIDTHS", "Found", "Settings", "run"]
