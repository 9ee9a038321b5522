"""Dividing stored bits among layers: the cross-layer rule of Lin et al. (arXiv 1511.06393).

Noise-to-signal ratios of layers add up at the output, and each is 10**(-kappa * b / 10) at b
bits. The least sum at a given number of stored bits has
b_i - b_j = 10 log10(rho_j / rho_i) / kappa with rho_i values in layer i; here in whole bits.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from refq.errors import OptionError

# noise is counted in units of 2**-52, so that sums are exact and equal ones are equal
UNIT = 2.0**52


def noise(bits: int, kappa: float) -> int:
    """1 / SQNR of a layer at so many bits, in units of 2**-52. kappa: dB a bit."""
    return round(UNIT * 10 ** (-kappa * bits / 10))


def allocate(
    counts: Sequence[int], average: int, kappa: float, least: Sequence[int], most: int
) -> list[int]:
    """Bits of each layer: the least modelled noise that `average` bits a value allow, and of
    equals the fewest stored bits. Exact for whole bits, not a rounded real solution.

    counts: values in each layer, 1 or more. least: fewest bits of each; most: the most of any.
    Raises OptionError where the fewest bits already take more.
    """
    budget = average * sum(counts)
    spare = budget - sum(low * count for low, count in zip(least, counts))
    if spare < 0:
        raise OptionError(f"{average} bits a value on average", f"{max(least)} or more")
    table = [noise(bits, kappa) for bits in range(most + 1)]
    # one bit more in one layer, the best bargain first
    gains = [
        ((table[bits] - table[bits + 1]) / count, layer)
        for layer, (low, count) in enumerate(zip(least, counts))
        for bits in range(low, most)
    ]
    widths, price = list(least), 0.0
    for gain, layer in sorted(gains, key=lambda pair: -pair[0]):
        if counts[layer] <= spare:
            spare -= counts[layer]
            widths[layer] += 1
        else:
            # the first bargain that is too large: what a stored bit is worth here
            price = price or gain
    if not price:
        return widths
    return _best(counts, budget, table, least, widths, price)


def _best(
    counts: Sequence[int],
    budget: int,
    table: Sequence[int],
    least: Sequence[int],
    start: Sequence[int],
    price: float,
) -> list[int]:
    """The exact optimum, from a good start and the price of a stored bit.

    At that price every layer has a cheapest width. Noise + price * bits is the sum of the
    cheapest plus what each layer pays more; an allocation in which these extras exceed `room`
    is worse than the start. Layer by layer, all others are kept unless one that stores no more
    bits has no more noise. Networks take milliseconds, 100 layers of random sizes seconds.
    """
    costs = [
        [table[bits] + price * bits * count for bits in range(low, len(table))]
        for low, count in zip(least, counts)
    ]
    cheapest = [min(cost) for cost in costs]
    room = sum(table[bits] for bits in start) + price * budget - sum(cheapest)
    room += 1e-9 * price * budget  # rounding of what is no integer
    used, noises = np.zeros(1, np.int64), np.zeros(1, np.int64)
    chosen = np.zeros((1, len(counts)), np.int8)
    floor, rest = 0.0, sum(low * count for low, count in zip(least, counts))
    # layers of equal size in a row: most of their mixtures are no better than another's
    for layer in sorted(range(len(counts)), key=lambda each: -counts[each]):
        count, cost = counts[layer], costs[layer]
        floor += cheapest[layer]
        rest -= least[layer] * count
        widths = np.flatnonzero(np.array(cost) - cheapest[layer] <= room) + least[layer]
        grown = np.add.outer(widths * count, used).ravel()
        noisier = np.add.outer(np.array(table)[widths], noises).ravel()
        fits = (grown <= budget - rest) & (noisier + price * grown - floor <= room)
        order = np.flatnonzero(fits)
        order = order[np.lexsort((noisier[order], grown[order]))]
        lowest = np.minimum.accumulate(noisier[order])
        order = order[np.concatenate([[True], lowest[1:] < lowest[:-1]])]
        width, before = np.divmod(order, len(used))
        used, noises, chosen = grown[order], noisier[order], chosen[before]
        chosen[:, layer] = widths[width]
    best: list[int] = chosen[-1].tolist()
    return best
