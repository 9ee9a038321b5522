"""Units and benches in Verilog, written and run."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from refq import schemes
from refq.engine.forward import quantize_weights
from refq.formats.codes import Codebook, ShiftCode
from refq.formats.fixed import FixedPointFormat
from refq.hardware import rtl
from refq.measure.calibration import gather
from refq.networks import Network, Node
from refq.networks.layers import Conv, Dense, ReLU
from refq.networks.weights import Weights, random_weights
from refq.plans.plan import LayerPlan, Plan, TensorPlan
from tests.agreement import bundled_case, bundled_source

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


def corners() -> tuple[Network, Weights, Plan]:
    """Codes of one bit, of one value, shorter than their bits say, equal ones, a shift by 0 places,
    a code that is cut, points without a code, points with a sign, which have no ReLU."""
    kinds: list[Any] = [
        (5, ShiftCode(3, 2, True)),
        (4, ShiftCode(4, 0, True)),
        (7, ShiftCode(1, 3, True)),
        (6, Codebook(3, (0, 2, 2, 9, 40), True)),
        (5, Codebook(1, (7,), False)),
        (9, Codebook(1, (3, 500), False)),
        (3, None),
        (6, ShiftCode(4, 2, True, signed=True)),
        (5, Codebook(3, (-15, -3, 0, 0, 2, 14), True)),
        (7, ShiftCode(7, 0, False, signed=True)),
        (10, Codebook(2, (-400, -1, 0, 77), False)),
    ]
    nodes: list[Node] = []
    tensors = {"data": TensorPlan(FixedPointFormat(7, 2))}
    source = "data"
    for place, (bits, code) in enumerate(kinds):
        conv = Conv(2 + place % 3, (2, 1), pads=(1, 0, 0, 0))
        nodes.append(Node(f"c{place}", conv, (source,)))
        source = f"c{place}"
        if place < 7:
            nodes.append(Node(f"r{place}", ReLU(), (source,)))
            source = f"r{place}"
        tensors[source] = TensorPlan(FixedPointFormat(bits, 1, place >= 7), code)
    nodes.append(Node("last", Dense(3), (source,)))
    network = Network("corners", (2, 4, 3), tuple(nodes))
    layers = {node.name: LayerPlan(FINE, FINE) for node in network.weighted}
    return network, random_weights(network, 5), Plan("corners", {}, "mixed", tensors, layers)


def broken(folder: Path, unit: str, line: str, instead: str) -> None:
    path = folder / f"{unit}.v"
    text = path.read_text()
    assert text.count(line) == 1
    path.write_text(text.replace(line, instead))
