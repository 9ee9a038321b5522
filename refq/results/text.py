"""An evaluation as a person reads it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from refq.networks.graph import INPUT, Network
from refq.networks.points import storage_points, stored_counts
from refq.plans.plan import FLOAT, Plan
from refq.results.evaluation import Evaluation
from refq.results.labels import label_lines
from refq.results.layers import decibels, layer_table
from refq.tables import shown

# settings layer by layer, which are left to the table and the JSON
HIDDEN = ("q_m", "points", "layers", "low_percent", "clusters")


def as_text(evaluation: Evaluation) -> str:
    """Lines of what JSON holds, and of formats as the plan spells them."""
    content, plan = evaluation.content, evaluation.plan
    lines = [*_inputs(evaluation), "", *_accuracy(content)]
    lines += [f"WARNING: {warning}" for warning in content["warnings"]]
    if plan:
        lines += ["", *layer_table(content["layers"]).lines()]
        if any(row["name"] == "output" for row in content["layers"]):
            lines.append("output: what the last layer leaves behind, stored like an input")
        if evaluation.joins:
            lines += ["", "joins", *(f"  {join}" for join in evaluation.joins)]
        lines += ["", *_formats(plan), _rules(plan), *_codebooks(evaluation.network, plan)]
    lines += [*_costs(evaluation), f"{evaluation.seconds:.1f} s"]
    if content["stopped"]:
        lines.append(f"STOPPED: the figures cover {content['images']} images only")
    elif content["interrupted"]:
        lines.append(f"INTERRUPTED: the figures cover {content['images']} images only")
    return "\n".join(lines)


def _inputs(evaluation: Evaluation) -> list[str]:
    """What was evaluated, on which weights and images."""
    network, content = evaluation.network, evaluation.content
    weights, data, search = (content[key] for key in ("weights", "data", "search"))
    macs, parameters = sum(network.macs().values()), sum(network.parameter_counts().values())
    shape = "x".join(map(str, network.input_shape))
    images = f"{content['images']} images"
    if not content["labelled"]:
        images += ", none with a usable label"
    lines = [
        f"{network.name} on {shape}: {macs / 1e6:,.1f} M MACs, "
        f"{parameters / 1e6:,.3f} M parameters",
        f"scheme   {content['scheme']}{_settings(evaluation)}",
        f"weights  {weights['source']}  sha256 {weights['sha256'][:12]}",
        *(f"         {note}" for note in weights.get("notes") or ()),
        f"data     {data['name']}, {images}  sha256 {data['sha256'][:12]}",
        *label_lines(data),
        f"input    {data['preprocessing']}",
        *_range(data),
    ]
    if data.get("calibration"):
        lines.append(f"calibrated on {data['calibration']}")
    return lines + (_search(search) if search else [])


def _range(data: Mapping[str, Any]) -> list[str]:
    """What the inputs' format was chosen by, where only the data tell."""
    span = data.get("range")
    if not span:
        return []
    return [f"         {span['low']:g} to {span['high']:g} in {span['inputs']:,} of calibration"]


def _settings(evaluation: Evaluation) -> str:
    """What a scheme was asked for. Of a plan from a file, which may have been edited, what it
    holds: bits of the stored inputs in order."""
    plan, file = evaluation.plan, evaluation.settings.get("plan")
    if plan and file:
        points = [each for each in storage_points(evaluation.network) if each.readers]
        kept = [plan.kept(point) for point in points]
        bits = ",".join(str(each.stored_bits) if each else "float32" for each in kept)
        return f"  as in {file}: bits {bits}"
    return "".join(
        f"  {key} {value}"
        for key, value in (plan.options if plan else {}).items()
        if key not in HIDDEN and value not in ({}, None)
    )


def _search(search: Mapping[str, Any]) -> list[str]:
    passes, images = search["passes"], search["images"]
    saved = ", ".join(f"{key} {passes[key]:,.0f}" for key in ("caching", "racing", "bounds"))
    resumed = f", {search['resumed']} results from the journal" if search["resumed"] else ""
    return [
        f"search   {search['summary']}",
        f"         {search['strategy']}: {search['candidates']} lists on {images} images, "
        f"{search['unseen']} of them unseen{resumed}",
        f"         {passes['spent']:,.0f} images through the network; saved by {saved}",
    ]


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
    return lines + (output_lines(content) if content["plan"] else [])


def output_lines(content: Mapping[str, Any]) -> list[str]:
    """Each output beside float: of a classifier with labels the SQNR alone."""
    outputs = content["outputs"]
    ranked = content["float"]["top1"] is not None
    lines = []
    for output in outputs:
        size = "x".join(map(str, output["shape"]))
        name = f"output {output['name']} {size}:" if len(outputs) > 1 else "output"
        line = f"{name} SQNR {shown(decibels(output['sqnr_db']))} dB"
        if not ranked:
            error = shown(output["largest_error"], ".4g", absent="not finite")
            line += f", largest error {error} beside values up to {output['largest_value']:.4g}"
        lines.append(line)
    return lines


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


def _codebooks(network: Network, plan: Plan) -> list[str]:
    """Every codebook, as paper A's Table IV."""
    lines = []
    for point in storage_points(network):
        entry = plan.kept(point)
        if entry and entry.code and entry.code.lookup:
            lines.append(f"  {point.name}: {' '.join(map(str, entry.code.lookup))}")
    return ["", "codebooks, in codes of each input's format", *lines] if lines else []


def _costs(evaluation: Evaluation) -> list[str]:
    """Memory and complexity."""
    network, content = evaluation.network, evaluation.content
    memory, cost = content["memory"], content["complexity"]
    counts = stored_counts(network, storage_points(network))
    lines = [
        f"activation memory {memory['megabytes']:.4g} MB ({memory['mebibytes']:.4g} MiB) "
        f"for one image, {memory['normalized']:.3f} of half precision "
        f"({sum(counts.values()):,} stored layer outputs; convolutions' counted)"
    ]
    if content["plan"]:
        saved = cost["saved_percent"]
        lines += [
            f"complexity {cost['mega_macs']:,.1f} M MACs at 8x8 bits, {abs(saved):.1f} % "
            f"{'less' if saved >= 0 else 'more'} than with 8x8 bits everywhere",
            f"with each width at its layer's output {memory['megabytes_by_output']:.4g} MB; "
            f"codebooks {memory['codebook_bytes']:.0f} bytes; "
            f"weights {memory['weight_megabytes']:.4g} MB, their formats "
            f"{memory['format_megabytes']:.4g} MB",
        ]
        if memory["temporary_megabytes"]:
            lines.append(f"temporary maps of base kernels {memory['temporary_megabytes']:.4g} MB")
        if memory["entropy_bound_megabytes"] is not None:
            bound = memory["entropy_bound_megabytes"]
            lines.append(f"entropy bound of these values {bound:.4g} MB")
    return lines
