"""Kernels equal the oracle: same names, same arguments, same numbers."""

from __future__ import annotations

import ast
import inspect
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from refq import kernels, oracle
from tests.op_cases import CASES

IDS = [f"{operation}-{index}" for index, (operation, _) in enumerate(CASES)]


def assert_same(got: Any, wanted: Any) -> None:
    """Integers, dtypes and shapes exactly; float32 within float32's rounding of a float64 sum."""
    if isinstance(wanted, tuple):
        assert len(got) == len(wanted)
        for left, right in zip(got, wanted):
            assert_same(left, right)
    elif isinstance(wanted, int):
        assert got == wanted
    elif isinstance(wanted, float):
        assert got == pytest.approx(wanted, rel=1e-12)
    elif wanted.dtype == np.float32:
        assert got.dtype == np.float32 and got.shape == wanted.shape
        scale = np.abs(wanted).max()
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=2e-6 * scale)
    else:
        assert got.dtype == wanted.dtype and got.shape == wanted.shape
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize(("operation", "arguments"), CASES, ids=IDS)
def test_kernel_equals_oracle(operation: str, arguments: dict[str, Any]) -> None:
    got = getattr(kernels, operation)(**arguments)
    assert_same(got, getattr(oracle, operation)(**arguments))


def test_every_operation_has_kernel_oracle_and_rows() -> None:
    rows = Counter(operation for operation, _ in CASES)
    assert set(rows) == set(kernels.__all__)
    for name in kernels.__all__:
        kernel, definition = getattr(kernels, name), getattr(oracle, name)
        assert _parameters(kernel) == _parameters(definition), name


def _parameters(function: Any) -> list[tuple[str, Any]]:
    return [(p.name, p.default) for p in inspect.signature(function).parameters.values()]


def test_oracle_shares_no_code() -> None:
    tree = ast.parse(Path(oracle.__file__).read_text())
    imported = {
        node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module
    } | {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    ours = {name for name in imported if name.startswith("refq")}
    assert ours == {"refq.errors", "refq.formats.floats", "refq.formats.fixed"}
