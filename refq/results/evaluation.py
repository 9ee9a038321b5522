"""Results as JSON and as a readable table."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from refq import __version__
from refq.formats.codes import Codebook
from refq.measure.measurement import Measurement
from refq.networks.graph import INPUT, Network
from refq.networks.layers import Add
from refq.networks.points import Point, storage_points, stored_counts
from refq.plans.cost import (
    Memory,
    codebook_bits,
    format_bits,
    mac_complexity,
    stored_bits,
    temporary_bits,
    weight_bits,
)
from refq.plans.joins import joins
from refq.plans.plan import FLOAT, Plan
from refq.results.figures import figures
from refq.results.tables import aligned

# settings layer by layer, which are left to the table and the JSON
HIDDEN = ("q_m", "points", "layers", "low_percent", "clusters")
# what stands for a format where values are not quantized
FLOAT32 = "float32"
PACKAGES = ("numpy", "numba", "scipy", "h5py")


@dataclass(frozen=True)
class LayerRow:
    """One layer's input and arithmetic; fields that do not apply are None.

    input_bits: bits of the stored input. accumulator_bits: signed bits that hold every exact sum.
    saturated_percent: share of the input's values beyond its format. zero_percent, entropy_bits:
    share of its values that are zero, and the bits a value that no lossless code of single values
    goes below. megabytes: what the input takes in memory, 0 where it is no convolution's output or
    is listed with another layer.
    """

    name: str
    input_format: str | None = None
    input_bits: int | None = None
    weight_format: str | None = None
    bias_format: str | None = None
    accumulator: str | None = None
    accumulator_bits: int | None = None
    accumulator_overflows: int | None = None
    saturated_percent: float | None = None
    sqnr_db: float | None = None
    zero_percent: float | None = None
    entropy_bits: float | None = None
    megabytes: float = 0.0


@dataclass(frozen=True)
class Report:
    """A finished evaluation; to_json gives the stable keys of docs/evaluate.md."""

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

    def entropy_megabytes(self) -> float | None:
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

    def figures(self) -> list[dict[str, Any]]:
        """What refq.report draws; none without a plan."""
        if self.plan is None:
            return []
        return figures(self.network, self.plan, self.measurement.points, self.memory, self.search)

    def to_json(self) -> dict[str, Any]:
        """Plain values only; percentages are of labelled images, None where there are none."""
        measured = self.measurement
        quantized = measured.quantized if self.plan else measured.float_
        return {
            "network": self.network.name,
            "parameters": dict(self.network.parameters),
            "scheme": self.scheme,
            "images": measured.images,
            "labelled": measured.float_.images,
            "interrupted": measured.interrupted,
            "float": measured.float_.percent(),
            "quantized": quantized.percent(),
            "agreement": {"top1": measured.agreement.percent()["top1"] if self.plan else None},
            "output_sqnr_db": measured.output.sqnr_db if self.plan else None,
            "layers": [vars(row) for row in layer_rows(self)],
            "joins": [each.to_json() for each in joins(self.network, self.plan, FLOAT32)]
            if self.plan
            else [],
            "memory": {
                "megabytes": self.memory.megabytes,
                "mebibytes": self.memory.mebibytes,
                "megabytes_by_output": self.memory.megabytes_by_output,
                "normalized": self.memory.normalized,
                "entropy_bound_megabytes": self.entropy_megabytes(),
                "codebook_bytes": codebook_bits(self.network, self.plan) / 8,
                "weight_megabytes": weight_bits(self.network, self.plan) / 8e6,
                "format_megabytes": format_bits(self.network, self.plan) / 8e6,
                "temporary_megabytes": temporary_bits(self.network, self.plan) / 8e6,
                "layers": {name: bits / 8e6 for name, bits in self.memory.points.items() if bits},
            },
            "complexity": complexity(self.network, self.plan),
            "weights": dict(self.weights),
            "data": dict(self.data),
            "settings": dict(self.settings),
            "plan": self.plan.to_json() if self.plan else None,
            "search": dict(self.search) if self.search else None,
            "seconds": self.seconds,
            "versions": versions(),
            "figures": self.figures(),
        }


def complexity(network: Network, plan: Plan | None) -> dict[str, Any]:
    """MACs in units of 8 by 8 bits, whole and by layer, and what that saves (paper B, Table 1)."""
    own, whole = mac_complexity(network, plan), network.macs()

    def saving(macs: float, full: float) -> dict[str, float]:
        return {"mega_macs": macs / 1e6, "saved_percent": 100 * (1 - macs / full)}

    layers = {name: saving(macs, whole[name]) for name, macs in own.items()}
    return {**saving(sum(own.values()), sum(whole.values())), "layers": layers}


def versions() -> dict[str, str]:
    """What computed a result."""
    found = {"refq": __version__, "python": platform.python_version()}
    return {**found, **{name: metadata.version(name) for name in PACKAGES}}


def layer_rows(report: Report) -> list[LayerRow]:
    """A row for each weighted layer and each other layer that reads stored values, in order; for an
    addition one for each operand, `layer.operand`."""
    points = storage_points(report.network)
    order = {name: index for index, name in enumerate(report.network.shapes)}
    rows = []
    for point in points:
        for index, name in enumerate(point.readers or (point.name,)):
            place, labels = order.get(name, len(order)), [name]
            reader = report.network.by_name.get(name)
            if reader is not None and isinstance(reader.layer, Add):
                read = dict.fromkeys(each for each in reader.inputs if each in point.tensors)
                labels = [f"{name}.{each}" for each in read]
            rows += [
                (place, _row(report, point, label, index == at == 0))
                for at, label in enumerate(labels)
            ]
    return [row for _, row in sorted(rows, key=lambda pair: pair[0])]


def _row(report: Report, point: Point, name: str, first: bool) -> LayerRow:
    plan, measured = report.plan, report.measurement
    megabytes = report.memory.points[point.name] / 8e6 if first else 0.0
    if plan is None:
        return LayerRow(name, megabytes=megabytes)
    stored = plan.kept(point)
    noise = measured.points[point.name]
    layer, sums = plan.layers.get(name), measured.sums.get(name)
    return LayerRow(
        name,
        str(stored.format) if stored else FLOAT32,
        stored_bits(plan, point),
        str(layer.weight or FLOAT32) if layer else None,
        str(layer.bias or FLOAT32) if layer else None,
        None if layer is None else FLOAT32 if plan.arithmetic == FLOAT else str(layer.accumulator),
        sums.bits if sums else None,
        sums.overflows if sums else None,
        100 * noise.outside / noise.values,
        noise.sqnr_db,
        None if noise.zero_share is None else 100 * noise.zero_share,
        noise.entropy_bits,
        megabytes,
    )


def as_text(report: Report) -> str:
    """The report as a person reads it."""
    content = report.to_json()
    lines = [
        f"{report.network.name} {_sizes(report.network)}",
        f"scheme   {report.scheme}{_settings(report)}",
        f"weights  {report.weights['source']}  sha256 {report.weights['sha256'][:12]}",
        f"data     {report.data['name']}, {_images(content)}  sha256 {report.data['sha256'][:12]}",
        f"input    {report.data['preprocessing']}",
    ]
    if report.data.get("calibration"):
        lines.append(f"calibrated on {report.data['calibration']}")
    if report.search:
        lines += _search(report.search)
    lines += ["", *_accuracy(content)]
    if report.plan:
        lines += ["", *_table(layer_rows(report))]
        if any(row.name == "output" for row in layer_rows(report)):
            lines.append("output: what the last layer leaves behind, stored like an input")
        found = [f"  {each}" for each in joins(report.network, report.plan, FLOAT32)]
        lines += ["", "joins", *found] if found else []
        lines += ["", *_formats(report.plan)]
        lines.append(_rules(report.plan))
        lines += _codebooks(report, report.plan)
    counts = stored_counts(report.network, storage_points(report.network))
    lines.append(
        f"activation memory {report.memory.megabytes:.4g} MB ({report.memory.mebibytes:.4g} MiB) "
        f"for one image, {report.memory.normalized:.3f} of half precision "
        f"({sum(counts.values()):,} stored layer outputs; convolutions' counted)"
    )
    if report.plan:
        cost = content["complexity"]
        saved = cost["saved_percent"]
        lines.append(
            f"complexity {cost['mega_macs']:,.1f} M MACs at 8x8 bits, {abs(saved):.1f} % "
            f"{'less' if saved >= 0 else 'more'} than with 8x8 bits everywhere"
        )
        memory = content["memory"]
        lines.append(
            f"with each width at its layer's output {memory['megabytes_by_output']:.4g} MB; "
            f"codebooks {memory['codebook_bytes']:.0f} bytes; "
            f"weights {memory['weight_megabytes']:.4g} MB, their formats "
            f"{memory['format_megabytes']:.4g} MB"
        )
        if memory["temporary_megabytes"]:
            lines.append(f"temporary maps of base kernels {memory['temporary_megabytes']:.4g} MB")
    bound = report.entropy_megabytes()
    if bound is not None:
        lines.append(f"entropy bound of these values {bound:.4g} MB")
    lines.append(f"{report.seconds:.1f} s")
    if report.measurement.interrupted:
        lines.append(f"INTERRUPTED: the figures cover {content['images']} images only")
    return "\n".join(lines)


def _search(found: Mapping[str, Any]) -> list[str]:
    passes, images = found["passes"], found["images"]
    saved = ", ".join(f"{key} {passes[key]:,.0f}" for key in ("caching", "racing", "bounds"))
    resumed = f", {found['resumed']} results from the journal" if found["resumed"] else ""
    return [
        f"search   {found['summary']}",
        f"         {found['strategy']}: {found['candidates']} lists on {images} images, "
        f"{found['unseen']} of them unseen{resumed}",
        f"         {passes['spent']:,.0f} images through the network; saved by {saved}",
    ]


def _sizes(network: Network) -> str:
    macs, parameters = sum(network.macs().values()), sum(network.parameter_counts().values())
    shape = "x".join(map(str, network.input_shape))
    return f"on {shape}: {macs / 1e6:,.1f} M MACs, {parameters / 1e6:,.3f} M parameters"


def _settings(report: Report) -> str:
    shown = {
        key: value
        for key, value in (report.plan.options if report.plan else {}).items()
        if key not in HIDDEN and value not in ({}, None)
    }
    return "".join(f"  {key} {value}" for key, value in shown.items())


def _images(content: Mapping[str, Any]) -> str:
    known = content["labelled"]
    return f"{content['images']} images" + ("" if known else ", none with a usable label")


def _accuracy(content: Mapping[str, Any]) -> list[str]:
    lines = []
    for label in ("float", "quantized") if content["plan"] else ("float",):
        if content[label]["top1"] is not None:
            lines.append(
                f"{label:<10}top-1 {content[label]['top1']:6.2f} %   "
                f"top-5 {content[label]['top5']:6.2f} %"
            )
    if content["plan"] and content["float"]["top1"] is not None:
        drops = [content["quantized"][k] - content["float"][k] for k in ("top1", "top5")]
        lines.append(f"{'change':<10}top-1 {drops[0]:+6.2f}     top-5 {drops[1]:+6.2f}")
    if content["agreement"]["top1"] is not None:
        lines.append(f"same first class as float: {content['agreement']['top1']:.2f} %")
    if content["plan"]:
        lines.append(f"output SQNR {_db(content['output_sqnr_db'])} dB")
    return lines


def _db(value: float | None) -> str:
    return "exact" if value is None else f"{value:.2f}"


def _formats(plan: Plan) -> list[str]:
    """A format in both spellings; a simulation's all, as they have numbers of their own."""
    if plan.arithmetic != FLOAT:
        example = plan.tensors[INPUT].format
        return [f"formats: {example}, bits/fraction bits; entropy in bits a value"]
    used: list[object] = [entry.format for entry in plan.tensors.values()]
    used += [fmt for layer in plan.layers.values() for fmt in (layer.weight, layer.bias) if fmt]
    examples = {type(fmt): str(fmt) for fmt in reversed(used)}
    return [f"formats, such as: {'; '.join(reversed(examples.values()))}"] if used else []


def _rules(plan: Plan) -> str:
    if plan.arithmetic == FLOAT:
        return f"arithmetic float32 simulation; values round {plan.rounding.value} and saturate"
    rules = f"activations round {plan.rounding.value}, {plan.overflow.value}"
    return f"{rules}; weights and biases ties-even, sat; seed {plan.seed}"


def _table(rows: Sequence[LayerRow]) -> list[str]:
    head = (
        "layer",
        "input",
        "bits",
        "weight",
        "bias",
        "accumulator",
        "needs",
        "overflows",
        "saturated %",
        "SQNR dB",
        "zero %",
        "entropy",
        "MB",
    )
    cells = [
        (
            row.name,
            _short(row.input_format),
            _cell(row.input_bits),
            _short(row.weight_format),
            _short(row.bias_format),
            row.accumulator or "",
            _cell(row.accumulator_bits),
            _cell(row.accumulator_overflows),
            f"{row.saturated_percent:.4f}",
            _db(row.sqnr_db),
            "" if row.zero_percent is None else f"{row.zero_percent:.1f}",
            "" if row.entropy_bits is None else f"{row.entropy_bits:.2f}",
            f"{row.megabytes:.4g}" if row.megabytes else "",
        )
        for row in rows
    ]
    text = {0, 1, 3, 4, 5}  # columns of words; the others are numbers
    return aligned([head, *cells], [i in text for i in range(len(head))])


def _codebooks(report: Report, plan: Plan) -> list[str]:
    """Every codebook, as paper A's Table IV."""
    lines = []
    for point in storage_points(report.network):
        entry = plan.kept(point)
        if entry and isinstance(entry.code, Codebook):
            lines.append(f"  {point.name}: {' '.join(map(str, entry.code.values))}")
    return ["", "codebooks, in codes of each input's format", *lines] if lines else []


def _short(spellings: str | None) -> str:
    """The first of a format's two spellings."""
    return (spellings or "").partition(" = ")[0]


def _cell(value: int | None) -> str:
    return "" if value is None else str(value)
