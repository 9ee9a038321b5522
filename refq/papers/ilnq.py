"""Paper A: Sun, Lin, Wang, Intra-Layer Nonuniform Quantization, Tables I to VII.

Table V, areas and delays of a 90 nm library, is hardware's. Accuracies are of the weights and
images at hand; memory is that of the network at ImageNet's size, which needs neither.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from refq.errors import OptionError
from refq.networks.points import Point, storage_points
from refq.papers import codebooks, comparison
from refq.papers.comparison import KNQ_BITS, PRINTED, TOP5, memory, printed_of
from refq.papers.study import Study
from refq.plans.plan import Plan
from refq.results import charts
from refq.tables import Cell, Column, Row, Table, less

NETWORKS = ("vgg16", "alexnet")
READS = ("frac_act",)


def tables(study: Study, delta: float | None) -> Iterator[Table]:
    """Every table of the paper that fits the network, one after the other; delta: what a search
    may lose in points, None for no search."""
    if study.ranks:
        yield uniform_table(study)
        yield from enq_tables(study, delta)
    else:
        yield Table(
            "Tables I, II, III and VI",
            (),
            ["left out: they need images with labels, and weights with a classifier"],
            [Column("table")],
        )
    yield codebooks.table(study, printed_of("centroids", study) or {})
    if study.ranks:
        yield knq_table(study)
    yield noise_table(study)
    yield comparison.table(study)


def _beside(study: Study, paper: Cell, plan: Plan) -> Row:
    """The top-5 that a paper printed and the points it lost; top-1 and top-5 under a plan, and the
    points lost against float."""
    got, reference = study.accuracy(plan), study.accuracy(None)
    return {
        "paper top-5": paper,
        "paper lost": less(paper, printed_of("float_top5", study)),
        "top-1": got.get("top1"),
        "top-5": got.get(TOP5),
        "lost": less(got.get(TOP5), reference.get(TOP5)),
    }


def _float_note(study: Study) -> str:
    got = study.accuracy(None)
    printed = printed_of("float_top5", study)
    paper = f"; the paper's {printed}" if printed else ""
    return f"float here: top-1 {got['top1']:.2f}, top-5 {got[TOP5]:.2f}{paper}"


def uniform_table(study: Study) -> Table:
    """Table I: one width and one F for all layers; F is what 12 bits need."""
    printed = printed_of("uniform_top5", study) or {}
    rows: list[Row] = []
    for bits in (14, 13, 12, 11, 10, 9):
        plan = study.plan("uniform", bits_act=bits)
        rows.append({"bits": bits, **_beside(study, printed.get(str(bits)), plan)})
    return Table(
        "Table I: uniform quantization",
        rows,
        (f"F = {study.frac_bits} at every width, so that fewer bits saturate", _float_note(study)),
    )


def enq_tables(study: Study, delta: float | None) -> Iterator[Table]:
    """Tables II and III: the paper's lists of widths as they are, and the one found here."""
    printed = printed_of("enq", study)
    lists: list[tuple[str, Cell, Mapping[str, int]]] = []
    if printed:
        for row in printed["rows"]:
            widths = dict(zip(printed["layers"], row["bits"], strict=True))
            lists.append((str(row["index"]), row[TOP5], widths))
    notes = [PRINTED["notes"]["enq"]] if printed else []
    if delta is not None:
        try:
            searched, note = study.search("enq", delta)
            lists.append(("found", None, searched["widths"]))
        except OptionError as error:
            # no list comes as near to float as asked; the other tables do not need one
            note = f"found: none, {error}"
        notes.append(note)
    if not lists:
        yield Table("Tables II and III: ENQ", (), notes, [Column("index")])
        return
    rows: list[Row] = []
    for name, paper, bits in lists:
        stored = memory(study, bits)
        for assign in ("nearest", "floor"):
            plan = study.plan("enq", widths=bits, assign=assign)
            rows.append(
                {
                    "index": name,
                    "assign": assign,
                    **_beside(study, paper, plan),
                    "MB": stored.megabytes,
                    "MB by output": stored.megabytes_by_output,
                }
            )
    yield Table(
        "Tables II and III: ENQ",
        rows,
        (
            *notes,
            "floor is the paper's printed rule; nearest adds half a step before the shift",
            "MB: a width is its layer's input; by output: its layer's output",
            _float_note(study),
        ),
    )
    names = list(dict.fromkeys(name for _, _, bits in lists for name in bits))
    yield Table(
        "Widths of Tables II and III",
        [{"layer": name, **{index: bits.get(name) for index, _, bits in lists}} for name in names],
    )


def knq_table(study: Study) -> Table:
    """Table VI: codebooks with and without the pre-process."""
    printed = printed_of("knq_top5", study) or {}
    rows: list[Row] = []
    for saturate in (False, True):
        paper = printed.get("preprocess" if saturate else "no_preprocess", {})
        for bits in KNQ_BITS.get(study.network.name, (4, 5)):
            top5 = paper.get(str(bits))
            for kmeans in ("lloyd", "lloyd++", "exact"):
                for assign in ("floor", "nearest"):
                    plan = study.plan(
                        "knq", bits_act=bits, saturate=saturate, kmeans=kmeans, assign=assign
                    )
                    rows.append(
                        {
                            "pre-process": "yes" if saturate else "no",
                            "bits": bits,
                            "k-means": kmeans,
                            "assign": assign,
                            **_beside(study, top5, plan),
                        }
                    )
    return Table(
        "Table VI: KNQ",
        rows,
        (
            "the paper names neither its k-means' start nor when it stops; here lloyd starts evenly"
            " from 0 to the largest code there can be, lloyd++ by k-means++; both take at most 100 "
            "steps",
            _float_note(study),
        ),
    )


def _points(study: Study) -> list[Point]:
    """Points that weighted layers store and others read."""
    return [p for p in storage_points(study.network) if p.producers and p.readers]


def noise_table(study: Study) -> Table:
    """SQNR of every stored layer at equal memory, each by itself."""
    bits = KNQ_BITS.get(study.network.name, (4, 5))[-1]
    schemes = ("uniform", "enq", "knq", "clnq")
    plans = {name: study.plan(name, bits_act=bits) for name in schemes[1:]}
    # one width for all with the F that this width needs
    plans["uniform"] = study.plan("uniform", bits_act=bits, frac_act=None)
    noises = study.noise(plans)
    rows: list[Row] = []
    for point in _points(study):
        width = plans["clnq"].tensors[point.makers[0]].stored_bits
        ratios = {name: noises[name][point.name].sqnr_db for name in schemes}
        rows.append({"layer": point.name, "clnq's bits": width, **ratios})
    return Table(
        f"SQNR in dB of every stored input at {bits} bits a value",
        rows,
        (
            "each layer by itself, the others in float; nearest and exact",
            f"uniform has one F for the network, what {bits} bits need; clnq spreads {bits} bits a "
            "value over the layers and chooses F for each",
        ),
    )


def figures(study: Study, delta: float | None) -> list[dict[str, Any]]:
    """Fig. 1, accuracy against bits and memory, codebooks; as refq.report draws them."""
    books = codebooks.panels(study, printed_of("centroids", study) or {})
    drawn = [_histograms(study), charts.codebooks("Codebooks (Table IV)", books)]
    if study.ranks:
        drawn += [_against_bits(study), comparison.figure(study)]
    return drawn


def _histograms(study: Study, bins: int = 64) -> dict[str, Any]:
    """Fig. 1: magnitudes of stored activations against their share, within 12 bits."""
    panels = []
    for point in _points(study):
        counts = study.statistics.joined_codes(point.makers)
        if point.signed:
            middle = len(counts) // 2
            counts = counts[middle:] + np.append(0, counts[middle - 1 : 0 : -1])
        step = (1 << 12) // bins
        shares = counts[: 1 << 12].reshape(bins, step).sum(1) / counts.sum()
        edges = np.arange(0, (1 << 12) + 1, step) * 2.0**-study.frac_bits
        panels.append({"name": point.name, "edges": edges.tolist(), "counts": shares.tolist()})
    title = "Activations after ReLU (Fig. 1)"
    return charts.histograms(title, "magnitude", "probability", panels, log=True)


def _against_bits(study: Study) -> dict[str, Any]:
    """Accuracy of one width for all layers, scheme by scheme, and the paper's points."""
    series = []
    for scheme, widths in (("uniform", range(9, 15)), ("enq", range(3, 7)), ("knq", range(3, 6))):
        got = [study.accuracy(study.plan(scheme, bits_act=bits))[TOP5] for bits in widths]
        series.append(charts.line(scheme, list(widths), got))
    for scheme, what in (("uniform", "uniform_top5"), ("knq", "knq_top5")):
        printed = printed_of(what, study) or {}
        printed = printed.get("preprocess", printed)
        points = sorted((int(bits), top5) for bits, top5 in printed.items())
        if points:
            x, y = zip(*points, strict=True)
            series.append(charts.line(scheme, x, y, "paper"))
    return charts.curves("Accuracy against bits", "bits of a stored activation", "top-5, %", series)
