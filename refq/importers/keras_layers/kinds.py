"""Every kind of layer that is read, and what it becomes."""

from __future__ import annotations

import re
from collections.abc import Callable

from refq.importers.building import Value
from refq.importers.keras_config import TRAINING, WITHOUT_EFFECT
from refq.importers.keras_layers import (
    activations,
    axes,
    functions,
    merges,
    pools,
    preparing,
    weighted,
)
from refq.importers.keras_layers.layer import Layer

Made = Callable[[Layer], Value]

# layers that change nothing when a network is run, beside those of TRAINING: images made at random
PASSING = re.compile(r"SpatialDropout1D|SpatialDropout3D|GaussianDropout|Random(?!Crop|Fourier)\w+")
# QKeras, HGQ, Larq, and what tensorflow-model-optimization puts around layers
QUANTIZED = re.compile(r"Q[A-Z]|Quant|H(Activation|Conv|Dense|Quant)")


def _along(make: Callable[[Layer, int], Value], axes: int) -> Made:
    return lambda layer: make(layer, axes)


LAYERS: dict[str, Made] = {
    **{kind: activations.of_layer(kind) for kind in activations.LAYERS},
    **{kind: merges.elementwise for kind in merges.ELEMENTWISE},
    "Activation": activations.activation,
    "AtrousConvolution1D": _along(weighted.convolution, 1),
    "AtrousConvolution2D": _along(weighted.convolution, 2),
    "BatchNormalization": weighted.normalisation,
    "BatchNormalizationV1": weighted.normalisation,
    "BatchNormalizationV2": weighted.normalisation,
    "CenterCrop": preparing.center_crop,
    "Concatenate": merges.concat,
    "Convolution1D": _along(weighted.convolution, 1),
    "Convolution2D": _along(weighted.convolution, 2),
    "Dense": weighted.dense,
    "Flatten": axes.flatten,
    "Merge": merges.merge,
    "Normalization": preparing.normalization,
    "Permute": axes.permute,
    "RepeatVector": axes.repeat,
    "Rescaling": preparing.rescaling,
    "Reshape": axes.reshape,
    "Resizing": axes.resize,
    **{
        f"{kind}{count}D": _along(make, count)
        for kind, make in (
            ("AveragePooling", pools.pool),
            ("Conv", weighted.convolution),
            ("Cropping", axes.crop),
            ("DepthwiseConv", weighted.depthwise),
            ("GlobalAveragePooling", pools.whole),
            ("GlobalMaxPooling", pools.whole),
            ("MaxPooling", pools.pool),
            ("SeparableConv", weighted.separable),
            ("UpSampling", axes.enlarge),
            ("ZeroPadding", axes.pad),
        )
        for count in (1, 2)
    },
    **{f"Conv{count}DTranspose": _along(weighted.transposed, count) for count in (1, 2)},
    "Deconvolution2D": _along(weighted.transposed, 2),
}


def made(layer: Layer) -> Value:
    """The tensor that a layer makes. Raises WeightsError for one that is quantized, or that refq
    has no operators for."""
    registered = str(layer.facts.fields.get("registered_name") or "")
    if QUANTIZED.match(layer.kind.rpartition(">")[2]) or "tfmot" in registered:
        raise layer.refuse("a quantized layer", "a network of floats", "give the float model")
    make = functions.found(layer) if layer.of_ops else LAYERS.get(layer.kind)
    if layer.arguments.get("training") is True and (
        layer.kind in TRAINING or layer.kind.startswith("BatchNorm")
    ):
        raise layer.refuse("is called as in training", "a model as it is run")
    if not layer.of_ops and (layer.kind in TRAINING or PASSING.fullmatch(layer.kind)):
        return layer.value
    if not layer.of_ops and len(layer.operands) > len(layer.values):
        raise layer.refuse("is called with numbers", "tensors")
    if make is None:
        told = (
            "Python code, of which refq executes none"
            if layer.kind == "Lambda"
            else ("a layer that refq does not have")
        )
        raise layer.refuse(told, "layers that docs/convert.md lists")
    value = make(layer)
    layer.facts.finish(WITHOUT_EFFECT)
    return value
