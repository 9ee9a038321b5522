"""Whole MatConvNet models as operators: SimpleNN and DagNN, in files of version 5 and 7.3."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from refq.errors import listed
from refq.importers import matconvnet, matconvnet_hdf5, matlab
from refq.importers.contents import Tensor, refuse
from refq.importers.foreign import Asked, Foreign
from refq.importers.matlab_graph import ENDS, LARGEST, WITHOUT_EFFECT, Layer
from refq.importers.matlab_operators import MAKE, Make
from refq.importers.shaped import Building, Known, Place
from refq.importers.stating import Facts

FORM = "MatConvNet model"
ORDER = 3

LARGEST_SIDE = 1 << 14


def sniff(head: bytes, path: Path) -> bool:
    return matconvnet.sniff(head, path) or matconvnet_hdf5.sniff(head, path)


def read(path: Path, asked: Asked) -> Foreign:
    """Raises WeightsError, in one line, for what is no whole model."""
    with path.open("rb") as file:
        head = file.read(4096)
    hdf5 = matconvnet_hdf5.sniff(head, path)
    variables, layers, kind = matlab.network(
        (matconvnet_hdf5 if hdf5 else matconvnet).variables_of(path)
    )
    ends = [layer.name for layer in layers if _type(layer) in ENDS]
    layers = _ordered([layer for layer in layers if _type(layer) not in ENDS])
    image = _image(variables, layers, asked)
    source = _source(layers)
    whole, known = Building("matconvnet"), {source: Known(source, image)}
    for layer in layers:
        inputs = [known[name] for name in layer.inputs]
        said = {name: value for name, value in layer.fields.items() if value is not None}
        facts = Facts.of(layer.name, layer.type, said)
        make = MAKE.get(_type(layer))
        made = whole.layer(
            layer.name,
            layer.type or "a layer without a type",
            inputs,
            len(layer.outputs),
            make and partial(_made, layer, facts, make),
        )
        known.update(zip(layer.outputs, made))
    read = {name for layer in layers for name in layer.inputs}
    outputs = [name for layer in layers for name in layer.outputs if name not in read]
    names = {each.name: name for name, each in known.items()}
    preprocessing, notes = _preprocessing(variables, image)
    if ends:
        notes.append(f"left out, as of training: {listed(ends)}")
    return Foreign(
        f"{FORM} ({kind})",
        path.stem,
        whole.renamed(names),
        whole.constants,
        {source: (None, *image[1:])},
        tuple(outputs),
        notes=tuple(notes),
        preprocessing=preprocessing,
    )


def _made(layer: Layer, facts: Facts, make: Make, at: Place) -> list[Known]:
    made = make(layer, facts, at)
    facts.finish(WITHOUT_EFFECT)
    return made


def _type(layer: Layer) -> str:
    """`conv` of `conv`, `dagnn.Conv`."""
    return layer.type.rpartition(".")[2].lower()


def _source(layers: Sequence[Layer]) -> str:
    """The variable that no layer makes. Raises WeightsError for several."""
    made = {name for layer in layers for name in layer.outputs}
    read = dict.fromkeys(name for layer in layers for name in layer.inputs if name not in made)
    if len(read) != 1:
        raise refuse(f"a network that reads {listed(read) or 'nothing'}", "one image")
    return next(iter(read))


def _ordered(layers: Sequence[Layer]) -> list[Layer]:
    """Each behind those that it reads: DagNN keeps them as they were added."""
    makers: dict[str, int] = {}
    for number, layer in enumerate(layers):
        for name in layer.outputs:
            if name in makers:
                raise refuse(f"{name}, which two layers make", "one maker of each variable")
            makers[name] = number
    waiting = [len({makers[name] for name in layer.inputs if name in makers}) for layer in layers]
    readers: dict[int, list[int]] = {}
    for number, layer in enumerate(layers):
        for source in {makers[name] for name in layer.inputs if name in makers}:
            readers.setdefault(source, []).append(number)
    ready = [number for number, count in enumerate(waiting) if not count]
    for number in ready:
        for reader in readers.get(number, ()):
            waiting[reader] -= 1
            if not waiting[reader]:
                ready.append(reader)
    if len(ready) < len(layers):
        left = next(layer for layer, count in zip(layers, waiting) if count)
        raise refuse(f"{left.name}: reads what it makes, by way of others", "a network in order")
    return [layers[number] for number in ready]


def _image(
    variables: Mapping[str, Any], layers: Sequence[Layer], asked: Asked
) -> tuple[int, int, int, int]:
    """The shape of the image, (1, C, H, W): as asked for, or as meta states it."""
    sizes: list[int] = []
    meta = variables.get("meta")
    inside = meta.elements[0] if isinstance(meta, matlab.Struct) and meta.elements else {}
    for stated in (matlab.normalization(variables).get("imageSize"), inside.get("inputSize")):
        if isinstance(stated, Tensor) and not sizes:
            values = stated.load().reshape(-1, order="F")[:LARGEST].tolist()
            sizes = [int(each) for each in values if each == int(each)][:3]
    if asked.input_size is not None:
        sizes[:2] = asked.input_size
    if len(sizes) < 2 or not all(0 < side < LARGEST_SIDE for side in sizes[:2]):
        raise refuse(
            "an image whose rows and columns the file leaves open",
            "its size",
            "--input-size says it",
        )
    channels = sizes[2] if len(sizes) > 2 else 0
    if channels < 1:
        channels = _channels(layers)
    return 1, channels, sizes[0], sizes[1]


def _channels(layers: Sequence[Layer]) -> int:
    """How many the first arrays tell of an image in one group; else 3."""
    for layer in layers:
        if layer.arrays:
            kind, shape = _type(layer), layer.arrays[0].shape
            if kind.startswith("conv"):
                return (*shape, 1, 1)[2 if kind == "conv" else 3]
            return math.prod(shape) if kind in ("bnorm", "batchnorm") else 3
    return 3


def _preprocessing(
    variables: Mapping[str, Any], image: tuple[int, int, int, int]
) -> tuple[dict[str, Any] | None, list[str]]:
    """(refq's Preprocessing as JSON, where meta.normalization has a mean; notes of the rest)."""
    _, channels, rows, columns = image
    stored = matlab.normalization(variables).get("averageImage")
    average: tuple[float, ...] | None = None
    if isinstance(stored, Tensor) and channels in (1, 3):
        grey = channels == 1 or math.prod(stored.shape) == 1
        average = (float(stored.load().mean()),) if grey else matlab.mean(variables)
    notes = list(matlab.told(variables, average, (rows, columns)))
    if average is None or not isinstance(stored, Tensor):
        return None, notes
    if max(stored.shape) > 3:
        notes.append("of averageImage the mean of each channel is taken")
    side = min(rows, columns)
    order = "RGB" if channels == 3 else "GRAY"
    rule = {"crop": (rows, columns), "shorter": (side, max(256, side)), "channels": order}
    return {**rule, "mean": average, "scale": 1.0}, notes
