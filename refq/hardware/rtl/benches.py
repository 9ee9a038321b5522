"""Verilog text about the units of a plan: the module that instantiates them, and benches."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from typing import Any

from refq.hardware.rtl.tables import Table, Unit


def source(name: str) -> str:
    """The text of a file that comes with this package."""
    return resources.files("refq.hardware.rtl").joinpath(name).read_text("utf-8")


def unit_sources() -> dict[str, str]:
    """{file name: text} of all units."""
    folder = resources.files("refq.hardware.rtl")
    names = sorted(each.name for each in folder.iterdir() if each.name.endswith(".v"))
    return {name: source(name) for name in names}


def top(units: Sequence[Unit], title: str) -> str:
    """refq_units.v: every conversion unit of a plan, with its layers in the heading."""
    heading = [f"// Conversion units of {title}.", "//"]
    for rows in dict.fromkeys(unit.rows for unit in units):
        heading.append(f"// {', '.join(unit.name.upper() for unit in units if unit.rows == rows)}:")
        heading += [
            f"//   layer {place:2}  read by {row.layer}: {', '.join(row.tensors)}"
            for place, row in enumerate(rows)
        ]
    ports, bodies = [], []
    for unit in units:
        for way, port in (("input", "layer"), ("input", unit.given), ("output", unit.got)):
            ports.append(f"    {way} wire [{unit.bits(port) - 1}:0] {unit.name}_{port}")
        parameters = [f"        .{name}({value})" for name, value in unit.parameters.items()]
        names = ("layer", unit.given, unit.got)
        wired = [f"        .{port}({unit.name}_{port})" for port in names]
        bodies.append(
            f"    refq_{unit.name} #(\n"
            + ",\n".join(parameters)
            + f"\n    ) {unit.name} (\n"
            + ",\n".join(wired)
            + "\n    );\n"
        )
    lines = "\n".join(heading)
    return (
        f"{lines}\nmodule refq_units (\n"
        + ",\n".join(ports)
        + "\n);\n"
        + "".join(bodies)
        + "endmodule\n"
    )


def code_bench(unit: Unit, inputs: Sequence[int]) -> str:
    """tb_qe.v and its like. inputs: how many each layer has."""
    return _filled(
        "tb_codes.v.in",
        UNIT=unit.name,
        IN=unit.given,
        OUT=unit.got,
        LAYERS=len(unit.rows),
        LAYER_BITS=unit.bits("layer"),
        IN_BITS=unit.bits(unit.given),
        OUT_BITS=unit.bits(unit.got),
        WORDS=sum(inputs),
        INPUTS=Table(32, tuple(inputs)),
    )


def mac_bench(name: str, modes: Sequence[int], outputs: int, steps: int, **sizes: int) -> str:
    """modes: of each kind of accumulator, EVERY_MAC, ROUNDING and OVERFLOW as hex digits."""
    return _filled(
        "tb_mac.v.in",
        NAME=name,
        KINDS=len(modes),
        MODES=Table(12, tuple(modes)),
        OUTPUTS=outputs,
        STEPS=steps,
        **sizes,
    )


def requantize_bench(name: str, modes: Sequence[int], outputs: int, **sizes: int) -> str:
    """modes: of each kind, ROUNDING and OVERFLOW as hex digits."""
    return _filled(
        "tb_requantize.v.in",
        NAME=name,
        KINDS=len(modes),
        MODES=Table(8, tuple(modes)),
        OUTPUTS=outputs,
        **sizes,
    )


def _filled(template: str, **values: Any) -> str:
    text = source(template)
    for name, value in values.items():
        text = text.replace(f"@{name}@", str(value))
    return text
