"""The plan of an evaluation: loaded, made by a scheme, or found by a search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from refq import schemes, search
from refq.cli import console, reading
from refq.cli.asking import scheme_options, search_settings
from refq.cli.command import Request
from refq.cli.inputs import Inputs
from refq.cli.progress import telling, trying
from refq.data.ranges import Range
from refq.errors import OptionError
from refq.measure.calibration import gather
from refq.measure.streaming import Source
from refq.plans import check as plan_check
from refq.plans import plan as plans
from refq.plans.plan import Plan
from refq.schemes.statistics import Statistics


@dataclass(frozen=True)
class Planned:
    """A plan, None for float32, and where it is from: a scheme, the trace of a search, what it was
    calibrated on, None where there was nothing, and what the inputs' format was chosen by."""

    scheme: str
    plan: Plan | None
    trace: Mapping[str, Any] | None = None
    calibrated: str | None = None
    inputs: Range | None = None


def choose_plan(asked: Request, inputs: Inputs) -> Planned:
    """The plan that the command line asks for."""
    if asked.plan:
        loaded = plans.load(asked.plan)
        plan_check.check(loaded, inputs.network)
        return Planned(loaded.scheme, loaded)
    name = asked.scheme or "float"
    scheme = schemes.find(name)
    image = None if name == "float" else inputs.input_range()
    options = scheme_options(asked, inputs.network, image)
    settings = None if asked.delta is None else _settings(asked, inputs, options)
    source = Source(
        inputs.network,
        inputs.weights,
        inputs.calibration_batches,
        inputs.ops,
        lambda what: telling(inputs.calibration_images, what),
    )
    statistics = gather(scheme.wanted(inputs.network, options), source)
    note = None
    if statistics is not None or (image and image.inputs):
        note = f"{inputs.calibration_images} images of {inputs.calibration.name}"
    elif settings is None or asked.search_images is not None:
        asked.refuse(["calibrate"], f"with scheme {name}", reading.UNCALIBRATED)
    if settings is not None:
        found = run_search(inputs, scheme, statistics, options, settings)
        return Planned(name, found.plan, found.to_json(), note, image)
    plan = scheme.plan(inputs.network, inputs.weights, statistics, options)
    if plan is not None:
        plan_check.check(plan, inputs.network)
    return Planned(name, plan, calibrated=note, inputs=image)


def _settings(asked: Request, inputs: Inputs, options: schemes.Options) -> search.Settings:
    """What is asked of a search for the fewest bits within --delta of float, measured on the
    labelled calibration images."""
    data, hybrid = inputs.calibration, options.hybrid
    if data.labels is None or not inputs.network.has_classifier:
        raise OptionError("--delta without labels or classifier", "labelled images to search on")
    settings = search_settings(asked, (inputs.calibration_images, len(data)), inputs.batch_size)
    if hybrid.simulated and settings.strategy in search.WIDTHS:
        raise OptionError(
            "--delta with --float-data, --only or --formats affine",
            "integers, whose data have widths to search for",
        )
    if settings.strategy == "clusters" and any((hybrid.every_layer, *hybrid.clusters.values())):
        asked.refuse(["clusters"], "with --search clusters", "0, for layers that are to have none")
    return settings


def run_search(
    inputs: Inputs,
    scheme: ModuleType,
    statistics: Statistics | None,
    options: schemes.Options,
    settings: search.Settings,
) -> Any:
    """What a search found, Found or Tuned."""
    with trying() as progress:
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
            told=lambda trial: progress.update(1),
            noted=console.note,
        )
        try:
            return search.run(task)
        except KeyboardInterrupt:
            rest = "; the journal resumes it" if settings.journal else ""
            raise KeyboardInterrupt(f"interrupted during the search{rest}") from None
