"""Writes a golden set: parameters first, then image by image what every layer makes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from refq import kernels
from refq.engine.aligning import of_channels
from refq.engine.coefficients import IntegerWeights
from refq.engine.forward import Tensor, forward
from refq.engine.integer import IntegerSteps, index
from refq.errors import OptionError
from refq.hardware.golden import manifest, sampling
from refq.hardware.golden.arrays import TENSOR, GoldenArray, tensors
from refq.hardware.golden.form import Form
from refq.hardware.golden.parameters import parameters, storage
from refq.hardware.golden.span import sources
from refq.networks.graph import INPUT, Network, Node
from refq.networks.weights import Weights
from refq.plans.plan import Plan

SPARE = 16 << 20  # bytes of a disk that are left free


@dataclass(frozen=True)
class Subject:
    """What a golden set is made of: chosen names the layers, stages what of each."""

    network: Network
    weights: Weights
    own: IntegerWeights
    plan: Plan
    chosen: tuple[str, ...]
    stages: frozenset[str] | None
    images: int
    first_image: int

    @cached_property
    def listed(self) -> tuple[GoldenArray, ...]:
        """All arrays, in order of computation, parameters of a layer before its tensors. Kept, as
        coefficients are quantized to know their shifts."""
        found: list[GoldenArray] = []
        for name in self.network.shapes:
            found += [array for array, _ in self.filled(name)]
            if self.images and (name in self.chosen or name in self.outside):
                made = tensors(name, self.network, self.plan, self.own, self.images)
                # of what layers outside made, what is read of it
                found += [
                    array
                    for array in made
                    if (name in self.chosen or array.stage in _read(name, self.plan))
                    and self._asked(array)
                ]
        return tuple(found)

    @cached_property
    def outside(self) -> tuple[str, ...]:
        """Layers that are not chosen, and whose tensors the chosen ones read."""
        return sources(self.network, self.chosen)

    def filled(self, name: str) -> Iterator[tuple[GoldenArray, np.ndarray]]:
        """Parameters of a layer; of one outside, how its tensors that are read are stored."""
        own: Iterable[tuple[GoldenArray, np.ndarray]] = ()
        if name in self.chosen:
            own = parameters(name, self.network, self.weights, self.own, self.plan)
        elif name in self.outside:
            own = storage(name, self.plan)
        for array, codes in own:
            if self._asked(array):
                yield array, codes

    def _asked(self, array: GoldenArray) -> bool:
        names = {array.stage, f"{array.kind}s", *(name.rpartition(".")[2] for name in array.also)}
        return self.stages is None or bool(self.stages & names)


def _read(name: str, plan: Plan) -> tuple[str, ...]:
    """Stages of a tensor that its readers read: what is stored, or sums that are not."""
    return ("code", "value") if name in plan.tensors else ("sum",)


@dataclass
class _Digests:
    """SHA-256 of each array's logical codes, as they come."""

    hashes: dict[str, Any] = field(default_factory=dict)

    def add(self, name: str, codes: np.ndarray) -> None:
        plain = np.ascontiguousarray(codes, "<i8")
        self.hashes.setdefault(name, hashlib.sha256()).update(plain.data)


def check_room(folder: Path, listed: Iterable[GoldenArray], form: Form, most: int) -> int:
    """Bytes that a set takes. Raises OptionError for more than is allowed, or free."""
    total = sum(form.exporter.size(form.array(array), form.packing) for array in listed)
    remedy = "choose --layers, --stages or fewer --images, or allow more by --max-bytes"
    if total > most:
        raise OptionError(f"an export of {total:,} bytes", f"at most {most:,}", remedy)
    free = shutil.disk_usage(folder).free
    if total + SPARE > free:
        raise OptionError(f"an export of {total:,} bytes on {free:,} free", "room for it", remedy)
    return total


def write(
    folder: Path,
    subject: Subject,
    form: Form,
    batches: Iterable[np.ndarray],
    about: Mapping[str, Any],
    progress: Callable[[int], object] = lambda images: None,
) -> tuple[dict[str, Any], float]:
    """Fills a folder, the manifest last; returns it, and the seconds that files took.

    batches: preprocessed images, float32 (N, C, H, W). about: what the manifest says of weights,
    images and versions. Raises DisagreementError where kernels and oracle differ on a sample.
    """
    manifest.check_names(subject.listed, form)
    sampling.check_coefficients(subject.network, subject.weights, subject.plan, subject.chosen)
    writer, digests, seconds = form.exporter.writer(folder, form.packing), _Digests(), 0.0

    def append(array: GoldenArray, codes: np.ndarray) -> None:
        nonlocal seconds
        digests.add(array.name, codes)
        began = time.perf_counter()
        writer.append(form.array(array), form.layout.arranged(codes))
        seconds += time.perf_counter() - began

    for name in subject.network.shapes:
        for array, codes in subject.filled(name):
            append(array, codes)
    wanted: dict[str, list[GoldenArray]] = {}
    for array in subject.listed:
        if array.kind == TENSOR:
            wanted.setdefault(array.layer, []).append(array)
    done = 0
    for images in batches if wanted else ():
        for image in images:
            _one_image(subject, image[None], subject.first_image + done, wanted, append, done == 0)
            done += 1
            progress(1)
    began = time.perf_counter()
    writer.close()
    seconds += time.perf_counter() - began
    sums = {name: found.hexdigest() for name, found in digests.hashes.items()}
    content = manifest.content(subject.network, subject.plan, subject.listed, form, sums, about)
    content["files"] = manifest.files(folder)
    (folder / manifest.NAME).write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
    return content, seconds


class _EnoughError(Exception):
    """The last wanted layer is done; those after it are not computed."""


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
    steps = IntegerSteps(subject.own, plan, kernels, number)
    stages: dict[str, np.ndarray] = {}
    held: dict[str, Tensor] = {}
    sums: dict[str, int] = {}

    def note(layer: str, stage: str, codes: np.ndarray) -> None:
        stages[stage] = codes

    def observe(node: Node | None, tensor: Tensor) -> None:
        name, read = (node.name, node.inputs) if node else (INPUT, ())
        if sample and node is not None:
            sampling.check_layer(node, [held[each] for each in read], stages, tensor, steps)
        for array in wanted.get(name, ()):
            append(array, _codes(array, tensor, stages, subject))
        stages.clear()
        held[name], sums[name] = tensor, _checksum(tensor)
        for each in read:
            readers[each] -= 1
            if not readers[each]:
                del held[each]
        if name == last:
            raise _EnoughError

    def compare(node: Node | None, tensor: Tensor) -> None:
        name = node.name if node else INPUT
        if name not in sums:
            # sums are never made here, so the last wanted layer may not have been seen
            raise _EnoughError
        if _checksum(tensor) != sums[name]:
            raise sampling.DisagreementError(f"{name} by fused kernels")

    how: dict[str, Any] = {"first_image": number}
    with contextlib.suppress(_EnoughError):
        forward(network, subject.own, plan, image, observe=observe, fused=False, note=note, **how)
    if sample:
        # the fast path makes no sums to look at, but every tensor that it keeps is the same
        with contextlib.suppress(_EnoughError):
            forward(network, subject.own, plan, image, observe=compare, **how)


def _checksum(tensor: Tensor) -> int:
    return zlib.crc32(np.ascontiguousarray(tensor.codes, np.int64).data)


def _codes(
    array: GoldenArray, tensor: Tensor, stages: Mapping[str, np.ndarray], subject: Subject
) -> np.ndarray:
    """One stage of a layer's output, each channel with its own fraction bits."""
    if array.stage == "accumulator":
        # the bias is added first or last alike while sums are exact
        bias = subject.own.layers[array.layer].bias
        return stages["products"] - of_channels(bias, stages["products"])
    if array.stage in ("base_sum", "residual_sum", "sum"):
        return stages[array.stage]
    entry = subject.plan.tensors[array.layer]
    if array.stage == "value":
        return tensor.codes
    codes = stages.get("rounded", tensor.codes)
    if array.stage == "code" and entry.code:
        return index(codes, entry, kernels)
    if entry.drops:
        return np.right_shift(codes, of_channels(np.array(entry.drops, codes.dtype), codes))
    return codes
