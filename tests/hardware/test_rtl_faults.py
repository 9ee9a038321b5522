"""Benches fail where a unit is broken; what is refused; netlists."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from refq.engine.forward import quantize_weights
from refq.errors import RefqError
from refq.formats.codes import Codebook, ShiftCode
from refq.formats.fixed import Accumulator, FixedPointFormat, Rounding
from refq.hardware import rtl
from refq.hardware.rtl import tables
from refq.hardware.rtl.tables import Row
from refq.plans.plan import TensorPlan
from tests.hardware.verilog import OF_NO_PLAN, broken, corners, made_in, words, written
from tests.machine import needs
from tests.schemes.test_hybrid import branched, made, pixels, uneven

LIBRARY = Path(__file__).parents[2] / "tools" / "gates.lib"


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
    ("refq_qe", "limited = (SATURATE != 0)", "limited = 1'b0", "tb_qe"),
    ("refq_qe", "value ^ value_sign", "value", "tb_qe"),
    ("refq_qe", "limited ^ code_sign", "limited", "tb_qe"),
    ("refq_qk", "value ^ value_sign", "value", "tb_qk"),
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


def test_refusals(tmp_path: Path) -> None:
    network, weights, plan = corners()
    images = pixels(network, 1, 3)
    wide = {**plan.tensors, "r2": TensorPlan(FixedPointFormat(17, 1, False), ShiftCode(3, 4, True))}
    mixed = {**plan.tensors, "r2": replace(plan.tensors["r2"], code=ShiftCode(1, 3, False))}
    book = Codebook(13, tuple(range(0, 8192, 3)), True)
    cut = ShiftCode(3, 2, True, signed=True)
    short = {**plan.tensors, "c7": replace(plan.tensors["c7"], code=cut)}
    long = {**plan.tensors, "r3": TensorPlan(FixedPointFormat(13, 1, False), book)}
    for changed, said in (
        ({"rounding": Rounding.STOCHASTIC}, "rounds at random"),
        ({"tensors": wide}, "layer c3: codes of 17-bit values; expected values of up to 16 bits"),
        ({"tensors": mixed}, "by floor and others by nearest; expected one rule"),
        ({"tensors": long}, "codebooks of 13 bits in 5 layers; expected tables of up to 65536"),
        (
            {"tensors": short},
            "layer c8: signed codes from -16 on; expected from -32 on, as refq_qe",
        ),
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
    row = Row("e", (), 6, ShiftCode(2, 4, False, signed=True), signed=True)
    (signed, _) = tables.units((*rows, row))
    assert signed.parameters["SIGNED"] == 1 and signed.parameters["SATURATE"] == 0
    assert str(signed.parameters["VALUE_SIGNS"]) == f"36'h{32 << 27:x}"
    assert str(signed.parameters["CODE_SIGNS"]) == f"12'h{2 << 9:x}"


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
