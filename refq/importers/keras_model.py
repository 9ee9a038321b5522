"""Whole Keras models as operators: .h5 of Keras 1, 2 and 3, .keras of Keras 3."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from refq.errors import listed
from refq.hdf5.file import is_hdf5, opened
from refq.importers import hdf5, keras_zip
from refq.importers.building import Builder, Value
from refq.importers.contents import DEEPEST, MOST, refuse
from refq.importers.foreign import Asked, Foreign
from refq.importers.keras import LONGEST_CONFIG
from refq.importers.keras_arrays import Arrays, Legacy, Numbered
from refq.importers.keras_calls import Call, Entry, Key, entries, ordered
from refq.importers.keras_config import operands
from refq.importers.keras_fields import computed_type
from refq.importers.keras_graph import MODELS
from refq.importers.keras_layers import kinds
from refq.importers.keras_layers.layer import FIRST, Layer
from refq.importers.stating import Facts
from refq.importers.torch_zip import Members

FORM = "Keras model"
ORDER = 1
METADATA = "metadata.json"


@dataclass(frozen=True)
class Stored:
    """What a file holds: the configuration, the arrays, and of which Keras they are."""

    model: Mapping[str, Any]
    arrays: Arrays
    version: str
    flipped: bool = False


def sniff(head: bytes, path: Path) -> bool:
    """HDF5 that has a model's configuration, or Keras 3's archive."""
    if is_hdf5(head):
        return "@model_config" in hdf5.top_names(path)
    return keras_zip.sniff(head, path)


def read(path: Path, asked: Asked) -> Foreign:
    """Raises WeightsError, in one line, for what is no whole model, is quantized, or has a layer
    that no operators of ONNX's are."""
    with path.open("rb") as file:
        head = file.read(1024)
    stored = _of_hdf5(path) if is_hdf5(head) else _of_zip(path)
    return foreign(stored, path.stem)


def foreign(stored: Stored, name: str) -> Foreign:
    """name: of a model that has none."""
    return _Reader(stored, _era(stored)).foreign(name)


def _of_hdf5(path: Path) -> Stored:
    file = opened(path)
    text = hdf5.text(file.root, "model_config")
    if not text:
        raise refuse("weights of Keras without a model_config", "a whole model", "model.save(FILE)")
    root = file.group("model_weights") if "model_weights" in file.root.names else file.root
    version, backend = (
        hdf5.text(file.root, word) or hdf5.text(root, word) for word in ("keras_version", "backend")
    )
    return Stored(_parsed(text), Legacy(file, root), version, flipped=backend == "theano")


def _of_zip(path: Path) -> Stored:
    members = Members(path)
    begin, end = members.place(keras_zip.CONFIG)
    text = members.data[begin : min(end, begin + LONGEST_CONFIG + 1)].decode("utf-8", "replace")
    version = ""
    if METADATA in members.infos:
        begin, end = members.place(METADATA)
        said = json.loads(members.data[begin : min(end, begin + (1 << 16))])
        version = str(said.get("keras_version", ""))
    return Stored(
        _parsed(text), Numbered(opened(path, *members.place(keras_zip.WEIGHTS))), version or "3"
    )


def _parsed(text: str) -> Mapping[str, Any]:
    if len(text) > LONGEST_CONFIG:
        raise refuse(f"a configuration of {len(text):,} letters", f"{LONGEST_CONFIG:,} or less")
    model = json.loads(text)
    if not isinstance(model, dict) or "config" not in model:
        raise refuse("a configuration that is no model", "what Keras writes")
    return model


def _era(stored: Stored) -> int:
    """1, 2 or 3; the first versions of Keras 1 do not say which they are."""
    if stored.version[:1] in ("1", "2", "3"):
        return int(stored.version[:1])
    text = json.dumps(stored.model.get("config"))
    return 1 if '"nb_filter"' in text or '"output_dim"' in text else 2


@dataclass
class _Reader:
    """sizes: shapes of the model's inputs as they are here, by name. halves: types of half
    precision that layers compute in."""

    stored: Stored
    era: int
    builder: Builder = field(default_factory=Builder)
    sizes: dict[str, tuple[int | None, ...]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    halves: set[str] = field(default_factory=set)

    def foreign(self, name: str) -> Foreign:
        model = self.stored.model
        outputs = self.model(model, (), None, "")
        turned = [each.name for each in outputs if each.turned]
        if turned:
            self.notes.append(f"outputs with channels first, the file's last: {listed(turned)}")
        if self.halves:
            kinds_of = ", ".join(sorted(self.halves))
            self.notes.append(f"layers that compute in {kinds_of}; refq's floats are float32")
        config = model["config"]
        stated = config.get("name") if isinstance(config, dict) else None
        return Foreign(
            format=FORM,
            name=str(stated or name),
            operators=tuple(self.builder.operators),
            constants=self.builder.constants,
            inputs=self.sizes,
            outputs=tuple(dict.fromkeys(each.name for each in outputs)),
            notes=tuple(self.notes),
        )

    def model(
        self,
        model: Mapping[str, Any],
        models: tuple[str, ...],
        sources: Sequence[Value] | None,
        place: str,
    ) -> list[Value]:
        """Enters the layers of a model; its outputs. models: names of this one and of those around
        it. sources: what its inputs are; None for the whole, which has its own. place: of its
        arrays in Keras 3's files."""
        if len(models) > DEEPEST:
            raise refuse("models too deep within models")
        config: Any = model.get("config")
        row = isinstance(config, list) or model.get("class_name") == "Sequential"
        layers = entries(config if isinstance(config, list) else config.get("layers"), place)
        if row:
            stated = config if isinstance(config, dict) else {}
            return self.row(layers, stated, models, sources)
        if model.get("class_name") not in MODELS:
            raise refuse(f"a model of class {model.get('class_name')}", "Sequential or Functional")
        return self.graph(layers, config, models, sources)

    def row(
        self,
        layers: Sequence[Entry],
        config: Mapping[str, Any],
        models: tuple[str, ...],
        sources: Sequence[Value] | None,
    ) -> list[Value]:
        if sources is None:
            first = layers[0]
            shape = _shape(first) or config.get("build_input_shape")
            name = first.name if first.kind == "InputLayer" else f"{first.name}_input"
            sources = [self.input(replace(first, name=name), shape, layers)]
        values = list(sources)
        for entry in layers:
            if entry.kind != "InputLayer":
                values = self.call(Call(entry, 0, 0, (), (), {}), values, models)
        return values

    def graph(
        self,
        layers: Sequence[Entry],
        config: Mapping[str, Any],
        models: tuple[str, ...],
        sources: Sequence[Value] | None,
    ) -> list[Value]:
        named = {entry.name: entry for entry in layers}
        keys = list(_keys(config.get("input_layers")))
        if not keys:
            keys = [(entry.name, 0, 0) for entry in layers if entry.kind == "InputLayer"]
        for name, *_ in keys:
            if name not in named:
                raise refuse(f"an input {name} that is no layer", "what Keras writes")
        if sources is None:
            entered = [named[name] for name, *_ in keys]
            sources = [self.input(entry, _shape(entry), layers) for entry in entered]
        if len(sources) != len(keys):
            told = f"{len(sources)} tensors for {len(keys)} inputs"
            raise refuse(f"{'/'.join(models)} (a model): {told}", "equally many")
        made: dict[Key, Value] = dict(zip(keys, sources))
        ends = list(_keys(config.get("output_layers")))
        if not ends:
            raise refuse("a model without outputs", "output_layers")
        for call in ordered(layers, ends):
            if (call.entry.name, call.number, 0) in made:
                continue
            inputs = [self._made(made, key, call.entry) for key in call.inputs]
            outputs = self.call(call, inputs, models)
            for place, value in enumerate(outputs):
                made[call.entry.name, call.number, place] = value
        return [self._made(made, key, None) for key in ends]

    def _made(self, made: Mapping[Key, Value], key: Key, entry: Entry | None) -> Value:
        if key not in made:
            who = f"{entry.name} ({entry.kind})" if entry else "the model's end"
            told = f"output {key[2]} of call {key[1]} of {key[0]}"
            raise refuse(f"{who}: reads {told}, which is not made", "a complete model")
        return made[key]

    def input(self, entry: Entry, shape: Any, layers: Sequence[Entry]) -> Value:
        """An input of the whole. Images, and signals that 1-D layers read, come channels first."""
        good = isinstance(shape, (list, tuple)) and 2 <= len(shape) <= 5
        if not good or not all(size is None or (type(size) is int and size > 0) for size in shape):
            raise refuse(f"{entry.name} (an input): shape {shape}", "sizes of 2 to 5 axes")
        rank = len(shape)
        first = any(_said_first(each) for each in layers)
        signals = any("1D" in each.kind for each in layers)
        value = Value(self.builder.fresh(entry.name), rank, rank > 3 or (rank == 3 and signals))
        value = replace(value, turned=False) if first else value
        sizes = [None, *value.arranged(shape)[1:]]
        self.sizes[value.name] = tuple(sizes)
        if value.turned:
            self.notes.append(f"input {value.name}: {sizes[1:]}, channels first, in the file last")
        return value

    def call(self, call: Call, inputs: Sequence[Value], models: tuple[str, ...]) -> list[Value]:
        entry = call.entry
        name = "/".join((*models, entry.name))
        name = f"{name}:{call.index}" if call.index else name
        if len(self.builder.operators) > MOST:
            raise refuse(f"more than {MOST:,} operators")
        if entry.kind in MODELS:
            model = {"class_name": entry.kind, "config": entry.config}
            if "layers" in entry.config and isinstance(entry.config["layers"], list):
                inner = (*models, entry.name)
                return self.model(model, inner, inputs, f"{entry.path}/")
            raise refuse(f"{name} ({entry.kind}): no layers", "what Keras writes")
        values = iter(inputs)
        given = [next(values) if isinstance(each, tuple) else each for each in call.operands]
        layer = Layer(
            name=name,
            kind=entry.kind,
            facts=Facts.of(name, entry.kind, entry.config),
            builder=self.builder,
            values=tuple(inputs),
            stored=self.stored.arrays.of(models, entry.name, entry.path),
            arguments=call.arguments,
            era=self.era,
            version=self.stored.version,
            flipped=self.stored.flipped,
            operands=tuple(given),
            sizes=self.sizes,
            of_ops=entry.kind == "TFOpLambda" or _is_function(entry, self.era),
        )
        kind = computed_type(layer.facts)
        if "float16" in kind:
            self.halves.add(kind)
        since = len(self.builder.operators)
        value = kinds.made(layer)
        return [self.builder.called(value, name, since)]


def _keys(part: Any) -> list[Key]:
    return [each for each in operands(part) if isinstance(each, tuple)]


def _shape(entry: Entry) -> Any:
    """Of an input, as the layer has it; Keras 1 and 2 write a Sequential's in its first layer."""
    for word in ("batch_input_shape", "batch_shape"):
        if entry.config.get(word):
            return entry.config[word]
    inner = entry.config.get("layers")
    if isinstance(inner, list) and inner and isinstance(inner[0], dict):
        below = inner[0].get("config")
        return _shape(replace(entry, config=below)) if isinstance(below, dict) else None
    return None


def _is_function(entry: Entry, era: int) -> bool:
    """Whether it is one of keras.ops, whose classes have names of layers, but no types to compute
    in."""
    if entry.module:
        return ".ops" in entry.module
    return era >= 3 and not {"trainable", "dtype"} & set(entry.config)


def _said_first(entry: Entry) -> bool:
    said = entry.config.get("data_format") or entry.config.get("dim_ordering")
    inner = entry.config.get("layers")
    if isinstance(inner, list):
        return any(
            _said_first(replace(entry, config=each["config"]))
            for each in inner
            if isinstance(each, dict) and isinstance(each.get("config"), dict)
        )
    return said in FIRST
