"""Noise images: for speed, memory and overflow, where what is seen does not matter."""

from __future__ import annotations

import math
import re

import numpy as np

from refq.data.dataset import Dataset
from refq.errors import DataError
from refq.networks.layers import Shape

SPEC = re.compile(r"random:([0-9]{1,9})(?::([0-9]{1,18}))?")


def open_random(spec: str, input_shape: Shape) -> Dataset:
    """random:N or random:N:SEED (else 0): N unlabelled images, uniform over 0..255; arrays of bytes
    for a network whose input has other than three channels, rows and columns.

    Each is a function of (seed, index) alone, made when it is read, the same on every machine.
    """
    match = SPEC.fullmatch(spec)
    if not match or int(match[1]) == 0:
        raise DataError(f"data {spec!r}", "random:N or random:N:SEED, N of 1 or more")
    count, seed = int(match[1]), int(match[2] or 0)
    images = len(input_shape) == 3 and input_shape[0] == 3
    shape = (*input_shape[1:], 3) if images else input_shape
    length = math.prod(shape)

    def read(index: int) -> np.ndarray:
        # NumPy promises that raw bits never change between versions; integers() may.
        bits = np.random.PCG64(np.random.SeedSequence((seed, index)))
        raw = bits.random_raw(-(-length // 8)).astype("<u8").view(np.uint8)
        return raw[:length].reshape(shape)

    def where(index: int) -> str:
        return f"{spec}, image {index}"

    array = None if images else np.dtype(np.uint8)
    return Dataset(f"random noise (seed {seed})", count, read, where, array=array)
