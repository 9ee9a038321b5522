"""Batch normalisation as weights and biases of the layer before it (Ioffe and Szegedy 2015).

A trained layer and its normalisation compute gamma * (w x + b - mean) / sqrt(variance + eps) + beta
for each output channel; that is a layer with other weights and another bias.
"""

from __future__ import annotations

import numpy as np

from refq.errors import ShapeError, WeightsError


def fold(
    weight: np.ndarray,
    bias: np.ndarray | None,
    gamma: np.ndarray | None,
    beta: np.ndarray | None,
    mean: np.ndarray,
    variance: np.ndarray,
    eps: float,
) -> tuple[np.ndarray, np.ndarray]:
    """(weight, bias) of one layer that computes what a layer and its normalisation do.

    weight: (O, ...), a convolution's or dense layer's; bias, gamma, beta, mean, variance: (O,), or
    None for a bias or beta of 0, a gamma of 1. Computed in float64, returned as float32 of the same
    shapes. In PyTorch's names gamma and beta are weight and bias, mean and variance running_mean
    and running_var, eps is 1e-5. Raises ShapeError for other shapes, and WeightsError for a
    variance that leaves no positive number with eps, or for results that float32 does not hold.
    """
    outputs = weight.shape[:1]
    if not outputs or mean.shape != outputs:
        raise ShapeError(f"weights {weight.shape} with means {mean.shape}", "a mean an output")
    given = {"bias": bias, "gamma": gamma, "beta": beta, "variance": variance}
    for name, array in given.items():
        if array is not None and array.shape != outputs:
            raise ShapeError(f"{name} of shape {array.shape}", f"{outputs}, as the mean")
    spread = variance.astype(np.float64) + eps
    if not ((spread > 0) & (spread < np.inf)).all():
        raise WeightsError(
            f"a batch normalisation with variance {variance.min():g}, eps {eps:g}",
            "a positive sum",
            "check which array is the variance",
        )
    scale = (1.0 if gamma is None else gamma.astype(np.float64)) / np.sqrt(spread)
    shift = (0.0 if bias is None else bias.astype(np.float64)) - mean.astype(np.float64)
    columns = scale.reshape(-1, *(1,) * (weight.ndim - 1))
    with np.errstate(over="ignore", invalid="ignore"):
        folded = (weight.astype(np.float64) * columns).astype(np.float32)
        moved = (shift * scale + (0.0 if beta is None else beta)).astype(np.float32)
    if not (np.isfinite(folded).all() and np.isfinite(moved).all()):
        raise WeightsError(
            "folded weights that float32 does not hold", remedy="check gamma and variance"
        )
    return folded, moved


def caffe_moments(
    mean: np.ndarray, variance: np.ndarray, factor: np.ndarray | float
) -> tuple[np.ndarray, np.ndarray]:
    """(mean, variance) that Caffe's BatchNorm layer uses: its first two blobs, over its third.

    mean, variance: (O,), sums in which older batches fade; factor: one number, the sum of their
    shares, 0 before any training, where Caffe takes means and variances to be 0. float64. The
    layer's eps is 1e-5 unless its parameters say otherwise; gamma and beta are the blobs of the
    Scale layer behind it. Raises WeightsError for a negative factor, or more than one.
    """
    whole = np.asarray(factor, np.float64).reshape(-1)
    if whole.size != 1 or not 0 <= whole[0] < np.inf:
        raise WeightsError(f"a moving average factor of {whole.tolist()[:4]}", "one of 0 or more")
    with np.errstate(over="ignore", invalid="ignore"):  # fold tells numbers that are none
        scale = 1.0 / whole[0] if whole[0] else 0.0
        return mean.astype(np.float64) * scale, variance.astype(np.float64) * scale


def matconvnet_moments(moments: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(mean, variance) of MatConvNet's moments, (O, 2): a mean and a deviation for each channel.

    The deviation is sqrt(variance + eps), so fold them with an eps of 0. float64. Raises
    ShapeError for another shape, WeightsError for a negative deviation.
    """
    if moments.ndim != 2 or moments.shape[1] != 2:
        raise ShapeError(f"moments of shape {moments.shape}", "(channels, 2)")
    mean, deviation = moments.astype(np.float64).T
    if (deviation < 0).any():
        raise WeightsError(f"a deviation of {deviation.min():g}", "0 or more")
    return mean, deviation**2
