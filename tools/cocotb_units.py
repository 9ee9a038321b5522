"""A cocotb bench: conversion units against the .npy files of a golden set.

    python -m refq.export vgg16 --scheme knq --out golden --rtl rtl
    python tools/cocotb_units.py golden rtl

Drives QE or QK with the rounded values of every stored tensor and CE or CK with its codes, and
compares with the set's codes and values. Needs cocotb (`pip install cocotb`) and Icarus Verilog.
Exit codes: 0 all equal, 1 some differ, 2 bad input.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

try:
    import cocotb
    from cocotb.triggers import Timer
    from cocotb_tools.runner import get_runner
except ImportError:
    print("cocotb is not installed; expected it here; pip install cocotb", file=sys.stderr)
    sys.exit(2)

WORDS = 2000  # of a tensor, spread over it
GOLDEN, RTL = "REFQ_GOLDEN", "REFQ_RTL"
# a unit, the stage it reads and the stage it makes
UNITS = {
    "qe": ("value", "rounded", "code", "code"),
    "ce": ("code", "code", "value", "value"),
    "qk": ("value", "rounded", "code", "code"),
    "ck": ("code", "code", "value", "value"),
}


def pairs(unit: str) -> Iterator[tuple[int, str, np.ndarray, np.ndarray]]:
    """(number of the layer, tensor, what goes in, what comes out) for a unit's layers."""
    golden, units = Path(os.environ[GOLDEN]), Path(os.environ[RTL]) / "layers.json"
    listed = json.loads(units.read_text())["units"].get(unit)
    for number, layer in enumerate(listed["layers"] if listed else ()):
        for tensor in layer["tensors"]:
            _, source, _, target = UNITS[unit]
            stem = tensor.replace("/", "_")
            given = golden / f"{stem}.{source}.npy"
            if not given.exists():
                # a layer that moves values rounds none
                continue
            into = np.load(given).reshape(-1)
            wanted = np.load(golden / f"{stem}.{target}.npy")
            places = np.unique(np.linspace(0, into.size - 1, WORDS).astype(int))
            yield number, tensor, into[places], wanted.reshape(-1)[places]


@cocotb.test()
async def units_equal_the_golden_set(dut: Any) -> None:
    count = 0
    for unit, (input_, _, output, _) in UNITS.items():
        for number, tensor, into, wanted in pairs(unit):
            layer, port = getattr(dut, f"{unit}_layer"), getattr(dut, f"{unit}_{input_}")
            made = getattr(dut, f"{unit}_{output}")
            layer.value = number
            for given, expected in zip(into, wanted, strict=True):
                port.value = int(given)
                await Timer(1, "step")
                got = int(made.value)
                assert got == expected, f"{unit} {tensor}: {given} gives {got}, not {expected}"
                count += 1
    assert count, "no tensor of the set is stored by a code of these units"
    cocotb.log.info("%d words equal", count)


def main(golden: str, rtl: str) -> int:
    """Builds the units and runs the bench above in Icarus."""
    for folder, name in ((golden, "manifest.json"), (rtl, "refq_units.v")):
        if not (Path(folder) / name).exists():
            print(f"{folder} has no {name}; expected what refq.export wrote", file=sys.stderr)
            return 2
    if shutil.which("iverilog") is None:
        print("no iverilog; expected Icarus Verilog on the PATH; install it", file=sys.stderr)
        return 2
    sources = sorted(Path(rtl).glob("refq_*.v"))
    runner = get_runner("icarus")
    build = Path(rtl) / "cocotb"
    runner.build(sources=sources, hdl_toplevel="refq_units", build_dir=build, always=True)
    results = runner.test(
        test_module=Path(__file__).stem,
        hdl_toplevel="refq_units",
        build_dir=build,
        test_dir=build,
        extra_env={
            GOLDEN: os.path.abspath(golden),
            RTL: os.path.abspath(rtl),
            "PYTHONPATH": str(Path(__file__).parent),
        },
    )
    return 1 if "<failure" in Path(results).read_text() else 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        print("usage: cocotb_units.py GOLDEN RTL", file=sys.stderr)
        sys.exit(2)
    sys.exit(main(*sys.argv[1:]))
