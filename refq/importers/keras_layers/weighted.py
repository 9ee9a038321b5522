"""Layers with arrays: convolutions of every kind, dense layers, normalisations."""

from __future__ import annotations

import numpy as np

from refq.importers.building import Value
from refq.importers.keras_fields import either
from refq.importers.keras_layers.activations import activated
from refq.importers.keras_layers.layer import Layer

EPS = 1e-3  # of BatchNormalization


def _padding(layer: Layer) -> str:
    return str(either(layer.facts, "padding", "border_mode", default="valid"))


def _strides(layer: Layer, axes: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(strides, dilations)."""
    strides = layer.whole("strides", "subsample", "subsample_length", axes=axes, default=1)
    holes = layer.whole("dilation_rate", "atrous_rate", axes=axes, default=1)
    if min(*strides, *holes) < 1:
        raise layer.refuse(f"strides {strides}, dilation_rate {holes}", "1 or more")
    return strides, holes


def _kernel_size(layer: Layer, kernel: np.ndarray, axes: int) -> None:
    """Raises WeightsError where the stored kernel is not of the stated size."""
    if kernel.ndim != axes + 2:
        raise layer.refuse(f"a kernel {kernel.shape}", f"{axes + 2} axes")
    rows, columns = layer.facts.value("nb_row"), layer.facts.value("nb_col")  # Keras 1
    default = kernel.shape[:axes] if rows is None else [rows, columns]
    names = ("kernel_size", "filter_length") if axes == 1 else ("kernel_size",)
    stated = layer.whole(*names, axes=axes, default=list(default))
    if stated != kernel.shape[:axes]:
        raise layer.refuse(f"states kernel_size {stated}", f"{kernel.shape[:axes]}, as its array")


def _biased(layer: Layer, names: list[str]) -> list[str]:
    return names + ["bias"] * layer.flag("use_bias", "bias", default=True)


def _window(layer: Layer, kernel: np.ndarray, axes: int) -> dict[str, object]:
    """Attributes of a convolution. Padding `same` puts what is odd at the end; how much that is
    depends on the image, where there are strides."""
    strides, holes = _strides(layer, axes)
    padding = _padding(layer)
    pads: dict[str, object] = {}
    if padding == "same" and max(strides) == 1:
        whole = [(size - 1) * hole for size, hole in zip(kernel.shape, holes)][:axes]
        pads = {"pads": (*(each // 2 for each in whole), *(each - each // 2 for each in whole))}
    elif padding == "same":
        pads = {"auto_pad": "SAME_UPPER"}
    elif padding == "causal" and axes == 1:
        pads = {"pads": ((kernel.shape[0] - 1) * holes[0], 0)}
    elif padding not in ("same", "valid"):
        raise layer.refuse(f"padding {padding}", "same or valid")
    return {
        "kernel_shape": tuple(kernel.shape[:axes]),
        "strides": strides,
        "dilations": holes,
        **pads,
    }


def _outputs(layer: Layer, kernel: np.ndarray, place: int) -> None:
    stated = either(layer.facts, "filters", "units", "nb_filter", "output_dim")
    if stated is not None and stated != kernel.shape[place]:
        raise layer.refuse(f"states {stated} outputs", f"{kernel.shape[place]}, as its array has")


def _applied(
    layer: Layer, kind: str, value: Value, arrays: list[np.ndarray], **attributes: object
) -> Value:
    """A weighted operator, with the layer's activation behind it."""
    builder = layer.builder
    words = ("weight", "bias")
    inputs = [builder.constant(each, f"{layer.name}/{word}") for each, word in zip(arrays, words)]
    made = builder.add(kind, layer.name, [value, *inputs], value, **attributes)
    return activated(layer, made, layer.facts.value("activation"))


def _flipped(layer: Layer, kernel: np.ndarray, axes: int) -> np.ndarray:
    turned = kernel[tuple(slice(None, None, -1) for _ in range(axes))]
    return turned if layer.flipped else kernel


def convolution(layer: Layer, axes: int) -> Value:
    """Kernels are (rows, columns, inputs, outputs); Keras 1 has those of Theano's order as Theano
    has them."""
    value = layer.image(axes + 2)
    arrays = layer.arrays(_biased(layer, ["kernel"]))
    kernel = arrays.pop("kernel")
    if layer.era == 1:
        if axes == 1:
            kernel = kernel.reshape(kernel.shape[0], *kernel.shape[-2:])
        elif layer.channels_first:
            kernel = kernel.transpose(2, 3, 1, 0)
    kernel = _flipped(layer, kernel, axes)
    _kernel_size(layer, kernel, axes)
    _outputs(layer, kernel, -1)
    group = layer.whole("groups", axes=1, default=1)[0]
    weight = kernel.transpose(axes + 1, axes, *range(axes))
    window = _window(layer, kernel, axes)
    return _applied(layer, "Conv", value, [weight, *arrays.values()], group=group, **window)


def _of_each(kernel: np.ndarray, axes: int) -> tuple[np.ndarray, int]:
    """(weight, groups) of a depthwise kernel (rows, columns, inputs, multiplier): outputs of one
    input follow each other."""
    inputs, multiplier = kernel.shape[-2:]
    order = kernel.transpose(axes, axes + 1, *range(axes))
    return order.reshape(inputs * multiplier, 1, *kernel.shape[:axes]), inputs


def depthwise(layer: Layer, axes: int) -> Value:
    value = layer.image(axes + 2)
    layer.facts.value("groups")
    arrays = layer.arrays(_biased(layer, ["kernel"]))
    kernel = _flipped(layer, arrays.pop("kernel"), axes)
    _kernel_size(layer, kernel, axes)
    _multiplier(layer, kernel)
    weight, group = _of_each(kernel, axes)
    window = _window(layer, kernel, axes)
    return _applied(layer, "Conv", value, [weight, *arrays.values()], group=group, **window)


def _multiplier(layer: Layer, kernel: np.ndarray) -> None:
    stated = layer.whole("depth_multiplier", axes=1, default=1)[0]
    if stated != kernel.shape[-1]:
        raise layer.refuse(f"states depth_multiplier {stated}", f"{kernel.shape[-1]}, as its array")


def separable(layer: Layer, axes: int) -> Value:
    """A depthwise convolution, and one of 1x1 that has the bias."""
    value = layer.image(axes + 2)
    layer.facts.value("groups")
    arrays = layer.arrays(_biased(layer, ["depthwise", "pointwise"]))
    kernel = _flipped(layer, arrays.pop("depthwise"), axes)
    point = arrays.pop("pointwise")
    _kernel_size(layer, kernel, axes)
    _multiplier(layer, kernel)
    _outputs(layer, point, -1)
    weight, group = _of_each(kernel, axes)
    window = _window(layer, kernel, axes)
    builder = layer.builder
    first = builder.constant(weight, f"{layer.name}/depthwise")
    made = builder.add(
        "Conv", f"{layer.name}/depthwise", [value, first], value, group=group, **window
    )
    weight = point.transpose(axes + 1, axes, *range(axes))
    ones = (1,) * axes
    return _applied(layer, "Conv", made, [weight, *arrays.values()], kernel_shape=ones, group=1)


def transposed(layer: Layer, axes: int) -> Value:
    """Kernels are (rows, columns, outputs, inputs). `same` makes stride times as many rows as it
    reads, and cuts what is too much, what is odd at the end."""
    value = layer.image(axes + 2)
    arrays = layer.arrays(_biased(layer, ["kernel"]))
    kernel = arrays.pop("kernel")
    _kernel_size(layer, kernel, axes)
    _outputs(layer, kernel, -2)
    strides, holes = _strides(layer, axes)
    padding = _padding(layer)
    if padding not in ("same", "valid"):
        raise layer.refuse(f"padding {padding}", "same or valid")
    if layer.facts.value("output_padding") is None:
        more: tuple[int | None, ...] = (None,) * axes
    else:
        more = layer.whole("output_padding", axes=axes)
    before, after, ends = [], [], []
    for size, stride, hole, spare in zip(kernel.shape, strides, holes, more):
        cut, left = _cut((size - 1) * hole + 1, stride, padding, spare)
        before.append(cut // 2)
        after.append(cut - cut // 2)
        ends.append(left)
    weight = _flipped(layer, kernel, axes).transpose(axes + 1, axes, *range(axes))
    return _applied(
        layer,
        "ConvTranspose",
        value,
        [weight, *arrays.values()],
        kernel_shape=tuple(kernel.shape[:axes]),
        strides=strides,
        dilations=holes,
        pads=(*before, *after),
        output_padding=tuple(ends),
        group=layer.whole("groups", axes=1, default=1)[0],
    )


def _cut(size: int, stride: int, padding: str, spare: int | None) -> tuple[int, int]:
    """(rows that are cut, rows that are left open at the end) of one axis, of (n - 1) stride + size
    rows (keras' conv_utils.deconv_output_length, and TensorFlow's padding for so many)."""
    if spare is None:
        whole = max(size - stride, 0) if padding == "same" else 0
        return whole, max(stride - size, 0)
    difference = spare - (2 * (size // 2) if padding == "same" else 0)
    return max(-difference, 0), max(difference, 0)


def dense(layer: Layer) -> Value:
    """Over the last axis: of maps, a convolution 1x1."""
    value = layer.value
    arrays = layer.arrays(_biased(layer, ["kernel"]))
    kernel = arrays.pop("kernel")
    if kernel.ndim != 2:
        raise layer.refuse(f"a kernel {kernel.shape}", "2 axes")
    _outputs(layer, kernel, -1)
    if value.rank == 2:
        return _applied(layer, "Gemm", value, [kernel, *arrays.values()])
    axes = value.rank - 2
    weight = kernel.T.reshape(*kernel.T.shape, *(1,) * axes)
    image = layer.builder.first(value)
    return _applied(
        layer, "Conv", image, [weight, *arrays.values()], kernel_shape=(1,) * axes, group=1
    )


def normalisation(layer: Layer) -> Value:
    value, axis = layer.value, layer.facts.value("axis", -1)
    (axis,) = axis if isinstance(axis, list) and len(axis) == 1 else (axis,)
    if type(axis) is not int or layer.facts.value("mode", 0) != 0:
        raise layer.refuse(f"axis {axis}, mode {layer.facts.value('mode', 0)}", "one axis, mode 0")
    last = axis in (-1, value.rank - 1)
    if not last and axis % value.rank != 1:
        raise layer.refuse(
            f"normalises axis {axis} of {value.rank}", "channels, the last axis or 1"
        )
    image = layer.builder.first(value) if last else layer.builder.last(value)
    factors = [("scale", "gamma", 1.0), ("center", "beta", 0.0)]
    roles = [role for field, role, _ in factors if layer.flag(field, default=True)]
    arrays = layer.arrays([*roles, "mean", "variance"])
    inputs = []
    for role, default in (("gamma", 1.0), ("beta", 0.0), ("mean", 0.0), ("variance", 1.0)):
        array = arrays.get(role, np.full_like(arrays["mean"], default))
        inputs.append(layer.builder.constant(array, f"{layer.name}/{role}"))
    epsilon = layer.number("epsilon", default=EPS)
    return layer.builder.add(
        "BatchNormalization", layer.name, [image, *inputs], image, epsilon=epsilon
    )
