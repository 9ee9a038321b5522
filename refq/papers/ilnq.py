"""Paper A: Sun, Lin, Wang, Intra-Layer Nonuniform Quantization, Tables I to VII.

Table V, areas and delays of a 90 nm library, is hardware's. Accuracies are of the weights and
images at hand; memory is that of the network at ImageNet's size, which needs neither.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from refq.errors import OptionError
from refq.networks.graph import INPUT
from refq.networks.points import Point, storage_points
from refq.papers import codebooks, published
from refq.papers.study import Study
from refq.plans.cost import Memory, memory_of_widths
from refq.plans.plan import Plan
from refq.results import charts
from refq.results.tables import Cell, Table

NETWORKS = ("vgg16", "alexnet")
PRINTED = published.tables("ilnq")
# bits of Table VI; VGG-16's for a network that the paper has not
KNQ_BITS = {"alexnet": (2, 3)}
# average width at which Table VII's memory of AlexNet comes out with the paper's own count
CLNQ_BITS = {"alexnet": 7}
HALF, OTHERS = 16, 8
TOP5 = "top5"


def tables(study: Study, delta: float | None) -> Iterator[Table]:
    """Every table of the paper that fits the network, one after the other; delta: what a search
    may lose in points, None for no search."""
    if study.ranks:
        yield uniform_table(study)
        yield from enq_tables(study, delta)
    else:
        yield Table(
            "Tables I, II, III and VI",
            ("table",),
            (),
            ("left out: they need images with labels, and weights with a classifier",),
        )
    yield codebooks.table(study, _printed("centroids", study) or {})
    if study.ranks:
        yield knq_table(study)
    yield noise_table(study)
    yield comparison_table(study)


def _printed(what: str, study: Study) -> Any:
    """What the paper printed of this network, or None."""
    return PRINTED[what].get(study.network.name)


def _own(study: Study, plan: Plan) -> tuple[Cell, ...]:
    """Top-1 and top-5 under a plan, and the top-5 points lost against float."""
    got, reference = study.accuracy(plan), study.accuracy(None)
    return got.get("top1"), got.get(TOP5), _less(got.get(TOP5), reference.get(TOP5))


def _less(value: Cell, reference: Cell) -> Cell:
    if not isinstance(value, (int, float)) or not isinstance(reference, (int, float)):
        return None
    return float(value - reference)


def _float_note(study: Study) -> str:
    got = study.accuracy(None)
    printed = _printed("float_top5", study)
    paper = f"; the paper's {printed}" if printed else ""
    return f"float here: top-1 {got['top1']:.2f}, top-5 {got[TOP5]:.2f}{paper}"


def uniform_table(study: Study) -> Table:
    """Table I: one width and one F for all layers; F is what 12 bits need."""
    printed = _printed("uniform_top5", study) or {}
    reference = _printed("float_top5", study)
    rows: list[tuple[Cell, ...]] = []
    for bits in (14, 13, 12, 11, 10, 9):
        paper = printed.get(str(bits))
        plan = study.plan("uniform", bits_act=bits)
        rows.append((bits, paper, _less(paper, reference), *_own(study, plan)))
    return Table(
        "Table I: uniform quantization",
        ("bits", "paper top-5", "paper lost", "top-1", "top-5", "lost"),
        tuple(rows),
        (f"F = {study.frac_bits} at every width, so that fewer bits saturate", _float_note(study)),
    )


def _widths(study: Study, bits: Mapping[str, int], default: int = OTHERS) -> dict[str, int]:
    """{point: bits} on the network at its published size, from widths by layer name. The image
    keeps its own bits unless the widths name it or all is in half precision."""
    widths = {}
    for point in storage_points(study.at_size):
        image = INPUT in point.makers and default != HALF
        own = study.options.bits_image if image else default
        widths[point.name] = bits.get(point.name, bits.get(point.width_of, own))
    return widths


def _memory(study: Study, bits: Mapping[str, int], default: int = OTHERS) -> Memory:
    return memory_of_widths(study.at_size, _widths(study, bits, default))


def enq_tables(study: Study, delta: float | None) -> Iterator[Table]:
    """Tables II and III: the paper's lists of widths as they are, and the one found here."""
    printed = _printed("enq", study)
    lists: list[tuple[str, Cell, Mapping[str, int]]] = []
    if printed:
        for row in printed["rows"]:
            widths = dict(zip(printed["layers"], row["bits"], strict=True))
            lists.append((str(row["index"]), row[TOP5], widths))
    notes = [PRINTED["notes"]["enq"]] if printed else []
    if delta is not None:
        try:
            found, note = study.search("enq", delta)
            lists.append(("found", None, found["widths"]))
        except OptionError as error:
            # no list comes as near to float as asked; the other tables do not need one
            note = f"found: none, {error}"
        notes.append(note)
    if not lists:
        yield Table("Tables II and III: ENQ", ("index",), (), tuple(notes))
        return
    reference, rows = _printed("float_top5", study), []
    for name, paper, bits in lists:
        memory = _memory(study, bits)
        for assign in ("nearest", "floor"):
            plan = study.plan("enq", widths=bits, assign=assign)
            rows.append(
                (
                    name,
                    assign,
                    paper,
                    _less(paper, reference),
                    *_own(study, plan),
                    memory.megabytes,
                    memory.megabytes_by_output,
                )
            )
    yield Table(
        "Tables II and III: ENQ",
        (
            "index",
            "assign",
            "paper top-5",
            "paper lost",
            "top-1",
            "top-5",
            "lost",
            "MB",
            "MB by output",
        ),
        tuple(rows),
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
        ("layer", *(name for name, _, _ in lists)),
        tuple((name, *(bits.get(name) for _, _, bits in lists)) for name in names),
    )


def knq_table(study: Study) -> Table:
    """Table VI: codebooks with and without the pre-process."""
    printed = _printed("knq_top5", study) or {}
    float_, rows = _printed("float_top5", study), []
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
                        (
                            "yes" if saturate else "no",
                            bits,
                            kmeans,
                            assign,
                            top5,
                            _less(top5, float_),
                            *_own(study, plan),
                        )
                    )
    return Table(
        "Table VI: KNQ",
        (
            "pre-process",
            "bits",
            "k-means",
            "assign",
            "paper top-5",
            "paper lost",
            "top-1",
            "top-5",
            "lost",
        ),
        tuple(rows),
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
    found = study.noise(plans)
    rows = []
    for point in _points(study):
        noises = [found[name][point.name] for name in schemes]
        widths = [plans[name].tensors[point.makers[0]].stored_bits for name in schemes]
        rows.append((point.name, widths[-1], *(noise.sqnr_db for noise in noises)))
    return Table(
        f"SQNR in dB of every stored input at {bits} bits a value",
        ("layer", "clnq's bits", *schemes),
        tuple(rows),
        (
            "each layer by itself, the others in float; nearest and exact",
            f"uniform has one F for the network, what {bits} bits need; clnq spreads {bits} bits a "
            "value over the layers and chooses F for each",
        ),
    )


def comparison_table(study: Study) -> Table:
    """Table VII: accuracy and memory of half precision, ENQ, KNQ and CLNQ."""
    name = study.network.name
    paper = _printed("comparison", study) or {}
    bits = KNQ_BITS.get(name, (4, 5))[-1]
    enq = _printed("enq", study)
    lists: dict[str, dict[str, int]] = {"half": {}, "enq": {}, "knq": {}, "clnq": {}}
    defaults = {"half": HALF, "enq": bits, "knq": bits, "clnq": CLNQ_BITS.get(name, OTHERS)}
    if enq:
        lists["enq"] = dict(zip(enq["layers"], enq["rows"][-1]["bits"], strict=True))
    lists["clnq"] = _printed("clnq", study) or {}
    memories = {scheme: _memory(study, lists[scheme], defaults[scheme]) for scheme in lists}
    rows = []
    for scheme, memory in memories.items():
        if not study.ranks:
            own: dict[str, float] = {}
        elif scheme == "half":
            own = study.half_accuracy()
        else:
            widths = _known_widths(study, lists[scheme])
            own = study.accuracy(study.plan(scheme, bits_act=defaults[scheme], widths=widths))
        printed = paper.get(scheme, {})
        rows.append(
            (
                scheme,
                printed.get(TOP5),
                own.get("top1"),
                own.get(TOP5),
                printed.get("MB"),
                memory.megabytes,
                _less(memory.megabytes, printed.get("MB")),
                memory.megabytes_by_output,
                memory.mebibytes,
                printed.get("NNB"),
                memory.bits / memories["clnq"].bits,
            )
        )
    return Table(
        "Table VII: comparison",
        (
            "scheme",
            "paper top-5",
            "top-1",
            "top-5",
            "paper MB",
            "MB",
            "difference",
            "MB by output",
            "MiB",
            "paper NNB",
            "NNB",
        ),
        tuple(rows),
        _explained(study, defaults),
    )


def _known_widths(study: Study, bits: Mapping[str, int]) -> dict[str, int]:
    """Widths of layers that the network at hand has: a trunk has no fc6."""
    names = {name for p in storage_points(study.network) for name in (p.name, p.width_of)}
    return {name: width for name, width in bits.items() if name in names}


def _explained(study: Study, defaults: Mapping[str, int]) -> tuple[str, ...]:
    counts = study.at_size.activation_counts()
    convolutions = sum(n for name, n in counts.items() if "fc" not in name)
    notes = [
        "half: every stored activation rounded to half precision, the network in float32",
        f"MB (10^6 bytes): {convolutions:,} outputs of convolutions at ImageNet's size, each at "
        "the width of the layer that reads it; by output: at the width that its own layer has",
    ]
    if study.network.name == "vgg16":
        notes += [
            "CLNQ leaves fc6 open: 8 bits, the last convolution's, give 16.82",
            "ENQ, index 6: 8.94 or 9.90; neither reading gives the printed 9.5, which lies between",
        ]
    if study.network.name == "alexnet":
        implied = 2.57e6 / 2
        notes += [
            f"the printed 2.57 MB of half precision are {implied / 1e6:.2f} M values, "
            f"{implied / convolutions:.2f} times the convolutions' outputs; with that count "
            f"{defaults['enq']} bits give {implied * defaults['enq'] / 8e6:.2f} MB and "
            f"{defaults['clnq']} give {implied * defaults['clnq'] / 8e6:.2f}, as printed",
            f"the paper prints no widths for AlexNet: {defaults['enq']} bits for ENQ and KNQ, "
            f"{defaults['clnq']} on average for CLNQ are what its figures imply; CLNQ's "
            "memory is at that width everywhere, its accuracy at widths that the rule allocates "
            "around it",
        ]
    return tuple(notes)


def figures(study: Study, delta: float | None) -> list[dict[str, Any]]:
    """Fig. 1, accuracy against bits and memory, codebooks; as refq.report draws them."""
    books = codebooks.panels(study, _printed("centroids", study) or {})
    drawn = [_histograms(study), charts.codebooks("Codebooks (Table IV)", books)]
    if study.ranks:
        drawn += [_against_bits(study), _against_memory(study)]
    return drawn


def _histograms(study: Study, bins: int = 64) -> dict[str, Any]:
    """Fig. 1: magnitudes of stored activations against their share, within 12 bits."""
    panels = []
    for point in _points(study):
        counts = study.statistics.joined_codes(point.makers)
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
        printed = _printed(what, study) or {}
        printed = printed.get("preprocess", printed)
        points = sorted((int(bits), top5) for bits, top5 in printed.items())
        if points:
            x, y = zip(*points, strict=True)
            series.append(charts.line(scheme, x, y, "paper"))
    return charts.curves("Accuracy against bits", "bits of a stored activation", "top-5, %", series)


def _against_memory(study: Study) -> dict[str, Any]:
    """Accuracy against memory at ImageNet's size, and the paper's points."""
    table = comparison_table(study)
    series = []
    for row in table.rows:
        cells = dict(zip(table.columns, row, strict=True))
        for source, prefix in (("refq", ""), ("paper", "paper ")):
            x, y = cells[f"{prefix}MB"], cells[f"{prefix}top-5"]
            if isinstance(x, (int, float)) and isinstance(y, (int, float)):
                series.append(charts.line(str(cells["scheme"]), [x], [y], source, "points"))
    return charts.curves(
        "Accuracy against activation memory",
        "activation memory of one image, MB",
        "top-5, %",
        series,
    )
