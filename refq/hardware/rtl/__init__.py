"""The conversion units of paper A and a piece of datapath in Verilog, with benches that read what
the oracle says (docs/hardware.md).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from refq.engine.coefficients import IntegerWeights
from refq.errors import FormatError, OptionError
from refq.formats.fixed import Accumulator, Overflow, Rounding
from refq.hardware.files.words import hex_lines
from refq.hardware.rtl import benches, samples, tables, vectors
from refq.hardware.rtl.samples import Dot
from refq.hardware.rtl.tables import Row, Unit
from refq.hardware.rtl.vectors import OVERFLOWS, ROUNDINGS, Rounded
from refq.networks.graph import Network
from refq.plans.plan import FLOAT, Plan

__all__ = ["write"]

VECTORS = "vectors"
# of the benches that belong to no plan
MODES_SIZES = {"OPERAND_BITS": 24, "WEIGHT_BITS": 26, "SUM_BITS": 50}
MODES_SUM_BITS, MODES_LEFT = 44, 3


def write(
    folder: Path,
    network: Network,
    weights: IntegerWeights,
    plan: Plan,
    images: np.ndarray,
    chosen: Collection[str] | None = None,
) -> None:
    """Units, a module that instantiates them for a plan, vectors, benches and a Makefile.

    folder: there and empty. images: float32 (N, C, H, W), preprocessed; the first one gives the
    operands of sums. chosen: layers whose sums and stored codes are taken, all by default. All
    vectors are the oracle's. Raises OptionError for a float simulation, and FormatError for
    stochastic rounding and what the units cannot hold; nothing is written then.
    """
    if plan.arithmetic == FLOAT:
        raise OptionError(
            f"a plan of scheme {plan.scheme} that computes in float32", "a plan of integers"
        )
    if plan.rounding is Rounding.STOCHASTIC:
        raise FormatError(
            "a plan that rounds at random", "another rounding: refq_requantize has no random bits"
        )
    chosen = network.shapes.keys() if chosen is None else chosen
    units = tables.units(tables.coded_rows(network, plan, chosen))
    dots = samples.sampled(network, weights, plan, images, chosen)
    if not units and not dots:
        raise OptionError(
            "layers without codes and without sums", "a convolution, a dense layer or stored codes"
        )
    sizes = samples.sizes(weights, plan, network)
    sums = [vectors.summed(dot) for dot in dots]
    layers = {node.name: number for number, node in enumerate(network.weighted)}
    codes = [
        Rounded(layers[dot.layer], dot.place[0], total, dot.stored, plan.rounding, plan.overflow)
        for dot, (total, _) in zip(dots, sums, strict=True)
        if dot.stored
    ]
    files = {name: text.encode() for name, text in benches.unit_sources().items()}
    files["Makefile"] = benches.source("Makefile.in").encode()
    if units:
        files["refq_units.v"] = benches.top(units, f"{network.name} under {plan.scheme}").encode()
    for unit in units:
        files |= _codes(unit)
    if dots:
        files |= _macs("mac", dots, sums, layers, **sizes)
    if codes:
        files |= _requantized("requantize", codes, SUM_BITS=min(64, sizes["SUM_BITS"]))
    listed = {
        "refq_units": 1,
        "network": network.name,
        "scheme": plan.scheme,
        "units": {unit.name: _listed(unit) for unit in units},
        "mac": {**sizes, "layers": list(layers)},
    }
    files["layers.json"] = (json.dumps(listed, indent=1) + "\n").encode()
    (folder / VECTORS).mkdir()
    for name, content in {**files, **_of_every_mode()}.items():
        (folder / name).write_bytes(content)


@lru_cache(maxsize=1)
def _of_every_mode() -> dict[str, bytes]:
    """Benches that belong to no plan: accumulators and roundings of every kind."""
    dots = vectors.every_accumulator()
    rounded = vectors.every_rounding(MODES_SUM_BITS, MODES_LEFT)
    sums = [vectors.summed(dot) for dot in dots]
    return {
        **_macs("mac_modes", dots, sums, {"": 0}, **MODES_SIZES),
        **_requantized("requantize_modes", rounded, SUM_BITS=MODES_SUM_BITS),
    }


def _words(name: str, numbers: Any, bits: int) -> dict[str, bytes]:
    """vectors/NAME.mem, a word a line."""
    lines = hex_lines(np.asarray(numbers, np.int64), bits)
    return {f"{VECTORS}/{name}.mem": lines.tobytes()}


def _codes(unit: Unit) -> dict[str, bytes]:
    outputs = vectors.unit_outputs(unit)
    bench = benches.code_bench(unit, [len(each) for each in outputs])
    words = _words(unit.name, np.concatenate(outputs), unit.bits(unit.got))
    return {**words, f"tb_{unit.name}.v": bench.encode()}


def _macs(
    name: str,
    dots: Sequence[Dot],
    sums: Sequence[tuple[int, int]],
    layers: dict[str, int],
    **sizes: int,
) -> dict[str, bytes]:
    modes = [_mode(dot.accumulator) for dot in dots]
    kinds = list(dict.fromkeys(modes))
    fields = [
        (
            kinds.index(mode),
            layers[dot.layer],
            *dot.place,
            len(dot.operands),
            dot.accumulator.bits or 0,
            dot.drop,
            dot.bias,
            *total,
        )
        for dot, mode, total in zip(dots, modes, sums, strict=True)
    ]
    operands = np.concatenate([dot.operands for dot in dots])
    weights = np.concatenate([dot.weights for dot in dots])
    bench = benches.mac_bench(name, kinds, len(dots), len(operands), **sizes)
    return {
        **_words(f"{name}_outputs", fields, 64),
        **_words(f"{name}_operands", operands, sizes["OPERAND_BITS"]),
        **_words(f"{name}_weights", weights, sizes["WEIGHT_BITS"]),
        f"tb_{name}.v": bench.encode(),
    }


def _requantized(name: str, rounded: Sequence[Rounded], **sizes: int) -> dict[str, bytes]:
    modes = [_rule(each.rounding, each.overflow) for each in rounded]
    kinds = list(dict.fromkeys(modes))
    fields = [
        (
            kinds.index(mode),
            each.layer,
            each.channel,
            each.sum,
            int(each.stored.relu),
            each.shift,
            each.stored.format.bits,
            int(each.stored.format.signed),
            *each.code(),
        )
        for each, mode in zip(rounded, modes, strict=True)
    ]
    left = max(0, *(-each.shift for each in rounded))
    bench = benches.requantize_bench(name, kinds, len(rounded), LEFT=left, **sizes)
    return {**_words(name, fields, 64), f"tb_{name}.v": bench.encode()}


def _mode(accumulator: Accumulator) -> int:
    return int(accumulator.every_mac) << 8 | _rule(accumulator.rounding, accumulator.overflow)


def _rule(rounding: Rounding, overflow: Overflow) -> int:
    return ROUNDINGS.index(rounding) << 4 | OVERFLOWS.index(overflow)


def _listed(unit: Unit) -> dict[str, Any]:
    """A unit for layers.json: its sizes, and its layers in the order of their index."""
    sizes = {name: value for name, value in unit.parameters.items() if isinstance(value, int)}
    return {"parameters": sizes, "layers": [_row(row) for row in unit.rows]}


def _row(row: Row) -> dict[str, Any]:
    common = {
        "layer": row.layer,
        "tensors": list(row.tensors),
        "value_bits": row.value_bits,
        "code_bits": row.code.bits,
        "nearest": row.code.described()["nearest"],
        "signed": row.signed,
    }
    if row.code.shifted:
        return {**common, "shift": row.code.shift}
    thresholds = list(row.code.tables["thresholds"])
    return {**common, "values": list(row.code.levels), "thresholds": thresholds}
