"""The table of ONNX's operators is what the `onnx` package says."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

onnx = pytest.importorskip("onnx")

from refq.importers.onnx_operators import ATTRIBUTES, NEWEST  # noqa: E402

TOP = Path(__file__).parents[2]


def test_the_table_is_the_packages() -> None:
    if onnx.defs.onnx_opset_version() == NEWEST:
        tool = runpy.run_path(str(TOP / "tools" / "onnx_operators.py"))
        assert tool["TARGET"].read_text("utf-8") == tool["text"]()


def test_older_packages_say_no_more() -> None:
    known = {kind: set(words.split()) for kind, words in ATTRIBUTES.items()}
    for schema in onnx.defs.get_all_schemas_with_history():
        if schema.domain == "" and onnx.defs.onnx_opset_version() <= NEWEST:
            names = {word.partition(":")[0] for word in known[schema.name]}
            assert set(schema.attributes) <= names, schema.name
