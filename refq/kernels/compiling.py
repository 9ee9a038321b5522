"""What compiles kernels, keeps their machine code while it is theirs, and starts their threads.

Numba keeps machine code by the file that a kernel stands in. A kernel also holds what it inlines
from other files and constants of other rooms, so code is kept here by all of them together; and a
file that a crash or a full disk cut short counts as none.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import zlib
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import llvmlite
import numba
import numpy as np
from numba.core import caching, codegen
from numba.core import config as _config
from numba.np.ufunc import parallel

from refq.errors import OptionError

TOP = Path(__file__).parents[1]
# whose files kernels compile in: a test holds this against what kernels import
ROOMS = ("kernels", "formats", "networks/layers")
CHECK_BYTES = 4
HINT = "every run compiles for half a minute; set NUMBA_CACHE_DIR to a folder that may be written"

prange = numba.prange
config: Any = _config  # its values are made as it is imported
# why machine code is not kept, told by commands once
_not_kept: list[str] = []


def njit(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """numba.njit of a kernel: without Python's lock, its machine code kept on the disk."""

    def compiled(kernel: Callable[..., Any]) -> Any:
        dispatcher = numba.njit(nogil=True, **options)(kernel)
        if not config.DISABLE_JIT:
            try:
                dispatcher._cache = _Kept(kernel)
            except (OSError, RuntimeError):  # as in a container: no folder may be written
                _not_kept.append("no folder for it may be written")
        return dispatcher

    return compiled


def not_kept() -> str:
    """Why compiled code is not kept, in a line; empty where it is. The second call says nothing."""
    reasons = list(dict.fromkeys(_not_kept))
    _not_kept.clear()
    return f"compiled code is not kept ({reasons[0]}): {HINT}" if reasons else ""


@lru_cache(maxsize=1)
def features() -> frozenset[str]:
    """What Numba compiles for of what this CPU has, by LLVM's names: `avx512f`."""
    asked = config.CPU_FEATURES
    host = _named(codegen.get_host_cpu_features())
    return host if asked is None else host & _named(asked)


def _named(features: str) -> frozenset[str]:
    return frozenset(name[1:] for name in features.split(",") if name.startswith("+"))


def start_threads() -> None:
    """Raises OptionError where Numba has not the threads that the environment asks for."""
    try:
        parallel._launch_threads()
    except ValueError:
        names = ("NUMBA_THREADING_LAYER", "NUMBA_THREADING_LAYER_PRIORITY")
        asked = [f"{name}={os.environ[name]}" for name in names if name in os.environ]
        raise OptionError(
            f"{' '.join(asked)}, which Numba has not here",
            "default, workqueue, or omp or tbb where their library is installed; of priorities"
            " all three",
            "unset it",
        ) from None


@lru_cache(maxsize=1)
def _stamp() -> tuple[str, ...]:
    """What machine code is made from: all sources that a kernel may hold, and the compiler."""
    files = [path for room in ROOMS for path in sorted((TOP / room).rglob("*.py"))]
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.relative_to(TOP).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest(), llvmlite.__version__, np.__version__


class _Kept(caching.FunctionCache):
    """Numba's cache of one kernel, with files as below."""

    def __init__(self, kernel: Callable[..., Any]) -> None:
        super().__init__(kernel)
        self._cache_file = _Files(self.cache_path, self._impl.filename_base, _stamp())

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except OSError as error:
            _not_kept.append(f"{self.cache_path}: {error.strerror or error}")


class _Files(caching.IndexDataCacheFile):
    """Numba's files of one kernel, each with a checksum at its end; a damaged one is none."""

    def _load_index(self) -> Any:
        return super()._load_index() if _whole(self._index_path) else {}

    def _load_data(self, name: str) -> Any:
        if not _whole(self._data_path(name)):
            raise FileNotFoundError(name)  # Numba then compiles, and writes it again
        return super()._load_data(name)

    @contextlib.contextmanager
    def _open_for_write(self, filepath: str) -> Iterator[BinaryIO]:
        content = io.BytesIO()
        yield content
        with super()._open_for_write(filepath) as file:
            file.write(content.getvalue() + _check(content.getvalue()))


def _whole(path: str) -> bool:
    try:
        content = Path(path).read_bytes()
    except OSError:
        return False
    return _check(content[:-CHECK_BYTES]) == content[-CHECK_BYTES:]


def _check(content: bytes) -> bytes:
    # behind a pickle, which ends where it says: Numba's own reading takes no notice
    return zlib.crc32(content).to_bytes(CHECK_BYTES, "little")
