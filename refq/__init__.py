"""refq: a framework-free NumPy/Numba reference implementation of CNN quantization."""

import os

# Idle OpenMP threads must sleep: spinning, they would steal the cores from BLAS, which has
# threads of its own (measured: 30 times slower convolutions on two cores). Takes effect where
# OpenMP is not loaded yet, and a user's own setting wins.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

__version__ = "0.1.0"
