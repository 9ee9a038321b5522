"""A paper's tables done again, from what was asked to its sections."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import ModuleType
from typing import Any

from refq import __version__, papers, schemes, search
from refq.cli import console
from refq.cli.command import Request
from refq.cli.inputs import Inputs, open_inputs, which_inputs
from refq.cli.options import SCHEME
from refq.cli.planning import run_search
from refq.cli.progress import telling
from refq.data import digest, kept
from refq.errors import OptionError
from refq.networks.extremes import naming_extremes
from refq.papers.study import Study
from refq.schemes import Options
from refq.schemes.statistics import Statistics
from refq.search.journal import Journal
from refq.tables import Table

# of an energy threshold, in mean energies: Fig. 4's delta, which paper B does not print
STEP = 0.1
# options of searches alone
SEARCHED = ("delta", "metric")
# what is told of the progress of calibration images
CALIBRATING = ("calibrate", "count codes", "feature maps", "energies", "noise")


def reproduce(asked: Request, show: Callable[[str], object]) -> list[dict[str, Any]]:
    """Sections of a paper, one a network, as JSON has them.

    show: is told a section's tables in text as they come.
    """
    paper = papers.find(asked.paper)
    _check(asked, paper)
    # every input and journal is opened, and so checked, before the first long computation
    names = asked.network or list(paper.NETWORKS)
    opened = [open_inputs(which_inputs(asked, model=name, network=None)) for name in names]
    studies = [(_inputs_table(inputs), _study(asked, inputs)) for inputs in opened]
    if not any(study.ranks for _, study in studies):
        asked.refuse(SEARCHED, "without labels or classifier", "labelled images to search on")
    delta = None if asked.no_search else asked.delta
    try:
        return [_section(paper, first, study, delta, show) for first, study in studies]
    except KeyboardInterrupt:
        rest = "the journal goes on from here" if asked.journal else "--journal would keep it"
        raise KeyboardInterrupt(f"interrupted; {rest}") from None


def _check(asked: Request, paper: ModuleType) -> None:
    """Raises OptionError for options that contradict each other, or that nobody reads."""
    count = len(asked.network or paper.NETWORKS)
    if asked.weights and count > 1:
        raise OptionError(f"--weights for {count} networks", "one --network with them")
    if asked.weights is None and asked.data is not None:
        raise OptionError("--data without --weights", "both or neither")
    if asked.no_search:
        asked.refuse(SEARCHED, "with --no-search", "one or the other")
    numbers = {row.name for row in asked.rows if row.group.reader == SCHEME}
    asked.refuse(numbers - set(paper.READS), f"with {asked.paper}", "a paper that reads them")


def _section(
    paper: ModuleType,
    first: Table,
    study: Study,
    delta: float | None,
    show: Callable[[str], object],
) -> dict[str, Any]:
    """One network's tables, shown as they come, and its figures."""
    show(f"{'=' * 8} {study.network.name}")
    tables = []
    with naming_extremes(study.weights):
        for table in itertools.chain([first], paper.tables(study, delta)):
            tables.append(table.to_json())
            show(f"\n{table.as_text()}")
        figures = paper.figures(study, delta)
    show("")
    return {"title": study.network.name, "tables": tables, "figures": figures}


def _inputs_table(inputs: Inputs) -> Table:
    """What the figures of a section are measured on."""
    told = {
        "input": "x".join(map(str, inputs.network.input_shape)),
        "weights": f"{inputs.source}, sha256 {inputs.weights.sha256[:12]}",
        "images": f"{inputs.images} of {inputs.dataset.name}, from {inputs.start}"
        + (f"; {len(inputs.skipped)} skipped that cannot be read" if inputs.skipped else ""),
        "calibrated on": f"{inputs.calibration_images} of {inputs.calibration.name}",
    }
    return Table("Measured on", [{"what": what, "which": which} for what, which in told.items()])


def _study(asked: Request, inputs: Inputs) -> Study:
    size = 4 * math.prod(inputs.network.input_shape)
    image = inputs.input_range()

    def progress(what: str) -> Callable[[int], object]:
        images = inputs.calibration_images if what in CALIBRATING else inputs.images
        return telling(images, what)

    return Study(
        inputs.network,
        inputs.weights,
        kept(inputs.calibration_batches, size * inputs.calibration_images),
        kept(inputs.test_batches, size * inputs.images),
        Options(frac_act=asked.frac_act, image_bounds=image.bounds, image_integral=image.integral),
        inputs.network.has_classifier and inputs.dataset.labels is not None,
        Journal(_journal(asked, inputs), _identity(inputs), console.note),
        _Finder(asked, inputs),
        progress,
    )


def _journal(asked: Request, inputs: Inputs, *parts: str) -> str | None:
    """A file beside --journal's; None where there is none."""
    return ".".join([asked.journal, inputs.network.name, *parts]) if asked.journal else None


def _identity(inputs: Inputs) -> dict[str, Any]:
    """What results in a journal depend on."""
    return {
        "refq": __version__,
        "network": inputs.network.name,
        "parameters": dict(inputs.network.parameters),
        "weights": inputs.weights.sha256,
        "data": digest(inputs.dataset, inputs.stop),
        "images": [inputs.start, inputs.stop],
        "preprocessing": str(inputs.preprocessing),
    }


class _Finder:
    """A study's `find`: searches for the fewest bits on its calibration images."""

    def __init__(self, asked: Request, inputs: Inputs) -> None:
        self.asked, self.inputs = asked, inputs
        self.settings = search.Settings(
            delta=asked.delta,
            widths=range(0),
            images=inputs.calibration_images,
            metric=asked.metric,
            at_once=inputs.batch_size,
            step=STEP,
        )

    def __call__(
        self,
        name: str,
        statistics: Statistics | None,
        options: Options,
        delta: float,
        strategy: str | None = None,
    ) -> tuple[Mapping[str, Any], str]:
        """(what was found, as its JSON tells it, and a note of how)."""
        scheme, inputs, metric = schemes.find(name), self.inputs, self.settings.metric
        parts = [name, metric, f"{delta:g}", str(inputs.calibration_images)]
        settings = replace(
            self.settings,
            delta=delta,
            widths=scheme.SEARCHED if isinstance(scheme.SEARCHED, range) else range(0),
            strategy=strategy or scheme.SEARCH,
            journal=_journal(self.asked, inputs, *parts, *([strategy] if strategy else [])),
        )
        content = run_search(inputs, scheme, statistics, options, settings).to_json()
        passes = content["passes"]
        note = (
            f"found: at most {delta:g} {metric} points below float on the "
            f"{inputs.calibration_images} calibration images; {content['candidates']} lists, "
            f"{passes['spent']:,.0f} image passes instead of {passes['plain']:,.0f}"
        )
        one_split = inputs.calibration.name == inputs.dataset.name
        if one_split and inputs.start < inputs.calibration_images:
            note += "; they are evaluated, too: --skip would leave them out"
        return content, note
