"""What is asked of a search, and what it works on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

from refq import kernels
from refq.data import Dataset
from refq.data.preprocessing import Rule
from refq.errors import OptionError
from refq.networks.graph import Network
from refq.networks.weights import Weights
from refq.plans.plan import Plan
from refq.schemes import Options
from refq.schemes.statistics import Statistics


@dataclass(frozen=True)
class Settings:
    """What is searched for, and how.

    delta: percentage points below float that `metric` may fall. widths: those to choose from.
    objective, strategy: by name. confidence: of stopping a candidate early.
    images: the first so many of the data; at_once: most images in a batch. budget: bytes of
    activations kept. journal: a file, or None. step: of an energy threshold.
    """

    delta: float
    widths: range
    images: int
    metric: str = "top1"
    strategy: str = "sensitivity"
    objective: str = "memory"
    confidence: float = 0.999
    seed: int = 0
    at_once: int = 32
    budget: int = 1 << 30
    journal: str | None = None
    step: float = 0.05

    def __post_init__(self) -> None:
        if not 0 <= self.delta <= 100:
            raise OptionError(f"--delta {self.delta}", "0 to 100 percentage points")
        if not 0.5 <= self.confidence <= 1:
            raise OptionError(f"--confidence {self.confidence}", "0.5 to 1")
        if self.budget < 0:
            raise OptionError(f"--search-memory {self.budget >> 20}", "0 or more MiB")
        if not 0 < self.step < 1e6:
            raise OptionError(f"--step {self.step}", "a positive number of mean energies")


@dataclass(frozen=True)
class Task:
    """A scheme's plans of a network, and the images that they are tried on.

    statistics: what the scheme wanted to know of calibration images. options: what all plans
    share. dataset: with labels. told: hears of every new trial; noted: of
    what a person should know, in a line.
    """

    network: Network
    weights: Weights
    scheme: ModuleType
    statistics: Statistics | None
    options: Options
    dataset: Dataset
    preprocessing: Rule
    settings: Settings
    ops: ModuleType = kernels
    told: Callable[[Any], object] = lambda trial: None
    noted: Callable[[str], object] = lambda line: None

    def plan(self, **changes: Any) -> Plan:
        """The scheme's plan under other options."""
        options = replace(self.options, **changes)
        made: Plan = self.scheme.plan(self.network, self.weights, self.statistics, options)
        return made
