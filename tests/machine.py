"""What tests ask of the machine: compiled code, processors, programs."""

from __future__ import annotations

import shutil
from typing import Any

import numba
import pytest

_CONFIG: Any = numba.config
COMPILED = not _CONFIG.DISABLE_JIT  # interpreted loops get fewer values
THREADS = int(_CONFIG.NUMBA_NUM_THREADS)


def needs(*programs: str) -> None:
    """Skips the test where a program is absent."""
    missing = [name for name in programs if shutil.which(name) is None]
    if missing:
        pytest.skip(f"needs {' and '.join(missing)} (Debian packages of the same names)")
