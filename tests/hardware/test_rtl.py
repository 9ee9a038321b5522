"""The units in Verilog: benches under Icarus, lint, broken units, refusals, netlists."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from refq import schemes
from refq.engine.forward import Run, forward, quantize_weights
from refq.errors import RefqError
from refq.formats.codes import Codebook, ShiftCode
from refq.formats.fixed import Accumulator, FixedPointFormat, Overflow, Rounding
from refq.hardware import rtl
from refq.hardware.rtl import tables
from refq.hardware.rtl.tables import Row
from refq.measure.calibration import gather
from refq.networks import Network, Node
from refq.networks.layers import Conv, Dense, ReLU
from refq.networks.weights import Weights, random_weights
from refq.plans.plan import LayerPlan, Plan, TensorPlan
from refq.schemes.hybrid_options import HybridOptions
from tests.agreement import bundled_case, bundled_source
from tests.machine import needs
from tests.schemes.test_hybrid import branched, made, pixels, uneven

LIBRARY = Path(__file__).parents[2] / "tools" / "gates.lib"
OF_NO_PLAN = ("tb_mac_modes", "tb_requantize_modes")
FINE = FixedPointFormat(6, 3)


def made_in(folder: Path, *targets: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["make", "-C", str(folder), *targets], capture_output=True, text=True)


def benches_of(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("tb_*.v"))


def passed(folder: Path) -> dict[str, int]:
    """{bench: checks} of a plan's benches, all of which have to pass."""
    own = [name for name in benches_of(folder) if name not in OF_NO_PLAN]
    done = made_in(folder, f"BENCHES={' '.join(own)}")
    assert done.returncode == 0 and not done.stderr, done.stdout + done.stderr
    lines = [line.split() for line in done.stdout.splitlines() if line.startswith("PASS")]
    assert own and [(line[1], line[3]) for line in lines] == [(name, "checks") for name in own]
    return {line[1]: int(line[2]) for line in lines}


def words(folder: Path, name: str) -> list[int]:
    return [int(line, 16) for line in (folder / "vectors" / f"{name}.mem").read_text().split()]


@cache
def bundled(name: str) -> Any:
    return bundled_case(name)


def planned(name: str, scheme: str, **options: Any) -> tuple[Network, Weights, np.ndarray, Plan]:
    network, weights, images, statistics = bundled(name)
    chosen = schemes.Options(**options)
    if scheme == "knq":
        source = bundled_source(network, weights)
        statistics = gather(schemes.find(scheme).wanted(network, chosen), source, statistics)
    return network, weights, images, schemes.find(scheme).plan(network, weights, statistics, chosen)


def written(folder: Path, network: Network, weights: Weights, plan: Plan, images: Any) -> Path:
    folder.mkdir(exist_ok=True)
    rtl.write(folder, network, quantize_weights(network, weights, plan), plan, images)
    return folder


PLANS: list[tuple[str, str, dict[str, Any], dict[str, int]]] = [
    ("vgg16", "enq", {}, {"tb_qe": 38912, "tb_ce": 480}),
    (
        "vgg16",
        "enq",
        {
            "assign": "floor",
            "qm": "global",
            "widths": {"conv2_1": 1, "conv2_2": 12},
            "accumulator": Accumulator(22, Overflow.SAT_SYM, every_mac=True),
        },
        {"tb_qe": 14 * 4096, "tb_ce": 13 * 32 + 2},
    ),
    (
        "vgg16",
        "knq",
        {"accumulator": Accumulator(19, Overflow.WRAP)},
        {"tb_qk": 61440, "tb_ck": 480},
    ),
    ("vgg16", "uniform", {"rounding": Rounding.TO_ZERO, "overflow": Overflow.WRAP}, {}),
    ("vgg16", "hybrid", {"hybrid": HybridOptions(granularity="2D")}, {}),
    (
        "squeezenet1_1",
        "knq",
        {"assign": "floor", "bits_act": 3, "widths": {"conv10": 1}},
        {"tb_qk": 73728, "tb_ck": 17 * 8 + 2},
    ),
]


@pytest.mark.parametrize(("name", "scheme", "options", "checks"), PLANS, ids=str)
def test_bundled_networks(
    name: str, scheme: str, options: dict[str, Any], checks: dict[str, int], tmp_path: Path
) -> None:
    needs("iverilog", "make")
    network, weights, images, plan = planned(name, scheme, **options)
    folder = written(tmp_path, network, weights, plan, images)
    found = passed(folder)
    assert found.pop("tb_mac") == len(words(folder, "mac_outputs")) // 11
    assert found.pop("tb_requantize") >= 60
    assert found == checks
    if shutil.which("verilator"):
        lint = made_in(folder, "lint")
        assert lint.returncode == 0 and not lint.stderr, lint.stderr
        assert ("refq_units.v" in lint.stdout) == bool(checks)


def test_lint_finds_something(tmp_path: Path) -> None:
    needs("verilator", "make")
    for path in Path(rtl.__file__).parent.glob("refq_*.v"):
        shutil.copy(path, tmp_path)
    shutil.copy(Path(rtl.__file__).with_name("Makefile.in"), tmp_path / "Makefile")
    assert made_in(tmp_path, "lint").returncode == 0
    broken(tmp_path, "refq_ce", "code} << amount", "1'b0, code} << amount")
    assert "WIDTH" in made_in(tmp_path, "lint").stderr


# --- a small network, every corner ----------------------------------------------------------------


def corners() -> tuple[Network, Weights, Plan]:
    """Codes of one bit, of one value, shorter than their bits say, equal ones, a shift by 0 places,
    a code that is cut, points without a code."""
    kinds: list[Any] = [
        (5, ShiftCode(3, 2, True)),
        (4, ShiftCode(4, 0, True)),
        (7, ShiftCode(1, 3, True)),
        (6, Codebook(3, (0, 2, 2, 9, 40), True)),
        (5, Codebook(1, (7,), False)),
        (9, Codebook(1, (3, 500), False)),
        (3, None),
    ]
    nodes: list[Node] = []
    tensors = {"data": TensorPlan(FixedPointFormat(7, 2))}
    source = "data"
    for place, (bits, code) in enumerate(kinds):
        conv = Conv(2 + place % 3, (2, 1), pads=(1, 0, 0, 0))
        nodes += [Node(f"c{place}", conv, (source,)), Node(f"r{place}", ReLU(), (f"c{place}",))]
        source = f"r{place}"
        tensors[source] = TensorPlan(FixedPointFormat(bits, 1, False), code)
    nodes.append(Node("last", Dense(3), (source,)))
    network = Network("corners", (2, 4, 3), tuple(nodes))
    layers = {node.name: LayerPlan(FINE, FINE) for node in network.weighted}
    return network, random_weights(network, 5), Plan("corners", {}, "mixed", tensors, layers)


def test_codes_of_every_corner(tmp_path: Path) -> None:
    needs("iverilog", "make")
    network, weights, plan = corners()
    folder = written(tmp_path, network, weights, plan, pixels(network, 2, 3))
    assert passed(folder) == {
        "tb_qe": 32 + 16 + 128,
        "tb_ce": 8 + 16 + 2,
        "tb_qk": 64 + 32 + 512,
        "tb_ck": 5 + 1 + 2,
        "tb_mac": 8 * 16,
        "tb_requantize": 7 * 16,
    }
    # the contract's example of ENQ: q_m 5, E 3, nearest
    shifted = words(folder, "qe")
    assert [shifted[x] for x in (5, 6, 7, 8, 27, 28, 29, 30, 31)] == [1, 2, 2, 2, 7, 7, 7, 7, 7]
    assert shifted[32:48] == list(range(16))  # by 0 places
    assert [shifted[48 + x] for x in (3, 4, 11, 12, 127)] == [0, 1, 1, 1, 1]  # cut to one bit
    assert words(folder, "ce") == [*range(0, 32, 4), *range(16), 0, 8]
    # thresholds 1, 2, 6, 25 of the values 0, 2, 2, 9, 40
    booked = words(folder, "qk")
    assert [booked[x] for x in (0, 1, 2, 5, 6, 24, 25, 63)] == [0, 1, 2, 2, 3, 3, 4, 4]
    assert booked[64:96] == [0] * 32
    assert [booked[96 + x] for x in (0, 499, 500, 511)] == [0, 0, 1, 1]
    assert words(folder, "ck") == [0, 2, 2, 9, 40, 7, 3, 500]
    if shutil.which("verilator"):
        assert made_in(folder, "lint").returncode == 0
    listed = json.loads((folder / "layers.json").read_text())["units"]
    assert [row["layer"] for row in listed["qe"]["layers"]] == ["c1", "c2", "c3"]
    assert [row["tensors"] for row in listed["ck"]["layers"]] == [["r3"], ["r4"], ["r5"]]
    assert listed["qk"]["parameters"]["THRESHOLD_BITS"] == 10
    assert "//   layer  2  read by c3: r2" in (folder / "refq_units.v").read_text()


BRANCHED: list[tuple[str, dict[str, Any]]] = [
    (
        "hybrid",
        {
            "data_granularity": "map",
            "granularity": "2D",
            "accumulated": "kernel",
            "accumulator": Accumulator(11, Overflow.SAT, rounding=Rounding.TIES_AWAY),
        },
    ),
    (
        "hybrid",
        {
            "granularity": "3D",
            "accumulated": "range",
            "rounding": Rounding.TO_POS,
            "accumulator": Accumulator(10, Overflow.SAT, every_mac=True, rounding=Rounding.TO_ZERO),
        },
    ),
    (
        "clustered",
        {
            "accumulated": "range",
            "overflow": Overflow.SAT_SYM,
            "accumulator": Accumulator(13, Overflow.WRAP, rounding=Rounding.TO_NEG),
        },
    ),
]


@pytest.mark.parametrize(("scheme", "options"), BRANCHED, ids=["maps", "every MAC", "clusters"])
def test_sums_are_the_engines(scheme: str, options: dict[str, Any], tmp_path: Path) -> None:
    """Groups, strides, paddings, formats of every filter and map, accumulators that drop bits:
    sums and codes of the vectors are those that the engine has at the same places."""
    needs("iverilog", "make")
    network = branched()
    weights, images = uneven(network, 3), pixels(network, 2, 8)
    plan = made(scheme, network, weights, images, **options)
    # fewer bits than the sums were seen to need
    layers = {
        name: replace(own, accumulator=replace(own.accumulator, bits=7))
        for name, own in plan.layers.items()
    }
    plan = replace(plan, layers=layers)
    ready = quantize_weights(network, weights, plan)
    rtl.write(tmp_path, network, ready, plan, images)
    passed(tmp_path)
    seen: dict[str, Any] = {}

    def observe(node: Node | None, tensor: Any) -> None:
        seen[node.name if node else "data"] = tensor

    forward(network, ready, plan, images[:1], run=Run(observe, fused=False))
    names = json.loads((tmp_path / "layers.json").read_text())["mac"]["layers"]
    sums = signed(words(tmp_path, "mac_outputs"), 11)
    codes = iter(signed(words(tmp_path, "requantize"), 10))
    compared = 0
    for _, layer, c, y, x, _, _, _, _, total, _ in sums:
        name = names[layer]
        kept, readers = seen[name], network.consumers[name]
        place = (0, c, y, x)[: kept.codes.ndim]
        if kept.stored is None:
            assert total << int(ready.layers[name].raised[c]) == kept.codes[place], name
            if not readers:
                continue
            kept = seen[readers[0].name]
        _, its_layer, its_c, its_sum, *_, code, _ = next(codes)
        assert (its_layer, its_c, its_sum) == (layer, c, total)
        drops = kept.stored.drops or (0,) * (c + 1)
        assert code << drops[c] == kept.codes[place], name
        compared += 1
    assert compared > 50 and next(codes, None) is None
    assert len({row[7] for row in sums}) > 2 and any(row[10] for row in sums)


def signed(found: list[int], fields: int) -> list[list[int]]:
    """Words of 64 bits as signed numbers, in rows of so many."""
    rows: list[list[int]] = np.array(found, np.uint64).view(np.int64).reshape(-1, fields).tolist()
    return rows


# --- what a fault does ----------------------------------------------------------------------------


def broken(folder: Path, unit: str, line: str, instead: str) -> None:
    path = folder / f"{unit}.v"
    text = path.read_text()
    assert text.count(line) == 1
    path.write_text(text.replace(line, instead))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    needs("iverilog", "make")
    network, weights, plan = corners()
    yield written(tmp_path_factory.mktemp("units"), network, weights, plan, pixels(network, 1, 3))


def test_every_mode(folder: Path) -> None:
    """Accumulators of 8 to 40 bits, roundings and overflows that no plan has all of."""
    done = made_in(folder, f"BENCHES={' '.join(OF_NO_PLAN)}")
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("PASS") == 2
    kinds = np.array(words(folder, "mac_modes_outputs"), np.uint64).reshape(-1, 11)
    assert set(kinds[:, 6].tolist()) == set(range(8, 41)) and set(kinds[:, 0].tolist()) == set(
        range(36)
    )
    # neither nothing nor everything overflows, and some sums do more than once
    assert 0.2 < (kinds[:, 10] > 0).mean() < 0.9 and kinds[:, 10].max() > 1


FAULTS = [
    ("refq_qe", "shifted[0];", "1'b0;", "tb_qe"),
    ("refq_qe", "assign code = (SATURATE != 0)", "assign code = 1'b0", "tb_qe"),
    ("refq_ce", "code} << amount", "code} << 2", "tb_ce"),
    ("refq_qk", ">= threshold", "> threshold", "tb_qk"),
    ("refq_ck", "code == k", "code <= k", "tb_ck"),
    ("refq_rows", "index == k", "index != k", "tb_ce"),
    ("refq_mac", "wide_operand * wide_weight", "wide_operand * wide_weight + 1", "tb_mac"),
    ("refq_mac", "load ? 32'd0 : count", "load ? 32'd0 : 32'd0", "tb_mac_modes"),
    ("refq_limit", "? -high : ~high", "? ~high : ~high", "tb_mac_modes"),
    ("refq_round", "half & (rest | below[0])", "half", "tb_requantize_modes"),
    ("refq_requantize", "(relu & sum[SUM_BITS-1])", "1'b0", "tb_requantize"),
    ("refq_requantize", "shift[9] ? -shift : 10'd0", "10'd0", "tb_requantize_modes"),
]


@pytest.mark.parametrize(("unit", "line", "instead", "bench"), FAULTS)
def test_a_broken_unit_fails(
    folder: Path, unit: str, line: str, instead: str, bench: str, tmp_path: Path
) -> None:
    for path in (*folder.glob("*.v"), folder / "Makefile"):
        shutil.copy(path, tmp_path)
    (tmp_path / "vectors").symlink_to(folder / "vectors")
    broken(tmp_path, unit, line, instead)
    done = made_in(tmp_path, bench)
    assert done.returncode != 0 and f"FAIL {bench} " in done.stdout and "expected" in done.stdout


def test_missing_vectors_fail(folder: Path, tmp_path: Path) -> None:
    for path in (*folder.glob("*.v"), folder / "Makefile"):
        shutil.copy(path, tmp_path)
    for bench in ("tb_qe", "tb_mac", "tb_requantize"):
        done = made_in(tmp_path, bench)
        assert done.returncode != 0 and "PASS" not in done.stdout


# --- what is refused ------------------------------------------------------------------------------


def test_refusals(tmp_path: Path) -> None:
    network, weights, plan = corners()
    images = pixels(network, 1, 3)
    wide = {**plan.tensors, "r2": TensorPlan(FixedPointFormat(17, 1, False), ShiftCode(3, 4, True))}
    mixed = {**plan.tensors, "r2": replace(plan.tensors["r2"], code=ShiftCode(1, 3, False))}
    book = Codebook(13, tuple(range(0, 8192, 3)), True)
    long = {**plan.tensors, "r3": TensorPlan(FixedPointFormat(13, 1, False), book)}
    for changed, said in (
        ({"rounding": Rounding.STOCHASTIC}, "rounds at random"),
        ({"tensors": wide}, "layer c3: codes of 17-bit values; expected values of up to 16 bits"),
        ({"tensors": mixed}, "by floor and others by nearest; expected one rule"),
        ({"tensors": long}, "codebooks of 13 bits in 3 layers; expected tables of up to 65536"),
    ):
        with pytest.raises(RefqError, match=said):
            written(tmp_path, network, weights, replace(plan, **changed), images)
    ready = quantize_weights(network, weights, plan)
    with pytest.raises(RefqError, match="computes in float32; expected a plan of integers"):
        rtl.write(tmp_path, network, ready, replace(plan, arithmetic="float"), images)
    network = branched()
    every = Accumulator(24, every_mac=True)
    clustered = made(
        "clustered", network, uneven(network, 3), pixels(network, 2, 8), accumulator=every
    )
    with pytest.raises(RefqError, match="base kernels and residuals with limits after every MAC"):
        written(tmp_path, network, uneven(network, 3), clustered, pixels(network, 2, 8))
    assert not list(tmp_path.iterdir())


def test_tables_are_packed_from_below() -> None:
    rows = (
        Row("a", (), 5, ShiftCode(3, 2, False)),
        Row("b", (), 9, ShiftCode(2, 7, False)),
        Row("c", (), 7, ShiftCode(3, 4, False)),
    )
    qe, ce = tables.units(rows)
    found = {name: str(value) for name, value in qe.parameters.items()}
    assert found == {
        "LAYERS": "3",
        "LAYER_BITS": "2",
        "VALUE_BITS": "9",
        "CODE_BITS": "3",
        "SHIFT_BITS": "3",
        "SHIFTS": f"9'h{0b100_111_010:x}",
        "NEAREST": "0",
        "SATURATE": "0",
        "LIMITS": f"9'h{0b111_011_111:x}",
    }
    assert "LIMITS" not in ce.parameters
    (cut, _) = tables.units((*rows, Row("d", (), 8, ShiftCode(3, 2, False))))
    assert cut.parameters["SATURATE"] == 1


# --- synthesis ------------------------------------------------------------------------------------


def test_netlists_pass_the_benches(folder: Path, tmp_path: Path) -> None:
    """What comes out of synthesis, in the library's own gates, does what went in."""
    needs("yosys", "iverilog", "make")
    for path in (*folder.glob("*.v"), folder / "Makefile", LIBRARY):
        shutil.copy(path, tmp_path)
    (tmp_path / "vectors").symlink_to(folder / "vectors")
    units = [f"refq_{name}.v" for name in ("rows", "qe", "ce", "qk", "ck", "units")]
    script = (
        f"read_liberty -lib gates.lib; read_verilog {' '.join(units)}; hierarchy -top refq_units; "
        "proc; flatten; opt -full; techmap; opt -full; abc -liberty gates.lib; opt_clean -purge; "
        "write_verilog -noattr netlist.v; design -reset; read_liberty gates.lib; "
        "write_verilog -noattr refq_cells.v"
    )
    synthesis = subprocess.run(["yosys", "-q", "-p", script], cwd=tmp_path, capture_output=True)
    assert synthesis.returncode == 0, synthesis.stderr
    for name in units:
        (tmp_path / name).unlink()
    shutil.move(tmp_path / "netlist.v", tmp_path / "refq_units.v")
    assert "refq_qe" not in (tmp_path / "refq_units.v").read_text()
    assert "NAND2" in (tmp_path / "refq_units.v").read_text()
    done = made_in(tmp_path, "BENCHES=tb_qe tb_ce tb_qk tb_ck")
    assert done.stdout.count("PASS") == 4, done.stdout
