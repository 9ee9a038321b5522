"""Writes docs/operators.md, what becomes of every ONNX operator, from the readers' own tables.

python tools/operators_page.py
"""

from __future__ import annotations

from pathlib import Path

from refq.importers import onnx_quantized
from refq.importers.lowering import HANDLERS
from refq.importers.lowering.constants import COMPUTED
from refq.importers.lowering.expressions import UNARY
from refq.importers.onnx_operators import ATTRIBUTES, NEWEST

PAGE = Path(__file__).resolve().parents[1] / "docs" / "operators.md"
FUNCTION = "part of a Function of one value"
SIZES = "a constant: sizes are known"
OTHER = "no layer: cut off at the end, else refused"
# by the handlers in refq.importers.lowering
BECOMES = {
    "argmax": "layer ArgMax",
    "batch_normalization": "folded into its neighbours; else a Conv 1x1 for each channel",
    "blocks": "layer Rearrange",
    "branch": "the branch that a known condition leads to; else as operators without a layer",
    "chosen": f"{FUNCTION}, where all it reads are functions of one tensor",
    "clipped": "layer ReLU or Clip; or part of a Function",
    "concatenated": "layer Concat, or Pad with a constant at one end",
    "conv": "layer Conv; of signals with one row",
    "conv_transpose": "layer ConvTranspose",
    "flattened": "renamed, or layer Rearrange",
    "gathered": "layers Slice and Concat, of constant places",
    "gemm": "layer Dense",
    "lrn": "layer LRN",
    "matmul": "layer Dense; of more than a vector a Conv 1x1; by constant matrices",
    "padded": "joined with the layer behind it; else layer Pad",
    "passed": "left out: values stay",
    "pooled": "layer of its name, AvgPool or MaxPool",
    "prelu": "layer PReLU",
    "reduced": "layer GlobalAvgPool or GlobalMaxPool; of a sum with a factor behind it",
    "repeated": "layer Resize, of whole rows and columns; or left to the layer that broadcasts",
    "reshaped": "renamed, or layer Rearrange",
    "resized": "layer Resize: nearest and linear",
    "several": "layer Add, Sub or Mul of two tensors; folded or a Function with constants",
    "shape": SIZES,
    "size": SIZES,
    "sliced": "layer Slice",
    "softmax": "layer Softmax",
    "split": "layers Slice",
    "squeezed": "renamed, or layer Rearrange",
    "transposed": "cancelled by its opposite; else layer Rearrange",
    "unary": f"{FUNCTION}; Relu and LeakyRelu alone layers ReLU and PReLU",
    "unsqueezed": "renamed, or layer Rearrange",
    "whole": "layer GlobalAvgPool or GlobalMaxPool",
}
# what the reader of ONNX does itself
READ = {
    "Constant": "a constant",
    "Dropout": "left out; in training mode refused",
    "Upsample": "layer Resize: nearest and linear",
}
# what became of the node tests that this version of the onnx package generates for the operators
# that refq reads: tests/importers/test_onnx_cases.py holds these numbers true
PUBLISHED = "1.23.2"
TESTS = {
    "passed": 375,
    "passed, of constants alone": 171,
    "failed": 0,
    "values of float8, float4, int4 or int2": 148,
    "Resize: cubic, cropped, antialiased, or with its aspect kept": 21,
    "images of three dimensions": 11,
    "ArgMax: the last of equal values": 8,
    "training mode": 8,
    "tensors of no values": 6,
    "integers or truth values as inputs": 5,
    "sequences and optional values": 4,
    "Gemm: the first matrix transposed": 2,
    "MaxPool: places of maxima": 2,
    "pools with dilation": 2,
    "texts": 2,
    "Gemm: a bias for each row": 1,
    "Resize: sizes that are no whole numbers": 1,
}
HEAD = f"""# What becomes of ONNX's operators

Every operator of ONNX's own domain, versions 1 to {NEWEST}, in a model file that refq reads
([convert.md](convert.md)). Readers of other formats make the same operators. Of constants alone
an operator is computed where the last column says so.

- **layer**: a layer of the network, in float and in integers ([contract.md](contract.md)).
- **part of a Function**: neighbours that compute one value of one value become one table over its
  codes.
- **renamed**: values and their order stay.
- **cut off at the end**: where no layer with weights needs what it makes, the network ends before
  it, and the report says so; elsewhere the model is refused by the names of node and operator.
- **refused**: so is a quantized model, whatever its operators' domain (QONNX, ONNX Runtime's), and
  what only training does. Functions of the model itself stand in the places of their calls.

`python tools/operators_page.py` makes this page.

| Operator | What becomes of it | Of constants |
|---|---|---|
"""


TAIL = """
## ONNX's own node tests

What the onnx package, version {version}, generates for the operators that refq reads is given to
its readers as models and computed in float. `python -m tests.importers.onnx_cases` tells of each.

| Tests | |
|---|---|
{rows}"""


def becomes(kind: str) -> str:
    if kind in READ:
        return READ[kind]
    if kind in HANDLERS:
        return BECOMES[HANDLERS[kind].__name__]
    return "refused: the model is quantized" if onnx_quantized.KINDS.match(kind) else OTHER


def text() -> str:
    """The page."""
    rows = (
        f"| `{kind}` | {becomes(kind)} | {'computed' if kind in {*COMPUTED, *UNARY} else ''} |\n"
        for kind in sorted(ATTRIBUTES)
    )
    tests = "".join(f"| {number} | {words} |\n" for words, number in TESTS.items())
    return HEAD + "".join(rows) + TAIL.format(version=PUBLISHED, rows=tests)


if __name__ == "__main__":
    PAGE.write_text(text(), "utf-8")
