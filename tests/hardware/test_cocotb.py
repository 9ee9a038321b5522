"""The cocotb bench of tools/cocotb_units.py passes, and fails where a unit is wrong."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from refq import export
from tests.machine import needs

TOOL = Path(__file__).parents[2] / "tools" / "cocotb_units.py"


def bench(*folders: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(TOOL), *map(str, folders)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def test_units_equal_a_golden_set(tmp_path: Path) -> None:
    if importlib.util.find_spec("cocotb") is None:
        pytest.skip("no cocotb to run its bench with (pip install 'refq[cocotb]')")
    needs("iverilog")
    golden, rtl = tmp_path / "golden", tmp_path / "rtl"
    arguments = ["alexnet", "--scheme", "enq", "--calibrate", "9"]
    assert export.main([*arguments, "--out", str(golden), "--rtl", str(rtl)]) == 0
    good = bench(golden, rtl)
    assert good.returncode == 0 and "PASS=1" in good.stdout, good.stdout + good.stderr
    unit = rtl / "refq_qe.v"
    source = unit.read_text()
    assert "shifted[0]" in source
    unit.write_text(source.replace("shifted[0]", "shifted[1]"))
    wrong = bench(golden, rtl)
    assert wrong.returncode == 1 and "FAIL=1" in wrong.stdout, wrong.stdout + wrong.stderr
    missing = bench(tmp_path, rtl)
    assert missing.returncode == 2 and missing.stderr.count("\n") == 1
