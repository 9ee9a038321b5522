"""What this machine's backend could do at most, beside which layers are seen."""

from __future__ import annotations

import time

import numba
import numpy as np

from refq.kernels import aligned, backends, tiles


@numba.njit(nogil=True, parallel=True)
def _spin(token, operands, c, repeats):
    a, b, offsets, parts = operands
    steps = offsets.size
    for thread in numba.prange(c.shape[0]):
        tiles._configure_tiles(token)
        at = a[thread].ctypes.data
        block = tiles.Block(
            first=at,
            second=at + 1024,
            stride=64,
            first_rows=16,
            second_rows=16,
            offsets=offsets.ctypes.data,
            parts=parts.ctypes.data,
            steps=steps,
            panel=b[thread].ctypes.data,
            apart=1024 * steps,
            channels=64,
            sums=c[thread].ctypes.data,
        )
        for _ in range(repeats):
            tiles._tiles(token, block)
        tiles._release_tiles(token)


def integers(seconds: float = 1.0) -> float:
    """GOP/s of the backend's microkernel on data in the first cache: this machine's peak."""
    threads, steps = numba.get_num_threads(), 8
    a = aligned.zeros((threads, steps * 2048), np.uint8)
    b = aligned.zeros((threads, steps * 4096), np.uint8)
    c = aligned.zeros((threads, 1024), np.int32)
    parts = np.full(steps, 4)
    offsets = np.arange(steps, dtype=np.int64) * 2048
    token, repeats, operands = backends.TOKENS[backends.chosen()], 100, (a, b, offsets, parts)
    best = 0.0
    _spin(token, operands, c, 1)  # compiles
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        began = time.perf_counter()
        _spin(token, operands, c, repeats)
        taken = time.perf_counter() - began
        best = max(best, 2 * threads * repeats * steps * 64 * 1024 / taken / 1e9)
        repeats = min(100_000, max(repeats, int(repeats * 0.1 / taken)))
    return best
