"""One layer of a network from the layers of a file: axes turned, normalisation folded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from refq.errors import WeightsError
from refq.importers.contents import Contents, Tensor, Unit, refuse
from refq.importers.naming import Names
from refq.networks import Network
from refq.networks.folding import caffe_moments, fold, matconvnet_moments
from refq.networks.weights import narrowed

NORMALISED = {"gamma", "mean", "moments", "factor"}


def assembled(
    contents: Contents, network: Network, layer: str, units: Sequence[Unit]
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """(weight, bias, what was done) of a layer of the network, float32, as it wants them.

    units: of the file, the layer itself and the normalisations behind it. Raises WeightsError where
    they are something else or do not fit.
    """
    unit, done = units[0], list[str]()
    arrays, eps = _merged(units)
    weight = _read(units, "weight", arrays["weight"], done)
    if contents.source in ("keras", "matconvnet"):
        done.append("axes")
    node = network.by_name[layer]
    if node.layer.flat:
        source = network.shapes[node.inputs[0]]
        # a convolution over the whole image has its axes in order already
        flat = weight.ndim == 2 and len(source) == 3 and source[1:] != (1, 1)
        if unit.channels_last and flat:
            channels, rows, columns = source
            weight = weight.reshape(-1, rows, columns, channels).transpose(0, 3, 1, 2)
            done.append("H,W,C to C,H,W")
        weight = weight.reshape(len(weight), -1)
    weight = np.ascontiguousarray(weight)
    loaded = {
        role: _read(units, role, tensor, done)
        for role, tensor in arrays.items()
        if role != "weight"
    }
    bias = loaded.get("bias")
    outputs = weight.shape[:1]
    if bias is not None and bias.shape != outputs:
        raise WeightsError(f"{unit.name}: a bias of shape {bias.shape}", f"{outputs}")
    if set(loaded) - {"bias"}:
        weight, bias = _folded(contents, network, units, weight, loaded, eps)
        done.append("normalisation folded")
    if bias is None:
        bias = np.zeros(outputs, np.float32)
        done.append("no bias")
    wanted = network.weight_shapes()[layer]
    if weight.shape != wanted or bias.shape != wanted[:1]:
        raise refuse(f"{unit.name}: a weight of shape {weight.shape} for {layer}", f"{wanted}")
    return weight, bias, done


def _read(units: Sequence[Unit], role: str, tensor: Tensor, done: list[str]) -> np.ndarray:
    """Values of an array as float32. What is so small that it becomes 0 is told in `done`.
    Raises WeightsError for what float32 does not hold."""
    stored = tensor.load()
    if not np.isfinite(stored).all():
        raise refuse(f"{_owner(units, role)}: NaN or infinite values in {role}", "numbers")
    values, vanished = narrowed(stored)
    if not np.isfinite(values).all():
        worst = float(np.abs(stored).max())
        raise refuse(
            f"{_owner(units, role)}: values of {role} beyond float32, to {worst:.3g}",
            f"{np.finfo(np.float32).max:.3g} or less",
        )
    if vanished:
        done.append(f"{vanished:,} of {role} below float32, 0 here")
    return values


def _owner(units: Sequence[Unit], role: str) -> str:
    """The name of the layer that has the array: of normalisations that a graph folds the first has
    moments, the last factors."""
    first = units[0]
    if first.folded and role not in ("weight", "bias"):
        return first.folded[-1 if role in ("gamma", "beta") else 0]
    return next(unit.name for unit in units if role in unit.arrays)


def _merged(units: Sequence[Unit]) -> tuple[dict[str, Tensor], float | None]:
    """({role: array} of a layer and its normalisations, what is added to the variance)."""
    arrays = dict(units[0].arrays)
    eps = units[0].eps
    for each in units[1:]:
        if not NORMALISED & set(each.arrays):
            raise _no_moments(each.name)
        twice = arrays.keys() & each.arrays.keys()
        if twice:
            raise refuse(f"{units[0].name} and {each.name}: {min(twice)} in both", "one of each")
        arrays |= each.arrays
        eps = each.eps if each.eps is not None else eps
    return arrays, eps


def _no_moments(name: str) -> WeightsError:
    """Group, instance and layer normalisation take them from each image; nothing can be folded."""
    return refuse(
        f"{name}: a normalisation without mean and variance",
        "batch normalisation as it was trained",
    )


def _folded(
    contents: Contents,
    network: Network,
    units: Sequence[Unit],
    weight: np.ndarray,
    loaded: Mapping[str, np.ndarray],
    eps: float | None,
) -> tuple[np.ndarray, np.ndarray]:
    name = units[0].name
    if contents.source == "caffe" and contents.graph and "mean" not in loaded:  # a Scale alone
        zeros = np.zeros(weight.shape[:1], np.float32)
        mean, variance, eps = zeros, zeros + 1, 0.0
    elif "moments" in loaded:
        mean, variance = matconvnet_moments(loaded["moments"])
    elif "mean" not in loaded or "variance" not in loaded:
        raise _no_moments(name)
    else:
        mean, variance = loaded["mean"], loaded["variance"]
    if "factor" in loaded:
        mean, variance = caffe_moments(mean, variance, loaded["factor"])
    gamma, beta = loaded.get("gamma"), loaded.get("beta")
    if eps is None:
        eps = usual_eps(contents.source, network.name, name)
    try:
        return fold(weight, loaded.get("bias"), gamma, beta, mean, variance, eps)
    except WeightsError as error:
        # told of the layer whose moments they are
        owner = _owner(units, "variance") if "variance" in loaded else name
        raise refuse(f"{owner}: {error.found}", error.wanted, error.remedy) from None


def epsilon_note(contents: Contents, network: Network, names: Names) -> tuple[str, ...]:
    """What is told where normalisations are folded and the file does not state their epsilon."""
    for parts in names.values():
        units = [contents.units[name] for name in parts]
        arrays, eps = _merged(units)
        if eps is None and "variance" in arrays:
            usual = usual_eps(contents.source, network.name, units[0].name)
            return (f"the file does not state epsilon: {usual:g}, as in the published models",)
    return ()


def usual_eps(source: str, network: str, layer: str) -> float:
    """What published models add to the variance where their file does not say. Keras' ResNets of
    before 2019, without `_conv` in the names of their layers, have its usual one."""
    if source == "keras":
        return 1.001e-5 if network.startswith("resnet") and layer.endswith("_conv") else 1e-3
    return 1e-3 if network == "googlenet_torchvision" else 1e-5
