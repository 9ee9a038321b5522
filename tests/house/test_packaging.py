"""What a user installs: every module, and the files that come with refq."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
BUILT_FROM = (
    "LICENSE",
    "MANIFEST.in",
    "README.md",
    "pyproject.toml",
    "setup.cfg",
    "refq",
    "weights",
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Names in a wheel built from a copy, so that the checkout stays as it is."""
    for module in ("setuptools", "pip"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"building a wheel needs {module}, which is not installed")
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in BUILT_FROM:
        if (TOP / name).is_dir():
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(TOP / name, source / name, ignore=ignore)
        else:
            shutil.copy(TOP / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
    built = subprocess.run(
        [*command, "--quiet", "--wheel-dir", str(out), str(source)], capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr
    (path,) = out.glob("refq-*.whl")
    with zipfile.ZipFile(path) as file:
        return set(file.namelist())


def test_every_module_is_in_the_wheel(wheel: set[str]) -> None:
    modules = {path.relative_to(TOP).as_posix() for path in (TOP / "refq").rglob("*.py")}
    assert {name for name in wheel if name.endswith(".py")} == modules


def test_bundled_files_are_in_the_wheel(wheel: set[str]) -> None:
    weights = TOP / "weights"
    names = {path.name for suffix in ("h5", "json") for path in weights.glob(f"*.{suffix}")}
    assert "glyphs_test.h5" in names
    prefix = "refq/bundled_files/"
    assert {name for name in wheel if name.startswith(prefix)} == {prefix + name for name in names}


def test_verilog_is_in_the_wheel(wheel: set[str]) -> None:
    folder = TOP / "refq" / "hardware" / "rtl"
    names = {path.name for path in folder.iterdir() if path.suffix in (".v", ".in")}
    assert {"refq_qe.v", "tb_codes.v.in", "Makefile.in"} < names
    packed = {Path(name).name for name in wheel if name.startswith("refq/hardware/rtl/")}
    assert {name for name in packed if not name.endswith(".py")} == names


def test_sources_of_the_c_model_are_in_the_wheel(wheel: set[str]) -> None:
    folder = TOP / "refq" / "hardware" / "c_model"
    names = {path.name for pattern in ("*.c", "*.h", "Makefile") for path in folder.glob(pattern)}
    assert {"fixed.c", "plan.h", "Makefile"} <= names
    assert {f"refq/hardware/c_model/{name}" for name in names} <= wheel


def test_nothing_else_is_in_the_wheel(wheel: set[str]) -> None:
    assert {name.split("/")[0].partition("-")[0] for name in wheel} == {"refq"}
    assert any(name.endswith("licenses/LICENSE") for name in wheel)
