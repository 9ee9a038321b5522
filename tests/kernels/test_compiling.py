"""Machine code that is kept: of today's sources only, whole, and not at any price."""

from __future__ import annotations

import ast
import errno
import inspect
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numba.core.config
import numpy as np
import pytest

import refq
from refq.errors import OptionError
from refq.kernels import compiling
from tests.machine import COMPILED

TOP = Path(compiling.__file__).parents[1]

needs_jit = pytest.mark.skipif(not COMPILED, reason="compiled code, and NUMBA_DISABLE_JIT is set")


def double(values: np.ndarray) -> np.ndarray:
    return values * 2


def machine_code(kernel: Any) -> dict[str, bytes]:
    folder = Path(kernel._cache.cache_path)
    return {path.name: path.read_bytes() for path in folder.glob(f"*{kernel.__name__}*")}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(compiling.config, "CACHE_DIR", str(tmp_path))
    compiling.not_kept()
    return tmp_path


def test_all_sources_that_kernels_hold_are_in_the_stamp() -> None:
    imported = {
        node.module
        for path in (TOP / "kernels").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("refq.")
    }
    rooms = tuple(f"refq.{room.replace('/', '.')}" for room in compiling.ROOMS)
    other = {name for name in imported if name and not name.startswith(rooms)}
    assert other <= {"refq.errors"}, "compiling.ROOMS lacks the rooms of these"


@needs_jit
def test_an_edit_in_an_inlined_file_is_seen_with_a_used_cache(tmp_path: Path) -> None:
    shutil.copytree(TOP, tmp_path / "refq", ignore=shutil.ignore_patterns("__pycache__"))
    code = (
        "import numpy as np; from refq.kernels import max_pool;"
        "row = np.arange(4, dtype=np.int32).reshape(1, 1, 1, 4);"
        "print(*max_pool(row, (1, 2), (1, 2)).ravel())"
    )
    paths = {"NUMBA_CACHE_DIR": str(tmp_path / "kept"), "PYTHONPATH": str(tmp_path)}

    def pooled() -> str:
        command = [sys.executable, "-c", code]
        done = subprocess.run(
            command, env={**os.environ, **paths}, cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    assert pooled() == "1 3"
    inlined = tmp_path / "refq" / "kernels" / "windows.py"
    source = inlined.read_text("utf-8")
    broken = source.replace("min(padded_end, length)", "min(padded_end, length) - 1")
    assert broken != source
    inlined.write_text(broken, "utf-8")
    assert pooled() == "0 2"


@needs_jit
@pytest.mark.parametrize("ending", ["nbi", "nbc"])
@pytest.mark.parametrize("damage", ["cut", "empty", "changed"])
def test_a_damaged_file_counts_as_none(folder: Path, ending: str, damage: str) -> None:
    values = np.arange(3)
    kernel = compiling.njit()(double)
    kernel(values)
    before = machine_code(kernel)
    path = next(folder.rglob(f"*double*.{ending}"))
    content = path.read_bytes()
    middle = len(content) // 2
    changed = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    path.write_bytes({"cut": content[:middle], "empty": b"", "changed": changed}[damage])
    again = compiling.njit()(double)
    assert again(values).tolist() == [0, 2, 4]
    assert machine_code(again).keys() == before.keys() and path.read_bytes()[-4:] != b""
    once_more = compiling.njit()(double)
    once_more(values)
    assert once_more.stats.cache_hits, "what was damaged is whole again"


@needs_jit
def test_a_full_disk_is_told_once_and_ends_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(compiling._Files, "_save_data", full)
    kernel = compiling.njit()(double)
    assert kernel(np.arange(3)).tolist() == [0, 2, 4] and kernel(np.ones(1))[0] == 2
    told = compiling.not_kept()
    assert "No space left on device" in told and "NUMBA_CACHE_DIR" in told
    assert compiling.not_kept() == ""


@needs_jit
def test_without_a_folder_kernels_run_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    compiling.not_kept()
    monkeypatch.setattr(compiling.config, "CACHE_DIR", "")
    monkeypatch.setattr(compiling._Kept._impl_class, "_locator_classes", [])
    assert compiling.njit()(double)(np.arange(3)).tolist() == [0, 2, 4]
    assert "no folder" in compiling.not_kept()


def test_threads_that_numba_has_not_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> None:
        raise ValueError("unknown to Numba")

    monkeypatch.setattr(compiling.parallel, "_launch_threads", absent)
    monkeypatch.setenv("NUMBA_THREADING_LAYER", "looms")
    with pytest.raises(OptionError, match="NUMBA_THREADING_LAYER=looms"):
        compiling.start_threads()


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [(None, {"avx2", "sse2"}), ("", set()), ("+sse2,-avx2,+avx512vnni", {"sse2"})],
)
def test_features_are_those_that_numba_compiles_for(
    monkeypatch: pytest.MonkeyPatch, asked: str | None, wanted: set[str]
) -> None:
    monkeypatch.setattr(compiling.codegen, "get_host_cpu_features", lambda: "+sse2,+avx2,-amx-int8")
    monkeypatch.setattr(compiling.config, "CPU_FEATURES", asked)
    assert compiling.features.__wrapped__() == wanted


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        *(("NUMBA_NUM_THREADS", asked) for asked in ("0", "-1", "two", "", "1.5", "100000")),
        ("NUMBA_CPU_FEATURES", "fast"),
        *(("NUMBA_OPT", asked) for asked in ("foo", "4", "")),
        *(("NUMBA_DISABLE_JIT", asked) for asked in ("abc", "", "0.5")),
        ("NUMBA_BOUNDSCHECK", "x"),
        ("TQDM_MININTERVAL", "often"),
    ],
)
def test_what_no_package_could_start_with_is_refused(name: str, asked: str) -> None:
    command = [sys.executable, "-m", "refq.evaluate", "--help"]
    done = subprocess.run(command, env={**os.environ, name: asked}, capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith(f"refq: {name}={asked!r}; expected ")
    assert done.stderr.count("\n") == 1


def test_all_whole_numbers_that_numba_reads_are_known() -> None:
    source = inspect.getsource(numba.core.config)
    read = set(re.findall(r'_readenv\(\s*"(NUMBA_\w+)",\s*int\b', source))
    known = {name for name, *_ in refq._VARIABLES}
    assert len(read) > 40
    assert not {name for name in read - known if "CUDA" not in name}
