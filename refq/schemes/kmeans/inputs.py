"""What can be clustered: arrays checked and brought to one type."""

from __future__ import annotations

import numpy as np

from refq.errors import FormatError, OptionError, ShapeError

MOST_WEIGHT = 2**53  # counts are exact in float64
MOST_REAL = 2.0**500  # squares and their sums are finite


def weighted_values(values: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Checked: int64 or float64 values and int64 counts."""
    values, counts = np.asarray(values), np.asarray(counts)
    if values.ndim != 1 or values.shape != counts.shape:
        raise ShapeError(
            f"a histogram of values {values.shape} and counts {counts.shape}", "one count a value"
        )
    if not np.issubdtype(counts.dtype, np.integer):
        raise FormatError(f"counts of type {counts.dtype}", "integers")
    if (counts < 0).any():
        raise FormatError(f"{int((counts < 0).sum())} negative counts", "0 or more")
    if not counts.any():
        raise FormatError("a histogram that counts nothing", "at least one positive count")
    # the float sum cannot wrap; it alone decides far from the limit
    if counts.sum(dtype=np.float64) >= 2.0**60 or int(counts.sum(dtype=np.int64)) >= MOST_WEIGHT:
        raise FormatError("a histogram of 2**53 values or more", "fewer", "halve the counts")
    if np.issubdtype(values.dtype, np.integer):
        if values.dtype == np.uint64 and values.max() > np.iinfo(np.int64).max:
            raise FormatError("unsigned values of 64 bits", "int64")
        values = values.astype(np.int64)
    elif np.issubdtype(values.dtype, np.floating):
        values = values.astype(np.float64)
        check_finite(values, "values")
    else:
        raise FormatError(f"values of type {values.dtype}", "integers or floats")
    if (values[1:] < values[:-1]).any():
        raise FormatError("values in no order", "ascending ones", "sort them with their counts")
    return values, counts.astype(np.int64)


def weighted_samples(
    samples: np.ndarray, weights: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Checked: samples in C order and float64 weights."""
    if samples.ndim != 2 or 0 in samples.shape:
        raise ShapeError(f"samples of shape {samples.shape}", "(n, d), both 1 or more")
    if samples.dtype not in (np.float32, np.float64):
        raise FormatError(f"samples of type {samples.dtype}", "float32 or float64")
    check_finite(samples, "samples")
    if float(np.abs(samples).max()) >= MOST_REAL:
        raise FormatError("samples of 2**500 or more", "smaller ones")
    if weights is None:
        return np.ascontiguousarray(samples), np.ones(len(samples))
    if weights.shape != samples.shape[:1]:
        raise ShapeError(f"weights of shape {weights.shape}", f"{samples.shape[:1]}")
    masses = np.ascontiguousarray(weights, np.float64)
    check_finite(masses, "weights")
    if (masses < 0).any() or not masses.any():
        raise FormatError("weights that are negative or all zero", "0 or more, some positive")
    return np.ascontiguousarray(samples), masses


def check_clusters(k: int) -> None:
    if k < 1:
        raise OptionError(f"{k} clusters", "1 or more")


def check_finite(array: np.ndarray, what: str) -> None:
    unusable = int((~np.isfinite(array)).sum())
    if unusable:
        raise FormatError(f"{unusable} NaN or infinite {what}", "finite ones")
