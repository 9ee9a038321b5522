"""Folded batch normalisation: hand-made numbers, unfolded formulas, PyTorch."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from refq import kernels
from refq.errors import RefqError
from refq.networks.folding import caffe_moments, fold, matconvnet_moments

RNG = np.random.default_rng(17)


def parts(outputs: int, *rest: int) -> dict[str, Any]:
    """A layer and its normalisation, float32, with channels of very different variance."""
    return {
        "weight": RNG.normal(0, 1, (outputs, *rest)).astype(np.float32),
        "bias": RNG.normal(0, 2, outputs).astype(np.float32),
        "gamma": RNG.normal(1, 0.7, outputs).astype(np.float32),
        "beta": RNG.normal(0, 1, outputs).astype(np.float32),
        "mean": RNG.normal(0, 3, outputs).astype(np.float32),
        "variance": np.ldexp(RNG.uniform(0.5, 1, outputs), RNG.integers(-9, 12, outputs)).astype(
            np.float32
        ),
    }


def unfolded(sums: np.ndarray, own: dict[str, Any], eps: float) -> np.ndarray:
    """What the normalisation makes of (N, O, ...) sums with bias, float64."""
    shape = (1, -1) + (1,) * (sums.ndim - 2)
    b, gamma, beta, mean, variance = (
        own[key].astype(np.float64).reshape(shape)
        for key in ("bias", "gamma", "beta", "mean", "variance")
    )
    return gamma * (sums.astype(np.float64) + b - mean) / np.sqrt(variance + eps) + beta


def assert_close(got: np.ndarray, wanted: np.ndarray) -> None:
    """Channel by channel, within float32's rounding of a sum of some dozen terms."""
    axes = (0, *range(2, wanted.ndim))
    worst = np.abs(got - wanted).max(axis=axes) / np.abs(wanted).max(axis=axes)
    assert worst.max() < 2e-6


def test_numbers_by_hand() -> None:
    weight = np.array([[[[2.0]], [[-6.0]]], [[[1.0]], [[0.5]]], [[[8.0]], [[4.0]]]], np.float32)
    # deviations sqrt(3.75 + 0.25) = 2, 1 and 4; scales 3 / 2, -2 / 1, 0.5 / 4
    got = fold(
        weight,
        np.array([1.0, 0.0, 2.0]),
        np.array([3.0, -2.0, 0.5]),
        np.array([0.5, 4.0, -1.0]),
        np.array([5.0, -1.5, 18.0]),
        np.array([3.75, 0.75, 15.75]),
        0.25,
    )
    assert got[0].dtype == got[1].dtype == np.float32
    assert got[0][:, :, 0, 0].tolist() == [[3.0, -9.0], [-2.0, -1.0], [1.0, 0.5]]
    # (1 - 5) 3/2 + 1/2, (0 + 1.5) (-2) + 4, (2 - 18) / 8 - 1
    assert got[1].tolist() == [-5.5, 1.0, -3.0]
    bare = fold(weight, None, None, None, np.array([5.0, -1.5, 18.0]), np.array([4.0, 1, 16]), 0.0)
    assert bare[0][:, 0, 0, 0].tolist() == [1.0, 1.0, 2.0]
    assert bare[1].tolist() == [-2.5, 1.5, -4.5]


@pytest.mark.parametrize("eps", (1e-5, 2e-5, 1e-3))
def test_folded_convolution_equals_unfolded(eps: float) -> None:
    own = parts(7, 5, 3, 2)
    x = RNG.normal(0, 1, (4, 5, 9, 11)).astype(np.float32)
    weight, bias = fold(**own, eps=eps)
    got = kernels.conv(x, weight, bias, strides=(2, 1), pads=(1, 0, 2, 1))
    zero = np.zeros(7, np.float32)
    sums = kernels.conv(x, own["weight"], zero, strides=(2, 1), pads=(1, 0, 2, 1))
    assert_close(got, unfolded(sums, own, eps))


def test_folded_dense_layer_equals_unfolded() -> None:
    own = parts(6, 13)
    x = RNG.normal(0, 1, (9, 13)).astype(np.float32)
    got = kernels.dense(x, *fold(**own, eps=1e-5))
    assert_close(got, unfolded(x @ own["weight"].T, own, 1e-5))


def test_pytorch() -> None:
    torch = pytest.importorskip("torch", reason="compares with PyTorch, which is not installed")
    own = parts(6, 2, 3, 5)
    convolution = torch.nn.Conv2d(4, 6, (3, 5), stride=(1, 2), padding=(2, 1), groups=2)
    norm = torch.nn.BatchNorm2d(6).eval()
    with torch.no_grad():
        for tensor, key in (
            (convolution.weight, "weight"),
            (convolution.bias, "bias"),
            (norm.weight, "gamma"),
            (norm.bias, "beta"),
            (norm.running_mean, "mean"),
            (norm.running_var, "variance"),
        ):
            tensor.copy_(torch.from_numpy(own[key]))
        x = torch.from_numpy(RNG.normal(0, 1, (3, 4, 8, 10)).astype(np.float32))
        wanted = norm(convolution(x)).numpy()
    weight, bias = fold(**own, eps=norm.eps)
    got = kernels.conv(x.numpy(), weight, bias, strides=(1, 2), pads=(2, 1, 2, 1), group=2)
    assert_close(got, wanted)


def test_caffes_moving_averages() -> None:
    """Caffe adds to its sums mean and variance of every batch, after they have faded by 0.999, and
    1 to the factor, which fades alike."""
    mean, variance, factor = np.zeros(3), np.zeros(3), 0.0
    batches = RNG.normal([5, -2, 0.1], [3, 0.5, 10], (40, 64, 3))
    for batch in batches:
        mean, variance, factor = mean * 0.999, variance * 0.999, factor * 0.999 + 1.0
        mean, variance = mean + batch.mean(axis=0), variance + batch.var(axis=0)
    sums = mean.astype(np.float32), variance.astype(np.float32)
    got = caffe_moments(*sums, np.array([factor], np.float32))
    # an average in which a batch t steps ago has weight 0.999**t
    ages = 0.999 ** np.arange(39, -1, -1)[:, None] / (0.999 ** np.arange(40)).sum()
    np.testing.assert_allclose(got[0], (batches.mean(axis=1) * ages).sum(axis=0), rtol=1e-6)
    np.testing.assert_allclose(got[1], (batches.var(axis=1) * ages).sum(axis=0), rtol=1e-6)
    for untrained in caffe_moments(*sums, 0.0):
        assert untrained.tolist() == [0, 0, 0]
    halves = caffe_moments(np.array([3.0, -7.0]), np.array([1.0, 5.0]), np.array([[0.5]]))
    assert [each.tolist() for each in halves] == [[6.0, -14.0], [2.0, 10.0]]


def test_matconvnets_moments() -> None:
    own, eps = parts(4, 3, 2, 5), 1e-4
    moments = np.stack([own["mean"], np.sqrt(own["variance"] + eps)], axis=1)
    mean, variance = matconvnet_moments(moments)
    got = fold(own["weight"], own["bias"], own["gamma"], own["beta"], mean, variance, 0.0)
    for array, wanted in zip(got, fold(**own, eps=eps)):
        np.testing.assert_allclose(array, wanted, rtol=5e-7, atol=1e-6)
    assert matconvnet_moments(np.array([[3.0, 0.5], [-1.0, 4.0], [0.0, 2.0]]))[1].tolist() == [
        0.25,
        16.0,
        4.0,
    ]


ONES = np.ones(3, np.float32)
LAYER = np.ones((3, 2, 5, 4), np.float32)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: fold(LAYER, None, ONES, ONES, np.ones(2), ONES, 0), "weights (3, 2, 5, 4) with"),
        (lambda: fold(np.ones(()), None, ONES, ONES, ONES, ONES, 0), "weights () with means (3,)"),
        (lambda: fold(LAYER, np.ones(1), ONES, ONES, ONES, ONES, 0), "bias of shape (1,); expect"),
        (lambda: fold(LAYER, None, ONES, ONES, ONES, LAYER, 0), "variance of shape (3, 2, 5, 4)"),
        (lambda: fold(LAYER, None, ONES, ONES, ONES, 0 * ONES, 0), "with variance 0, eps 0; expec"),
        (lambda: fold(LAYER, None, ONES, ONES, ONES, np.nan * ONES, 1), "with variance nan, eps 1"),
        (lambda: fold(LAYER, None, ONES, ONES, ONES, np.inf * ONES, 0), "with variance inf, eps 0"),
        (lambda: fold(LAYER, None, np.full(3, 1e39), ONES, ONES, ONES, 0), "float32 does not hold"),
        (lambda: fold(LAYER, None, ONES, ONES, np.inf * ONES, ONES, 0), "float32 does not hold"),
        (lambda: caffe_moments(ONES, ONES, -0.5), "a moving average factor of [-0.5]; expected"),
        (lambda: caffe_moments(ONES, ONES, ONES), "a moving average factor of [1.0, 1.0, 1.0]"),
        (lambda: caffe_moments(ONES, ONES, np.nan), "a moving average factor of [nan]"),
        (lambda: matconvnet_moments(-np.ones((3, 2))), "a deviation of -1; expected 0 or more"),
        (lambda: matconvnet_moments(np.ones((2, 3))), "moments of shape (2, 3); expected (channel"),
    ],
)
def test_what_cannot_be_folded(call: Any, text: str) -> None:
    with pytest.raises(RefqError, match=re.escape(text)):
        call()
