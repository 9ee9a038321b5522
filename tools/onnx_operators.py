"""Writes refq/importers/onnx_operators.py, ONNX's operators and their attributes, from the `onnx`
package: python tools/onnx_operators.py"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import onnx

TARGET = Path(__file__).parents[1] / "refq" / "importers" / "onnx_operators.py"
LETTERS = {"INT": "i", "FLOAT": "f", "STRING": "s", "TENSOR": "t", "GRAPH": "g", "TYPE_PROTO": "?"}
LETTERS |= {"INTS": "I", "FLOATS": "F", "STRINGS": "S", "SPARSE_TENSOR": "?"}
HEAD = '''"""ONNX's own operators to version {newest}, with the attributes that any version has.

Written by tools/onnx_operators.py. Behind an attribute its types: i, f and s for an integer,
a float and a text, I, F and S for lists of them, t for a tensor, g for a graph, ? for others.
"""

NEWEST = {newest}
ATTRIBUTES = {{
'''


def text() -> str:
    """The module's source."""
    known: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for schema in onnx.defs.get_all_schemas_with_history():
        if schema.domain == "":
            attributes = known[schema.name]
            for name, attribute in schema.attributes.items():
                attributes[name].add(LETTERS[attribute.type.name])
    lines = [HEAD.format(newest=onnx.defs.onnx_opset_version())]
    for kind in sorted(known):
        words = [f"{name}:{''.join(sorted(known[kind][name]))}" for name in sorted(known[kind])]
        lines += _row(kind, words)
    return "".join([*lines, "}\n"])


def _row(kind: str, words: list[str]) -> list[str]:
    """A line, or several where they are long."""
    line = f'    "{kind}": "{" ".join(words)}",\n'
    if len(line) <= 101:
        return [line]
    parts, part = [], ""
    for word in words:
        if len(part) + len(word) + 1 > 90:
            parts.append(part)
            part = ""
        part += f"{word} "
    parts.append(part.rstrip())
    return [f'    "{kind}": (\n', *(f'        "{each}"\n' for each in parts), "    ),\n"]


if __name__ == "__main__":
    TARGET.write_text(text(), "utf-8")
