"""Kernels equal the oracle: same names, same arguments, same numbers."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from refq import kernels, oracle
from tests.op_cases import ROWS
from tests.op_rows import Drawn, Row, codes, edges, real, rows


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


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_kernel_equals_oracle(row: Row) -> None:
    got = getattr(kernels, row.operation)(**row.arguments())
    assert_same(got, getattr(oracle, row.operation)(**row.arguments()))


def test_every_operation_has_kernel_oracle_and_rows() -> None:
    assert {row.operation for row in ROWS} == set(kernels.__all__)
    for name in kernels.__all__:
        kernel, definition = getattr(kernels, name), getattr(oracle, name)
        assert _parameters(kernel) == _parameters(definition), name


def _parameters(function: Any) -> list[tuple[str, Any]]:
    return [(p.name, p.default) for p in inspect.signature(function).parameters.values()]


def test_a_row_is_named_after_what_it_draws_and_draws_what_it_is_named() -> None:
    """Whatever rows stand beside it."""
    x, w = codes(2, 3, 5, 4, bits=9), edges(7, 60, bits=6, signed=False)
    others = [("relu", {"x": real(3, 2)}), ("relu", {"x": codes(2, 3, 5, 4)})]
    case = ("dense_integer", {"x": x, "w": w})
    (alone,), (*_, last) = rows([case]), rows([*others, case])
    assert alone.id == last.id == "dense_integer-2x3x5x4s9-w7x60u6.edges"
    for name, values in alone.arguments().items():
        np.testing.assert_array_equal(values, last.arguments()[name])
    drawn = alone.arguments()
    assert drawn["x"].shape == (2, 3, 5, 4) and drawn["x"].dtype == np.int32
    assert (drawn["x"].min(), drawn["x"].max()) == (-256, 255)
    assert set(drawn["w"].reshape(-1)) == {
        *range(11),
        *range(14, 19),
        *range(30, 35),
        *range(62, 64),
    }
    with pytest.raises(AssertionError, match=r"twice: \['relu-3x2'\]"):
        rows([others[0], others[0]])


def test_dimensions_of_an_array_differ() -> None:
    arrays = [
        (row.id, value)
        for row in ROWS
        for given in row.parameters.values()
        for value in (given if isinstance(given, list) else [given])
        if isinstance(value, Drawn)
    ]
    assert len(arrays) > len(ROWS)
    for name, array in arrays:
        longer = [size for size in array.shape if size > 1]
        assert len(set(longer)) == len(longer), name


def test_oracle_shares_no_code() -> None:
    trees = [ast.parse(path.read_text()) for path in Path(oracle.__file__).parent.glob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    imported = {
        node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module
    } | {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    ours = {name for name in imported if name.startswith("refq")}
    own = {name for name in ours if name.startswith("refq.oracle.")}
    assert own and ours - own == {"refq.errors", "refq.formats.floats", "refq.formats.fixed"}
