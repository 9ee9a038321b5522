"""refq: a framework-free NumPy/Numba reference implementation of CNN quantization."""

import atexit
import os
import shutil
import tempfile

# Idle OpenMP threads must sleep: spinning, they would steal the cores from BLAS, which has
# threads of its own (measured: 30 times slower convolutions on two cores). Takes effect where
# OpenMP is not loaded yet, and a user's own setting wins.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

__version__ = "0.1.0"


def _may_be_filled(folder: str) -> bool:
    """Whether files can be made there, or where the first of its missing folders would be."""
    folder = os.path.abspath(folder)
    while not os.path.exists(folder):
        folder = os.path.dirname(folder)
    return os.path.isdir(folder) and os.access(folder, os.W_OK)


def _keep_compiled_code() -> None:
    """Numba keeps machine code beside the source or in the user's cache, and refuses to start where
    neither may be written, as in a container. It then gets a folder that goes with the process."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    beside = os.path.join(os.path.dirname(os.path.abspath(__file__)), "__pycache__")
    asked = "NUMBA_CACHE_DIR" in os.environ
    if not (asked or _may_be_filled(beside) or _may_be_filled(os.path.join(cache, "numba"))):
        folder = tempfile.mkdtemp(prefix="refq-compiled-")
        os.environ["NUMBA_CACHE_DIR"] = folder
        atexit.register(shutil.rmtree, folder, ignore_errors=True)


_keep_compiled_code()
