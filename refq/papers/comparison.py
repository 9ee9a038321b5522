"""Paper A's Table VII: accuracy and memory at ImageNet's size, of its schemes beside each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from refq.networks.graph import INPUT
from refq.networks.points import storage_points
from refq.papers import published
from refq.papers.study import Study
from refq.plans.cost import Memory, memory_of_widths
from refq.results import charts
from refq.tables import Row, Table, less

PRINTED = published.tables("ilnq")
# bits of Table VI; VGG-16's for a network that the paper has not
KNQ_BITS = {"alexnet": (2, 3)}
# average width at which Table VII's memory of AlexNet comes out with the paper's own count
CLNQ_BITS = {"alexnet": 7}
HALF, OTHERS = 16, 8
TOP5 = "top5"


def printed_of(what: str, study: Study) -> Any:
    """What the paper printed of this network, or None."""
    return PRINTED[what].get(study.network.name)


def _widths(study: Study, bits: Mapping[str, int], default: int = OTHERS) -> dict[str, int]:
    """{point: bits} on the network at its published size, from widths by layer name. The image
    keeps its own bits unless the widths name it or all is in half precision."""
    widths = {}
    for point in storage_points(study.at_size):
        image = INPUT in point.makers and default != HALF
        usual = study.options.bits_image if image else default
        widths[point.name] = bits.get(point.name, bits.get(point.width_of, usual))
    return widths


def memory(study: Study, bits: Mapping[str, int], default: int = OTHERS) -> Memory:
    """Of the network at its published size, from widths by layer name."""
    return memory_of_widths(study.at_size, _widths(study, bits, default))


def table(study: Study) -> Table:
    """Table VII: accuracy and memory of half precision, ENQ, KNQ and CLNQ."""
    name = study.network.name
    paper = printed_of("comparison", study) or {}
    bits = KNQ_BITS.get(name, (4, 5))[-1]
    enq = printed_of("enq", study)
    lists: dict[str, dict[str, int]] = {"half": {}, "enq": {}, "knq": {}, "clnq": {}}
    defaults = {"half": HALF, "enq": bits, "knq": bits, "clnq": CLNQ_BITS.get(name, OTHERS)}
    if enq:
        lists["enq"] = dict(zip(enq["layers"], enq["rows"][-1]["bits"], strict=True))
    lists["clnq"] = printed_of("clnq", study) or {}
    memories = {scheme: memory(study, lists[scheme], defaults[scheme]) for scheme in lists}
    rows: list[Row] = []
    for scheme, stored in memories.items():
        got: dict[str, float] = {}
        if study.ranks and scheme == "half":
            got = study.half_accuracy()
        elif study.ranks:
            widths = _known_widths(study, lists[scheme])
            got = study.accuracy(study.plan(scheme, bits_act=defaults[scheme], widths=widths))
        printed = paper.get(scheme, {})
        rows.append(
            {
                "scheme": scheme,
                "paper top-5": printed.get(TOP5),
                "top-1": got.get("top1"),
                "top-5": got.get(TOP5),
                "paper MB": printed.get("MB"),
                "MB": stored.megabytes,
                "difference": less(stored.megabytes, printed.get("MB")),
                "MB by output": stored.megabytes_by_output,
                "MiB": stored.mebibytes,
                "paper NNB": printed.get("NNB"),
                "NNB": stored.bits / memories["clnq"].bits,
            }
        )
    return Table("Table VII: comparison", rows, _explained(study, defaults))


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


def figure(study: Study) -> dict[str, Any]:
    """Accuracy against memory at ImageNet's size, and the paper's points."""
    series = []
    for row in table(study).rows:
        for source, prefix in (("refq", ""), ("paper", "paper ")):
            x, y = row[f"{prefix}MB"], row[f"{prefix}top-5"]
            if isinstance(x, (int, float)) and isinstance(y, (int, float)):
                series.append(charts.line(str(row["scheme"]), [x], [y], source, "points"))
    return charts.curves(
        "Accuracy against activation memory",
        "activation memory of one image, MB",
        "top-5, %",
        series,
    )
