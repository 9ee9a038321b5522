"""Weights and biases that no usual format holds, named where an error is likely to be theirs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from refq.errors import FormatError
from refq.networks.weights import Weights

# magnitudes of no trained network: formats of 8 to 24 bits that hold them meet no others
GREAT, SMALL = 2.0**31, 2.0**-31
NAMED = 3


@contextmanager
def naming_extremes(weights: Weights) -> Iterator[None]:
    """A FormatError from within tells which arrays of the weights are out of the ordinary."""
    try:
        yield
    except FormatError as error:
        told = extremes(weights)
        if not told:
            raise
        rest = f", and {len(told) - NAMED} more" if len(told) > NAMED else ""
        hint = f"mind {', '.join(told[:NAMED])}{rest}"
        remedy = "; ".join(part for part in (error.remedy, hint) if part)
        raise FormatError(error.found, error.wanted, remedy) from None


def extremes(weights: Weights) -> list[str]:
    """Every array whose greatest magnitude is extreme, with it."""
    told = []
    for name in weights.weight:
        for kind, array in (("weights", weights.weight[name]), ("biases", weights.bias[name])):
            peak = max(float(array.max(initial=0.0)), -float(array.min(initial=0.0)))
            if peak > GREAT or 0 < peak < SMALL:
                told.append(f"the {kind} of {name}, which reach {peak:.3g}")
    return told
