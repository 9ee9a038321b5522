"""float32 simulations: formats, plans, all ways of computing one, what is measured of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from refq import kernels, networks, oracle, schemes
from refq.engine.forward import Run, forward, ready
from refq.engine.simulated import Rounded, RoundedWeights, rounded_weights
from refq.errors import FormatError, OptionError, RefqError
from refq.evaluate import main
from refq.formats.fixed import Accumulator, FixedPointFormat, Overflow, Rounding
from refq.formats.floats import Affine, Buckets, MiniFloat, PowerOfTwo
from refq.measure.calibration import gather
from refq.measure.measurement import measure
from refq.measure.ranking import rank
from refq.measure.streaming import Source
from refq.networks import Network, Node
from refq.networks.weights import Weights
from refq.plans import check as plan_check
from refq.plans import plan as plans
from refq.plans.cost import activation_memory, mac_complexity, weight_bits
from refq.plans.plan import FLOAT, LayerPlan, Plan, TensorPlan
from tests.op_cases import NUMBERS, ROWS
from tests.op_rows import Row

ROUNDED = [row for row in ROWS if row.operation == "round_values"]


@pytest.mark.parametrize("row", ROUNDED, ids=lambda row: row.id)
def test_rounding_is_the_oracles_to_the_bit(row: Row) -> None:
    arguments = row.arguments()
    got, outside = kernels.round_values(**arguments)
    wanted, beyond = oracle.round_values(**arguments)
    np.testing.assert_array_equal(got, wanted)
    assert outside == beyond and got is not arguments["x"]


def test_rounding_refuses_what_it_cannot() -> None:
    x = np.ones((2, 3), np.float32)
    for ops in (kernels, oracle):
        with pytest.raises(FormatError, match=r"float64.*float32"):
            ops.round_values(x.astype(np.float64), FixedPointFormat(8, 3))
        with pytest.raises(FormatError, match=r"stochastic.*ties-even or ties-away"):
            ops.round_values(x, MiniFloat(4, 3), Rounding.STOCHASTIC)
        with pytest.raises(FormatError, match="NaN"):
            ops.round_values(x * np.nan, Buckets(3, -1.0, 2.0))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Buckets(0, 0.0, 1.0), "0 bits.*1 to 24"),
        (lambda: Buckets(8, 2.0, 1.0), "from 2.0 to 1.0.*finite range"),
        (lambda: Affine(8, 0.0, -3), "step 0.0.*positive"),
        (lambda: MiniFloat(1, 3), "1 exponent.*2 to 7"),
        (lambda: MiniFloat(4, 24), "24 mantissa.*0 to 23"),
        (lambda: PowerOfTwo(-1, -8), "-1 to -8.*ascending"),
    ],
)
def test_formats_refuse_nonsense(make: Any, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        make()


def test_formats_count_their_bits() -> None:
    assert (MiniFloat(4, 3).bits, MiniFloat(5, 0).bits) == (8, 6)
    assert (PowerOfTwo(-8, -1).bits, PowerOfTwo(-2, -2).bits, PowerOfTwo(0, 8).bits) == (4, 1, 5)
    assert str(MiniFloat(4, 3)).startswith("flp-e4m3 = 8-bit")
    assert all(str(fmt).partition(" = ")[0] == fmt.short for fmt in NUMBERS)


def case() -> tuple[Network, Weights, np.ndarray]:
    """Small integers, so that every float32 sum of trimmed values is exact in any order."""
    network = networks.build("squeezenet1_1", {"input_size": 40, "width": 0.25, "classes": 7})
    rng = np.random.default_rng(5)
    shapes = network.weight_shapes()
    weight = {
        name: rng.integers(-3, 4, shape).astype(np.float32) / 8 for name, shape in shapes.items()
    }
    bias = {
        name: rng.integers(-9, 9, shape[0]).astype(np.float32) / 4 for name, shape in shapes.items()
    }
    images = rng.integers(-100, 120, (3, *network.input_shape)).astype(np.float32)
    return network, Weights(weight, bias), images


def ristretto(device: str = "gpu", numbers: str = "fixed", **options: Any) -> Plan:
    network, weights, images = case()
    scheme = schemes.find("ristretto")
    chosen = schemes.Options(device=device, numbers=numbers, **options)
    source = Source(network, weights, lambda: [(images, None)])
    statistics = gather(scheme.wanted(network, chosen), source)
    made: Plan = scheme.plan(network, weights, statistics, chosen)
    return made


def seen(
    plan: Plan, weights: Weights, images: np.ndarray, ops: ModuleType = kernels, fused: bool = True
) -> dict[str, Rounded]:
    """Every tensor that a run shows, and the output under "result"."""
    network, tensors = case()[0], {}

    def note(node: Node | None, tensor: Any) -> None:
        tensors[node.name if node else "data"] = replace(tensor, tensor=tensor.tensor.copy())

    result = forward(network, weights, plan, images, ops, Run(note, fused=fused))
    return {**tensors, "result": Rounded(result)}


@pytest.mark.parametrize("numbers", ["fixed", "minifloat"])
@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_all_ways_agree(device: str, numbers: str) -> None:
    _network, weights, images = case()
    plan = ristretto(device, numbers)
    exact = numbers == "fixed"
    plain = seen(plan, weights, images, fused=False)
    # the oracle is slow: one image, which also says that images do not depend on each other
    slow = seen(plan, weights, images[:1], ops=oracle)
    quick = seen(plan, weights, images)
    tested = 0
    for name, tensor in quick.items():
        if name in plan.tensors and name != "result":
            assert tensor.stored == plain[name].stored == plan.tensors[name]
            assert tensor.outside == plain[name].outside
            tested += 1
        if exact or name in ("data", "conv1"):
            np.testing.assert_array_equal(tensor.tensor, plain[name].tensor, err_msg=name)
            if name != "result":
                np.testing.assert_array_equal(tensor.tensor[:1], slow[name].tensor, err_msg=name)
    assert tested > 20
    np.testing.assert_allclose(quick["result"].tensor, plain["result"].tensor, rtol=1e-5)
    np.testing.assert_allclose(quick["result"].tensor[:1], slow["result"].tensor, rtol=1e-5)


def test_weights_alone_take_the_float_path() -> None:
    network, weights, images = case()
    scheme = schemes.find("tensorflow")
    plan = scheme.plan(network, weights, None, schemes.Options(bits_wt=3))
    own = rounded_weights(network, weights, plan)
    assert isinstance(ready(network, weights, plan), RoundedWeights)
    wanted = forward(network, own.weights, None, images)
    np.testing.assert_array_equal(forward(network, own, plan, images), wanted)
    np.testing.assert_array_equal(forward(network, weights, plan, images), wanted)
    # what was rounded does not reach the float network through shared panels
    free = forward(network, weights, None, images)
    assert not np.array_equal(free, wanted)
    with pytest.raises(OptionError, match="another plan"):
        forward(network, own, ristretto(), images)
    with pytest.raises(OptionError, match="without a plan"):
        forward(network, own, None, images)


@pytest.mark.parametrize("fmt", NUMBERS, ids=lambda fmt: fmt.short)
def test_json_gives_the_plan_back(fmt: Any) -> None:
    base = ristretto()
    layers = {name: LayerPlan(fmt, None) for name in base.layers}
    plan = replace(base, layers=layers, tensors={"data": TensorPlan(fmt)})
    stored = json.loads(json.dumps(plan.to_json()))
    assert plans.from_json(stored) == plan


def test_json_of_integers_needs_no_arithmetic() -> None:
    stored = ristretto().to_json()
    assert stored.pop("arithmetic") == FLOAT
    assert plans.from_json(stored).arithmetic == "integer"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"kind": "posit"}, "KeyError.*posit"),
        ({"kind": "minifloat", "exponent_bits": 4.0, "mantissa_bits": 3}, "exponent_bits is 4.0"),
        ({"kind": "minifloat", "exponent_bits": 4}, "mantissa_bits"),
        ({"kind": "minifloat", "exponent_bits": 4, "mantissa_bits": 3, "until_zero": 1}, "until"),
        ({"kind": "affine", "bits": 8, "step": "1", "first": 0}, "step is '1'"),
        ({"kind": "affine", "bits": True, "step": 1.0, "first": 0}, "bits is True"),
    ],
)
def test_damaged_formats_are_refused(entry: dict[str, Any], message: str) -> None:
    stored = ristretto().to_json()
    stored["tensors"]["data"]["format"] = entry
    with pytest.raises(OptionError, match=message):
        plans.from_json(stored)


FIXED = TensorPlan(FixedPointFormat(8, 2))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arithmetic": "complex"}, "arithmetic complex"),
        ({"rounding": Rounding.TO_ZERO}, "to-zero"),
        ({"overflow": Overflow.WRAP}, "wrap"),
        ({"tensors": {"nothing": FIXED}}, "invents tensor nothing"),
        ({"tensors": {"data": TensorPlan(Buckets(3, 0.0, 1.0))}}, "tensor data in bucket-3"),
        ({"tensors": {"data": TensorPlan(PowerOfTwo(0, 1))}}, "tensor data in pow2-2"),
        ({"tensors": {"data": TensorPlan(Affine(3, 0.5, 1))}}, "exact zero"),
        ({"tensors": {"data": TensorPlan(Affine(3, 0.5, -2, 0.1))}}, "exact zero"),
        ({"layers": {}}, "misses or invents layer conv1,"),
        ({"arithmetic": "integer"}, "formats for.*one common format"),
    ],
)
def test_check_refuses(changes: dict[str, Any], message: str) -> None:
    network, _, _ = case()
    plan = ristretto()
    plan_check.check(plan, network)
    plan_check.check(replace(plan, tensors={"conv1": FIXED}), network)
    with pytest.raises(OptionError, match=message):
        plan_check.check(replace(plan, **changes), network)


@pytest.mark.parametrize(
    ("stored", "told"),
    [
        ({"kind": "affine", "bits": 8, "step": 0.1, "first": 10**400}, "first is beyond 32 bits"),
        ({"kind": "affine", "bits": 8, "step": 10**400, "first": 0}, "OverflowError"),
        ({"kind": "affine", "bits": 8, "step": 1e300, "first": 0}, "step 1e\\+300"),
        ({"kind": "buckets", "bits": 8, "low": -(10**400), "high": 1.0}, "OverflowError"),
        ({"kind": "buckets", "bits": 8, "low": 0.0, "high": 1e300}, "a finite range"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_absurd_numbers_are_one_line(stored: dict[str, Any], told: str) -> None:
    plan = ristretto().to_json()
    name = next(iter(plan["layers"]))
    plan["layers"][name]["weight"] = stored
    with pytest.raises(RefqError, match=told):
        plans.from_json(plan)


def test_a_plan_with_infinities_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text('{"refq_plan": 1, "options": {"share": NaN}}')
    with pytest.raises(OptionError, match="NaN is no number"):
        plans.load(path)


def test_check_refuses_accumulators_and_foreign_formats() -> None:
    network, _, _ = case()
    plan = ristretto()
    narrow = {**plan.layers, "conv1": LayerPlan(None, None, Accumulator(20))}
    with pytest.raises(OptionError, match="layer conv1 with a 20-bit"):
        plan_check.check(replace(plan, layers=narrow), network)
    with pytest.raises(OptionError, match=r"flp-e.*plan of integers"):
        plan_check.check(replace(ristretto(numbers="minifloat"), arithmetic="integer"), network)


def test_measured_and_counted() -> None:
    """Saturation, noise and zeros against the tensors themselves; bits by hand."""
    network, weights, images = case()
    plan = ristretto(bits_act=5, bits_wt=4)
    labels = np.array([0, 3, 6])
    parts = [(images[:2], labels[:2]), (images[2:], labels[2:])]
    got = measure(Source(network, weights, lambda: parts), plan)
    tensors = seen(plan, weights, images)
    # the image's greatest magnitude is 119: F = 5 - 7, codes to 15, which is 60
    assert plan.tensors["data"].format == FixedPointFormat(5, -2)
    image = got.points["conv1"]
    values = np.where(np.abs(images) % 4 == 2, np.rint(images / 4), np.round(images / 4))
    assert image.outside == int(((values > 15) | (values < -16)).sum()) > 1000
    error = images.astype(np.float64) - tensors["data"].tensor
    assert image.noise == pytest.approx(float((error**2).sum()))
    assert image.zero == int((tensors["data"].tensor == 0).sum())
    assert image.histogram is None and image.entropy_bits is None
    assert got.sums == {} and got.quantized.images == 3
    whole = Source(network, weights, lambda: [(images, labels)])
    assert rank(whole, plan) == got.quantized
    counts = sum(w.size + weights.bias[name].size for name, w in weights.weight.items())
    assert weight_bits(network, plan) == 4 * counts
    data = activation_memory(network, plan)
    assert set(data.points.values()) > {0} and data.normalized < 32 / 16
    free = replace(plan, tensors={}, layers={n: LayerPlan(None, None) for n in plan.layers})
    assert weight_bits(network, free) == 32 * counts
    macs = network.macs()
    assert mac_complexity(network, plan)["conv1"] == macs["conv1"] * 4 * 5 / 64
    assert mac_complexity(network, free)["conv1"] == macs["conv1"] * 24 * 24 / 64
    assert activation_memory(network, free).normalized == 2.0


def test_evaluated_saved_and_evaluated_again(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path, few = str(tmp_path / "plan.json"), ["--images", "30", "--calibrate", "20"]
    outputs = [str(tmp_path / name) for name in ("one.npy", "two.npy")]
    given = ["squeezenet1_1", "--scheme", "tensorflow", "--mode", "eightbit", *few]
    assert main([*given, "--save-plan", path, "--save-outputs", outputs[0]]) == 0
    text = capsys.readouterr().out
    assert "arithmetic float32 simulation; values round ties-away" in text
    assert "affine-8 " in text and "float32" in text
    again = ["squeezenet1_1", "--plan", path, "--images", "30", "--save-outputs", outputs[1]]
    assert main([*again, "--json", "-"]) == 0
    content = json.loads(capsys.readouterr().out)
    np.testing.assert_array_equal(*(np.load(output) for output in outputs))
    assert content["plan"]["arithmetic"] == "float"
    row = content["layers"][0]
    assert row["accumulator"] == "float32" and row["accumulator_bits"] is None
    assert row["input_format"].startswith("affine-8 = ") and row["input_bits"] == 8
