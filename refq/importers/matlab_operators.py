"""What the layers of MatConvNet's networks compute, as ONNX's operators.

Arrays are (rows, columns, channels, images) in MATLAB. https://www.vlfeat.org/matconvnet/mfiles
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from refq.importers import matlab
from refq.importers.contents import Tensor, refuse
from refq.importers.matlab_graph import Layer, lrn, numbers, whole, window
from refq.importers.shaped import Known, Place, UnsaidError
from refq.importers.stating import Facts

Make = Callable[[Layer, Facts, Place], list[Known]]
IMAGES = 4
AXES = {1: 2, 2: 3, 3: 1, 4: 0}  # of MATLAB's, ONNX's


def _sizes(layer: Layer, at: Place) -> tuple[int, int, int, int]:
    shape = at.x.sizes(layer.type)
    if len(shape) != IMAGES:
        raise UnsaidError(f"{layer.type} not of images")
    return shape[0], shape[1], shape[2], shape[3]


def _arrays(layer: Layer, facts: Facts, counts: tuple[int, ...]) -> list[Tensor]:
    """The arrays of a layer, without biases that it has and does not use."""
    arrays = list(layer.arrays)
    if counts == (1, 2) and not any(numbers(facts, "hasBias", [1.0])):
        arrays = arrays[:1]
    if len(arrays) not in counts:
        wanted = " or ".join(map(str, counts))
        raise refuse(f"{layer.name}: a {layer.type} of {len(arrays)} arrays", wanted)
    return arrays


def _convolution(layer: Layer, facts: Facts, at: Place) -> list[Known]:
    n, channels, *sides = _sizes(layer, at)
    filters, *bias = _arrays(layer, facts, (1, 2))
    weight = matlab.padded(filters).transposed(3, 2, 0, 1).load()
    if (
        weight.ndim != IMAGES
        or channels % weight.shape[1]
        or len(weight) % (group := channels // weight.shape[1])
    ):
        raise refuse(
            f"{layer.name}: filters {filters.shape} over {channels} channels",
            "as many channels, or a part of them for each group",
        )
    slid = window(facts, weight.shape[2:])
    _check(layer, *slid.kernel, *slid.strides, *slid.dilations, pads=slid.pads)
    _, made = slid.over((sides[0], sides[1]))
    inputs = _operands(layer, at, weight, bias, len(weight))
    if min(made) < 1:
        raise refuse(f"{layer.name}: a kernel {slid.kernel} over {sides}", "a larger image")
    return [
        at.add(
            "Conv",
            inputs,
            (n, len(weight), *made),
            kernel_shape=slid.kernel,
            strides=slid.strides,
            pads=slid.pads,
            dilations=slid.dilations,
            group=group,
        )
    ]


def _check(layer: Layer, *positive: int, pads: tuple[int, ...]) -> None:
    if min(positive) < 1 or min(pads) < 0:
        raise refuse(
            f"{layer.name}: kernel, strides {positive}, pads {pads}", "1 or more, 0 or more"
        )


def _operands(
    layer: Layer, at: Place, weight: np.ndarray, bias: list[Tensor], outputs: int
) -> list[Known]:
    inputs = [at.x, at.constant("weight", weight)]
    if bias:
        values = bias[0].load().reshape(-1)
        if len(values) != outputs:
            raise refuse(f"{layer.name}: {len(values)} biases", f"{outputs}")
        inputs.append(at.constant("bias", values))
    return inputs


def _transposed(layer: Layer, facts: Facts, at: Place) -> list[Known]:
    """A filter is of an output, (rows, columns, outputs / group, inputs)."""
    n, channels, *sides = _sizes(layer, at)
    filters, *bias = _arrays(layer, facts, (1, 2))
    weight = matlab.padded(filters).transposed(3, 2, 0, 1).load()
    (group,) = whole(facts, "numGroups", 1, (1,))
    strides = whole(facts, "upsample", 1, (1, 2))
    top, bottom, left, right = whole(facts, "crop", 0, (1, 4))
    numbers(facts, "size", [])
    _check(layer, *strides, group, pads=(top, bottom, left, right))
    if weight.ndim != IMAGES or len(weight) != channels or channels % group:
        raise refuse(f"{layer.name}: filters {filters.shape}", f"depth {channels}, in equal groups")
    outputs, kernel = weight.shape[1] * group, weight.shape[2:]
    made = [
        strides[axis] * (sides[axis] - 1) + kernel[axis] - cut
        for axis, cut in enumerate((top + bottom, left + right))
    ]
    if min(made) < 1:
        raise refuse(f"{layer.name}: an image cropped to {made}", "a smaller crop")
    return [
        at.add(
            "ConvTranspose",
            _operands(layer, at, weight, bias, outputs),
            (n, outputs, made[0], made[1]),
            kernel_shape=kernel,
            strides=tuple(strides),
            pads=(top, left, bottom, right),
            dilations=(1, 1),
            group=group,
        )
    ]


def _pool(layer: Layer, facts: Facts, at: Place) -> list[Known]:
    """Padded cells count in neither maxima nor means."""
    n, channels, *sides = _sizes(layer, at)
    name = "poolSize" if facts.value("poolSize") is not None else "pool"
    method = facts.value("method", "max")
    kinds = {"max": "MaxPool", "avg": "AveragePool"}
    if method not in kinds:
        raise UnsaidError(f"Pooling by {method}")
    slid = window(facts, whole(facts, name, 1, (1, 2)))
    _check(layer, *slid.kernel, *slid.strides, pads=slid.pads)
    _, made = slid.over((sides[0], sides[1]))
    small = any(slid.pads[axis] >= slid.kernel[axis % 2] for axis in range(4))
    if slid.dilations != (1, 1) or min(made) < 1 or small:
        raise refuse(
            f"{layer.name}: a pool {slid.kernel} over {sides} padded by {slid.pads}",
            "a kernel smaller than the image and larger than the pad",
        )
    more = {"count_include_pad": 0} if method == "avg" else {}
    return [
        at.add(
            kinds[method],
            [at.x],
            (n, channels, *made),
            kernel_shape=slid.kernel,
            strides=slid.strides,
            pads=slid.pads,
            ceil_mode=0,
            **more,
        )
    ]


def _relu(layer: Layer, facts: Facts, at: Place) -> list[Known]:
    (leak,) = numbers(facts, "leak", [0.0])[:1]
    return [at.like("LeakyRelu", at.x, alpha=leak) if leak else at.like("Relu", at.x)]


def _lrn(layer: Layer, facts: Facts, at: Place) -> list[Known]:
    size, alpha, beta, bias = lrn(facts)
    return [at.like("LRN", at.x, size=size, alpha=alpha, beta=beta, bias=bias)]


def _normalisation(layer: Layer, facts: Facts, at: Place) -> list[Known]:
    """gamma, beta, and moments (channels, 2): means, and deviations that have eps in them."""
    channels = _sizes(layer, at)[1]
    if len(layer.arrays) == 2:
        raise UnsaidError(f"{layer.type} by each batch")
    gamma, beta, moments = _arrays(layer, facts, (3,))
    stored = moments.load()
    counts = math.prod(gamma.shape), math.prod(beta.shape), stored.size // 2
    if set(counts) != {channels} or stored.shape[-1] != 2:
        raise refuse(f"{layer.name}: arrays of {counts} channels", f"{channels}")
    mean, deviation = stored.reshape(-1, 2).T.astype(np.float64)
    if not (deviation > 0).all():
        raise refuse(f"{layer.name}: a deviation of 0 or less", "deviations of a trained network")
    arrays = [
        at.constant("scale", gamma.load().reshape(-1)),
        at.constant("bias", beta.load().reshape(-1)),
        at.constant("mean", mean.astype(np.float32)),
        at.constant("variance", (deviation**2).astype(np.float32)),
    ]
    return [at.like("BatchNormalization", at.x, *arrays, epsilon=0.0)]


def _scale(layer: Layer, facts: Facts, at: Place) -> list[Known]:
    """x * a (+ b) of what else it reads, then of its arrays, repeated along axes of size 1."""
    shape = _sizes(layer, at)
    operands = list(at.inputs[1:])
    for number, tensor in enumerate(layer.arrays):
        array = matlab.padded(tensor).transposed(3, 2, 0, 1).load()
        operands.append(at.constant(f"array{number + 1}", array))
    steps = ["Mul", "Add"] if any(numbers(facts, "hasBias", [1.0])) else ["Mul"]
    if len(operands) < len(steps):
        raise refuse(f"{layer.name}: a Scale of {len(operands)} factors", f"{len(steps)}")
    made = at.x
    for step, other in zip(steps, operands):
        sizes = other.sizes(layer.type)
        if len(sizes) != IMAGES or any(b not in (1, a) for a, b in zip(shape, sizes)):
            raise refuse(f"{layer.name}: a factor {sizes} of {shape}", "sizes of its input, or 1")
        made = at.like(step, made, other)
    return [made]


def _sum(layer: Layer, facts: Facts, at: Place) -> list[Known]:
    made = at.x
    for other in at.inputs[1:]:
        if other.sizes(layer.type) != at.x.shape:
            raise refuse(f"{layer.name}: a sum of {at.x.shape} and {other.shape}", "one shape")
        made = at.like("Add", made, other)
    return [made if len(at.inputs) > 1 else at.unchanged(made)]


def _concat(layer: Layer, facts: Facts, at: Place) -> list[Known]:
    (dim,) = whole(facts, "dim", 3, (1,))
    if dim not in (1, 2, 3):
        raise UnsaidError(f"Concat of dimension {dim}")
    axis, shapes = AXES[dim], [each.sizes(layer.type) for each in at.inputs]
    if any(len(shape) != IMAGES for shape in shapes):
        raise UnsaidError(f"{layer.type} not of images")
    rests = {shape[:axis] + shape[axis + 1 :] for shape in shapes}
    if len(rests) != 1:
        raise refuse(f"{layer.name}: shapes {shapes}", f"the same but for dimension {dim}")
    total = sum(shape[axis] for shape in shapes)
    first = shapes[0]
    shape = (*first[:axis], total, *first[axis + 1 :])
    return [at.add("Concat", at.inputs, shape, axis=axis)]


def _crop(layer: Layer, facts: Facts, at: Place) -> list[Known]:
    """As large as the second input, a crop of rows and columns from the top and left; where so much
    is not to be cut away, less."""
    shape = _sizes(layer, at)
    if len(at.inputs) != 2:
        raise refuse(f"{layer.name}: reads {len(at.inputs)} variables", "two")
    like, crop = at.inputs[1].sizes(layer.type), whole(facts, "crop", 0, (1, 2))
    begins, ends = [], []
    for axis, asked in zip((2, 3), crop):
        over = shape[axis] - like[axis]
        begins.append(over - max(0, over - asked))
        ends.append(begins[-1] + like[axis])
        if begins[-1] < 0 or over < 0:
            raise refuse(f"{layer.name}: {like} out of {shape}", "a part of its input")
    lists = {"starts": begins, "ends": ends, "axes": [2, 3]}
    places = [at.whole_numbers(role, values) for role, values in lists.items()]
    return [at.add("Slice", [at.x, *places], (*shape[:2], *like[2:]))]


def _flatten(layer: Layer, facts: Facts, at: Place) -> list[Known]:
    """1 x 1 x all; rows are next to each other in MATLAB, then columns, then channels."""
    n, channels, rows, columns = _sizes(layer, at)
    turned = at.add("Transpose", [at.x], (n, channels, columns, rows), perm=(0, 1, 3, 2))
    count = channels * rows * columns
    return [
        at.add("Reshape", [turned, at.whole_numbers("shape", (0, count, 1, 1))], (n, count, 1, 1))
    ]


def _plain(kind: str, **attributes: int) -> Make:
    return lambda layer, facts, at: [at.like(kind, at.x, **attributes)]


MAKE: dict[str, Make] = {
    "conv": _convolution,
    "convt": _transposed,
    "convtranspose": _transposed,
    "pool": _pool,
    "pooling": _pool,
    "relu": _relu,
    "normalize": _lrn,
    "lrn": _lrn,
    "bnorm": _normalisation,
    "batchnorm": _normalisation,
    "scale": _scale,
    "sum": _sum,
    "concat": _concat,
    "crop": _crop,
    "flatten": _flatten,
    "softmax": _plain("Softmax", axis=1),
    "sigmoid": _plain("Sigmoid"),
    "tanh": _plain("Tanh"),
    "dropout": _plain("Identity"),
}
