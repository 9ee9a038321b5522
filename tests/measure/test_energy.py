"""Energies of filters: by Gram matrices as by their definition, paper B's eq. (8)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numba
import numpy as np
import pytest

from refq import kernels, networks, oracle
from refq.errors import DataError, ShapeError
from refq.measure.calibration import gather
from refq.measure.energy import energies_of, grams
from refq.measure.streaming import Source, collect
from refq.networks import Network, Node
from refq.networks.layers import Concat, Conv, Dense, GlobalAvgPool, MaxPool, ReLU
from refq.networks.weights import Weights, random_weights
from refq.schemes.statistics import Wanted

RNG = np.random.default_rng(579)
Batch = tuple[np.ndarray, "np.ndarray | None"]


def filter_energies(source: Source) -> Mapping[str, np.ndarray]:
    statistics = gather(Wanted(energies=True), source)
    assert statistics is not None
    return statistics.energies


def real(*shape: int) -> np.ndarray:
    return RNG.normal(0, 3, shape).astype(np.float32)


def defined(x: np.ndarray, weight: np.ndarray, group: int, **how: Any) -> np.ndarray:
    """Every partial map y_ij = F_ij * x_j made by itself, squared and summed."""
    outputs, inputs = weight.shape[:2]
    energies = np.zeros((outputs, inputs))
    for i in range(outputs):
        first = i // (outputs // group) * inputs
        for j in range(inputs):
            one, part = weight[i : i + 1, j : j + 1], x[:, first + j : first + j + 1]
            partial = oracle.conv(part, one, **how).astype(np.float64)
            energies[i, j] = (partial**2).sum()
    return energies


# kernel, strides, pads, group; of x (3, 6, 9, 13)
LAYERS: list[tuple[tuple[int, int], tuple[int, int], tuple[int, int, int, int], int]] = [
    ((1, 1), (1, 1), (0, 0, 0, 0), 1),
    ((1, 1), (3, 2), (0, 1, 2, 0), 2),
    ((3, 3), (1, 1), (1, 1, 1, 1), 1),
    ((3, 2), (2, 1), (1, 0, 2, 3), 2),
    ((2, 5), (1, 3), (0, 4, 1, 2), 3),
    ((5, 4), (4, 3), (2, 3, 4, 1), 6),
    ((11, 10), (4, 2), (5, 1, 3, 0), 1),
    ((17, 7), (1, 2), (8, 0, 9, 3), 2),  # higher than the image
    ((9, 13), (1, 1), (0, 0, 0, 0), 1),  # fits once
]


@pytest.mark.parametrize(("kernel", "strides", "pads", "group"), LAYERS)
def test_energies_equal_their_definition(
    kernel: tuple[int, int], strides: tuple[int, int], pads: tuple[int, int, int, int], group: int
) -> None:
    x, weight = real(3, 6, 9, 13), real(12, 6 // group, *kernel)
    found = energies_of(weight, kernels.patch_grams(x, kernel, strides, pads), group)
    wanted = defined(x, weight, group, strides=strides, pads=pads)
    assert found.dtype == np.float64 and found.shape == wanted.shape
    # the definition's maps are float32, each within half a unit in the last of 24 bits
    np.testing.assert_allclose(found, wanted, rtol=2.0**-22)


def test_energies_of_integers_are_exact() -> None:
    x = RNG.integers(0, 256, (5, 4, 7, 8)).astype(np.float32)
    weight = RNG.integers(-8, 8, (3, 4, 3, 2)).astype(np.float32)
    found = energies_of(weight, kernels.patch_grams(x, (3, 2), (1, 2), (1, 0, 2, 1)))
    wanted = defined(x, weight, 1, strides=(1, 2), pads=(1, 0, 2, 1))
    np.testing.assert_array_equal(found, wanted)


def test_grams_do_not_depend_on_threads() -> None:
    x, before, found = real(7, 5, 11, 19), numba.get_num_threads(), []
    try:
        for threads in {1, before}:
            numba.set_num_threads(threads)
            found.append(kernels.patch_grams(x, (3, 5), (2, 1), (1, 2, 0, 3)))
    finally:
        numba.set_num_threads(before)
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])
    np.testing.assert_array_equal(found[0], found[0].transpose(0, 2, 1))


def test_pixels_do_not_meet_round_the_end_of_a_row() -> None:
    """Ones in the first and the last column: neighbours in memory, never in a window."""
    x = np.zeros((3, 1, 4, 6), np.float32)
    x[..., 0], x[..., -1] = 1, 1
    found = kernels.patch_grams(x, (1, 2), pads=(0, 1, 0, 1))
    np.testing.assert_array_equal(found, [[[24, 0], [0, 24]]])


def branched() -> tuple[Network, Weights]:
    """Convolutions that read the image, a pool and a concatenation, with groups and strides."""
    nodes = (
        Node("first", Conv(6, (3, 5), (2, 1), (1, 2, 0, 3)), ("data",)),
        Node("relu", ReLU(), ("first",)),
        Node("pool", MaxPool((2, 3), (1, 2)), ("relu",)),
        Node("squeeze", Conv(4, (1, 1)), ("pool",)),
        Node("squeezed", ReLU(), ("squeeze",)),
        Node("left", Conv(5, (1, 1)), ("squeezed",)),
        Node("left_relu", ReLU(), ("left",)),
        Node("right", Conv(7, (3, 3), (1, 1), (1, 1, 1, 1)), ("squeezed",)),
        Node("right_relu", ReLU(), ("right",)),
        Node("both", Concat(), ("left_relu", "right_relu")),
        # sums that another convolution reads as they are
        Node("grouped", Conv(8, (2, 3), (1, 2), (0, 1, 1, 0), group=4), ("both",)),
        Node("last", Conv(3, (2, 1), group=1), ("grouped",)),
        Node("mean", GlobalAvgPool(), ("last",)),
        Node("fc", Dense(2), ("mean",)),
    )
    network = Network("branched", (3, 15, 17), nodes)
    return network, random_weights(network, 11)


def in_batches(images: np.ndarray, size: int) -> Iterator[Batch]:
    for first in range(0, len(images), size):
        yield images[first : first + size], None


def source_of(
    network: Network, weights: Weights, images: np.ndarray, size: int, **more: Any
) -> Source:
    return Source(network, weights, lambda: in_batches(images, size), **more)


def test_energies_of_a_network() -> None:
    network, weights = branched()
    images = real(7, *network.input_shape)
    seen: list[int] = []
    source = source_of(network, weights, images, 3, progress=lambda what: seen.append)
    found = filter_energies(source)
    assert seen == [3, 3, 1]
    assert list(found) == ["first", "squeeze", "left", "right", "grouped", "last"]
    tensors: dict[str, np.ndarray] = {}
    for node in network.nodes:
        inputs = [tensors.get(name, images) for name in node.inputs]
        match node.layer:
            case Conv() as layer:
                how: Any = {"strides": layer.strides, "pads": layer.pads}
                weight = weights.weight[node.name]
                wanted = defined(inputs[0], weight, layer.group, **how)
                np.testing.assert_allclose(found[node.name], wanted, rtol=1e-5, err_msg=node.name)
                bias = weights.bias[node.name]
                out = oracle.conv(inputs[0], weight, bias, group=layer.group, **how)
            case ReLU():
                out = oracle.relu(inputs[0])
            case MaxPool() as pool:
                out = oracle.max_pool(inputs[0], pool.kernel, pool.strides, pool.pads)
            case Concat():
                out = oracle.concat(inputs)
            case _:
                break
        tensors[node.name] = out


def test_batches_do_not_matter() -> None:
    network, weights = branched()
    images = real(6, *network.input_shape)
    whole = filter_energies(source_of(network, weights, images, 6))
    parts = filter_energies(source_of(network, weights, images, 4))
    obvious = filter_energies(source_of(network, weights, images, 6, ops=oracle))
    for name, energies in whole.items():
        # activations are float32, whose BLAS sums may change their order with the batch
        np.testing.assert_allclose(parts[name], energies, rtol=1e-6, err_msg=name)
        np.testing.assert_allclose(obvious[name], energies, rtol=1e-5, err_msg=name)


def test_grams_serve_other_weights() -> None:
    network, weights = branched()
    images = real(5, *network.input_shape)
    source = source_of(network, weights, images, 5)
    kept = grams(source)
    collect(source, [kept])
    assert kept.images == 5
    halved = energies_of(weights.weight["grouped"] / 2, kept.totals["grouped"], group=4)
    whole = filter_energies(source)
    np.testing.assert_array_equal(halved, whole["grouped"] / 4)
    zero = energies_of(np.zeros((7, 4, 3, 3), np.float32), kept.totals["right"])
    assert zero.shape == (7, 4) and not zero.any()


def test_ctrl_c_keeps_whole_batches() -> None:
    network, weights = branched()
    images = real(5, *network.input_shape)

    def stopped() -> Iterator[Batch]:
        yield from in_batches(images[:4], 2)
        raise KeyboardInterrupt

    source, whole = Source(network, weights, stopped), source_of(network, weights, images[:4], 2)
    found, wanted = grams(source), grams(whole)
    with pytest.raises(KeyboardInterrupt):
        collect(source, [found])
    collect(whole, [wanted])
    assert found.images == 4 and found.totals.keys() == wanted.totals.keys()
    for name, matrix in wanted.totals.items():
        np.testing.assert_array_equal(found.totals[name], matrix)
    with pytest.raises(KeyboardInterrupt):
        filter_energies(source)


def test_real_layers_have_an_energy_for_every_filter() -> None:
    network = networks.build("squeezenet1_1", {"input_size": 65, "classes": 10})
    images = real(2, *network.input_shape)
    found = filter_energies(source_of(network, random_weights(network, 3), images, 2))
    shapes = {name: shape[:2] for name, shape in network.weight_shapes().items()}
    assert {name: energies.shape for name, energies in found.items()} == shapes
    assert all((energies >= 0).all() for energies in found.values())


def test_errors_say_what_does_not_fit() -> None:
    network, weights = branched()
    with pytest.raises(DataError, match="energies over 0 images; expected 1 or more"):
        filter_energies(Source(network, weights, list))
    kept = grams(Source(network, weights, list))
    collect(Source(network, weights, list), [kept])
    assert (kept.images, kept.totals) == (0, {})
    with pytest.raises(ShapeError, match=r"patches of an array of shape \(2, 3, 4\)"):
        kernels.patch_grams(real(2, 3, 4), (1, 1))
    with pytest.raises(ShapeError, match="an input at least as large as the kernel"):
        kernels.patch_grams(real(2, 3, 4, 5), (3, 7), pads=(0, 1, 0, 0))
    matrices = kernels.patch_grams(real(2, 6, 4, 5), (3, 2))
    with pytest.raises(ShapeError, match=r"expected \(4, 6, 6\); use those of this layer's input"):
        energies_of(real(8, 2, 3, 2), matrices, group=2)
    with pytest.raises(ShapeError, match="in 4 groups"):
        energies_of(real(6, 2, 3, 2), matrices, group=4)
