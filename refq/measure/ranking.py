"""How often the right class comes first, or among the first five."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from refq.engine.forward import Run, forward, ready
from refq.errors import FormatError
from refq.measure.streaming import Source
from refq.plans.plan import Plan


@dataclass(frozen=True)
class Ranking:
    """How often the right class came first or among the first five."""

    images: int = 0
    top1: int = 0
    top5: int = 0

    def percent(self) -> dict[str, float | None]:
        if not self.images:
            return {"top1": None, "top5": None}
        return {"top1": 100 * self.top1 / self.images, "top5": 100 * self.top5 / self.images}

    def plus(self, outputs: np.ndarray, classes: np.ndarray) -> Ranking:
        """Outputs (N, classes) or (N, classes, 1, ...) against the right classes (N,); of equals,
        the lower class wins.

        Raises FormatError for outputs that cannot be ranked.
        """
        outputs = of_classes(outputs)
        unusable = int((~np.isfinite(outputs)).sum())
        if unusable:
            raise FormatError(
                f"{unusable} NaN or infinite outputs",
                "finite ones",
                "check the weights and the preprocessing",
            )
        right = outputs[np.arange(len(classes)), classes][:, None]
        lower = np.arange(outputs.shape[1])[None, :] < classes[:, None]
        place = ((outputs > right) | ((outputs == right) & lower)).sum(axis=1)
        return Ranking(
            self.images + len(classes),
            self.top1 + int((place < 1).sum()),
            self.top5 + int((place < 5).sum()),
        )


def of_classes(outputs: np.ndarray) -> np.ndarray:
    """A classifier's outputs as (N, classes)."""
    return outputs.reshape(len(outputs), -1)


def rank(source: Source, plan: Plan | None) -> Ranking:
    """Accuracy alone, for searches. Batches without labels raise ValueError."""
    weights = ready(source.network, source.weights, plan, source.ops)
    result = Ranking()
    for images, labels in source.stream(plan.scheme if plan else "float"):
        if labels is None:
            raise ValueError("ranking needs labels")
        run = Run(first_image=source.first_image + result.images)
        outputs = forward(source.network, weights, plan, images, source.ops, run)
        result = result.plus(outputs, labels)
    return result
