"""Bit-width search: the fewest bits that keep the accuracy (paper A, sections III-A and IV).

space.py: what may be chosen, and its cost. layerwise.py, sensitivity.py: strategies, which ask a
Judge (judging.py) about lists of widths. It knows more than it measures: bounds.py, racing.py,
prefix.py and journal.py spare it forward passes. subject.py: networks, measured. running.py: all
of it put together.
"""

from refq.search.running import STRATEGIES, Found, Settings, run
from refq.search.space import OBJECTIVES

__all__ = ["OBJECTIVES", "STRATEGIES", "Found", "Settings", "run"]
