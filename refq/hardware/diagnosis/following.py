"""Which wrong array another one is computed from: what follows from it is no fault of its own."""

from __future__ import annotations

from collections.abc import Mapping

from refq.hardware.diagnosis.outcome import Result
from refq.hardware.golden.arrays import TENSOR
from refq.hardware.golden.manifest import Layer

# stages in order of computation; sums of parts come together
RANK = {
    "operand": 0,
    "accumulator": 1,
    "base_sum": 1,
    "residual_sum": 1,
    "sum": 2,
    "rounded": 3,
    "code": 4,
    "value": 5,
    "": 6,
}


def upstream(
    result: Result, results: Mapping[str, Result], layers: Mapping[str, Layer]
) -> str | None:
    """The wrong array that this one is computed from, of those that the device wrote: the stage
    before, or what the layer reads. One that is equal excuses nothing below it. results: of the
    arrays before, by name."""
    before = _last(results, result.layer, RANK.get(result.stage, 0))
    if before:
        return next((each.name for each in before if each.miscomputed), None)
    parameters = [
        each.name
        for each in results.values()
        if each.layer == result.layer and each.array.kind != TENSOR and each.miscomputed
    ]
    if parameters or result.array.kind != TENSOR:
        return parameters[0] if parameters else None
    return _wrong_input(result.layer, results, layers, set())


def _last(results: Mapping[str, Result], layer: str, end: int) -> list[Result]:
    """The layer's tensors of the last stage that the device wrote, before a rank."""
    written = [
        each
        for each in results.values()
        if each.layer == layer and each.array.kind == TENSOR and RANK.get(each.stage, 0) < end
    ]
    top = max((RANK.get(each.stage, 0) for each in written), default=0)
    return [each for each in written if RANK.get(each.stage, 0) == top]


def _wrong_input(
    layer: str, results: Mapping[str, Result], layers: Mapping[str, Layer], seen: set[str]
) -> str | None:
    for above in layers[layer].inputs if layer in layers else ():
        if above in seen:
            continue
        seen.add(above)
        written = _last(results, above, len(RANK))
        wrong = [each.name for each in written if each.miscomputed]
        if wrong:
            return wrong[0]
        further = None if written else _wrong_input(above, results, layers, seen)
        if further:
            return further
    return None
