"""What this machine's backend could do at most, beside which layers are seen."""

from __future__ import annotations

import time

import numba
import numpy as np

from refq.kernels import aligned, tiles


@numba.njit(nogil=True, parallel=True)
def _spin(token, a, b, c, offsets, parts, config, steps, repeats, threads):
    for thread in numba.prange(threads):
        tiles._configure_tiles(token, config.ctypes.data)
        at, panel = a[thread].ctypes.data, b[thread].ctypes.data
        for _ in range(repeats):
            tiles._tiles(
                token,
                at,
                at + 1024,
                64,
                16,
                16,
                offsets.ctypes.data,
                parts.ctypes.data,
                panel,
                1024 * steps,
                64,
                c[thread].ctypes.data,
                steps,
            )
        tiles._release_tiles(token)


def integers(seconds: float = 1.0) -> float:
    """GOP/s of the backend's microkernel on data in the first cache: this machine's peak."""
    threads, steps = numba.get_num_threads(), 8
    a = aligned.zeros((threads, steps * 2048), np.uint8)
    b = aligned.zeros((threads, steps * 4096), np.uint8)
    c = aligned.zeros((threads, 1024), np.int32)
    parts = np.full(steps, 4)
    offsets = np.arange(steps, dtype=np.int64) * 2048
    token, repeats = tiles.TOKENS[tiles.backend()], 100
    best = 0.0
    _spin(token, a, b, c, offsets, parts, tiles.CONFIG, steps, 1, threads)  # compiles
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        began = time.perf_counter()
        _spin(token, a, b, c, offsets, parts, tiles.CONFIG, steps, repeats, threads)
        taken = time.perf_counter() - began
        best = max(best, 2 * threads * repeats * steps * 64 * 1024 / taken / 1e9)
        repeats = min(100_000, max(repeats, int(repeats * 0.1 / taken)))
    return best
