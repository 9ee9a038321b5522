"""ONNX's own node tests pass, or are skipped for reasons that docs/operators.md tells."""

from __future__ import annotations

import runpy
from dataclasses import replace
from pathlib import Path

import pytest

onnx = pytest.importorskip("onnx")

from tests.importers import onnx_cases  # noqa: E402

TOOL = Path(__file__).parents[2] / "tools" / "operators_page.py"


@pytest.fixture(scope="module")
def results() -> list[onnx_cases.Result]:
    return onnx_cases.results()


def test_none_fails(results: list[onnx_cases.Result]) -> None:
    assert not [(each.name, each.wrong) for each in results if each.wrong]


def test_the_page_tells_how_many_pass(results: list[onnx_cases.Result]) -> None:
    tool = runpy.run_path(str(TOOL))
    if onnx.__version__ != tool["PUBLISHED"]:
        pytest.skip(f"docs/operators.md tells of onnx {tool['PUBLISHED']}")
    found = onnx_cases.counts(results)
    assert tool["TESTS"] == found, f"TESTS of tools/operators_page.py, and run it: {found}"


def test_wrong_numbers_fail(tmp_path: Path) -> None:
    """A test whose published numbers are changed does not pass."""
    (test,) = [each for each in onnx_cases.cases() if each.name == "test_relu"]
    ((inputs, (wanted,)),) = test.data_sets
    changed = replace(test, data_sets=[(inputs, [wanted + 0.01])])
    wrong = onnx_cases.run(changed, tmp_path / "case.onnx")
    assert wrong.wrong and set(wrong.ways) == {"a batch before", "rows", "constants"}
