"""Whole Caffe models as operators: a .caffemodel, alone or with the .prototxt that describes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from refq.errors import listed
from refq.importers import (
    caffe,
    caffe_functions,
    caffe_images,
    caffe_operators,
    caffe_text,
    caffe_weighted,
)
from refq.importers import caffe_schema as schema
from refq.importers.caffe_graph import TRAINED
from refq.importers.caffe_layer import TRAIN, Layer, Net
from refq.importers.caffe_messages import WITHOUT_EFFECT
from refq.importers.contents import mapped, one_line, refuse
from refq.importers.foreign import Asked, Foreign
from refq.importers.shaped import Building, Known, Place, Sizes
from refq.importers.stating import Facts

FORM = "Caffe model"
ORDER = 9  # protobuf has no magic number
MAKE = {**caffe_functions.MAKE, **caffe_operators.MAKE, **caffe_weighted.MAKE}
DESCRIBED = "bottom and top of each layer"
REMEDY = "--prototxt FILE names the description of the layers"
RISTRETTO = "Ristretto's: read as the float layers that they are in more bits, a plan says the bits"


def sniff(head: bytes, path: Path) -> bool:
    return caffe.sniff(head, path)


def read(path: Path, asked: Asked) -> Foreign:
    """Raises WeightsError, in one line, for what is no whole model."""
    net, notes = _described(path, asked)
    if not any(layer.bottoms for layer in net.layers):
        raise refuse("layers that do not say what they read", DESCRIBED, REMEDY)
    reader = _Reader([layer for layer in net.layers if layer.is_data or layer.in_test])
    reader.begin(net, asked)
    for layer in reader.layers:
        reader.enter(layer)
    return reader.foreign(net.name or path.stem, notes)


def _described(path: Path, asked: Asked) -> tuple[Net, list[str]]:
    """(the network with its weights, notes of where its description lies)."""
    with one_line(path, f"a {FORM}"):
        stored = caffe.net(mapped(path))
    found = Path(asked.prototxt) if asked.prototxt else _beside(path)
    if found is None:
        return stored, []
    with one_line(found, "a Caffe prototxt"):
        net = caffe_text.net(found)
        if not net.layers:
            raise refuse("no layers", "a description of a network")
    arrays = {layer.name: layer.blobs for layer in stored.layers if layer.blobs}
    names = {layer.name for layer in net.layers}
    left = [name for name in arrays if name not in names]
    notes = [f"layers are as {found.name} describes them"]
    if left:
        notes.append(f"{found.name} leaves out {listed(left)}")
    for layer in net.layers:
        layer.blobs = arrays.get(layer.name, [])
        plain = schema.ALSO.get(layer.type, layer.type)
        alone = plain != "Scale" or len(layer.bottoms) == 1
        if plain in (*schema.WEIGHTED, "Deconvolution") and alone and not layer.blobs:
            raise refuse(
                f"{layer.name}: a {layer.type} without weights in {path.name}",
                f"a layer of that name, as {found.name} has it",
            )
    return net, notes


def _beside(path: Path) -> Path | None:
    """The description that lies beside a model and is named alike."""
    for name in (f"{path.stem}.prototxt", f"{path.stem}_deploy.prototxt"):
        found = path.with_name(name)
        if found.is_file():
            return found
    return None


@dataclass
class _Reader:
    """blobs: what each blob is after the last layer that made it; labels: of data layers, for
    losses alone; unread: blobs that no layer has read since; untouched: tensors that are the image
    itself; weights: of losses, by what they read; data: layers that give images."""

    layers: list[Layer]
    whole: Building = field(default_factory=lambda: Building("caffe"))
    blobs: dict[str, Known] = field(default_factory=dict)
    inputs: dict[str, Sizes] = field(default_factory=dict)
    labels: set[str] = field(default_factory=set)
    unread: dict[str, None] = field(default_factory=dict)
    untouched: set[str] = field(default_factory=set)
    weights: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    ristretto: list[str] = field(default_factory=list)
    losses: list[str] = field(default_factory=list)
    data: list[Layer] = field(default_factory=list)

    def begin(self, net: Net, asked: Asked) -> None:
        """Finds the inputs with their shapes."""
        data = [layer for layer in self.layers if layer.is_data]
        data.sort(key=lambda layer: not layer.in_test)
        stated: dict[str, list[int]] = {}
        for index, name in enumerate(net.inputs):
            stated.setdefault(name, net.shape(index))
        shapes = [shape for shape in caffe_images.shapes(net, data) if len(shape) == 4 and shape[2]]
        for layer in data:
            own = layer.parameters.get("input_param", {}).get("shape", [])
            for index, name in enumerate(layer.tops):
                if layer.type == "Input":
                    stated.setdefault(name, own[index] if index < len(own) else [*own, []][0])
                elif index == 0:
                    stated.setdefault(name, shapes[0] if shapes else [])
                else:
                    self.labels.add(name)
        if not stated:
            read = [layer.bottoms[0] for layer in self.layers if layer.bottoms]
            stated = {name: [] for name in read[:1]}
        for name, shape in stated.items():
            if any(name in layer.bottoms and not layer.is_loss for layer in self.layers):
                self._input(name, shape, asked)
        self.data = data

    def _input(self, name: str, shape: Sequence[int], asked: Asked) -> None:
        sizes = list(shape) or [1, 0, 0, 0]
        if min(sizes) < 0 or max(sizes) >= 1 << 31:
            raise refuse(f"{name}: an input of shape {tuple(shape)}", "sizes")
        if len(sizes) == 4:
            side = asked.input_size
            if side and min(sizes[2:]) > 0 and tuple(sizes[2:]) != tuple(side):
                self.notes.append(
                    f"{name} has {side[0]}x{side[1]} in the place of the file's "
                    f"{sizes[2]}x{sizes[3]}"
                )
            if side:
                sizes[2:] = side
            if min(sizes[2:]) < 1:
                raise refuse(
                    f"{name}: an image whose rows and columns the file leaves open",
                    "its size",
                    "--input-size says it",
                )
            sizes[1] = sizes[1] or self._channels(name, sizes[2] * sizes[3])
        sizes[0] = sizes[0] or 1
        if min(sizes) < 1:
            raise refuse(f"{name}: an input of shape {tuple(shape)}", "sizes of 1 or more")
        self.inputs[name] = tuple(sizes)
        self.blobs[name] = Known(name, tuple(sizes))
        self.untouched.add(name)

    def _channels(self, name: str, pixels: int) -> int:
        """How many an input has, by the first weights that read it; else 3."""
        reached = {name}
        for layer in self.layers:
            if reached.isdisjoint(layer.bottoms):
                continue
            plain = schema.ALSO.get(layer.type, layer.type)
            shape = layer.blobs[0].shape if layer.blobs else ()
            if plain == "Convolution" and len(shape) == 4:
                return shape[1] * caffe_weighted.one(layer.facts(), "group", 1)
            if plain == "InnerProduct" and shape:
                return max(1, shape[-1] // pixels)
            reached.update(layer.tops)
        return 3

    def enter(self, layer: Layer) -> None:
        if layer.is_data:
            return
        labels = [name for name in layer.bottoms if name in self.labels]
        if layer.is_loss:
            self._leave(layer)
        elif layer.bottoms and len(labels) == len(layer.bottoms):
            self.labels.update(layer.tops)
        else:
            for name in layer.bottoms:
                self.unread.pop(name, None)
            self._make(layer)

    def _leave(self, layer: Layer) -> None:
        """A loss or an accuracy: what it reads is an output, if nothing else reads it."""
        if layer.type not in ("Silence", "HDF5Output"):
            self.losses.append(layer.name)
        if layer.type == "Accuracy":
            return
        for name in layer.bottoms:
            known = self.blobs.get(name)
            if known and name not in self.labels and known.name not in self.untouched:
                self.unread[name] = None
                self.weights[name] = (layer.loss_weights or [1.0])[0]

    def _make(self, layer: Layer) -> None:
        missing = [name for name in layer.bottoms if name not in self.blobs]
        if missing:
            raise refuse(
                f"{layer.name}: reads {missing[0]}, which no layer before it makes",
                "layers in the order in which they compute",
            )
        inputs = [self.blobs[name] for name in layer.bottoms]
        kind, make = layer.type or "a layer without a type", MAKE.get(layer.type)
        if layer.type in schema.ALSO and layer.type.endswith("Ristretto"):
            self.ristretto.append(layer.name)
            make = MAKE[schema.ALSO[layer.type]]
        if layer.type == "Python":
            said = layer.parameters.get("python_param", {})
            kind = ".".join(["Python", *said.get("module", [])[-1:], *said.get("layer", [])[-1:]])
        stats = layer.parameters.get("batch_norm_param", {}).get("use_global_stats")
        if stats == [0] and layer.phase == TRAIN and TRAINED not in self.notes:
            self.notes.append(TRAINED)
        made = self.whole.layer(
            layer.name, kind, inputs, len(layer.tops), make and partial(_made, layer, make)
        )
        same = all(known.name in self.untouched for known in inputs)
        for name, known in zip(layer.tops, made):
            self.blobs[name] = known
            self.unread.pop(name, None)
            self.unread[name] = None
            if same and layer.type == "Split":
                self.untouched.add(known.name)

    def foreign(self, name: str, notes: list[str]) -> Foreign:
        outputs = [
            blob
            for blob in self.unread
            if self.blobs[blob].name not in (*self.untouched, *self.whole.constants)
        ]
        heaviest = max((self.weights.get(blob, 1.0) for blob in outputs), default=0.0)
        aside = [blob for blob in outputs if self.weights.get(blob, 1.0) < heaviest]
        outputs = [blob for blob in outputs if blob not in aside]
        if not outputs or not self.inputs:
            raise refuse("a network without an input, or without an output", "both")
        notes = [*notes, *self.notes]
        if self.losses:
            notes.append(f"left out, as of training: {listed(self.losses)}")
        if aside:
            notes.append(f"losses of less weight read {listed(aside)}: no outputs (--outputs)")
        if self.ristretto:
            notes.append(f"{listed(self.ristretto)}: layers of {RISTRETTO}")
        image = next(iter(self.inputs.values()))
        preprocessing, told = caffe_images.preprocessing(self.data, image)
        taken = {*self.inputs, *self.whole.constants}
        taken.update(name for step in self.whole.operators for name in step.outputs)
        names = {
            known.name: blob if blob not in taken else known.name
            for blob, known in self.blobs.items()
            if known.name not in self.whole.constants
        }
        return Foreign(
            FORM,
            name,
            self.whole.renamed(names),
            self.whole.constants,
            {blob: (None, *shape[1:]) for blob, shape in self.inputs.items()},
            tuple(names[self.blobs[blob].name] for blob in outputs),
            notes=(*notes, *told),
            preprocessing=preprocessing,
        )


def _made(layer: Layer, make: caffe_weighted.Make, at: Place) -> list[Known]:
    layer.check_known()
    known = layer.type in schema.OF_TYPE
    facts = layer.facts() if known else Facts.of(layer.name, layer.type, {})
    made = make(layer, facts, at)
    facts.finish(WITHOUT_EFFECT)
    return made
