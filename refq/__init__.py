"""refq: a framework-free NumPy/Numba reference implementation of CNN quantization."""

import os
import sys

# Idle OpenMP threads must sleep: spinning, they would steal the cores from BLAS, which has
# threads of its own (measured: 30 times slower convolutions on two cores). Takes effect where
# OpenMP is not loaded yet, and a user's own setting wins.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

__version__ = "0.1.0"


def _check_threads() -> None:
    """Numba reads the number of threads as it is imported, before a command could refuse one."""
    asked = os.environ.get("NUMBA_NUM_THREADS", "1")
    if not (asked.isascii() and asked.isdigit() and int(asked)):
        print(f"refq: NUMBA_NUM_THREADS={asked}; expected a number from 1 on", file=sys.stderr)
        raise SystemExit(2)


_check_threads()
