"""What judged lists of widths tell about others, if fewer bits are never better.

The assumption: accuracy does not fall where every width stays or grows. It holds for noise as a
whole, not for every image, so a list accepted on its strength alone is never an answer: answers
have been measured on all images.
"""

from __future__ import annotations

from dataclasses import dataclass

from refq.search.space import Widths


@dataclass(frozen=True)
class Bounds:
    """Lists that were measured: the narrowest that passed, the widest that failed."""

    passed: tuple[Widths, ...] = ()
    failed: tuple[Widths, ...] = ()

    def verdict(self, widths: Widths) -> bool | None:
        """Passes or fails with one that was measured; None where it must be measured itself."""
        if any(_within(known, widths) for known in self.passed):
            return True
        if any(_within(widths, known) for known in self.failed):
            return False
        return None

    def plus(self, widths: Widths, passes: bool) -> Bounds:
        """With one more; lists that it says more than are forgotten, and a list that passes takes
        back the failures of wider ones."""
        if passes:
            kept = tuple(known for known in self.passed if not _within(widths, known))
            failed = tuple(known for known in self.failed if not _within(widths, known))
            return Bounds((*kept, widths), failed)
        kept = tuple(known for known in self.failed if not _within(known, widths))
        return Bounds(self.passed, (*kept, widths))


def _within(low: Widths, high: Widths) -> bool:
    return all(a <= b for a, b in zip(low, high, strict=True))
