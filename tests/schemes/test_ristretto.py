"""The scheme `ristretto`: its rules by hand, a network trimmed step by step, its search."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from refq import kernels, networks, oracle, schemes
from refq.engine.forward import Run, forward
from refq.engine.simulated import Rounded
from refq.evaluate import main
from refq.formats.fixed import FixedPointFormat, Rounding
from refq.formats.floats import MiniFloat, PowerOfTwo
from refq.measure.calibration import gather
from refq.measure.streaming import Source
from refq.networks import Network, Node
from refq.networks.layers import Conv, Dense, MaxPool
from refq.networks.weights import Weights, random_weights
from refq.plans.plan import Plan
from refq.schemes.statistics import Statistics
from refq.search import halving

SCHEME = schemes.find("ristretto")


def case(name: str = "vgg16") -> tuple[Network, Weights, np.ndarray]:
    network = networks.build(name, {"input_size": 32, "width": 0.0625, "classes": 7})
    weights = random_weights(network, 4)
    rng = np.random.default_rng(2)
    bias = {
        name: rng.normal(0, 0.4, b.shape).astype(np.float32) for name, b in weights.bias.items()
    }
    images = rng.integers(-90, 131, (2, 3, 32, 32)).astype(np.float32)
    return network, Weights(weights.weight, bias), images


def plan_for(**options: Any) -> tuple[Statistics, Plan]:
    network, weights, images = case()
    chosen = schemes.Options(**options)
    source = Source(network, weights, lambda: [(images, None)])
    statistics = gather(SCHEME.wanted(network, chosen), source)
    assert statistics is not None
    return statistics, SCHEME.plan(network, weights, statistics, chosen)


def given(peak: float, weight: float = 1.0, **options: Any) -> Plan:
    """A plan where every layer's data reach `peak`, and its weights `weight`."""
    network, weights, _ = case()
    peaks = dict.fromkeys(SCHEME.wanted(network, schemes.Options()).also, (-peak / 3, peak))
    scaled = {name: w / np.abs(w).max() * np.float32(weight) for name, w in weights.weight.items()}
    statistics = Statistics(images=1, extremes=peaks)
    plan: Plan = SCHEME.plan(
        network, Weights(scaled, weights.bias), statistics, schemes.Options(**options)
    )
    return plan


@pytest.mark.parametrize(
    ("peak", "integer_bits"), [(100.0, 7), (128.0, 7), (128.1, 8), (1.0, 0), (0.3, -1), (0.25, -2)]
)
def test_integer_lengths(peak: float, integer_bits: int) -> None:
    """ceil(log2 peak) of data has no room for the sign, that of weights has."""
    plan = given(peak, peak)
    assert plan.tensors["data"].format == FixedPointFormat(8, 8 - integer_bits)
    assert plan.layers["conv1_1"].weight == FixedPointFormat(8, 8 - integer_bits - 1)
    # so the greatest datum saturates at a half, or nearly
    most = plan.tensors["data"].fixed
    assert most.max_code * 2.0**-most.frac_bits < 0.5 * 2.0**integer_bits


def test_biases_have_their_weights_format() -> None:
    plan = given(50.0, 0.5)
    assert plan.layers["fc7"].bias == plan.layers["fc7"].weight == FixedPointFormat(8, 8)
    wide = given(50.0, 0.5, bits_wt=6, bits_fc=5)
    assert wide.layers["fc7"].weight == FixedPointFormat(5, 5)
    assert wide.layers["conv1_1"].weight == FixedPointFormat(6, 6)


@pytest.mark.parametrize(
    ("peak", "wanted"),
    # log2(log2 2**9 - 1) + 1 = 4 exactly; a little more needs a fifth bit
    [(1.5, 4), (2.0, 4), (500.0, 4), (512.0, 4), (513.0, 5), (2.0**17, 5), (2.0**17 + 1, 6)],
)
def test_exponent_bits(peak: float, wanted: int) -> None:
    plan = given(peak, 3000.0, numbers="minifloat", device="gpu")
    assert plan.layers["conv1_1"].weight == MiniFloat(wanted, 7 - wanted)
    assert plan.tensors["data"].format == MiniFloat(wanted, 7 - wanted)
    assert plan.options["exponent_bits"] == wanted


def test_minifloat_has_no_denormals_and_no_infinity() -> None:
    fmt = MiniFloat(4, 3)
    x = np.array([2.0**-7, 0.99 * 2.0**-7, 1.1, 1.0625, 480.0, 495.0, 512.0, 1e9], np.float32)
    got, outside = kernels.round_values(x, fmt, Rounding.TIES_AWAY)
    # rounding up may pass the greatest value, 480; what begins beyond its exponent may not
    np.testing.assert_array_equal(got, [2.0**-7, 0, 1.125, 1.125, 480, 480, 480, 480])
    assert outside == 2
    carried, _ = kernels.round_values(np.array([497.0], np.float32), fmt)
    assert carried == 512


def test_on_the_cpu_minifloats_end_at_zero() -> None:
    x = np.array([1.1, -2.3, 0.0, 1.1, -2.3], np.float32)
    got, _ = kernels.round_values(x, MiniFloat(4, 1, until_zero=True), Rounding.TIES_AWAY)
    np.testing.assert_array_equal(got, np.array([1.0, -2.0, 0.0, 1.1, -2.3], np.float32))


def test_on_the_cpu_every_input_is_trimmed_up_to_its_first_zero() -> None:
    """Also what an output's trimming has left, and a pooling moved to the front."""
    network, weights, images = case()
    # channel 0 is above zero, channel 1 below the least minifloat: trimming the output ends
    # there at its first value, and pooling puts a second one in its place. The zero saves the bias.
    for channel, weight, bias in ((0, 0.01, 0.0), (1, 0.0, 2.0**-20)):
        weights.weight["conv1_2"][channel] = weight
        weights.bias["conv1_2"][channel] = bias
    _, plan = plan_for(numbers="minifloat", bits_act=9)
    fmt = MiniFloat(plan.options["exponent_bits"], 8 - plan.options["exponent_bits"])
    read = {node.inputs[0] for node in network.weighted}
    untrimmed = 0

    def look(node: Node | None, rounded: Rounded) -> None:
        nonlocal untrimmed
        if (node.name if node else "data") in read:
            for image in rounded.tensor:
                flat = image.reshape(-1)
                whole, _ = kernels.round_values(flat, fmt, Rounding.TIES_AWAY)
                first = int(np.argmin(np.abs(flat)))
                assert flat[first] == 0 or (whole == flat).all()
                np.testing.assert_array_equal(flat[:first], whole[:first])
                untrimmed += int((whole != flat).sum())

    forward(network, weights, plan, images, run=Run(look))
    assert untrimmed > 1000


def test_powers_of_two_have_no_zero() -> None:
    fmt = PowerOfTwo(-8, -1)
    x = np.array([0.0, -0.0, 1e-9, -1e-9, 0.17, 0.18, -0.4, 3.0], np.float32)
    got, _ = kernels.round_values(x, fmt, Rounding.TIES_AWAY)
    least = 2.0**-8
    # 2**-2.5 = 0.1768 divides the logarithm's halves
    np.testing.assert_array_equal(got, [least, least, least, -least, 0.125, 0.25, -0.5, 0.5])


def test_powers_of_two_leave_biases_and_on_the_cpu_data() -> None:
    cpu, gpu = (given(50.0, 0.5, numbers="power-of-two", device=d) for d in ("cpu", "gpu"))
    for plan in (cpu, gpu):
        assert plan.layers["conv1_1"].weight == PowerOfTwo(-8, -1)
        assert plan.layers["conv1_1"].bias is None
    assert cpu.tensors == {} and gpu.tensors["conv1_1"].format == FixedPointFormat(8, 2)


def test_ranges_of_outputs_are_seen_after_the_relu() -> None:
    statistics, plan = plan_for()
    network, _, _ = case()
    (relu,) = network.consumers["conv1_1"]
    high = statistics.extremes[relu.name][1]
    assert plan.tensors["conv1_1"].fixed.frac_bits == 8 - math.ceil(math.log2(high))
    low, high = statistics.extremes["fc8"]
    last = max(-low, high)  # nothing overwrites the last layer's
    assert plan.tensors["fc8"].fixed.frac_bits == 8 - math.ceil(math.log2(last))


@pytest.mark.parametrize(("device", "ties"), [("cpu", "away"), ("gpu", "even")])
def test_a_network_trimmed_step_by_step(device: str, ties: str) -> None:
    """An own rendering: in layer order, inputs, weights and outputs trimmed in float64."""
    network, weights, images = case()
    statistics, plan = plan_for(device=device, bits_act=7, bits_wt=6)

    def trim(x: np.ndarray, bits: int, integer_bits: int) -> np.ndarray:
        step = 2.0 ** (integer_bits - bits)
        ends = -(2.0 ** (bits - 1)) * step, (2.0 ** (bits - 1) - 1) * step
        scaled = np.clip(x.astype(np.float64), *ends) / step
        away = np.copysign(np.floor(np.abs(scaled) + 0.5), scaled)
        return (np.rint(scaled) if ties == "even" else away) * step

    def length(peak: float) -> int:
        return math.ceil(math.log2(peak))

    tensors = {"data": images.astype(np.float64)}
    for node in network.nodes:
        x, layer = tensors[node.inputs[0]], node.layer
        if isinstance(layer, (Conv, Dense)):
            read = max(map(abs, statistics.extremes[node.inputs[0]]))
            (reader,) = network.consumers[node.name] or (node,)
            made = max(map(abs, statistics.extremes[reader.name]))
            x = trim(x, 7, length(read))
            w, b = weights.weight[node.name], weights.bias[node.name]
            own = length(float(np.abs(w).max())) + 1
            how = {"strides": layer.strides, "pads": layer.pads} if isinstance(layer, Conv) else {}
            operation = oracle.conv if isinstance(layer, Conv) else oracle.dense
            out = operation(x, trim(w, 6, own), trim(b, 6, own), **how)
            tensors[node.name] = trim(out, 7, length(made))
        elif type(layer).__name__ == "ReLU":
            tensors[node.name] = np.maximum(x, 0)
        else:
            assert isinstance(layer, MaxPool)
            windows: Any = {key: getattr(layer, key) for key in ("strides", "pads", "ceil_mode")}
            tensors[node.name] = kernels.max_pool(x.astype(np.float32), layer.kernel, **windows)
    np.testing.assert_array_equal(forward(network, weights, plan, images), tensors[network.output])


class Judge:
    """Accepts lists by a rule, and remembers them."""

    def __init__(self, floor: tuple[int, ...]) -> None:
        self.floor, self.asked = floor, []  # type: tuple[int, ...], list[tuple[int, ...]]

    def measure(self, widths: tuple[int, ...]) -> bool:
        self.asked.append(widths)
        return all(width >= least for width, least in zip(widths, self.floor))


def test_halving_goes_part_by_part() -> None:
    judge = Judge((5, 3, 17))
    assert halving.search(3, (16, 8, 4, 2), judge) == (8, 4, 32)  # type: ignore[arg-type]
    first = [(16, 32, 32), (8, 32, 32), (4, 32, 32)]
    second = [(32, 16, 32), (32, 8, 32), (32, 4, 32), (32, 2, 32)]
    assert judge.asked == [*first, *second, (32, 32, 16), (8, 4, 32)]


def test_halved_parts() -> None:
    network, _, _ = case()
    statistics, _ = plan_for()
    parts, widths = SCHEME.halving(network, statistics, schemes.Options())
    assert parts == ("conv", "fc", "data") and widths == (16, 8, 4, 2)
    squeezenet = networks.build("squeezenet1_1", {"input_size": 48, "width": 0.25, "classes": 7})
    assert SCHEME.halving(squeezenet, statistics, schemes.Options())[0] == ("conv", "data")
    parts, widths = SCHEME.halving(network, statistics, schemes.Options(numbers="minifloat"))
    assert parts == ("all",) and widths == (16, 8)


def test_searched_from_the_command_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    journal = str(tmp_path / "j.jsonl")
    search = [
        "vgg16",
        "--scheme",
        "ristretto",
        "--device",
        "gpu",
        "--delta",
        "40",
        "--images",
        "20",
    ]
    few = ["--calibrate", "40", "--journal", journal, "--json", "-"]
    assert main([*search, *few]) == 0
    once = json.loads(capsys.readouterr().out)
    found = once["search"]
    assert found["strategy"] == "halving" and set(found["widths"]) == {"conv", "fc", "data"}
    tried = [trial["widths"] for trial in found["trials"]]
    assert found["widths"] in tried
    for widths in tried[:-1]:  # one part at a time; the last may be all of them
        assert list(widths.values()).count(32) == 2
    weight = once["plan"]["layers"]["fc7"]["weight"]
    assert (weight or {"bits": 32})["bits"] == found["widths"]["fc"]
    assert once["figures"] == []
    assert main([*search, *few]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["plan"] == once["plan"] and again["search"]["resumed"] == len(found["trials"]) + 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--numbers", "posit"], "--numbers posit.*fixed, minifloat, power-of-two"),
        (["--rounding", "ties-pos"], "--rounding with scheme ristretto"),
        (["--mode", "eightbit"], "--mode with scheme ristretto"),
        (["--bits-act", "conv1_1=4"], "by layer with scheme ristretto"),
        (["--delta", "1", "--numbers", "power-of-two"], "fixed or minifloat"),
        (["--delta", "1", "--search", "layerwise"], "--search layerwise.*halving"),
        (["--delta", "1", "--bits-wt", "6"], "--bits-wt with --search halving"),
        (["--numbers", "minifloat", "--bits-act", "4"], "minifloats of 4 bits"),
    ],
)
def test_refused(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    few = ["--images", "5", "--calibrate", "8"]
    assert main(["vgg16", "--scheme", "ristretto", *few, *arguments]) == 2
    error = capsys.readouterr().err
    assert all(part in error for part in message.split(".*")), error
