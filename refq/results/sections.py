"""Result files as sections of a page: facts, tables and figures, checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from refq.errors import OptionError, RefqError
from refq.files import json_
from refq.results import charts
from refq.results.layers import layer_table
from refq.tables import Row, Table

WANTED = "what refq.evaluate --json or refq.reproduce --json writes"


@dataclass(frozen=True)
class Section:
    """Part of a page. tables and figures: as charts.check_table and check_figure return them."""

    title: str
    facts: Mapping[str, str] = field(default_factory=dict)
    tables: Sequence[Table] = ()
    figures: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True)
class Outcome:
    """What an evaluation reached: top-1 in percent, of images; megabytes of activations."""

    network: str
    megabytes: float
    top1: float
    float_top1: float


@dataclass(frozen=True)
class ResultFile:
    """A result file; outcome is None where it knows no accuracy."""

    path: str
    sections: tuple[Section, ...]
    outcome: Outcome | None = None


def load(path: str) -> ResultFile:
    """Raises OptionError for a file that is missing, is no JSON, or holds something else."""
    content = json_.load(path, "result", OptionError, WANTED)
    try:
        if "refq_reproduce" in content:
            return ResultFile(path, tuple(_reproduction(content)))
        if not {"network", "scheme", "layers", "memory", "quantized"} <= content.keys():
            raise OptionError("no result of refq", WANTED)
        return ResultFile(path, (_evaluation(content),), _outcome(content))
    except RefqError as error:
        raise OptionError(f"{path}: {error}") from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise OptionError(
            f"{path}: a result with {type(error).__name__}: {error}", WANTED
        ) from None


def _checked(
    title: str, content: Mapping[str, Any], facts: Mapping[str, str] | None = None
) -> Section:
    figures, tables = content.get("figures", []), content.get("tables", [])
    return Section(
        title,
        facts or {},
        tuple(charts.check_table(table) for table in tables),
        tuple(charts.check_figure(figure) for figure in figures),
    )


def _reproduction(content: Mapping[str, Any]) -> list[Section]:
    """The file's own tables and figures, if any, then its sections'."""
    name = charts.text(content["refq_reproduce"], "refq_reproduce")
    parts = [_checked(f"{name} reproduced", content)]
    for section in content.get("sections", []):
        parts.append(_checked(charts.text(section["title"], "a section's title"), section))
    return [part for part in parts if part.tables or part.figures] or parts[:1]


def _evaluation(content: Mapping[str, Any]) -> Section:
    tables = [_accuracy(content), _memory(content["memory"])]
    if content["plan"]:
        notes = ["needs: accumulator bits that hold every exact sum; entropy: of a stored value"]
        tables.insert(1, layer_table(content["layers"], notes))
        if len(content.get("outputs", ())) > 1:
            tables.insert(1, _outputs(content["outputs"]))
    told = {"tables": [table.to_json() for table in tables], "figures": content.get("figures", [])}
    return _checked(_title(content), told, _facts(content))


def _title(content: Mapping[str, Any]) -> str:
    """Network and scheme, with the bits where all layers have the same."""
    options = (content["plan"] or {}).get("options", {})
    bits = options.get("bits_act")
    # what a plan holds counts, and not what it says of itself; the image has bits of its own
    inputs = [row["input_bits"] for row in content["layers"][1:] if row["name"] != "output"]
    same = isinstance(bits, int) and not options.get("widths") and set(inputs) <= {bits, None}
    title = f"{content['network']}, {content['scheme']}{f', {bits} bits' if same else ''}"
    return charts.text(title, "the title")


def _facts(content: Mapping[str, Any]) -> dict[str, str]:
    weights, data = content["weights"], content["data"]
    facts = {
        "weights": f"{weights['source']}, sha256 {weights['sha256'][:12]}",
        "data": f"{data['name']}, {content['images']} images, sha256 {data['sha256'][:12]}",
        "input": data["preprocessing"],
        "calibration": data["calibration"],
        "search": (content.get("search") or {}).get("summary"),
        "versions": ", ".join(f"{name} {version}" for name, version in content["versions"].items()),
    }
    if content.get("warnings"):
        facts["warnings"] = "; ".join(content["warnings"])
    if content["interrupted"]:
        facts["interrupted"] = f"the figures cover {content['images']} images only"
    return {key: charts.text(value, key) for key, value in facts.items() if value}


def _accuracy(content: Mapping[str, Any]) -> Table:
    ours, exact = content["quantized"], content["float"]

    def row(name: str, top1: float | None, top5: float | None) -> Row:
        return {"": name, "top-1, %": top1, "top-5, %": top5}

    rows = [row("float", exact["top1"], exact["top5"])]
    notes = [f"of {content['labelled']} labelled images"]
    if content["plan"]:
        rows.append(row("quantized", ours["top1"], ours["top5"]))
        if exact["top1"] is not None:
            changes = (round(ours[kind] - exact[kind], 10) for kind in ("top1", "top5"))
            rows.append(row("change", *changes))
        same, noise = content["agreement"]["top1"], content["output_sqnr_db"]
        if same is not None:
            notes.append(f"same first class as float: {same:.2f} %")
        several = len(content.get("outputs", ())) > 1
        notes += [] if several else [f"output SQNR {_decibels(noise)}"]
    return Table("Accuracy", rows, notes)


def _decibels(noise: float | None) -> str:
    return "exact" if noise is None else f"{noise:.2f} dB"


def _outputs(outputs: Sequence[Mapping[str, Any]]) -> Table:
    rows: list[Row] = [
        {
            "output": output["name"],
            "shape": "x".join(map(str, output["shape"])),
            "SQNR dB": output["sqnr_db"],
            "largest error": output["largest_error"],
            "largest value": output["largest_value"],
        }
        for output in outputs
    ]
    return Table("Outputs", rows, ["beside float; errors and values as magnitudes"])


def _memory(memory: Mapping[str, Any]) -> Table:
    values = {
        "activations of one image, MB": memory["megabytes"],
        "share of half precision": memory["normalized"],
        "entropy bound, MB": memory["entropy_bound_megabytes"],
    }
    rows: list[Row] = [{"": name, "value": value} for name, value in values.items()]
    return Table("Memory", rows, ["of convolutions' outputs; 1 MB is a million bytes"])


def _outcome(content: Mapping[str, Any]) -> Outcome | None:
    top1, float_top1 = content["quantized"]["top1"], content["float"]["top1"]
    if top1 is None or float_top1 is None:
        return None
    # numbers, or the TypeError that load tells
    return Outcome(str(content["network"]), content["memory"]["megabytes"] + 0.0, top1, float_top1)


def named_apart(results: Sequence[ResultFile]) -> list[ResultFile]:
    """The same results; where titles are equal, the files' names follow them."""
    titles = [section.title for result in results for section in result.sections]
    files = [Path(result.path).name for result in results]
    named = []
    for result, file in zip(results, files, strict=True):
        origin = charts.text(file if files.count(file) == 1 else result.path, "a path")
        sections = [
            replace(section, title=f"{section.title} ({origin})")
            if titles.count(section.title) > 1
            else section
            for section in result.sections
        ]
        named.append(replace(result, sections=tuple(sections)))
    return named


def comparison(results: Sequence[ResultFile]) -> Section | None:
    """Accuracy against memory, a point an evaluation; None for fewer than two."""
    known = [(result.sections[0].title, result.outcome) for result in results if result.outcome]
    if len(known) < 2:
        return None
    series = [
        charts.line(name, [outcome.megabytes], [outcome.top1], style="points")
        for name, outcome in known
    ]
    across = [outcome.megabytes for _, outcome in known]
    levels = dict.fromkeys((outcome.network, outcome.float_top1) for _, outcome in known)
    # more levels than two would hide the points; the table has them all
    for network, top1 in levels if len(levels) <= 2 else ():
        name = f"{network} in float, {top1:.2f} %"
        series.append(charts.line(name, [min(across), max(across)], [top1, top1], style="line"))
    figure = charts.curves(
        "Accuracy against activation memory",
        "activation memory of one image, MB",
        "top-1, %",
        series,
    )
    rows: list[Row] = [
        {
            "result": name,
            "memory, MB": outcome.megabytes,
            "top-1, %": outcome.top1,
            "top-1 in float, %": outcome.float_top1,
        }
        for name, outcome in known
    ]
    table = Table("Results", rows)
    return _checked("Comparison", {"tables": [table.to_json()], "figures": [figure]})
