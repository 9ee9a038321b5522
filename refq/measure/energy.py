"""Energy of every 2D filter of a network over probe images (paper B, eq. (8)).

E_ij = sum over images and pixels of |F_ij * x_j|^2 = w' R_j w, with w the filter's taps and R_j the
Gram matrix of channel j's patches (refq.kernels.gram). The R_j are made once, image by image as
they stream, and serve all filters of a layer, and other weights of it that read the same images.
"""

from __future__ import annotations

import numpy as np

from refq.errors import DataError, ShapeError
from refq.measure.streaming import Collector, Source
from refq.networks.graph import Network
from refq.networks.layers import Layer


def convolutions(network: Network) -> dict[str, Layer]:
    """The layers that have energies, in order: dense ones have no 2D filters."""
    return {node.name: node.layer for node in network.convolutions}


def grams(source: Source) -> Collector:
    """Collects {convolution: float64 (C, kh*kw, kh*kw)}, the Gram matrices of the C channels that
    it reads."""
    readers: dict[str, dict[str, Layer]] = {}
    for name, layer in convolutions(source.network).items():
        readers.setdefault(source.network.by_name[name].inputs[0], {})[name] = layer

    def parts(tensor: str, values: np.ndarray) -> dict[str, np.ndarray]:
        return {
            name: source.ops.patch_grams(
                values, layer.kernel, layer.strides, layer.pads, layer.dilations
            )
            for name, layer in readers[tensor].items()
        }

    return Collector("energies", readers.keys(), parts)


def energies_of(weight: np.ndarray, grams: np.ndarray, group: int = 1) -> np.ndarray:
    """Energies of a layer's filters: weight (O, I/group, kh, kw) with grams float64 (I, K, K) of
    its input, K = kh*kw. Returns float64 (O, I/group), in squared units of the layer's sums.

    Column j of a filter in group g belongs to input channel g * I/group + j.
    Raises ShapeError where weights, grams and groups do not fit.
    """
    if weight.ndim != 4 or group < 1 or weight.shape[0] % group:
        raise ShapeError(f"weights {weight.shape} in {group} groups", "(O, I/group, kh, kw)")
    outputs, inputs, *kernel = weight.shape
    taps = kernel[0] * kernel[1]
    if grams.shape != (inputs * group, taps, taps):
        raise ShapeError(
            f"Gram matrices {grams.shape} for weights {weight.shape} in {group} groups",
            f"{(inputs * group, taps, taps)}",
            "use those of this layer's input",
        )
    # one product per input channel: (groups, I/group, filters, K) by (groups, I/group, K, K)
    filters = weight.reshape(group, outputs // group, inputs, taps).astype(np.float64)
    filters = filters.transpose(0, 2, 1, 3)
    products = filters @ grams.reshape(group, inputs, taps, taps)
    sums = (products * filters).sum(axis=3).transpose(0, 2, 1).reshape(outputs, inputs)
    # a filter that answers to nothing in the images may end a rounding below zero
    energies: np.ndarray = np.maximum(sums, 0.0)
    return energies


def of_filters(source: Source, grams: Collector) -> dict[str, np.ndarray]:
    """{convolution: float64 (O, I/group)}: eq. (8) for every filter, over all images that Gram
    matrices were collected of. Raises DataError where there were no images."""
    if not grams.images:
        raise DataError("energies over 0 images", "1 or more probe images")
    return {
        name: energies_of(source.weights.weight[name], grams.totals[name], layer.group)
        for name, layer in convolutions(source.network).items()
    }
