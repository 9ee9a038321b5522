"""Energy of every 2D filter of a network over probe images (paper B, eq. (8)).

E_ij = sum over images and pixels of |F_ij * x_j|^2 = w' R_j w, with w the filter's taps and R_j the
Gram matrix of channel j's patches (refq.kernels.gram). The R_j are made once, image by image as
they stream, and serve all filters of a layer, and other weights of it that read the same images.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any

import numpy as np

from refq import kernels
from refq.engine.forward import forward
from refq.errors import DataError, ShapeError
from refq.measure.side_by_side import Batches, Progress
from refq.networks.graph import INPUT, Network, Node
from refq.networks.layers import Conv
from refq.networks.weights import Weights


@dataclass(frozen=True)
class Grams:
    """Gram matrices of what each convolution reads, over a stream of images; interrupted where it
    was cut short.

    layers: {layer: float64 (C, kh*kw, kh*kw)}, C the channels of its input.
    """

    images: int = 0
    layers: Mapping[str, np.ndarray] = field(default_factory=dict)
    interrupted: bool = False


def convolutions(network: Network) -> dict[str, Conv]:
    """The layers that have energies, in order: dense ones have no 2D filters."""
    return {node.name: node.layer for node in network.nodes if isinstance(node.layer, Conv)}


def grams(
    network: Network,
    weights: Weights,
    batches: Batches,
    ops: ModuleType = kernels,
    progress: Progress = lambda images: None,
) -> Grams:
    """Gram matrices for every convolution, over batches (images, labels) in float32.

    No activations are kept: each tensor is summed up while the network runs. progress is told the
    size of each finished batch. Ctrl-C ends the stream and returns those of the whole batches that
    were done.
    """
    result = Grams()
    try:
        for images, _ in batches:
            added = _one_batch(network, weights, images, ops)
            layers = {name: result.layers.get(name, 0.0) + own for name, own in added.items()}
            result = Grams(result.images + len(images), layers)
            progress(len(images))
    except KeyboardInterrupt:
        return replace(result, interrupted=True)
    return result


def _one_batch(
    network: Network, weights: Weights, images: np.ndarray, ops: ModuleType
) -> dict[str, np.ndarray]:
    layers = convolutions(network)
    readers: dict[str, list[str]] = {}
    for name in layers:
        readers.setdefault(network.by_name[name].inputs[0], []).append(name)
    found: dict[str, np.ndarray] = {}

    def add_up(node: Node | None, tensor: Any) -> None:
        for name in readers.get(node.name if node else INPUT, ()):
            layer = layers[name]
            found[name] = ops.patch_grams(tensor, layer.kernel, layer.strides, layer.pads)

    forward(network, weights, None, images, ops, add_up, watch=readers)
    return {name: found[name] for name in layers}


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
    found = (products * filters).sum(axis=3).transpose(0, 2, 1).reshape(outputs, inputs)
    # a filter that answers to nothing in the images may end a rounding below zero
    energies: np.ndarray = np.maximum(found, 0.0)
    return energies


def filter_energies(
    network: Network,
    weights: Weights,
    batches: Batches,
    ops: ModuleType = kernels,
    progress: Progress = lambda images: None,
) -> dict[str, np.ndarray]:
    """{convolution: float64 (O, I/group)}: eq. (8) for every filter, over all images of batches.

    Ctrl-C raises KeyboardInterrupt: energies of a part of the images are not comparable to those
    of all. Where a part will do, use `grams`. Raises DataError where there are no images.
    """
    found = grams(network, weights, batches, ops, progress)
    if found.interrupted:
        raise KeyboardInterrupt
    if not found.images:
        raise DataError("energies over 0 images", "1 or more probe images")
    return {
        name: energies_of(weights.weight[name], found.layers[name], layer.group)
        for name, layer in convolutions(network).items()
    }
