"""Samples of every layer, computed again by the oracle: what a golden set rests on.

Of sums, outputs at two corners and in the middle; of rounding and storage codes, single elements,
each from the same numbers as the kernels had; of pools and means, whole feature maps; all of what
other layers make.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from refq import kernels, oracle
from refq.engine.aligning import coded, of_channels
from refq.engine.coefficients import filter_counts
from refq.engine.integer import IntegerStep
from refq.engine.steps import Tensor
from refq.formats.fixed import FixedPointFormat, FormatGrid
from refq.hardware.golden.agreement import CHANNELS, Made, agree, spread
from refq.hardware.golden.sampled_sums import check_sums
from refq.networks.graph import Network
from refq.networks.weights import Weights
from refq.plans.plan import Clustered, Plan

ELEMENTS = 48  # single ones of a layer


def check_coefficients(
    network: Network, weights: Weights, plan: Plan, chosen: Sequence[str]
) -> None:
    """Raises DisagreementError where the oracle makes other codes of sampled kernels and biases."""
    for node in network.weighted:
        if node.name not in chosen:
            continue
        weight, bias_format = plan.layers[node.name].fixed
        filters = weights.weight[node.name].reshape(*filter_counts(node, network), -1)
        kept = spread(len(filters), CHANNELS)
        if not isinstance(weight, Clustered):
            # base kernels are means of whole clusters, which their sums' samples rest on
            for o in kept:
                # of a large kernel, its first filters
                part, fmt = filters[o : o + 1, :64], _of_kernel(weight, o)
                agree(
                    f"{node.name}.weight of kernel {o}",
                    coded(part, fmt, kernels)[0],
                    coded(part, fmt, oracle)[0],
                )
        bias = weights.bias[node.name][kept]
        codes = [ops.quantize(bias, bias_format)[0] for ops in (kernels, oracle)]
        agree(f"{node.name}.bias", *codes)


def _of_kernel(fmt: FixedPointFormat | FormatGrid, o: int) -> FixedPointFormat | FormatGrid:
    if isinstance(fmt, FixedPointFormat):
        return fmt
    if fmt.bits.ndim == 1:
        return FormatGrid(fmt.bits[o : o + 1], fmt.frac_bits[o : o + 1])
    return FormatGrid(fmt.bits[o : o + 1, :64], fmt.frac_bits[o : o + 1, :64])


def check_layer(made: Made) -> None:
    """Raises DisagreementError where the oracle makes other integers of samples of one image."""
    layer, stages = made.node.layer, made.stages
    # (codes, fraction bits) that are rounded; None where a layer rounds on its own, or not at all,
    # or is an activation
    exact: tuple[np.ndarray, int] | None = None
    if layer.weighted:
        check_sums(made)
        coded, sums = made.steps.weights.layers[made.node.name], stages["sum"]
        exact = np.left_shift(sums, of_channels(coded.raised, sums)), coded.frac_bits
    elif layer.takes_sums:
        pass
    elif layer.near is not None:
        _check_maps(made, layer.near)
    else:
        again = _again(made, made.inputs, 0)
        if again.stored is None:
            exact = again.codes, again.frac_bits
            made.agree(".sum", stages.get("sum", again.codes), again.codes)
        else:
            stage = "rounded" if "rounded" in stages else "value"
            made.agree(f".{stage}", stages.get(stage, made.result.codes), again.codes)
    if made.result.stored is not None and "rounded" in stages:
        _check_stored(made, exact)


@dataclass(frozen=True)
class _Again(IntegerStep):
    """A layer's step of which nothing is rounded or stored afterwards. per_image: elements of its
    whole output; place: of the step's first one among them."""

    per_image: int
    place: int

    @property
    def modes(self) -> dict[str, Any]:
        return self.steps.modes(self.node.name, self.per_image, self.place)

    def passed(self, codes: np.ndarray, frac_bits: int | None = None) -> Tensor:
        return Tensor(codes, self.frac_bits[0] if frac_bits is None else frac_bits)

    def exact(self, codes: np.ndarray, frac_bits: int) -> Tensor:
        return Tensor(codes, frac_bits)

    def rounded(self, codes: np.ndarray, outside: int) -> Tensor:
        return self.moved(codes)


def _again(made: Made, inputs: Sequence[Tensor], place: int) -> Tensor:
    """What the oracle makes of a layer's inputs, or of parts of them."""
    steps, size = dataclasses.replace(made.steps, ops=oracle), made.result.codes[0].size
    again: Tensor = made.node.layer.integer_step(_Again(steps, made.node, inputs, size, place))
    return again


def _check_stored(made: Made, exact: tuple[np.ndarray, int] | None) -> None:
    """Rounding, overflow and storage of single elements."""
    kept, rounded = made.kept, made.stages["rounded"]
    places = spread(rounded.size, ELEMENTS)
    per_map = math.prod(rounded.shape[2:])
    active = made.node.layer.takes_sums
    for place in places if exact or active else ():
        if exact:
            codes, frac_bits = exact
            element = codes.reshape(-1)[place : place + 1]
        else:
            element, frac_bits = _activated(made, np.unravel_index(place, rounded.shape))
        drop = kept.drops[place // per_map % rounded.shape[1]] if kept.drops else 0
        fmt = dataclasses.replace(kept.fixed, frac_bits=kept.fixed.frac_bits - drop)
        modes = made.steps.modes(made.node.name, rounded[0].size, place)
        wanted, _ = oracle.requantize(element, frac_bits, fmt, **modes)
        got = rounded.reshape(-1)[place : place + 1]
        made.agree(f".rounded of element {place}", got >> drop, wanted)
    values = kept.storage.kept(rounded.reshape(-1)[places], oracle)
    made.agree(".value", made.result.codes.reshape(-1)[places], values)


def _activated(made: Made, place: Sequence[Any]) -> tuple[np.ndarray, int]:
    """(one code of an activation before it is rounded, its fraction bits), from the pixel of all
    channels that it is in."""
    (x,) = made.inputs
    pixel = (slice(None), slice(None), *(slice(k, k + 1) for k in place[2:]))
    part = dataclasses.replace(x, codes=x.codes[pixel])
    again = _again(made, [part], 0)
    return again.codes[0, place[1]].reshape(1), again.frac_bits


def _check_maps(made: Made, near: int) -> None:
    """Whole feature maps, or a row of each, from the maps so near to them."""
    x, got = made.inputs[0], made.stages.get("rounded", made.result.codes)
    by_rows = made.node.layer.by_rows
    channels, per_map = got.shape[1], math.prod(got.shape[2:])
    for c in spread(channels, 1 if per_map > 4096 and not by_rows else CHANNELS):
        low, high = max(0, c - near), min(channels, c + near + 1)
        near_maps, place = x.codes[:, low:high], low * per_map
        if by_rows:
            row, width = c % got.shape[2], got.shape[3]
            rows = slice(row, row + 1)
            near_maps = near_maps[:, :, rows]
            # where the row is in the whole, less where it is in the part
            place = (c * got.shape[2] + row) * width - (c - low) * width
        again = _again(made, [dataclasses.replace(x, codes=near_maps)], place)
        wanted = again.codes[:, c - low : c - low + 1]
        if again.stored is None:
            modes = made.steps.modes(made.node.name, made.result.codes[0].size, c * per_map)
            wanted, _ = oracle.requantize(wanted, again.frac_bits, made.kept.fixed, **modes)
        one = got[:, c : c + 1]
        made.agree(f" of map {c}", one[:, :, rows] if by_rows else one, wanted)
