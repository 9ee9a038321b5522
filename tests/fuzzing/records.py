"""Readers of plans, journals, results, manifests and device dumps."""

from __future__ import annotations

import json
from pathlib import Path

from refq import schemes
from refq.engine.forward import forward, quantize_weights, ready
from refq.hardware.diagnosis import device
from refq.hardware.diagnosis.comparing import Comparison
from refq.hardware.golden.reading import load
from refq.measure.calibration import gather
from refq.measure.streaming import Source
from refq.networks.weights import random_weights
from refq.plans import check, plan
from refq.results import drawing, page, sections
from refq.search.journal import Journal
from tests.fuzzing.changes import in_bytes, in_json, in_signed_lines, in_zip
from tests.fuzzing.reader import Reader
from tests.hardware import golden_set
from tests.small_networks import crossing, pixels

NETWORK = crossing()
WEIGHTS = random_weights(NETWORK, 3)
IMAGES = pixels(NETWORK, 2, 6)
SCHEMES = ("enq", "knq", "uniform", "hybrid", "clustered", "ristretto", "tensorflow")


def _make_plans(folder: Path) -> None:
    for name in SCHEMES:
        scheme, options = schemes.find(name), schemes.Options()
        source = Source(NETWORK, WEIGHTS, lambda: [(IMAGES, None)])
        found = gather(scheme.wanted(NETWORK, options), source)
        made = scheme.plan(NETWORK, WEIGHTS, found, options)
        (folder / f"{name}.json").write_text(json.dumps(made.to_json()))


def _read_plan(path: Path) -> None:
    loaded = plan.load(path)
    check.check(loaded, NETWORK)
    integers = loaded.arithmetic == plan.INTEGER
    made = (quantize_weights if integers else ready)(NETWORK, WEIGHTS, loaded)
    forward(NETWORK, made, loaded, IMAGES)


MOST = {"hits": 90, "images": 90, "spent": 1e9}
KEYS = [["trial", number, 5] for number in range(12)]


def _journal(path: Path) -> None:
    journal = Journal(str(path), {"network": "small", "base": {"a": [1, {"b": 2.5}]}})
    for key in KEYS:
        journal.recall(key, lambda: {"hits": key[1], "images": 80, "spent": 0.25}, MOST)  # noqa: B023


def _make_journal(folder: Path) -> None:
    _journal(folder / "j")


def _result(folder: Path) -> None:
    edges, counts = [0.0, 0.5, 1.0, 2.0], [0.25, 0.5, 0.0]
    panels = [{"name": f"layer {each}", "edges": edges, "counts": counts} for each in range(3)]
    line = {"name": "a", "x": [1, 2, None], "y": [3.5, 4, 5], "source": "paper", "style": "line"}
    figures = [
        {"kind": "histograms", "title": "t", "x_label": "x", "panels": panels, "log": True},
        {"kind": "curves", "title": "t", "series": [line]},
        {"kind": "codebooks", "title": "t", "panels": [{**panels[0], "values": [1, 2, 9]}]},
    ]
    table = {"title": "T", "columns": ["a", "b"], "rows": [["x", 1.5], [None, 7]], "notes": ["n"]}
    content = {"refq_reproduce": "x", "sections": [{"title": "s", "tables": [table]}]}
    (folder / "r.json").write_text(json.dumps({**content, "figures": figures}))


def _read_result(path: Path) -> None:
    (result,) = sections.named_apart([sections.load(str(path))])
    page.html("all", [(section, []) for section in result.sections])
    for section in result.sections:
        for figure in section.figures:
            drawing.draw(figure)


def _read_set(path: Path) -> None:
    golden = load(path.parent, hashed=False)
    json.dumps(golden.manifest.to_json(), allow_nan=False)
    dumps = device.open_device(path.parent, golden.manifest, device.Asked())
    device.sources(dumps, golden.manifest.arrays)


# HDF5 has a reader of its own
DUMPS = ("c", "coe", "hex", "mem", "mif", "npy", "npz", "raw")
DUMPED = ("conv1.sum", "relu1.code", "fc.sum", "conv1.weight")


def _dump(format_: str) -> Reader:
    """Files of a device, beside a golden set. Of a container, all arrays lie in one."""

    def make(folder: Path) -> None:
        for part in ("golden", "device"):
            (folder / part).mkdir()
        golden_set.write(folder / "golden")
        arrays = golden_set.arrays()
        dumped = {name: arrays[name] for name in DUMPED}
        golden_set.write_files(folder / "device", dumped, format_)

    def read(path: Path) -> None:
        golden = load(path.parents[1] / "golden")
        dumps = device.open_device(path.parent, golden.manifest, device.Asked(format=format_))
        found = device.sources(dumps, golden.manifest.arrays)
        for each in Comparison(golden, dumps).run(found):
            str(each)

    changes = (in_bytes, in_zip) if format_ == "npz" else (in_bytes,)
    return Reader(make, read, "device/*", changes, compiles=True)


STRUCTURED = (in_bytes, in_json)
READERS = {
    "plan": Reader(_make_plans, _read_plan, changes=STRUCTURED, compiles=True, memory=512),
    "journal": Reader(_make_journal, _journal, changes=(in_bytes, in_signed_lines), writes=("j",)),
    "result": Reader(_result, _read_result, changes=STRUCTURED, memory=512),
    "manifest": Reader(golden_set.write, _read_set, "manifest.json", STRUCTURED),
    **{f"dump_{name}": _dump(name) for name in DUMPS},
}
