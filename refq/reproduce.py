"""`python -m refq.reproduce PAPER`: every table of a paper beside what refq measures."""

from __future__ import annotations

import argparse
import itertools
import json
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

from tqdm import tqdm

from refq import __version__, networks, papers, schemes, search, writing
from refq.cli import console
from refq.data import digest, kept
from refq.errors import OptionError
from refq.evaluate import Inputs, open_inputs, telling
from refq.papers.study import Study
from refq.results.evaluation import versions
from refq.schemes import Options
from refq.schemes.statistics import Statistics
from refq.search.journal import Journal
from refq.tables import Table

# of an energy threshold, in mean energies: Fig. 4's delta, which paper B does not print
STEP = 0.1


def parser() -> argparse.ArgumentParser:
    out = argparse.ArgumentParser(
        "refq.reproduce",
        allow_abbrev=False,
        description="The tables of a paper, beside the same measured here.",
    )
    out.add_argument("paper", help=f"one of {', '.join(papers.known())}")
    out.add_argument("--network", nargs="+", help=f"of {', '.join(networks.known())}")
    out.add_argument("--weights", help="HDF5 dump for one network (default: the bundled weights)")
    out.add_argument("--data", help="images, as for refq.evaluate (default: bundled)")
    out.add_argument("--images", type=int, help="evaluate this many images (default: all)")
    out.add_argument("--skip", type=int, default=0, help="images to pass over first")
    out.add_argument("--calibrate", type=int, help="images for calibration (default 100)")
    out.add_argument("--batch-size", type=int, help="images at a time (default: by memory)")
    out.add_argument("--frac-act", type=int, help="fraction bits F (default: by calibration)")
    out.add_argument("--delta", type=float, default=2.0, help="points a search may lose")
    out.add_argument("--metric", default="top1", choices=("top1", "top5"), help="of a search")
    out.add_argument("--journal", help="files FILE.NETWORK... that a killed run goes on from")
    out.add_argument("--no-search", action="store_true", help="leave out what is searched for")
    out.add_argument("--json", help="write tables and figures as JSON, - for stdout")
    return out


def main(arguments: Sequence[str] | None = None) -> int:
    return console.run(_main, parser(), arguments)


def _main(arguments: argparse.Namespace) -> int:
    began = time.perf_counter()
    paper = papers.find(arguments.paper)
    writing.check_writable(None if arguments.json == "-" else arguments.json, arguments.journal)
    names = arguments.network or list(paper.NETWORKS)
    if arguments.weights and len(names) > 1:
        raise OptionError(f"--weights for {len(names)} networks", "one --network with them")
    if arguments.weights is None and arguments.data is not None:
        raise OptionError("--data without --weights", "both or neither")
    if not 0 <= arguments.delta <= 100:
        raise OptionError(f"--delta {arguments.delta}", "0 to 100 percentage points")
    if arguments.frac_act is not None and not -32 <= arguments.frac_act <= 32:
        raise OptionError(f"--frac-act {arguments.frac_act}", "-32 to 32")
    # every input and journal is opened, and so checked, before the first long computation
    opened = [_open(arguments, name) for name in names]
    studies = [(_inputs_table(inputs), _study(arguments, inputs)) for inputs in opened]
    try:
        sections = [_section(arguments, paper, *each) for each in studies]
    except KeyboardInterrupt:
        rest = "the journal goes on from here" if arguments.journal else "--journal would keep it"
        raise KeyboardInterrupt(f"interrupted; {rest}") from None
    seconds = time.perf_counter() - began
    content = {
        "refq_reproduce": arguments.paper,
        "sections": sections,
        "settings": {key: value for key, value in vars(arguments).items() if value is not None},
        "seconds": seconds,
        "versions": versions(),
    }
    if arguments.json == "-":
        console.tell(json.dumps(content, indent=1, allow_nan=False))
        return 0
    if arguments.json:
        writing.write_json(arguments.json, content)
    console.tell(f"{seconds:.1f} s")
    return 0


def _section(
    arguments: argparse.Namespace, paper: ModuleType, first: Table, study: Study
) -> dict[str, Any]:
    """One network's tables, printed as they come, and its figures."""
    shown, name = arguments.json != "-", study.network.name
    if shown:
        console.tell(f"{'=' * 8} {name}")
    tables = []
    delta = None if arguments.no_search else arguments.delta
    for table in itertools.chain([first], paper.tables(study, delta)):
        tables.append(table.to_json())
        if shown:
            console.tell(f"\n{table.as_text()}")
    if shown:
        console.tell("")
    return {"title": name, "tables": tables, "figures": paper.figures(study, delta)}


def _open(arguments: argparse.Namespace, name: str) -> Inputs:
    asked = argparse.Namespace(**{**vars(arguments), "network": name})
    asked.input_size, asked.ops = None, "kernels"
    return open_inputs(asked)


def _inputs_table(inputs: Inputs) -> Table:
    """What the figures of a section are measured on."""
    told = {
        "input": "x".join(map(str, inputs.network.input_shape)),
        "weights": f"{inputs.source}, sha256 {inputs.weights.sha256[:12]}",
        "images": f"{inputs.stop - inputs.start} of {inputs.dataset.name}, from {inputs.start}",
        "calibrated on": f"{inputs.calibration_images} of {inputs.calibration.name}",
    }
    return Table("Measured on", [{"what": what, "which": which} for what, which in told.items()])


def _study(arguments: argparse.Namespace, inputs: Inputs) -> Study:
    size = 4 * math.prod(inputs.network.input_shape)

    def progress(what: str) -> Callable[[int], object]:
        calibrating = what in ("calibrate", "count codes", "feature maps", "energies", "noise")
        test = inputs.stop - inputs.start
        return telling(inputs.calibration_images if calibrating else test, what)

    options = Options(
        frac_act=arguments.frac_act,
        image_bounds=inputs.preprocessing.bounds,
        image_integral=inputs.preprocessing.integral,
    )
    ranks = inputs.network.has_classifier and inputs.dataset.labels is not None
    identity = {
        "refq": __version__,
        "network": inputs.network.name,
        "parameters": dict(inputs.network.parameters),
        "weights": inputs.weights.sha256,
        "data": digest(inputs.dataset, inputs.stop),
        "images": [inputs.start, inputs.stop],
        "preprocessing": str(inputs.preprocessing),
    }

    def place(*parts: str) -> str | None:
        named = [arguments.journal, inputs.network.name, *parts]
        return ".".join(named) if arguments.journal else None

    def find(
        name: str,
        statistics: Statistics | None,
        options: Options,
        delta: float,
        strategy: str | None = None,
    ) -> tuple[Mapping[str, Any], str]:
        scheme = schemes.find(name)
        widths = scheme.SEARCHED if isinstance(scheme.SEARCHED, range) else range(0)
        parts = [name, arguments.metric, f"{delta:g}", str(inputs.calibration_images)]
        settings = search.Settings(
            delta=delta,
            widths=widths,
            images=inputs.calibration_images,
            metric=arguments.metric,
            strategy=strategy or scheme.SEARCH,
            at_once=inputs.batch_size,
            step=STEP,
            journal=place(*parts, *([strategy] if strategy else [])),
        )
        with tqdm(desc="search", unit="list", leave=False, disable=None) as bar:
            task = search.Task(
                network=inputs.network,
                weights=inputs.weights,
                scheme=scheme,
                statistics=statistics,
                options=options,
                dataset=inputs.calibration,
                preprocessing=inputs.preprocessing,
                settings=settings,
                ops=inputs.ops,
                told=lambda trial: bar.update(1),
            )
            found = search.run(task)
        content = found.to_json()
        passes = content["passes"]
        note = (
            f"found: at most {delta:g} {arguments.metric} points below float on the "
            f"{inputs.calibration_images} calibration images; {content['candidates']} lists, "
            f"{passes['spent']:,.0f} image passes instead of {passes['plain']:,.0f}"
        )
        one_split = inputs.calibration.name == inputs.dataset.name
        if one_split and inputs.start < inputs.calibration_images:
            note += "; they are evaluated, too: --skip would leave them out"
        return content, note

    return Study(
        inputs.network,
        inputs.weights,
        kept(inputs.calibration_batches, size * inputs.calibration_images),
        kept(inputs.test_batches, size * (inputs.stop - inputs.start)),
        options,
        ranks,
        Journal(place(), identity),
        find,
        progress,
    )


if __name__ == "__main__":
    sys.exit(main())
