"""A layer type is one file and a row, and so is a storage code: one of each that refq does not have
goes all the way, from a network to a golden set.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from refq import kernels, oracle
from refq.engine.forward import forward, quantize_weights
from refq.errors import FormatError, OptionError
from refq.formats import codes
from refq.formats.fixed import FixedPointFormat
from refq.hardware import c_model
from refq.hardware.files.layouts import Layout
from refq.hardware.files.words import Packing
from refq.hardware.golden import reading
from refq.hardware.golden.form import Form
from refq.hardware.golden.writing import Subject, write
from refq.hardware.rtl import tables
from refq.measure.measurement import measure
from refq.measure.streaming import Source
from refq.networks import Network, Node, chain, layers
from refq.networks.layers import Conv, Dense, Layer, ReLU, Shape
from refq.networks.points import storage_points
from refq.networks.weights import Weights, random_weights
from refq.plans import check
from refq.plans import plan as plans
from refq.plans.cost import activation_memory
from refq.plans.plan import Plan, TensorPlan
from refq.results.evaluation import Evaluation
from refq.results.text import as_text
from tests.agreement import assert_all_ways_agree, every_tensor
from tests.engine.capped import Capped
from tests.engine.negate import Negate
from tests.layer_cases import CODES, LAYERS, network_of
from tests.small_networks import pixels, planned

EVERY_LAYER: list[tuple[Layer, list[Shape]]] = [*LAYERS, (Negate(), [(3, 5, 4)])]
EVERY_CODE = [*CODES, (Capped(5), FixedPointFormat(8, 2, signed=False))]


def test_every_type_has_a_row() -> None:
    public = [getattr(layers, name) for name in layers.__all__]
    types = {kind for kind in public if isinstance(kind, type) and issubclass(kind, Layer)}
    assert {type(layer) for layer, _ in LAYERS} == types - {Layer, layers.Weighted}
    ours = {kind for kind in codes.known() if kind.__module__.startswith("refq.")}
    assert {type(code) for code, _ in CODES} == ours


@pytest.mark.parametrize(("layer", "shapes"), EVERY_LAYER, ids=str)
def test_all_ways_agree_about_a_layer(layer: Layer, shapes: list[Shape]) -> None:
    """As the network's output, and read by another layer."""
    for more in ((), (Node("end", Dense(3), ("made",)),)):
        network = network_of(layer, shapes, *more)
        weights, images = random_weights(network, 1), pixels(network, 2, 3)
        plan = planned(network, weights, "uniform")
        check.check(plan, network)
        assert_all_ways_agree(network, weights, plan, images)
        wanted = forward(network, weights, None, images, oracle)
        got = forward(network, weights, None, images)
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())


@pytest.mark.parametrize(("code", "fmt"), EVERY_CODE, ids=str)
def test_what_a_storage_code_says_of_itself(code: codes.StorageCode, fmt: FixedPointFormat) -> None:
    values = np.arange(fmt.min_code, fmt.max_code + 1, dtype=np.int32)
    levels = np.array(code.levels)
    indices = code.encode(values, kernels)
    np.testing.assert_array_equal(indices, code.encode(values, oracle))
    places = indices - code.first
    assert places.min() >= 0 and places.max() < len(levels) <= 1 << code.bits
    kept = code.kept(values, kernels)
    np.testing.assert_array_equal(kept, code.kept(values, oracle))
    np.testing.assert_array_equal(kept, levels[places])
    # what a ReLU makes of what is stored is stored as itself
    assert not fmt.signed or 0 in levels
    # what is stored is stored as itself, and counted where it is found again
    np.testing.assert_array_equal(code.kept(kept, kernels), kept)
    counts = code.counted(kept, kernels)
    np.testing.assert_array_equal(counts, code.counted(kept, oracle))
    assert len(counts) == 1 << code.bits and counts.sum() == len(values)
    np.testing.assert_array_equal(levels[np.flatnonzero(counts)], np.unique(kept))
    assert set(code.numbers) | set(code.tables) == set(code.stages)
    assert TensorPlan(fmt, code).storage is code
    peak = max(-int(levels[0]) - 1, int(levels[-1])).bit_length()
    with pytest.raises(FormatError):
        TensorPlan(replace(fmt, bits=peak - 1 + fmt.signed), code)


def case() -> tuple[Network, Weights, Plan]:
    """A network with a negation behind a tensor that is stored by the other newcomer."""
    steps = [("conv", Conv(5, (3, 2))), ("relu", ReLU()), ("negate", Negate()), ("end", Dense(3))]
    network = Network("new", (2, 6, 5), tuple(chain("data", *steps)))
    weights = random_weights(network, 2)
    plan = planned(network, weights, "uniform")
    relu = replace(plan.tensors["relu"], code=Capped(9))
    return network, weights, replace(plan, tensors={**plan.tensors, "relu": relu})


def test_a_new_layer_and_a_new_code_in_a_plan() -> None:
    network, weights, plan = case()
    assert network.shapes["negate"] == network.shapes["relu"] == (5, 4, 4)
    points = {point.name: point for point in storage_points(network)}
    assert points["end"].signed and points["end"].makers == ("negate",)
    assert not points["negate"].signed and points["negate"].tensors == ("relu",)
    check.check(plan, network)
    stored = plan.to_json()
    assert stored["tensors"]["relu"]["code"] == {"bits": 9}
    assert plans.from_json(json.loads(json.dumps(stored))) == plan
    images = pixels(network, 2, 5)
    assert_all_ways_agree(network, weights, plan, images)
    seen = every_tensor(network, weights, plan, images)
    relu, negated = (seen[name][0] * 2.0 ** -seen[name][1] for name in ("relu", "negate"))
    assert seen["relu"][0].max() == 511
    # the negation rounds to its own format, as any layer's output does
    step = 2.0 ** -plan.tensors["negate"].fixed.frac_bits
    assert np.abs(negated + relu).max() <= step / 2


def test_a_new_layer_and_a_new_code_in_a_report() -> None:
    network, weights, plan = case()
    source = Source(network, weights, lambda: [(pixels(network, 4, 7), np.arange(4) % 3)])
    measured, memory = measure(source, plan), activation_memory(network, plan)
    told = {"source": "random", "sha256": "0", "metadata": {}}
    data = {"name": "noise", "first": 0, "sha256": "0", "preprocessing": {}, "calibration": None}
    evaluation = Evaluation(network, "uniform", plan, measured, memory, told, data, {}, 1.0)
    content = evaluation.content
    rows = {row["name"]: row for row in content["layers"]}
    assert (rows["negate"]["input_bits"], rows["end"]["input_bits"]) == (9, 12)
    assert content["plan"] == plan.to_json()
    assert "\nnegate  fxp-u12/" in as_text(evaluation)


def test_a_new_layer_and_a_new_code_in_a_golden_set(tmp_path: Path) -> None:
    network, weights, plan = case()
    chosen, images = tuple(network.shapes), pixels(network, 2, 9)
    subject = Subject(
        network, weights, quantize_weights(network, weights, plan), plan, chosen, None, 2, 0
    )
    write(tmp_path, subject, Form("raw", Layout(), Packing()), [images], {})
    golden = reading.load(tmp_path)
    assert golden.manifest.plan == plan and golden.manifest.layers["negate"].type == "Negate"
    arrays = {array.name: golden.read(array) for array in golden.manifest.arrays}
    np.testing.assert_array_equal(arrays["relu.code"], np.minimum(arrays["relu.rounded"], 511))
    seen = every_tensor(network, weights, plan, images)
    np.testing.assert_array_equal(arrays["negate.code"], seen["negate"][0])
    # there is no C and no Verilog of either
    stored = json.loads((tmp_path / "manifest.json").read_text())
    with pytest.raises(OptionError, match="layer relu stored by a capped; expected one of shift"):
        c_model.write(tmp_path, stored)
    for layer in stored["layers"]:
        if layer["stored"]:
            layer["stored"]["code"] = None
    with pytest.raises(OptionError, match="layer negate of type Negate; expected one of Conv"):
        c_model.write(tmp_path, stored)
    with pytest.raises(FormatError, match="layer negate: codes of kind capped; expected shift or"):
        tables.units(tables.coded_rows(network, plan))
