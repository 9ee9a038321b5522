"""ONNX's own node tests through refq's reader of models, lowering and float engine.

`python -m tests.importers.onnx_cases [PART OF A NAME]` prints what became of them.

A test is tried in every way that a model file could hold it: its tensors as inputs of the network
or as constants, with its first axis as the batch or with a batch of one before it. It passes where
a way is open and every open way gives the numbers that ONNX publishes.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from refq.engine import forward
from refq.errors import RefqError
from refq.importers import lowering, onnx_model
from refq.importers.foreign import Asked, Foreign
from refq.importers.lowering.constants import COMPUTED, Unknown, computed
from refq.importers.lowering.inputs import begun
from refq.importers.lowering.walking import Walker

KNOWN = {*lowering.HANDLERS, *COMPUTED}
MODULES = "onnx.backend.test.case.node"
CONSTANTS = "constants"
# what numbers may differ by; those of short floats by their own steps
CLOSE = {"rtol": 1e-4, "atol": 1e-5}
CLOSE_OF = {"float16": {"rtol": 2e-3, "atol": 1e-3}, "bfloat16": {"rtol": 8e-3, "atol": 4e-3}}
# published to four places
CLOSE_IN = {"test_averagepool_2d_ceil_last_window_starts_on_pad": {"rtol": 0.0, "atol": 1e-4}}
# ONNX Runtime computes it as refq does
OTHERWISE = {
    "test_resize_downsample_scales_linear_align_corners": "Resize: sizes that are no whole numbers"
}
SHORT = r"(u?int[24]|float[48]e\w+)"
# refusals, and the words for their kind
REASONS = {
    rf"(an input|values) of {SHORT}\b|of type (17|18|19|2\d)\b": (
        "values of float8, float4, int4 or int2"
    ),
    r"\((\w+) of \w+\)": "integers or truth values as inputs",
    r"training mode": "training mode",
    r"input \w+ of shape 1(x\d+){4};": "images of three dimensions",
    r"places in a batch, or of the last": "ArgMax: the last of equal values",
    r"\(Resize\): (mode|Resize) .*(cubic|keep_aspect|antialias|crop)": (
        "Resize: cubic, cropped, antialiased, or with its aspect kept"
    ),
    r"dilated windows": "pools with dilation",
    r"where maxima are": "MaxPool: places of maxima",
    r"which are not one an output": "Gemm: a bias for each row",
    r"no product with a matrix": "Gemm: the first matrix transposed",
    r"slopes of shape": "PRelu: slopes along other axes than the channels",
    r"Pad 'wrap'": "Pad: wrap",
}


class Skipped(Exception):  # noqa: N818 - a condition
    """A way that is not open, and why."""


@dataclass(frozen=True)
class Result:
    """ways: those that were open; reason: why none was; wrong: what differed, or broke."""

    name: str
    ways: tuple[str, ...] = ()
    reason: str = ""
    wrong: tuple[str, ...] = ()


# (name, what refq makes, what is published) of outputs
Compared = list[tuple[str, np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Case:
    """A model of one node, arrays that it reads and makes, and a file that models are put in."""

    model: Any
    inputs: Sequence[np.ndarray]
    outputs: Sequence[np.ndarray]
    path: Path

    def made(self, found: dict[str, np.ndarray]) -> Compared:
        """Of the outputs those that were found."""
        names = [each.name for each in self.model.graph.output]
        pairs = zip(names, self.outputs)
        compared = [(name, found[name], wanted) for name, wanted in pairs if name in found]
        if not compared:
            raise Skipped("cut off")
        return compared


def cases() -> list[Any]:
    """The node tests of operators that refq reads, in the order of their names."""
    base = importlib.import_module(MODULES)
    kinds = {kind.lower() for kind in KNOWN}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for module in pkgutil.iter_modules(base.__path__):
            name = module.name.replace("_", "")
            if name in kinds or name.removesuffix("op") in kinds:
                importlib.import_module(f"{MODULES}.{module.name}")
    found = {case.name: case for case in base._NodeTestCases}
    return [found[name] for name in sorted(found) if _known(found[name].model.graph.node)]


def _known(nodes: Sequence[Any]) -> bool:
    return len(nodes) == 1 and nodes[0].op_type in KNOWN and not nodes[0].domain


def run(test: Any, path: Path) -> Result:
    """One test, in every way. path: of a file for models."""
    if test.name in OTHERWISE:
        return Result(test.name, reason=OTHERWISE[test.name])
    ways, reasons, wrong = list[str](), list[str](), list[str]()
    try:
        inputs, outputs = ([_array(each) for each in side] for side in test.data_sets[0])
    except Skipped as why:
        return Result(test.name, reason=str(why))
    for way, attempt in _ways(Case(test.model, inputs, outputs, path)):
        try:
            for name, got, wanted in attempt():
                _compare(name, got, wanted, CLOSE_IN.get(test.name))
            ways.append(way)
        except Skipped as why:
            reasons.append(str(why))
        except Exception as fault:
            ways.append(way)
            wrong.append(f"{way}: {type(fault).__name__}: {fault}")
    reason = "" if ways else "tensors of no values"
    if reasons and not ways and all(each.size for each in inputs[:1]):
        reason = _kind(reasons[0])
    return Result(test.name, tuple(ways), reason, tuple(wrong))


def _array(given: Any) -> np.ndarray:
    if isinstance(given, onnx.TensorProto):
        given = numpy_helper.to_array(given)
    if isinstance(given, (list, dict)) or given is None:
        raise Skipped("sequences and optional values")
    array = np.asarray(given)
    if array.dtype.kind not in "biufV":
        raise Skipped("texts")
    return array


def _ways(case: Case) -> Iterator[tuple[str, Callable[[], Compared]]]:
    """Names of ways, and what gives their numbers."""
    count = len(case.inputs)
    picks = [{0}, {count - 1}, set(range(count))] if count > 1 else [{0}] * count
    for data in picks:
        sizes = [case.inputs[n].shape for n in data]
        if any(0 in size for size in sizes):
            continue
        if {size[:1] for size in sizes} != {(1,)}:
            yield "a batch before", lambda data=data: _before(case, data)  # type: ignore[misc]
        yield "rows", lambda data=data: _rows(case, data)  # type: ignore[misc]
    yield CONSTANTS, lambda: _constants(case)


def _rows(case: Case, data: set[int]) -> Compared:
    """The first axis is the batch."""
    feeds = [case.inputs[n] for n in sorted(data)]
    batches = {feed.shape[:1] for feed in feeds}
    if len(batches) != 1 or any(feed.ndim < 2 for feed in feeds):
        raise Skipped("no batch")
    found = case.made(_outputs(_with(case, data), feeds, case.path))
    if any(wanted.shape[:1] not in batches or got.size != wanted.size for _, got, wanted in found):
        raise Skipped("rows of a batch that meet")
    return found


def _before(case: Case, data: set[int]) -> Compared:
    """The network's input has a row of numbers for each tensor, which is made of it."""
    made, feeds = _with(case, data), []
    for n, value in zip(sorted(data), list(made.graph.input)):
        row, shape = f"{value.name}.row", f"{value.name}.shape"
        sizes = np.array(case.inputs[n].shape, np.int64)
        made.graph.initializer.append(numpy_helper.from_array(sizes, shape))
        made.graph.node.insert(0, helper.make_node("Reshape", [row, shape], [value.name], name=row))
        kind = value.type.tensor_type.elem_type
        value.CopyFrom(helper.make_tensor_value_info(row, kind, (1, case.inputs[n].size)))
        feeds.append(case.inputs[n].reshape(1, -1))
    return case.made(_outputs(made, feeds, case.path))


def _constants(case: Case) -> Compared:
    """All that the operator reads is constant."""
    if not case.inputs:
        raise Skipped("a model without inputs")
    foreign = _foreign(case.model, case.path)
    names = [each.name for each in case.model.graph.input]
    values = dict(foreign.constants) | dict(zip(names, case.inputs))
    try:
        for operator in foreign.operators:
            plain = replace(operator, kind=operator.kind.split(" of ")[0])
            made = computed(plain, [values[name] if name else None for name in operator.inputs])
            values.update(zip(operator.outputs, made))
    except Unknown:
        raise Skipped("it is not computed on constants") from None
    except RefqError as error:
        raise Skipped(str(error)) from None
    return case.made(values)


def _with(case: Case, data: set[int]) -> Any:
    """The test's model, those of its inputs that are no data as constants."""
    made = onnx.ModelProto()
    made.CopyFrom(case.model)
    values = list(made.graph.input)
    del made.graph.input[:]
    for n, (value, array) in enumerate(zip(values, case.inputs)):
        if n in data:
            made.graph.input.append(value)
        else:
            made.graph.initializer.append(numpy_helper.from_array(array, value.name))
    return made


def _foreign(model: Any, path: Path) -> Foreign:
    path.write_bytes(model.SerializeToString())
    try:
        return onnx_model.read(path, Asked())
    except RefqError as error:
        raise Skipped(str(error)) from None


def _outputs(model: Any, feeds: Sequence[np.ndarray], path: Path) -> dict[str, np.ndarray]:
    """What refq computes, by the file's names: (N, ...), or (...) of what it knows without."""
    foreign = _foreign(model, path)
    try:
        drafts, values, _ = begun(foreign, Asked())
        walker = Walker(foreign, drafts, values)
        walker.walk()
        constant = {name: walker.values[name] for name in foreign.outputs}
        sizes = {name: each for name, each in constant.items() if isinstance(each, np.ndarray)}
        if sizes and len(feeds[0]) == 1:
            return sizes
        found = lowering.lowered(foreign, Asked())
    except RefqError as error:
        raise Skipped(str(error)) from None
    flat = [each.reshape(len(each), -1).astype(np.float32) for each in feeds]
    images = np.concatenate(flat, 1).reshape(-1, *found.network.input_shape)
    return forward.outputs(found.network, found.weights, None, images)


def _compare(
    name: str, got: np.ndarray, wanted: np.ndarray, close: dict[str, float] | None
) -> None:
    """Shapes are the same but for axes of 1, and numbers are close."""
    sizes = [[size for size in each.shape if size != 1] for each in (got, wanted)]
    assert sizes[0] == sizes[1], f"{name} of shape {got.shape} for {wanted.shape}"
    one, two = (each.reshape(-1).astype(np.float64) for each in (got, wanted))
    close = close or CLOSE_OF.get(wanted.dtype.name, CLOSE)
    apart = np.flatnonzero(~np.isclose(one, two, equal_nan=True, **close))
    assert not len(apart), f"{name}[{apart[0]}] is {one[apart[0]]:g}, not {two[apart[0]]:g}"


def _kind(reason: str) -> str:
    for pattern, words in REASONS.items():
        if re.search(pattern, reason):
            return words
    return reason


def results(part: str = "") -> list[Result]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "case.onnx")
        return [run(test, path) for test in cases() if part in test.name]


def counts(found: Sequence[Result]) -> dict[str, int]:
    """How many passed, failed, and were skipped for each reason."""
    passed = [each for each in found if each.ways and not each.wrong]
    alone = sum(each.ways == (CONSTANTS,) for each in passed)
    skipped = Counter(each.reason for each in found if each.reason)
    return {
        "passed": len(passed) - alone,
        "passed, of constants alone": alone,
        "failed": sum(bool(each.wrong) for each in found),
        **dict(sorted(skipped.items(), key=lambda pair: (-pair[1], pair[0]))),
    }


if __name__ == "__main__":
    made = results(*sys.argv[1:2])
    for each in made:
        if each.wrong or sys.argv[1:]:
            print(each.name, *each.ways, each.reason, *each.wrong, sep="\n    ")
    for words, number in counts(made).items():
        print(f"{number:5} {words}")
