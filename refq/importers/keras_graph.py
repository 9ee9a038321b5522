"""What the layers of a Keras model compute, by its configuration in JSON, of Keras 1, 2 or 3."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from refq.errors import listed
from refq.importers import graphs
from refq.importers.contents import DEEPEST, MOST, Contents, Unit, Window, refuse, stated_size
from refq.importers.keras_config import (
    TRAINING,
    WITHOUT_EFFECT,
    Layer,
    connected,
    histories,
    in_a_row,
)
from refq.importers.keras_fields import computed_type, either, two
from refq.importers.stating import NORMALISATION, NOTHING, PADDING, SOFTMAX, Facts, Stated, joined
from refq.networks.graph import INPUT
from refq.networks.layers import Pads, Pair

EPS = 1e-3  # of BatchNormalization
MODELS = {"Model", "Functional", "Sequential"}
FIRST, LAST, FLAT_FIRST, FLAT_LAST = "channels first", "channels last", "C,H,W", "H,W,C"
LAYOUTS = {"channels_first": FIRST, "channels_last": LAST, "th": FIRST, "tf": LAST}


def contents(found: Contents, text: str, form: str) -> Contents:
    """The same file, with the graph that its configuration states."""
    model = json.loads(text)
    if not isinstance(model, dict):
        raise refuse("a model_config that is no model", "what Keras writes")
    reader = _Reader(found.units)
    outputs = reader.model(model, "", (INPUT,), 0)
    units, graph = joined(reader.stated, outputs)
    strange = [each for each in reader.stated if each.kind != NOTHING]
    if found.units and not units and strange:
        raise refuse(
            f"no layers of a network, but {strange[0].name} ({strange[0].kind})",
            "layers that are called once",
            "save the model within it",
        )
    used = {each.unit.name for each in reader.stated if each.unit}
    if len(outputs) > 1:
        told = f"the model states {len(outputs)} outputs ({listed(outputs)}), and refq has one"
        reader.notes.append(told)
    if reader.halves:
        told = f"layers that compute in {', '.join(sorted(reader.halves))}, where refq computes in"
        reader.notes.append(f"the model states {told} float32")
    left = tuple(name for name in found.units if name not in used)
    return replace(
        found,
        form=form,
        units=units,
        order=tuple(each.name for each in reader.stated),
        ignored=(*found.ignored, *left),
        graph=graph,
        size=reader.size(),
        by_name=False,
        notes=(*found.notes, *reader.notes),
    )


@dataclass
class _Reader:
    """layouts: of each tensor, where it is known. images: shapes of inputs. image: names of the
    image, of input layers' outputs too. halves: types of half precision that layers compute in."""

    units: Mapping[str, Unit]
    stated: list[Stated] = field(default_factory=list)
    layouts: dict[str, str] = field(default_factory=dict)
    images: list[Any] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    halves: set[str] = field(default_factory=set)
    image: set[str] = field(default_factory=lambda: {INPUT})

    def size(self) -> Pair | None:
        """Rows and columns of the image."""
        for shape in self.images:
            if isinstance(shape, list) and len(shape) == 4:
                known = [each if type(each) is int else 0 for each in shape[1:]]
                if self.layouts.get(INPUT) == FIRST:
                    known = [*known[1:], known[0]]
                return stated_size(known[2], known[0], known[1])
        return None

    def model(
        self, model: Mapping[str, Any], prefix: str, sources: tuple[str, ...], depth: int
    ) -> tuple[str, ...]:
        """Enters the layers of a model; names of its outputs. sources: what its inputs are."""
        if depth > DEEPEST or len(self.stated) > MOST:
            raise refuse("models too deep within models, or too many layers")
        config: Any = model.get("config")
        row = isinstance(config, list) or model.get("class_name") == "Sequential"
        listed = config if isinstance(config, list) else config["layers"]
        layers = list(in_a_row(listed) if row else connected(listed))
        begin = iter(sources)
        for layer in layers:
            for key in ("batch_input_shape", "batch_shape"):
                if key in layer.config and not depth:
                    self.images.append(layer.config[key])
            name = prefix + layer.name
            inputs = tuple(prefix + each for each in layer.inputs)
            if not layer.inputs:
                inputs = (next(begin, f"{name}, another input"),)
                if not row and layer.kind != "InputLayer":
                    layer = replace(layer, odd=True)
            if layer.kind in MODELS and layer.calls == 1 and not layer.odd:
                inner = self.model(
                    {"class_name": layer.kind, "config": layer.config},
                    f"{name}/",
                    inputs,
                    depth + 1,
                )
                self._enter(Stated(name, NOTHING, inner), self.layouts.get(inner[0], ""))
            else:
                self.layer(replace(layer, inputs=inputs), name)
        if row:
            return (prefix + layers[-1].name,)
        ends = [name for name, _ in histories(config.get("output_layers"))]
        return tuple(prefix + name for name in ends)

    def _enter(self, stated: Stated, layout: str) -> None:
        self.stated.append(stated)
        if stated.kind == NOTHING and self.image.issuperset(stated.inputs):
            self.image.add(stated.name)
        if layout:
            self.layouts[stated.name] = layout

    def layer(self, layer: Layer, name: str) -> None:
        facts = Facts.of(layer.name, layer.kind, layer.config)
        kind = computed_type(facts)
        if "float16" in kind:
            self.halves.add(kind)
        source = layer.inputs[0]
        layout = self.layouts.get(source, "")
        unit = self.units.get(layer.name) or self.units.get(name)
        made = Stated(name, layer.kind, layer.inputs, unit=unit)
        make = KINDS.get(layer.kind)
        if layer.calls > 1 or layer.odd:
            how = f"{layer.kind} that is called {layer.calls} times"
            made = replace(made, kind=how if layer.calls > 1 else f"{layer.kind} of several parts")
        elif layer.training and layer.kind not in ("Activation", "ReLU"):
            made = replace(made, kind=f"{layer.kind} as in training")
        elif layer.kind in TRAINING:
            made = replace(made, kind=NOTHING)
            facts.finish(WITHOUT_EFFECT)
        elif layer.kind in ("Rescaling", "Normalization") and source in self.image:
            numbers = ", ".join(
                f"{key} {layer.config[key]}"
                for key in ("scale", "offset", "mean", "variance")
                if layer.config.get(key) is not None
            )
            said = "the model prepares images itself; --preprocessing has to say the same"
            self.notes.append(
                f"{layer.name} ({layer.kind}{': ' if numbers else ''}{numbers}): {said}"
            )
            made = replace(made, kind=NOTHING, unit=None)
        elif make is not None and (unit is not None or layer.kind not in WEIGHTED):
            made, layout = make(facts, made, layout)
            if layout and source in self.image:
                self.layouts.setdefault(INPUT, layout)
            facts.finish(WITHOUT_EFFECT)
        self._enter(made, layout)


def _layout(facts: Facts, layout: str) -> tuple[str, bool]:
    """(where the channels are, whether that is where they are in what the layer reads)."""
    said = either(facts, "data_format", "dim_ordering")
    stated = LAYOUTS.get(str(said), layout or LAST)
    return stated, layout in ("", stated)


def _activation(value: Any) -> str:
    """A name, a function, or a layer, as the kind of a step."""
    if isinstance(value, dict):
        config = value.get("config")
        if isinstance(config, dict) and value.get("class_name") in ("ReLU", "Softmax"):
            made = Stated("", "", ())
            made, _ = KINDS[value["class_name"]](Facts.of("", "", config), made, "")
            return made.kind
        value = config if isinstance(config, str) else value.get("class_name")
    plain = {"relu": "ReLU", "linear": NOTHING, "None": NOTHING, "softmax": SOFTMAX}
    return plain.get(str(value), str(value))


def _convolution(facts: Facts, made: Stated, layout: str) -> tuple[Stated, str]:
    unit, (layout, fits) = made.unit, _layout(facts, layout)
    assert unit is not None
    weight, old = unit.arrays.get("weight"), facts.value("nb_row") is not None
    kernel = (
        two(facts, [facts.value("nb_row"), facts.value("nb_col")])
        if old
        else two(facts, facts.value("kernel_size"))
    )
    strides = two(facts, either(facts, "strides", "subsample", default=1))
    holes = two(facts, either(facts, "dilation_rate", "atrous_rate", default=1))
    padding, group = either(facts, "padding", "border_mode"), facts.value("groups", 1)
    after = _activation(facts.value("activation"))
    if weight is None or len(weight.shape) != 4:
        raise refuse(
            f"{facts.layer}: no kernel of {facts.form}", "(rows, columns, inputs, outputs)"
        )
    if old and layout == FIRST:
        weight = weight.transposed(2, 3, 1, 0)
        unit = replace(unit, arrays={**unit.arrays, "weight": weight})
    _check_outputs(facts, unit, "filters", "nb_filter")
    if kernel != weight.shape[2:]:
        wanted = f"{weight.shape[2:]}, as its array is"
        raise refuse(f"{facts.layer}: states kernel {kernel}", wanted)
    if not fits or padding not in ("same", "valid"):
        what = f"padding {padding}" if fits else "reads channels elsewhere"
        return replace(made, kind=f"{facts.form}, {what}"), layout
    window = Window(
        kernel, strides, auto="SAME_UPPER" if padding == "same" else "", dilations=holes
    )
    kind = graphs.conv(group)
    return replace(made, kind=kind, window=window, unit=unit, after=after), layout


def _check_outputs(facts: Facts, unit: Unit, *names: str) -> None:
    outputs = unit.arrays["weight"].shape[0]
    stated = either(facts, *names, default=outputs)
    if stated != outputs:
        raise refuse(f"{facts.layer}: states {stated} outputs", f"{outputs}, as its array has")
    bias = either(facts, "use_bias", "bias", default=True)
    if bool(bias) != ("bias" in unit.arrays):
        raise refuse(f"{facts.layer}: states use_bias {bias}", "arrays as it states them")


def _dense(facts: Facts, made: Stated, layout: str) -> tuple[Stated, str]:
    unit = made.unit
    assert unit is not None
    after = _activation(facts.value("activation"))
    if "weight" not in unit.arrays:
        return made, layout
    _check_outputs(facts, unit, "units", "output_dim")
    # of an image that nothing flattened it would be a 1x1 convolution
    kind = "dense" if layout not in (FIRST, LAST) else "a dense layer over the last axis"
    unit = replace(unit, channels_last=layout != FLAT_FIRST)
    return replace(made, kind=kind, unit=unit, after=after), FLAT_LAST


def _pool(facts: Facts, made: Stated, layout: str) -> tuple[Stated, str]:
    layout, fits = _layout(facts, layout)
    kernel = two(facts, either(facts, "pool_size", default=2))
    strides = two(facts, facts.value("strides", list(kernel)))
    padding = either(facts, "padding", "border_mode", default="valid")
    kind = "max" if facts.form.startswith("Max") else graphs.mean(False)
    if not fits or padding not in ("same", "valid"):
        kind = f"{facts.form}, padding {padding}, {layout}"
    window = Window(kernel, strides, auto="SAME_UPPER" if padding == "same" else "")
    return replace(made, kind=kind, window=window), layout


def _global(facts: Facts, made: Stated, layout: str) -> tuple[Stated, str]:
    layout, fits = _layout(facts, layout)
    kind = "global mean" if facts.form == "GlobalAveragePooling2D" else "global max"
    kept = facts.value("keepdims")
    return replace(made, kind=kind if fits else f"{kind}, {layout}"), layout if kept else FLAT_LAST


def _flatten(facts: Facts, made: Stated, layout: str) -> tuple[Stated, str]:
    """Keras brings the channels to the end before it flattens, if a Flatten says that they are
    first; else it takes values as they lie."""
    said = LAYOUTS.get(str(facts.value("data_format")))
    if layout in (FIRST, "") and said == FIRST:
        return replace(made, kind=NOTHING), FLAT_LAST
    if layout == LAST and said == FIRST:
        return replace(made, kind="a Flatten of other axes"), FLAT_LAST
    return replace(made, kind=NOTHING), {FIRST: FLAT_FIRST}.get(
        layout, layout or FLAT_LAST
    ).replace(LAST, FLAT_LAST)


def _reshape(facts: Facts, made: Stated, layout: str) -> tuple[Stated, str]:
    sizes = facts.value("target_shape", [])
    long = [size for size in sizes if size != 1]
    if len(long) > 1:
        return replace(made, kind=f"reshape to {sizes}"), layout
    if len(sizes) > 1:
        return replace(made, kind=NOTHING), LAST if sizes[0] == 1 else FIRST
    flat = {FIRST: FLAT_FIRST, LAST: FLAT_LAST}
    return replace(made, kind=NOTHING), flat.get(layout, layout)


def _padding(facts: Facts, made: Stated, layout: str) -> tuple[Stated, str]:
    layout, fits = _layout(facts, layout)
    said = facts.value("padding", 1)
    if isinstance(said, dict):
        said = [said.get(f"{side}_pad", 0) for side in ("top", "bottom", "left", "right")]
    if isinstance(said, list) and len(said) == 4:
        said = [said[:2], said[2:]]  # Keras 1
    rows, columns = said if isinstance(said, list) else (said, said)
    (top, bottom), (left, right) = two(facts, rows), two(facts, columns)
    pads: Pads = (top, left, bottom, right)
    if min(pads) < 0 or not fits:
        return replace(made, kind=f"a padding of {said}"), layout
    return replace(made, kind=PADDING, pads=pads), layout


def _normalisation(facts: Facts, made: Stated, layout: str) -> tuple[Stated, str]:
    unit, axis = made.unit, facts.value("axis", -1)
    assert unit is not None
    (axis,) = axis if isinstance(axis, list) and len(axis) == 1 else (axis,)
    wanted = {FIRST: (1, -3), LAST: (3, -1), "": (1, 3, -1)}.get(layout, (1, -1))
    factors = [("scale", "gamma"), ("center", "beta")]
    roles = [role for key, role in factors if facts.value(key, True)] + ["mean", "variance"]
    if len(roles) != len(unit.arrays):
        raise refuse(f"{facts.layer}: {len(unit.arrays)} arrays", f"{', '.join(roles)}")
    if set(roles) != set(unit.arrays):  # Keras 3 numbers them
        unit = replace(unit, arrays=dict(zip(roles, unit.arrays.values())))
    unit = replace(unit, eps=float(facts.value("epsilon", EPS)))
    mode = facts.value("mode", 0)
    kind = NORMALISATION if axis in wanted else f"a normalisation over axis {axis}"
    if not layout and axis in (1, 3) and axis != -1:
        layout = FIRST if axis == 1 else LAST
    return replace(made, kind=kind if mode == 0 else f"{kind}, mode {mode}", unit=unit), layout


def _add(facts: Facts, made: Stated, layout: str) -> tuple[Stated, str]:
    return replace(made, kind="add"), layout


def _concat(facts: Facts, made: Stated, layout: str) -> tuple[Stated, str]:
    axis = either(facts, "axis", "concat_axis", default=-1)
    wanted = {FIRST: (1, -3), LAST: (3, -1), "": (3, -1)}.get(layout, ())
    return replace(made, kind="concat" if axis in wanted else f"concat of axis {axis}"), layout


def _merge(facts: Facts, made: Stated, layout: str) -> tuple[Stated, str]:
    """Of Keras 1."""
    mode = facts.value("mode")
    for name in ("mode_type", "dot_axes", "output_shape", "output_shape_type", "output_mask"):
        facts.value(name)
    facts.value("output_mask_type"), facts.value("arguments")
    made, layout = _concat(facts, made, layout) if mode == "concat" else (made, layout)
    return (
        made
        if mode == "concat"
        else replace(made, kind={"sum": "add"}.get(mode, f"merge by {mode}"))
    ), layout


def _relu(facts: Facts, made: Stated, layout: str) -> tuple[Stated, str]:
    slope, most = facts.value("negative_slope", 0.0), facts.value("max_value")
    least = facts.value("threshold", 0.0)
    told = [f"slope {slope}"] if slope else []
    told += [f"threshold {least}"] if least else []
    told += [f"max_value {most}"] if most is not None else []
    return replace(made, kind=f"ReLU with {' and '.join(told)}" if told else "ReLU"), layout


def _softmax(facts: Facts, made: Stated, layout: str) -> tuple[Stated, str]:
    axis = facts.value("axis", -1)
    return replace(made, kind=SOFTMAX if axis == -1 else f"softmax of axis {axis}"), layout


def _active(facts: Facts, made: Stated, layout: str) -> tuple[Stated, str]:
    return replace(made, kind=_activation(facts.value("activation"))), layout


WEIGHTED = {"Conv2D", "Convolution2D", "AtrousConvolution2D", "Dense", "BatchNormalization"}
KINDS: dict[str, Callable[[Facts, Stated, str], tuple[Stated, str]]] = {
    "Conv2D": _convolution,
    "Convolution2D": _convolution,
    "AtrousConvolution2D": _convolution,
    "Dense": _dense,
    "MaxPooling2D": _pool,
    "AveragePooling2D": _pool,
    "GlobalAveragePooling2D": _global,
    "GlobalMaxPooling2D": _global,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "ZeroPadding2D": _padding,
    "BatchNormalization": _normalisation,
    "Add": _add,
    "Concatenate": _concat,
    "Merge": _merge,
    "ReLU": _relu,
    "Softmax": _softmax,
    "Activation": _active,
}
