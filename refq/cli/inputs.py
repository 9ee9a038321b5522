"""What a command works on: a network, its weights and images, opened and checked."""

from __future__ import annotations

import dataclasses
import math
from types import ModuleType

from refq import kernels, oracle
from refq.cli.command import Request
from refq.cli.opening import RANDOM, Opened, open_network
from refq.cli.preparing import Prepared, Stated
from refq.cli.preparing import prepared as how_prepared
from refq.cli.progress import telling
from refq.data import (
    Dataset,
    Skipped,
    batches,
    check_labels,
    open_dataset,
    prepared,
    readable,
    relabelled,
    renumbered,
)
from refq.data.preprocessing import Rule
from refq.data.ranges import Range, range_of
from refq.errors import OptionError, listed
from refq.measure.streaming import Batches
from refq.networks import Network
from refq.networks.parts import input_parts
from refq.networks.weights import Weights

# activations of a batch: large enough for both cores, small enough for memory
BATCH_VALUES = 1 << 26
DEFAULT_CALIBRATION = 100


@dataclasses.dataclass(frozen=True)
class Which:
    """Which network, weights and images; None for what is usual. model: the network, by its name or
    file; network: a file that defines it."""

    model: str
    network: str | None = None
    outputs: tuple[str, ...] | None = None
    external_data: str | None = None
    prototxt: str | None = None
    weights: str | None = None
    data: str | None = None
    classes: str | None = None
    class_order: str | None = None
    labels: str | None = None
    preprocessing: str | None = None
    input_size: tuple[int, int] | None = None
    images: int | None = None
    skip: int = 0
    calibrate: int | None = None
    batch_size: int | None = None
    bad_images: str = "stop"
    search_images: int | None = None
    ops: str = "kernels"


def which_inputs(asked: Request, **others: str | None) -> Which:
    """What the command line wants, as far as the command has options for it."""
    known = {each.name for each in dataclasses.fields(Which)}
    told = {name: value for name, value in asked.values.items() if name in known}
    return Which(**{**told, **others})


@dataclasses.dataclass(frozen=True)
class Inputs:
    """What an evaluation works on."""

    network: Network
    weights: Weights
    source: str
    prepared: Prepared
    dataset: Dataset
    calibration: Dataset
    start: int
    stop: int
    calibration_images: int
    batch_size: int
    ops: ModuleType
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def images(self) -> int:
        """How many are evaluated."""
        return self.stop - self.start

    @property
    def preprocessing(self) -> Rule:
        return self.prepared.rule

    def input_range(self) -> Range:
        """What the calibration inputs are, where their type does not say it."""
        rule, images = self.preprocessing, self.calibration_images
        told = telling(images, "input range") if rule.bounds is None else None

        def seen() -> Batches:
            for values, labels in self.calibration_batches():
                yield values, labels
                if told:
                    told(len(values))

        return range_of(rule, seen())

    def test_batches(self) -> Batches:
        span = (self.start, self.stop)
        return batches(self.dataset, self.preprocessing, self.batch_size, *span, cut=True)

    def calibration_batches(self) -> Batches:
        return batches(
            self.calibration, self.preprocessing, self.batch_size, 0, self.calibration_images
        )


def open_inputs(which: Which) -> Inputs:
    """Loads weights and data and checks that they belong together."""
    opened = open_network(which)
    network, weights = opened.network, opened.weights
    spec = _default_data(which, opened) if which.data is None else which.data
    dataset = _labelled(which, network, spec, "test")
    calibration = _labelled(which, network, spec, "calibration") if dataset.splits else dataset
    start, stop = _range(which, len(dataset))
    count = which.calibrate
    if count is None:
        count = len(calibration) if spec == "bundled" else DEFAULT_CALIBRATION
    if count < 1:
        raise OptionError(f"--calibrate {count}", "1 or more images")
    own = not (opened.from_file or which.network or which.model.endswith(".py"))
    stated = Stated(which.preprocessing, weights.metadata, opened.source, own)
    inputs = Inputs(
        network=network,
        weights=weights,
        source=opened.source,
        notes=opened.notes,
        prepared=how_prepared(stated, network, dataset),
        dataset=dataset,
        calibration=calibration,
        start=start,
        stop=stop,
        calibration_images=min(count, len(calibration)),
        batch_size=_batch_size(which.batch_size, network),
        ops=oracle if which.ops == "oracle" else kernels,
    )
    if which.bad_images == "skip":
        return _without_bad(inputs, which.search_images or 0)
    return inputs


def _without_bad(inputs: Inputs, searched: int) -> Inputs:
    """The same without the images that cannot be read, of those evaluated, calibrated on, and the
    first so many that are searched on."""

    def tried(dataset: Dataset, start: int, stop: int) -> tuple[Dataset, list[Skipped]]:
        told = telling(stop - start, "check images")

        def read(index: int) -> None:
            told(1)
            prepared(dataset, inputs.preprocessing, index)

        return readable(dataset, start, stop, read)

    dataset, skipped = tried(inputs.dataset, inputs.start, inputs.stop)
    calibration, others = tried(inputs.calibration, 0, inputs.calibration_images)
    calibrated, more = inputs.calibration_images - len(others), list[Skipped]()
    if min(searched, len(calibration)) > calibrated:
        calibration, more = tried(calibration, calibrated, min(searched, len(calibration)))
    return dataclasses.replace(
        inputs,
        dataset=dataset,
        stop=inputs.stop - len(skipped),
        calibration=calibration,
        calibration_images=calibrated,
        skipped=tuple(dict.fromkeys([*skipped, *others, *more])),
    )


def _labelled(which: Which, network: Network, spec: str, split: str) -> Dataset:
    """A split whose labels, where it has any, are those of the network."""
    for other, value in (("--class-order", which.class_order), ("--labels", which.labels)):
        if which.classes is not None and value is not None:
            raise OptionError(f"{other} with --classes", "one or the other")
    if which.labels is not None and not network.has_classifier:
        found = f"--labels for outputs {_outputs(network)}"
        raise OptionError(found, "one output of a value a class")
    dataset = open_dataset(
        spec, network.input_shape, split, which.class_order, input_parts(network)
    )
    if which.classes is not None:
        dataset = renumbered(dataset, which.classes)
    if which.labels is not None:
        dataset = relabelled(dataset, which.labels)
    if network.has_classifier:
        check_labels(dataset, network.shapes[network.output][0], which.classes or "")
    elif dataset.labels is not None:
        note = f"labels are not looked at: outputs {_outputs(network)} are no values of classes"
        dataset = dataclasses.replace(dataset, notes=(*dataset.notes, note))
    return dataset


def _outputs(network: Network) -> str:
    """Outputs and their shapes, in words."""
    shapes = {name: network.shapes[name] for name in network.outputs}
    return listed(f"{name} {'x'.join(map(str, shape))}" for name, shape in shapes.items())


def _default_data(which: Which, opened: Opened) -> str:
    weights = which.weights
    if weights is None and not opened.from_file:
        return "bundled"
    if weights is not None and weights.startswith(RANDOM):
        return "random:8"
    given = which.model if opened.from_file else "--weights"
    raise OptionError(f"{given} without --data", "--data FOLDER, a packed file or random:N")


def _range(which: Which, count: int) -> tuple[int, int]:
    if which.skip < 0 or which.skip >= count:
        raise OptionError(f"--skip {which.skip}", f"0 to {count - 1}")
    left = count - which.skip
    images = left if which.images is None else which.images
    if not 1 <= images <= left:
        raise OptionError(f"--images {images}", f"1 to {left} of this data")
    return which.skip, which.skip + images


def _batch_size(asked: int | None, network: Network) -> int:
    if asked is not None:
        if not 1 <= asked <= 65536:
            raise OptionError(f"--batch-size {asked}", "1 to 65536")
        return asked
    values = sum(math.prod(shape) for shape in network.shapes.values())
    return max(1, min(128, BATCH_VALUES // values))
