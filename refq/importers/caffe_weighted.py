"""Caffe's layers that multiply or add, as ONNX's operators: with weights of their own, by a second
input, or by numbers that the file states."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from refq.importers.caffe_facts import check_outputs, one, pair, same
from refq.importers.caffe_layer import TRAIN, Layer
from refq.importers.contents import refuse
from refq.importers.shaped import Known, Place, Sizes, UnsaidError
from refq.importers.stating import Facts

Make = Callable[[Layer, Facts, Place], list[Known]]
EPS = 1e-5  # of BatchNormParameter


def axis_of(facts: Facts, axis: int, rank: int) -> int:
    """An axis counted from 0. Raises WeightsError for one that is not there."""
    if not -rank <= axis < rank:
        raise refuse(f"{facts.layer}: axis {axis} of {rank}", f"{-rank} to {rank - 1}")
    return axis % rank


def blobs(layer: Layer, counts: Sequence[int]) -> list[np.ndarray]:
    """The arrays of a layer. Raises WeightsError for another count of them."""
    if len(layer.blobs) not in counts:
        wanted = " or ".join(map(str, counts))
        raise refuse(f"{layer.name}: a {layer.type} of {len(layer.blobs)} arrays", wanted)
    return [blob.load() for blob in layer.blobs]


def convolution(layer: Layer, facts: Facts, at: Place) -> list[Known]:
    """Convolution or Deconvolution, of images."""
    up = layer.type.startswith("Deconvolution")
    shape, axis = at.x.sizes(layer.type), one(facts, "axis", 1)
    weight, *bias = blobs(layer, (1, 2))
    if weight.ndim != 4:
        raise UnsaidError(f"{layer.type} of weights {weight.shape}")
    if len(shape) != 4 or axis_of(facts, axis, 4) != 1:
        raise UnsaidError(f"{layer.type} not of images")
    kernel = pair(facts, "kernel_size", 0, "kernel")
    strides, pads = pair(facts, "stride", 1), pair(facts, "pad", 0)
    dilations, group = pair(facts, "dilation", 1), one(facts, "group", 1)
    if "Depthwise" in layer.type:
        group = shape[1] // weight.shape[1]
    same(layer.name, "kernel", kernel, weight.shape[2:])
    if min(*kernel, *strides, *dilations, group) < 1 or min(pads) < 0:
        raise refuse(
            f"{layer.name}: strides {strides}, pads {pads}, dilations {dilations}, group {group}",
            "1 or more, and pads of 0 or more",
        )
    # weights are (I, O / group, rows, columns) where an image grows, else (O, I / group, ...)
    outputs = weight.shape[1] * group if up else weight.shape[0]
    reads = weight.shape[0] if up else weight.shape[1] * group
    check_outputs(facts, outputs, bool(bias))
    same(layer.name, "input channels", shape[1], reads)
    sides = []
    for axis in (0, 1):
        reach, length = dilations[axis] * (kernel[axis] - 1) + 1, shape[2 + axis]
        if up:
            sides.append(strides[axis] * (length - 1) + reach - 2 * pads[axis])
        else:
            sides.append((length + 2 * pads[axis] - reach) // strides[axis] + 1)
    if min(sides) < 1:
        raise refuse(
            f"{layer.name}: a kernel {kernel} over {shape[2]}x{shape[3]}", "a larger image"
        )
    inputs = [at.x, at.constant("weight", weight)]
    if bias:
        inputs.append(at.constant("bias", bias[0].reshape(-1)))
    made = at.add(
        "ConvTranspose" if up else "Conv",
        inputs,
        (shape[0], outputs, sides[0], sides[1]),
        kernel_shape=kernel,
        strides=strides,
        pads=(*pads, *pads),
        dilations=dilations,
        group=group,
    )
    return [made]


def dense(layer: Layer, facts: Facts, at: Place) -> list[Known]:
    shape = at.x.sizes(layer.type)
    axis = axis_of(facts, one(facts, "axis", 1), len(shape))
    weight, *bias = blobs(layer, (1, 2))
    weight = weight.reshape(weight.shape[-2:]) if math.prod(weight.shape[:-2]) == 1 else weight
    if weight.ndim != 2:
        raise refuse(f"{layer.name}: weights of shape {weight.shape}", "two axes")
    if one(facts, "transpose", 0):
        weight = weight.T
    outputs, reads = weight.shape
    check_outputs(facts, outputs, bool(bias))
    same(layer.name, "inputs", math.prod(shape[axis:]), reads)
    if axis == 0:
        raise UnsaidError(f"{layer.type} over the batch")
    offsets = [at.constant("bias", bias[0].reshape(-1))] if bias else []
    if axis == 1:
        x = at.x
        if len(shape) > 2:
            x = at.add("Flatten", [x], (shape[0], reads), axis=1)
        arrays = [at.constant("weight", weight), *offsets]
        return [at.add("Gemm", [x, *arrays], (shape[0], outputs), transB=1)]
    x = reshaped(at, at.x, (*shape[:axis], reads))
    made = at.add("MatMul", [x, at.constant("weight", weight.T)], (*shape[:axis], outputs))
    return [at.like("Add", made, *offsets) if offsets else made]


def reshaped(at: Place, x: Known, shape: Sizes) -> Known:
    """x in another shape of which the first axis is the batch wherever it is as long."""
    before = x.sizes("Reshape")
    if math.prod(before) != math.prod(shape):
        raise refuse(f"{at.layer}: a blob {before} in the shape {shape}", "as many values")
    sizes = (0, *shape[1:]) if before[:1] == shape[:1] else shape
    return at.add("Reshape", [x, at.whole_numbers("shape", sizes)], shape)


def batch_norm(layer: Layer, facts: Facts, at: Place) -> list[Known]:
    """By stored means and variances, each times a factor that the file has, too."""
    shape, eps = at.x.sizes(layer.type), float(one(facts, "eps", EPS))
    if one(facts, "use_global_stats", 1) == 0 and layer.phase != TRAIN:
        raise UnsaidError(f"{layer.type} by each batch")
    mean, variance, factor = blobs(layer, (3,))
    if factor.size != 1 or len(shape) < 2:
        raise refuse(f"{layer.name}: a factor of shape {factor.shape}", "one number")
    # a factor of 0 is of a net that was never trained: Caffe takes mean and variance as 0
    scale = 1 / float(factor.reshape(-1)[0]) if factor.any() else 0.0
    ones = np.ones(shape[1], np.float32)
    arrays = {
        "scale": ones,
        "bias": 0 * ones,
        "mean": (mean.reshape(-1).astype(np.float64) * scale).astype(mean.dtype),
        "variance": (variance.reshape(-1).astype(np.float64) * scale).astype(variance.dtype),
    }
    for role, array in arrays.items():
        same(layer.name, f"channels of {role}", shape[1], len(array))
    if not (arrays["variance"] + eps > 0).all():
        raise refuse(f"{layer.name}: a variance of 0 or less", "variances of a trained network")
    constants = [at.constant(role, array) for role, array in arrays.items()]
    return [at.like("BatchNormalization", at.x, *constants, epsilon=eps)]


def scale(layer: Layer, facts: Facts, at: Place) -> list[Known]:
    """x * factor (+ bias): Scale; x + bias: Bias; what is stored, or a second input."""
    shape = at.x.sizes(layer.type)
    steps = ["Mul", "Add"] if layer.type == "Scale" and one(facts, "bias_term", 0) else ["Mul"]
    if layer.type == "Bias":
        steps = ["Add"]
    axis = axis_of(facts, one(facts, "axis", 1), len(shape))
    count = one(facts, "num_axes", 1)
    second = list(at.inputs[1:])
    if len(second) > 1:
        raise refuse(f"{layer.name}: reads {len(at.inputs)} blobs", "one or two")
    arrays = blobs(layer, (len(steps) - len(second),))
    end = len(shape) if count == -1 else axis + count
    if second:
        end = axis + len(second[0].sizes(layer.type))
    covered = shape[axis:end]
    wide = (1,) * axis + covered + (1,) * (len(shape) - end)
    if end > len(shape) or len(wide) != len(shape):
        raise refuse(f"{layer.name}: axes {axis} to {end} of {len(shape)}", "axes of its input")
    made = at.x
    for step in steps:
        if second:
            other = second.pop()
            same(layer.name, "sizes of the second input", other.shape, covered)
            if other.shape != wide:
                other = reshaped(at, other, wide)
        else:
            array = arrays.pop(0)
            same(layer.name, "values", math.prod(wide), array.size)
            other = at.constant("bias" if step == "Add" else "scale", array.reshape(wide))
        made = at.like(step, made, other)
    return [made]


def prelu(layer: Layer, facts: Facts, at: Place) -> list[Known]:
    shape = at.x.sizes(layer.type)
    (slopes,) = blobs(layer, (1,))
    count = 1 if one(facts, "channel_shared", 0) else (*shape, 0)[1]
    same(layer.name, "slopes", count, slopes.size)
    wide = (slopes.size, *(1,) * (len(shape) - 2))
    return [at.like("PRelu", at.x, at.constant("slope", slopes.reshape(wide)))]


def parameter(layer: Layer, facts: Facts, at: Place) -> list[Known]:
    """A blob that is learnt, and read by others."""
    facts.value("shape")
    return [at.constant("values", blobs(layer, (1,))[0])]


def eltwise(layer: Layer, facts: Facts, at: Place) -> list[Known]:
    operation, factors = one(facts, "operation", 1), facts.value("coeff", [])
    kind = {0: "Mul", 1: "Add", 2: "Max"}.get(operation)
    if kind is None:
        raise UnsaidError(f"{layer.type} operation {operation}")
    if factors and len(factors) != len(at.inputs):
        raise refuse(f"{layer.name}: {len(factors)} coeff", f"{len(at.inputs)}, one for each input")
    inputs = list(at.inputs)
    for other in inputs[1:]:
        same(layer.name, "the shape of an input", other.sizes(layer.type), at.x.shape)
    if kind == "Add" and list(factors) == [1, -1]:
        return [at.like("Sub", *inputs)]
    if kind == "Add" and factors:
        inputs = [at.times(each, factor) for each, factor in zip(inputs, factors)]
    made = inputs[0]
    for other in inputs[1:]:
        made = at.like(kind, made, other)
    return [made if len(inputs) > 1 else at.unchanged(made)]


def axpy(layer: Layer, facts: Facts, at: Place) -> list[Known]:
    """a * x + y, a (N, C, 1, 1): squeeze and excite."""
    if len(at.inputs) != 3:
        raise refuse(f"{layer.name}: reads {len(at.inputs)} blobs", "three")
    factor, x, y = at.inputs
    return [at.like("Add", at.like("Mul", x, factor), y)]


MAKE: dict[str, Make] = {
    "Convolution": convolution,
    "Deconvolution": convolution,
    "ConvolutionDepthwise": convolution,
    "DepthwiseConvolution": convolution,
    "InnerProduct": dense,
    "BatchNorm": batch_norm,
    "Scale": scale,
    "Bias": scale,
    "PReLU": prelu,
    "Parameter": parameter,
    "Eltwise": eltwise,
    "Axpy": axpy,
}
