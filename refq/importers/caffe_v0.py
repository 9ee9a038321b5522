"""Layers of version 0, as Caffe had them until 2013, in the words of later ones, by the rules of
Caffe's upgrade_net_proto_binary: https://github.com/BVLC/caffe, src/caffe/util/upgrade_proto.cpp.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from refq.importers.caffe_layer import Layer
from refq.importers.caffe_messages import Values
from refq.importers.contents import Tensor, refuse

TYPES = {
    "bnll": "BNLL",
    "conv": "Convolution",
    "euclidean_loss": "EuclideanLoss",
    "hdf5_data": "HDF5Data",
    "hdf5_output": "HDF5Output",
    "images": "ImageData",
    "infogain_loss": "InfogainLoss",
    "innerproduct": "InnerProduct",
    "lrn": "LRN",
    "multinomial_logistic_loss": "MultinomialLogisticLoss",
    "pool": "Pooling",
    "relu": "ReLU",
    "softmax_loss": "SoftmaxWithLoss",
    "tanh": "TanH",
    "window_data": "WindowData",
    **{kind.lower(): kind for kind in ("Accuracy", "Concat", "Data", "Dropout", "Flatten")},
    **{kind.lower(): kind for kind in ("Im2col", "Sigmoid", "Softmax", "Split")},
}
PADDING = "padding"
# type: (its message, its fields of old and new names)
_PREPARED = {
    "source": "source",
    "scale": "scale",
    "meanfile": "mean_file",
    "batchsize": "batch_size",
    "cropsize": "crop_size",
    "mirror": "mirror",
}
_WEIGHTED = {"num_output": "num_output", "biasterm": "bias_term"}
_WINDOW = {"pad": "pad", "kernelsize": "kernel_size", "stride": "stride"}
FIELDS = {
    "Convolution": ("convolution_param", {**_WEIGHTED, **_WINDOW, "group": "group"}),
    "InnerProduct": ("inner_product_param", _WEIGHTED),
    "Pooling": ("pooling_param", {**_WINDOW, "pool": "pool"}),
    "Dropout": ("dropout_param", {"dropout_ratio": "dropout_ratio"}),
    "LRN": ("lrn_param", {name: name for name in ("local_size", "alpha", "beta", "k")}),
    "Concat": ("concat_param", {"concat_dim": "concat_dim"}),
    "Data": ("data_param", _PREPARED),
    "ImageData": ("image_data_param", _PREPARED),
    "WindowData": ("window_data_param", _PREPARED),
    PADDING: ("convolution_param", {"pad": "pad"}),
}
WITHOUT_EFFECT = {"name", "type", "weight_filler", "bias_filler", "blobs", "blobs_lr"} | {
    "weight_decay"
}


def layer(outer: Layer, inner: Values, blobs: Sequence[Tensor]) -> Layer:
    """outer: what says what it reads and makes."""
    name, stated = (str(inner.get(key, [""])[-1]) for key in ("name", "type"))
    kind = TYPES.get(stated, stated)
    message, names = FIELDS.get(kind, ("", {}))
    strange = sorted(inner.keys() - names.keys() - WITHOUT_EFFECT)
    if strange and kind in {*TYPES.values(), PADDING}:
        raise refuse(f"{name}: {strange[0]} of a {kind} layer of version 0", ", ".join(names))
    said = {new: inner[old] for old, new in names.items() if old in inner}
    parameters = {message: said} if said else {}
    return replace(outer, name=name, type=kind, blobs=list(blobs), parameters=parameters)


def without_padding(layers: list[Layer]) -> list[Layer]:
    """Layers that only pad become a pad of the convolutions and pools that read them."""
    padded = {
        layer.tops[0]: layer
        for layer in layers
        if layer.type == PADDING and len(layer.tops) == len(layer.bottoms) == 1
    }
    if not padded:
        return layers
    kept = []
    for layer in layers:
        if layer.type == PADDING and layer.tops[:1] and layer.tops[0] in padded:
            continue
        for name in [name for name in layer.bottoms if name in padded]:
            if layer.type not in ("Convolution", "Pooling"):
                raise refuse(f"{layer.name}: a {layer.type} of a padded blob", "a Convolution")
            before = padded[name]
            message = FIELDS[layer.type][0]
            said = layer.parameters.setdefault(message, {})
            if said.get("pad", [0])[-1]:
                raise refuse(f"{layer.name}: a pad of its own, and {before.name}", "one of the two")
            said["pad"] = before.parameters["convolution_param"].get("pad", [0])
            layer.bottoms[layer.bottoms.index(name)] = before.bottoms[0]
        kept.append(layer)
    return kept
