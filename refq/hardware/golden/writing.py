"""Writes a golden set: parameters first, then image by image what every layer makes."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from refq import kernels
from refq.engine.aligning import of_channels
from refq.engine.coefficients import IntegerWeights
from refq.engine.forward import Run, Tensor, forward
from refq.engine.integer import IntegerSteps
from refq.errors import OptionError
from refq.hardware.golden import manifest, sampling
from refq.hardware.golden.agreement import DisagreementError, Made
from refq.hardware.golden.arrays import TENSOR, GoldenArray, tensors
from refq.hardware.golden.form import Form
from refq.hardware.golden.manifest import Manifest
from refq.hardware.golden.parameters import Parameter, parameters, storage
from refq.hardware.golden.span import sources
from refq.networks.graph import INPUT, Network, Node
from refq.networks.weights import Weights
from refq.plans.plan import Plan

SPARE = 16 << 20  # bytes of a disk that are left free


@dataclass(frozen=True)
class Subject:
    """What a golden set is made of. coded: the weights under the plan. chosen names the layers,
    stages what of each (None: all)."""

    network: Network
    weights: Weights
    coded: IntegerWeights
    plan: Plan
    chosen: tuple[str, ...]
    stages: frozenset[str] | None
    images: int
    first_image: int

    @cached_property
    def listed(self) -> tuple[GoldenArray, ...]:
        """All arrays, in order of computation, parameters of a layer before its tensors."""
        arrays: list[GoldenArray] = []
        for name in self.network.shapes:
            arrays += [parameter.array for parameter in self.parameters(name)]
            if self.images and (name in self.chosen or name in self.outside):
                made = tensors(name, self.network, self.plan, self.coded, self.images)
                # of what layers outside made, what is read of it
                arrays += [
                    array
                    for array in made
                    if (name in self.chosen or array.stage in _read(name, self.plan))
                    and self._asked(array)
                ]
        return tuple(arrays)

    @cached_property
    def outside(self) -> tuple[str, ...]:
        """Layers that are not chosen, and whose tensors the chosen ones read."""
        return sources(self.network, self.chosen)

    def parameters(self, name: str) -> list[Parameter]:
        """Parameters of a layer; of one outside, how its tensors that are read are stored."""
        every: Iterable[Parameter] = ()
        if name in self.chosen:
            every = parameters(name, self.network, self.weights, self.coded, self.plan)
        elif name in self.outside:
            every = storage(name, self.plan)
        return [parameter for parameter in every if self._asked(parameter.array)]

    def _asked(self, array: GoldenArray) -> bool:
        names = {array.stage, f"{array.kind}s", *(name.rpartition(".")[2] for name in array.also)}
        return self.stages is None or bool(self.stages & names)


def _read(name: str, plan: Plan) -> tuple[str, ...]:
    """Stages of a tensor that its readers read: what is stored, or sums that are not."""
    return ("code", "value") if name in plan.tensors else ("sum",)


def check_room(folder: Path, listed: Iterable[GoldenArray], form: Form, most: int) -> int:
    """Bytes that a set takes. Raises OptionError for more than is allowed, or free."""
    total = sum(form.module.size(form.stored(array), form.packing) for array in listed)
    remedy = "choose --layers, --stages or fewer --images, or allow more by --max-bytes"
    if total > most:
        raise OptionError(f"an export of {total:,} bytes", f"at most {most:,}", remedy)
    free = shutil.disk_usage(folder).free
    if total + SPARE > free:
        raise OptionError(f"an export of {total:,} bytes on {free:,} free", "room for it", remedy)
    return total


class _Writer:
    """Files of a golden set on their way. hashes: of each array's logical codes, as they come.
    seconds: that files took."""

    def __init__(self, folder: Path, form: Form) -> None:
        self.form, self.files = form, form.module.writer(folder, form.packing)
        self.hashes: dict[str, Any] = {}
        self.seconds = 0.0

    def append(self, array: GoldenArray, codes: np.ndarray) -> None:
        plain = np.ascontiguousarray(codes, "<i8")
        self.hashes.setdefault(array.name, hashlib.sha256()).update(plain.data)
        with self._timed():
            self.files.append(self.form.stored(array), self.form.layout.arranged(codes))

    def close(self) -> None:
        with self._timed():
            self.files.close()

    @contextlib.contextmanager
    def _timed(self) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.seconds += time.perf_counter() - began


def write(
    folder: Path,
    subject: Subject,
    form: Form,
    batches: Iterable[np.ndarray],
    about: Mapping[str, Any],
    progress: Callable[[int], object] = lambda images: None,
) -> tuple[Manifest, float]:
    """Fills a folder, the manifest last; returns it, and the seconds that files took.

    batches: preprocessed images, float32 (N, C, H, W). about: what the manifest says of weights,
    images and versions. Raises DisagreementError where kernels and oracle differ on a sample.
    """
    manifest.check_names(subject.listed, form)
    sampling.check_coefficients(subject.network, subject.weights, subject.plan, subject.chosen)
    writer = _Writer(folder, form)
    for name in subject.network.shapes:
        for parameter in subject.parameters(name):
            writer.append(parameter.array, parameter.codes())
    wanted: dict[str, list[GoldenArray]] = {}
    for array in subject.listed:
        if array.kind == TENSOR:
            wanted.setdefault(array.layer, []).append(array)
    done = 0
    for images in batches if wanted else ():
        for image in images:
            _one_image(
                subject, image[None], subject.first_image + done, wanted, writer.append, done == 0
            )
            done += 1
            progress(1)
    writer.close()
    made = Manifest(
        plan=subject.plan,
        form=form,
        layers=manifest.layers_of(subject.network),
        arrays=subject.listed,
        digests={name: digest.hexdigest() for name, digest in writer.hashes.items()},
        files=manifest.files_of(folder),
        about=about,
    )
    manifest.save(folder, made)
    return made, writer.seconds


def _one_image(
    subject: Subject,
    image: np.ndarray,
    number: int,
    wanted: Mapping[str, list[GoldenArray]],
    append: Callable[[GoldenArray, np.ndarray], None],
    sample: bool,
) -> None:
    """Appends all wanted stages of one image, layer by layer, and checks a sample of each."""
    network, plan = subject.network, subject.plan
    last = [name for name in network.shapes if name in wanted][-1]
    readers = Counter(name for node in network.nodes for name in node.inputs)
    steps = IntegerSteps(subject.coded, plan, kernels, number)
    stages: dict[str, np.ndarray] = {}
    held: dict[str, Tensor] = {}
    sums: dict[str, int] = {}

    def note(layer: str, stage: str, codes: np.ndarray) -> None:
        stages[stage] = codes

    def observe(node: Node | None, tensor: Tensor) -> None:
        name, read = (node.name, node.inputs) if node else (INPUT, ())
        if sample and node is not None:
            inputs = [held[each] for each in read]
            sampling.check_layer(Made(node, inputs, stages, tensor, steps))
        for array in wanted.get(name, ()):
            append(array, _codes(array, tensor, stages, subject))
        stages.clear()
        held[name], sums[name] = tensor, _checksum(tensor)
        for each in read:
            readers[each] -= 1
            if not readers[each]:
                del held[each]

    def compare(node: Node | None, tensor: Tensor) -> None:
        name = node.name if node else INPUT
        if _checksum(tensor) != sums[name]:
            raise DisagreementError(f"{name} by fused kernels")

    run = Run(observe, note=note, until=last, fused=False, first_image=number)
    forward(network, subject.coded, plan, image, run=run)
    if sample:
        # the fast path makes no sums to look at, but every tensor that it keeps is the same
        run = Run(compare, until=last, first_image=number)
        forward(network, subject.coded, plan, image, run=run)


def _checksum(tensor: Tensor) -> int:
    return zlib.crc32(np.ascontiguousarray(tensor.codes, np.int64).data)


def _codes(
    array: GoldenArray, tensor: Tensor, stages: Mapping[str, np.ndarray], subject: Subject
) -> np.ndarray:
    """One stage of a layer's output, each channel with its own fraction bits."""
    if array.stage == "accumulator":
        # the bias is added first or last alike while sums are exact
        bias = subject.coded.layers[array.layer].bias
        return stages["products"] - of_channels(bias, stages["products"])
    if array.stage in ("base_sum", "residual_sum", "sum"):
        return stages[array.stage]
    entry = subject.plan.tensors[array.layer]
    if array.stage == "value":
        return tensor.codes
    codes = stages.get("rounded", tensor.codes)
    if array.stage == "code" and entry.code:
        return entry.code.encode(codes, kernels)
    if entry.drops:
        return np.right_shift(codes, of_channels(np.array(entry.drops, codes.dtype), codes))
    return codes
