"""The units in Verilog: benches under Icarus, and lint."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from refq.engine.forward import Run, forward, quantize_weights
from refq.formats.fixed import Accumulator, Overflow, Rounding
from refq.hardware import rtl
from refq.networks import Node
from refq.schemes.hybrid_options import HybridOptions
from tests.hardware.verilog import broken, corners, made_in, passed, planned, words, written
from tests.machine import needs
from tests.schemes.test_hybrid import branched, made, pixels, uneven

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


def test_codes_of_every_corner(tmp_path: Path) -> None:
    needs("iverilog", "make")
    network, weights, plan = corners()
    folder = written(tmp_path, network, weights, plan, pixels(network, 2, 3))
    assert passed(folder) == {
        "tb_qe": 32 + 16 + 128 + 64 + 128,
        "tb_ce": 8 + 16 + 2 + 16 + 128,
        "tb_qk": 64 + 32 + 512 + 32 + 1024,
        "tb_ck": 5 + 1 + 2 + 6 + 4,
        "tb_mac": 12 * 16,
        "tb_requantize": 11 * 16,
    }
    # the contract's example of ENQ: q_m 5, E 3, nearest
    shifted = words(folder, "qe")
    assert [shifted[x] for x in (5, 6, 7, 8, 27, 28, 29, 30, 31)] == [1, 2, 2, 2, 7, 7, 7, 7, 7]
    assert shifted[32:48] == list(range(16))  # by 0 places
    assert [shifted[48 + x] for x in (3, 4, 11, 12, 127)] == [0, 1, 1, 1, 1]  # cut to one bit
    assert words(folder, "ce")[:26] == [*range(0, 32, 4), *range(16), 0, 8]
    # 4 of 6 signed bits, in two's complement: 2 rounds up to 4, -2 to 0, 30 is beyond
    signed = shifted[176:240]
    assert [signed[x & 63] for x in (0, 1, 2, 30, -1, -2, -3, -32)] == [0, 0, 1, 7, 0, 0, 15, 8]
    assert words(folder, "ce")[26:42] == [*range(0, 32, 4), *range(32, 64, 4)]
    assert shifted[240:] == list(range(128))
    # thresholds 1, 2, 6, 25 of the values 0, 2, 2, 9, 40
    booked = words(folder, "qk")
    assert [booked[x] for x in (0, 1, 2, 5, 6, 24, 25, 63)] == [0, 1, 2, 2, 3, 3, 4, 4]
    # thresholds -9, -1, 0, 1, 8 of the values -15, -3, 0, 0, 2, 14
    signed = booked[608:640]
    assert [signed[x & 31] for x in (-16, -10, -9, -2, -1, 0, 1, 8)] == [0, 0, 1, 1, 2, 3, 4, 5]
    assert words(folder, "ck")[8:14] == [17, 29, 0, 0, 2, 14]
    assert booked[64:96] == [0] * 32
    assert [booked[96 + x] for x in (0, 499, 500, 511)] == [0, 0, 1, 1]
    assert words(folder, "ck")[:8] == [0, 2, 2, 9, 40, 7, 3, 500]
    if shutil.which("verilator"):
        assert made_in(folder, "lint").returncode == 0
    listed = json.loads((folder / "layers.json").read_text())["units"]
    assert [row["layer"] for row in listed["qe"]["layers"]] == ["c1", "c2", "c3", "c8", "c10"]
    made = [["r3"], ["r4"], ["r5"], ["c8"], ["c10"]]
    assert [row["tensors"] for row in listed["ck"]["layers"]] == made
    assert listed["qk"]["parameters"]["THRESHOLD_BITS"] == 11
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
