"""A search led by how much noise each layer's width makes at the output.

Noises of layers add up, nearly, as those of independent roundings do (Lin, Talathi, Annapureddy,
arXiv 1511.06393, eq. 6). So the cheapest list of a total noise is a matter of each layer for
itself, given the price of noise (Lagrange; Everett 1963): prices make a family of lists from wide
to narrow. The widest family member that fails is found by bisection, with real accuracies; from the
last one that passes, single widths are lowered, and pairs exchanged, as far as accuracy allows.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from refq.search.judging import Judge
from refq.search.space import Space, Widths, changed

# noise beyond the signal's own energy is beyond use: narrower widths are not measured
LOUD = 1.0
# noise of one bit less, where it has not been measured
PER_BIT = 4.0
# exchanges that may fail in a row
PATIENCE = 6
# How much noisier than the quietest of the family that failed a list may be: were the model exact,
# none that is noisier could pass. In truth some do by luck, on the images searched on alone.
SLACK = 2.0

Noise = Callable[[int, int], float]


def search(space: Space, judge: Judge) -> Widths:
    noise = measured(space, judge)
    family = descent(space, noise)
    passes = bisected(family, judge)
    limit = SLACK * total(noise, family[passes + 1]) if passes + 1 < len(family) else math.inf
    # members that fail before narrower ones pass are common on few images
    for number in range(passes + 2, len(family)):
        if total(noise, family[number]) <= limit and judge.measure(family[number]):
            passes = number
    return refined(space, judge, noise, family[passes], limit)


def measured(space: Space, judge: Judge) -> Noise:
    """noise(layer, width) of every layer, from its top down until it is as loud as the signal;
    below, four times as much a bit."""
    table: dict[tuple[int, int], float] = {}
    for layer, top in enumerate(space.top):
        table[layer, top] = known = 0.0
        for width in range(top - 1, space.least - 1, -1):
            known = known * PER_BIT if known > LOUD else judge.noise(layer, width)
            table[layer, width] = known
    return lambda layer, width: table[layer, width]


def total(noise: Noise, widths: Widths) -> float:
    return sum(noise(layer, width) for layer, width in enumerate(widths))


def descent(space: Space, noise: Noise) -> list[Widths]:
    """Lists from the top to the least, each the cheapest of its noise among all that one price of
    noise can give: steps along every layer's convex hull of (cost, noise), cheapest noise first."""
    steps: list[tuple[float, int, int]] = []
    for layer, top in enumerate(space.top):
        width = top
        while width > space.least:
            price, neg = min(
                (_price(space, noise, layer, width, lower), lower)
                for lower in range(space.least, width)
            )
            width = neg
            steps.append((price, layer, width))
    # a layer's own steps come in order: along a hull prices do not fall
    widths, out = space.top, [space.top]
    for _, layer, width in sorted(steps, key=lambda step: (step[0], step[1], -step[2])):
        widths = changed(widths, layer, width - widths[layer])
        out.append(widths)
    return out


def _price(space: Space, noise: Noise, layer: int, width: int, lower: int) -> float:
    """Noise for each unit of cost that lowering a width saves."""
    saved = space.at(layer, width) - space.at(layer, lower)
    return (noise(layer, lower) - noise(layer, width)) / saved if saved > 0 else math.inf


def bisected(family: list[Widths], judge: Judge) -> int:
    """Number of the last of ever narrower lists that passes, the first being known to."""
    passes, fails = 0, len(family)
    while fails - passes > 1:
        middle = (passes + fails) // 2
        if judge(family[middle]):
            passes = middle
        else:
            fails = middle
    return passes


def refined(
    space: Space, judge: Judge, noise: Noise, widths: Widths, limit: float = math.inf
) -> Widths:
    """Lowers single widths, least noise for the saving first; where none passes, exchanges: one
    layer a bit more, another one or two less, cheaper on the whole. Ends where no single width
    can be lowered and no promising exchange passes. No list noisier than the limit is tried."""
    while True:
        lowered = _lowered(space, noise, widths)
        quiet = [each for each in lowered if total(noise, each) <= limit]
        better = next((each for each in quiet if judge(each)), None)
        if better is None:
            exchanged = _exchanged(space, noise, widths)
            quiet = [each for each in exchanged if total(noise, each) <= limit]
            better = _first(judge, quiet)
        if better is None:
            return widths
        widths = better


def _lowered(space: Space, noise: Noise, widths: Widths) -> list[Widths]:
    """Lists with one width a bit less, the best bargain first."""
    layers = [layer for layer, width in enumerate(widths) if width > space.least]
    layers.sort(key=lambda each: _price(space, noise, each, widths[each], widths[each] - 1))
    return [changed(widths, layer, -1) for layer in layers]


def _exchanged(space: Space, noise: Noise, widths: Widths) -> list[Widths]:
    """Cheaper lists with one width a bit more and another one or two less, the quietest first."""
    now, out = space.total(widths), []
    for up, top in enumerate(space.top):
        for down, width in enumerate(widths):
            for bits in (1, 2):
                if up != down and widths[up] < top and width - bits >= space.least:
                    other = changed(changed(widths, up, 1), down, -bits)
                    if space.total(other) < now:
                        out.append(other)
    return sorted(out, key=lambda each: total(noise, each))


def _first(judge: Judge, lists: list[Widths]) -> Widths | None:
    """The first that passes, before PATIENCE measured ones have failed."""
    before = len(judge.trials)
    for widths in lists:
        if judge(widths):
            return widths
        if len(judge.trials) - before == PATIENCE:
            break
    return None
