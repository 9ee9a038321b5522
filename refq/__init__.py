"""refq: a framework-free NumPy/Numba reference implementation of CNN quantization."""

import os
import re
import sys

# Idle OpenMP threads must sleep: spinning, they would steal the cores from BLAS, which has
# threads of its own (measured: 30 times slower convolutions on two cores). Takes effect where
# OpenMP is not loaded yet, and a user's own setting wins.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

__version__ = "0.1.0"

# What packages read as they are imported, before a command could refuse it: the variable, what it
# may be, in words. Beyond these they end with a traceback, a signal, or LLVM's abort.
_NUMBER = r"[0-9]+(\.[0-9]*)?|\.[0-9]+"
_VARIABLES = (
    ("NUMBA_NUM_THREADS", r"0*[1-9][0-9]{0,2}", "a number from 1 to 999"),
    ("NUMBA_CPU_FEATURES", r"|[+-][\w.-]+(,[+-][\w.-]+)*", "features such as +avx2,-fma"),
    *(
        (f"TQDM_{name}", _NUMBER, "a number")
        for name in ("MININTERVAL", "MAXINTERVAL", "MINITERS", "NCOLS", "NROWS", "SMOOTHING")
        + ("DELAY", "INITIAL", "POSITION", "TOTAL")
    ),
)


def _check_environment() -> None:
    for name, pattern, wanted in _VARIABLES:
        value = os.environ.get(name)
        if value is not None and not re.fullmatch(pattern, value):
            print(f"refq: {name}={value[:60]!r}; expected {wanted}, or unset it", file=sys.stderr)
            raise SystemExit(2)


_check_environment()
