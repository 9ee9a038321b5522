"""`python -m refq.evaluate NETWORK --scheme SCHEME`: accuracy and integers of a network."""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from tqdm import tqdm

from refq import kernels, networks, oracle, schemes, search, writing
from refq.cli import console
from refq.cli.arguments import IN_PLAN, check_options, parser, scheme_options, search_settings
from refq.data import Dataset, batches, check_labels, digest, open_dataset
from refq.data import preprocessing as preparing
from refq.data.preprocessing import Preprocessing
from refq.errors import DataError, OptionError
from refq.measure.calibration import gather
from refq.measure.measurement import measure
from refq.measure.streaming import Batches, Source
from refq.networks import Network, bundled
from refq.networks.weights import Weights, load
from refq.plans import check as plan_check
from refq.plans import plan as plans
from refq.plans.cost import activation_memory
from refq.plans.plan import Plan
from refq.results.evaluation import Evaluation
from refq.results.text import as_text
from refq.schemes.statistics import Statistics

# activations of a batch: large enough for both cores, small enough for memory
BATCH_VALUES = 1 << 26
DEFAULT_CALIBRATION = 100


@dataclasses.dataclass(frozen=True)
class Inputs:
    """What an evaluation works on."""

    network: Network
    weights: Weights
    source: str
    preprocessing: Preprocessing
    dataset: Dataset
    calibration: Dataset
    start: int
    stop: int
    calibration_images: int
    batch_size: int
    ops: ModuleType

    def test_batches(self) -> Batches:
        return batches(self.dataset, self.preprocessing, self.batch_size, self.start, self.stop)

    def calibration_batches(self) -> Batches:
        return batches(
            self.calibration, self.preprocessing, self.batch_size, 0, self.calibration_images
        )


def open_inputs(arguments: argparse.Namespace) -> Inputs:
    """Loads weights and data and checks that they belong together."""
    name = arguments.network
    if name not in networks.known():
        networks.build(name)  # answers with the known names
    size = {} if arguments.input_size is None else {"input_size": arguments.input_size}
    source = arguments.weights
    if source is None:
        source = str(_bundled_weights(name))
    network, weights = load(source, name, size)
    preprocessing = preparing.for_network(weights.metadata, network.input_shape)
    spec = arguments.data
    if spec is None:
        spec = _default_data(weights, arguments.weights)
    dataset = open_dataset(spec, network.input_shape)
    calibration = open_dataset(spec, network.input_shape, "calibration")
    if network.has_classifier:
        for each in (dataset, calibration):
            check_labels(each, network.shapes[network.output][0])
    start, stop = _range(arguments, len(dataset))
    wanted = arguments.calibrate
    if wanted is None:
        wanted = len(calibration) if spec == "bundled" else DEFAULT_CALIBRATION
    if wanted < 1:
        raise OptionError(f"--calibrate {wanted}", "1 or more images")
    return Inputs(
        network,
        weights,
        "bundled" if arguments.weights is None else source,
        preprocessing,
        dataset,
        calibration,
        start,
        stop,
        min(wanted, len(calibration)),
        _batch_size(arguments, network),
        oracle if arguments.ops == "oracle" else kernels,
    )


def _bundled_weights(name: str) -> Path:
    try:
        return bundled.path(f"{name}.h5")
    except DataError:
        raise OptionError(
            f"no bundled weights for {name}", "--weights FILE or --weights random:SEED"
        ) from None


def _default_data(weights: Weights, given: str | None) -> str:
    if given is None:
        return "bundled"
    if given.startswith("random:"):
        return "random:8"
    raise OptionError("--weights without --data", "--data FOLDER, a packed file or random:N")


def _range(arguments: argparse.Namespace, count: int) -> tuple[int, int]:
    if arguments.skip < 0 or arguments.skip >= count:
        raise OptionError(f"--skip {arguments.skip}", f"0 to {count - 1}")
    left = count - arguments.skip
    images = left if arguments.images is None else arguments.images
    if not 1 <= images <= left:
        raise OptionError(f"--images {images}", f"1 to {left} of this data")
    return arguments.skip, arguments.skip + images


def _batch_size(arguments: argparse.Namespace, network: Network) -> int:
    if arguments.batch_size is not None:
        if not 1 <= arguments.batch_size <= 65536:
            raise OptionError(f"--batch-size {arguments.batch_size}", "1 to 65536")
        return int(arguments.batch_size)
    values = sum(math.prod(shape) for shape in network.shapes.values())
    return max(1, min(128, BATCH_VALUES // values))


def bar(total: int, label: str) -> tqdm[Any]:
    """A progress bar on stderr, quiet where that is no terminal."""
    return tqdm(total=total, desc=label, unit="img", leave=False, disable=None)


def telling(total: int, label: str) -> Callable[[int], None]:
    """Told how many images are done, a progress bar that ends with the last."""
    progress = bar(total, label)

    def told(images: int) -> None:
        progress.update(images)
        if progress.n >= total:
            progress.close()

    return told


def choose_plan(
    arguments: argparse.Namespace, inputs: Inputs
) -> tuple[str, Plan | None, Mapping[str, Any] | None, str | None]:
    """(scheme, plan, search trace, what it was calibrated on)."""
    if arguments.plan:
        loaded = plans.load(arguments.plan)
        plan_check.check(loaded, inputs.network)
        return loaded.scheme, loaded, None, None
    name = arguments.scheme or "float"
    scheme = schemes.find(name)
    options = scheme_options(arguments, inputs.network, inputs.preprocessing)
    statistics = gather_statistics(inputs, scheme, options)
    note = None
    if statistics is not None:
        note = f"{inputs.calibration_images} images of {inputs.calibration.name}"
    if arguments.delta is None:
        plan = scheme.plan(inputs.network, inputs.weights, statistics, options)
        if plan is not None:
            plan_check.check(plan, inputs.network)
        return name, plan, None, note
    found, trace = run_search(arguments, inputs, scheme, statistics, options)
    return name, found, trace, note


def gather_statistics(
    inputs: Inputs, scheme: ModuleType, options: schemes.Options
) -> Statistics | None:
    """What the scheme wants to know of the calibration images; None for nothing."""
    source = Source(
        inputs.network,
        inputs.weights,
        inputs.calibration_batches,
        inputs.ops,
        lambda what: telling(inputs.calibration_images, what),
    )
    return gather(scheme.wanted(inputs.network, options), source)


def run_search(
    arguments: argparse.Namespace,
    inputs: Inputs,
    scheme: ModuleType,
    statistics: Statistics | None,
    options: schemes.Options,
) -> tuple[Plan, Mapping[str, Any]]:
    """Fewest bits within --delta of float, measured on the labelled calibration images."""
    data = inputs.calibration
    if data.labels is None or not inputs.network.has_classifier:
        raise OptionError("--delta without labels or classifier", "labelled images to search on")
    settings = search_settings(
        arguments, scheme, (inputs.calibration_images, len(data)), inputs.batch_size
    )
    if options.hybrid.simulated and settings.strategy in search.WIDTHS:
        raise OptionError(
            "--delta with --float-data, --only or --formats affine",
            "integers, whose data have widths to search for",
        )
    with tqdm(desc="search", unit="list", leave=False, disable=None) as progress:
        try:
            task = search.Task(
                network=inputs.network,
                weights=inputs.weights,
                scheme=scheme,
                statistics=statistics,
                options=options,
                dataset=data,
                preprocessing=inputs.preprocessing,
                settings=settings,
                ops=inputs.ops,
                told=lambda trial: progress.update(1),
            )
            found = search.run(task)
        except KeyboardInterrupt:
            rest = "; the journal resumes it" if settings.journal else ""
            raise KeyboardInterrupt(f"interrupted during the search{rest}") from None
    return found.plan, found.to_json()


def evaluate(arguments: argparse.Namespace) -> Evaluation:
    """Everything the command does, short of printing."""
    began = time.perf_counter()
    check_options(arguments)
    inputs = open_inputs(arguments)
    scheme, plan, trace, calibrated = choose_plan(arguments, inputs)
    kept: list[Any] = []
    keep: Callable[[Any], object] = kept.append if arguments.save_outputs else lambda outputs: None
    total = inputs.stop - inputs.start
    with bar(total, "evaluate") as progress:
        source = Source(
            inputs.network,
            inputs.weights,
            inputs.test_batches,
            inputs.ops,
            progress=lambda what: progress.update,
            first_image=inputs.start,
        )
        measurement = measure(source, plan, keep)
    if measurement.images == 0:
        raise KeyboardInterrupt
    if arguments.save_plan and plan is not None:
        writing.write_json(arguments.save_plan, plan.to_json())
    if arguments.save_outputs:
        writing.write_array(arguments.save_outputs, kept)
    return Evaluation(
        network=inputs.network,
        scheme=scheme,
        plan=plan,
        measurement=measurement,
        memory=activation_memory(inputs.network, plan),
        weights={
            "source": inputs.source,
            "sha256": inputs.weights.sha256,
            "metadata": dict(inputs.weights.metadata),
        },
        data={
            "name": inputs.dataset.name,
            "first": inputs.start,
            "sha256": digest(inputs.dataset, inputs.stop),
            "preprocessing": str(inputs.preprocessing),
            "calibration": calibrated,
        },
        settings={
            key: value
            for key, value in vars(arguments).items()
            if value is not None and not (arguments.plan and key in IN_PLAN)
        },
        seconds=time.perf_counter() - began,
        search=trace,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    return console.run(_main, parser(), arguments)


def _main(arguments: argparse.Namespace) -> int:
    evaluation = evaluate(arguments)
    content = json.dumps(evaluation.to_json(), indent=1, allow_nan=False) if arguments.json else ""
    if arguments.json == "-":
        console.tell(content)
    else:
        if arguments.json:
            writing.write_text(arguments.json, content + "\n")
        console.tell(as_text(evaluation))
    return console.INTERRUPTED if evaluation.measurement.interrupted else 0


if __name__ == "__main__":
    sys.exit(main())
