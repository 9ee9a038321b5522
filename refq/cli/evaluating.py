"""An evaluation, from what was asked to what was measured."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from refq.cli import reading
from refq.cli.command import Request
from refq.cli.inputs import Inputs, open_inputs, which_inputs
from refq.cli.planning import choose_plan
from refq.cli.progress import bar
from refq.data import digest, labelling
from refq.data.ranges import Range
from refq.errors import OptionError
from refq.files import writing
from refq.measure.measurement import measure
from refq.measure.streaming import Source
from refq.networks import Network
from refq.networks.extremes import naming_extremes
from refq.plans.cost import activation_memory
from refq.results.evaluation import Evaluation


def evaluate(asked: Request) -> tuple[Evaluation, list[Callable[[], object]]]:
    """(what was measured, steps that write plan and outputs where that is asked for)."""
    began = time.perf_counter()
    reading.check(asked)
    inputs = open_inputs(which_inputs(asked))
    outputs = _SavedOutputs(asked.save_outputs, inputs.network)
    with naming_extremes(inputs.weights):
        chosen = choose_plan(asked, inputs)
    with naming_extremes(inputs.weights), bar(inputs.images, "evaluate") as progress:
        source = Source(
            inputs.network,
            inputs.weights,
            inputs.test_batches,
            inputs.ops,
            progress=lambda what: progress.update,
            first_image=inputs.start,
        )
        measurement = measure(source, chosen.plan, outputs.keep)
    if measurement.images == 0:
        raise measurement.stopped or KeyboardInterrupt
    steps: list[Callable[[], object]] = []
    if asked.save_plan and chosen.plan is not None:
        plan = chosen.plan.to_json()
        steps.append(lambda: writing.write_json(asked.save_plan, plan))
    if asked.save_outputs:
        steps.append(outputs.write)
    answered = {row.name for row in asked.rows if asked.plan and reading.in_plan(row)}
    evaluation = Evaluation(
        network=inputs.network,
        scheme=chosen.scheme,
        plan=chosen.plan,
        measurement=measurement,
        memory=activation_memory(inputs.network, chosen.plan),
        weights={
            "source": inputs.source,
            "sha256": inputs.weights.sha256,
            "metadata": dict(inputs.weights.metadata),
            "notes": list(inputs.notes),
        },
        data={
            "name": inputs.dataset.name,
            "first": inputs.start,
            "sha256": digest(inputs.dataset, inputs.stop),
            "labels": _labels(inputs, measurement.images),
            "notes": list(inputs.dataset.notes),
            "skipped": [asdict(each) for each in inputs.skipped],
            "preprocessing": str(inputs.prepared),
            "range": _range(chosen.inputs),
            "calibration": chosen.calibrated,
        },
        settings={
            name: value
            for name, value in asked.values.items()
            if value is not None and name not in answered
        },
        seconds=time.perf_counter() - began,
        search=chosen.trace,
    )
    return evaluation, steps


def _labels(inputs: Inputs, images: int) -> dict[str, Any] | None:
    """What labels of so many images are like; None where nobody looks at them."""
    if not inputs.network.has_classifier:
        return None
    return labelling(inputs.dataset, inputs.start, inputs.start + images)


def _range(found: Range | None) -> dict[str, Any] | None:
    """What the inputs' format was chosen by, where their type does not say it."""
    if found is None or not found.inputs:
        return None
    return {"low": found.bounds[0], "high": found.bounds[1], "inputs": found.inputs}


class _SavedOutputs:
    """What --save-outputs keeps, if it is asked for: a .npy array, or of several a .npz archive."""

    def __init__(self, path: str | None, network: Network) -> None:
        self.path = path
        self.parts: dict[str, list[np.ndarray]] = {name: [] for name in network.outputs}
        if path and len(self.parts) > 1 and not path.endswith(".npz"):
            found = f"--save-outputs {path} with {len(self.parts)} outputs"
            raise OptionError(found, "FILE.npz, which holds several arrays")

    def keep(self, outputs: Mapping[str, np.ndarray]) -> None:
        for name, values in outputs.items() if self.path else ():
            self.parts[name].append(values)

    def write(self) -> None:
        assert self.path is not None
        if len(self.parts) == 1:
            writing.write_array(self.path, *self.parts.values())
        else:
            writing.write_arrays(self.path, self.parts)
