"""A finished evaluation, and what is told of it: one content, which JSON and text share."""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from typing import Any

from refq import __version__
from refq.measure.measurement import Measurement
from refq.networks.graph import Network
from refq.plans.cost import (
    Memory,
    codebook_bits,
    format_bits,
    mac_complexity,
    temporary_bits,
    weight_bits,
)
from refq.plans.joins import Join, joins
from refq.plans.plan import Plan
from refq.results.figures import figures
from refq.results.layers import FLOAT32, layer_rows
from refq.results.warnings import warnings

PACKAGES = ("numpy", "numba", "scipy", "h5py")


@dataclass(frozen=True)
class Evaluation:
    """What was evaluated and what came out.

    weights: `source`, `sha256` and the file's `metadata`. data: `name`, `first` image, `sha256`,
    `preprocessing`, and what was calibrated on, `calibration`. settings: the options. search: what
    a search found and what it took.
    """

    network: Network
    scheme: str
    plan: Plan | None
    measurement: Measurement
    memory: Memory
    weights: Mapping[str, Any]
    data: Mapping[str, Any]
    settings: Mapping[str, Any]
    seconds: float
    search: Mapping[str, Any] | None = None

    @cached_property
    def joins(self) -> tuple[Join, ...]:
        """Additions and concatenations in order; none without a plan."""
        return tuple(joins(self.network, self.plan, FLOAT32)) if self.plan else ()

    @cached_property
    def content(self) -> dict[str, Any]:
        """The stable keys of docs/evaluate.md, without figures: plain values only. Percentages are
        of labelled images, None where there are none."""
        measured = self.measurement
        rows = layer_rows(self.network, self.plan, measured, self.memory)
        quantized = measured.quantized if self.plan else measured.float_
        outputs = self._outputs()
        return {
            "network": self.network.name,
            "parameters": dict(self.network.parameters),
            "scheme": self.scheme,
            "images": measured.images,
            "labelled": measured.float_.images,
            "interrupted": measured.interrupted,
            "stopped": str(measured.stopped) if measured.stopped else None,
            "float": measured.float_.percent(),
            "quantized": quantized.percent(),
            "agreement": {"top1": measured.agreement.percent()["top1"] if self.plan else None},
            "output_sqnr_db": outputs[0]["sqnr_db"] if len(outputs) == 1 else None,
            "outputs": outputs,
            "warnings": warnings(self.network, self.plan, measured.losses, rows),
            "layers": rows,
            "joins": [join.to_json() for join in self.joins],
            "memory": self._memory(),
            "complexity": complexity(self.network, self.plan),
            "weights": dict(self.weights),
            "data": dict(self.data),
            "settings": dict(self.settings),
            "plan": self.plan.to_json() if self.plan else None,
            "search": dict(self.search) if self.search else None,
            "seconds": self.seconds,
            "versions": versions(),
        }

    def to_json(self) -> dict[str, Any]:
        """The content with the figures that refq.report draws, which nothing else needs."""
        return {**self.content, "figures": self.figures()}

    def figures(self) -> list[dict[str, Any]]:
        """Stored values by layer, codebooks, a search; none without a plan."""
        if self.plan is None:
            return []
        return figures(self.network, self.plan, self.measurement.points, self.memory, self.search)

    def _outputs(self) -> list[dict[str, Any]]:
        """Each output beside float; the largest values as magnitudes, None without a plan."""
        rows = []
        for name in self.network.outputs:
            noise = self.measurement.outputs.get(name)
            finite = noise is not None and math.isfinite(noise.error)
            rows.append(
                {
                    "name": name,
                    "shape": list(self.network.shapes[name]),
                    "sqnr_db": noise.sqnr_db if noise else None,
                    "largest_error": noise.error if noise and finite else None,
                    "largest_value": noise.largest if noise else None,
                }
            )
        return rows

    def _memory(self) -> dict[str, Any]:
        memory, network, plan = self.memory, self.network, self.plan
        return {
            "megabytes": memory.megabytes,
            "mebibytes": memory.mebibytes,
            "megabytes_by_output": memory.megabytes_by_output,
            "normalized": memory.normalized,
            "entropy_bound_megabytes": self._entropy_megabytes(),
            "codebook_bytes": codebook_bits(network, plan) / 8,
            "weight_megabytes": weight_bits(network, plan) / 8e6,
            "format_megabytes": format_bits(network, plan) / 8e6,
            "temporary_megabytes": temporary_bits(network, plan) / 8e6,
            "layers": {name: bits / 8e6 for name, bits in memory.points.items() if bits},
        }

    def _entropy_megabytes(self) -> float | None:
        """Activation memory if every stored value took its entropy; None where it is unknown."""
        if self.plan is None:
            return None
        total = 0.0
        for name, values in self.memory.values.items():
            if values:
                entropy = self.measurement.points[name].entropy_bits
                if entropy is None:
                    return None
                total += values * entropy / 8e6
        return total


def complexity(network: Network, plan: Plan | None) -> dict[str, Any]:
    """MACs in units of 8 by 8 bits, whole and by layer, and what that saves (paper B, Table 1)."""
    planned, full = mac_complexity(network, plan), network.macs()

    def saving(macs: float, full: float) -> dict[str, float]:
        return {"mega_macs": macs / 1e6, "saved_percent": 100 * (1 - macs / full)}

    layers = {name: saving(macs, full[name]) for name, macs in planned.items()}
    return {**saving(sum(planned.values()), sum(full.values())), "layers": layers}


def versions() -> dict[str, str]:
    """What computed a result."""
    interpreter = {"refq": __version__, "python": platform.python_version()}
    return {**interpreter, **{name: metadata.version(name) for name in PACKAGES}}
