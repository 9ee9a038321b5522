"""The C model computes the integers of golden sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from refq import export
from refq.formats.codes import Codebook
from refq.formats.fixed import Overflow, Rounding
from refq.hardware import c_model
from refq.networks import Network
from tests.hardware.c_programs import (
    GCC,
    SANITIZED,
    STRICT,
    Run,
    called,
    manifest_of,
    modelled,
    passes,
)
from tests.small_networks import (
    Way,
    crossing,
    ending,
    narrowed,
    observed,
    planned,
    shortcut,
    uneven,
)

pytestmark = pytest.mark.skipif(GCC is None, reason="compiling the C model needs gcc")
EVEN, AWAY, POS, DOWN, ZERO, UP, RANDOM = Rounding
SAT, SYM, WRAP = Overflow


def test_functions_do_what_the_contract_prints(c_objects: Sequence[Path], tmp_path: Path) -> None:
    """Single functions, as somebody else's test bench calls them, with the contract's numbers."""
    calls = Path(__file__).with_name("c_model_functions.c")
    options = [*STRICT, *SANITIZED, "-I", c_objects[0].parent]
    # these alone need no network
    alone = ("fixed", "storage", "sums", "pool", "normal")
    used = [path for path in c_objects if path.stem in alone]
    built = called(GCC, *options, calls, *used, "-lm", "-o", tmp_path / "functions")
    assert built.returncode == 0, built.stderr
    answer = called(tmp_path / "functions")
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_the_pages_example_runs(c_objects: Sequence[Path], tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "c-model.md").read_text()
    example, used = tmp_path / "example.c", ("fixed", "storage", "sums")
    example.write_text(page.partition("```c\n")[2].partition("```")[0])
    parts = [path for path in c_objects if path.stem in used]
    options = [*STRICT, *SANITIZED, "-I", c_objects[0].parent]
    built = called(GCC, *options, example, *parts, "-o", tmp_path / "example")
    assert built.returncode == 0, built.stderr
    assert called(tmp_path / "example").stdout == "4 -3\n7\n27\n"


MAPS = ("--granularity", "2D", "--data-granularity", "map", "--acc-frac", "kernel")
BUNDLED = [
    ("vgg16", "enq", (), "PASS 174 tensors, 1465840 words"),
    ("vgg16", "knq", (), "PASS 174 tensors, 1465840 words"),
    (
        "vgg16",
        "hybrid",
        ("--granularity", "2D", "--data-granularity", "map", "--acc-frac", "kernel"),
        "PASS 104 tensors",
    ),
    ("squeezenet1_1", "enq", ("--assign", "floor"), "PASS 306 tensors"),
    ("alexnet", "enq", (), "PASS 98 tensors"),
]


@pytest.mark.parametrize(("name", "scheme", "options", "told"), BUNDLED, ids=str)
def test_bundled_networks(
    name: str, scheme: str, options: tuple[str, ...], told: str, run_model: Run, tmp_path: Path
) -> None:
    few = ("--images", "2", "--calibrate", "16", "--format", "raw")
    wanted = [name, "--scheme", scheme, *options, *few, "--out", str(tmp_path / "vectors")]
    assert export.main(wanted) == 0
    c_model.write(tmp_path, manifest_of(tmp_path))
    assert passes(run_model(tmp_path)).startswith(told)


@pytest.mark.parametrize("number", range(7))
def test_every_rounding_and_overflow(number: int, run_model: Run, tmp_path: Path) -> None:
    """Formats too narrow for what is calibrated, so that values really saturate and wrap."""
    network, rounding = crossing(), list(Rounding)[number]
    weights = uneven(network, 3)
    plan = planned(network, weights, "hybrid", granularity="4D", bits_act=6, unsigned=True)
    overflow = (SAT, SYM, WRAP)[number % 3]
    finer = {"data": 0, "share": 0, "mean": 5, "one": 4, "two": 4, "sum_relu": 5}
    narrow = {}
    for name, entry in plan.tensors.items():
        frac_bits = entry.fixed.frac_bits + finer.get(name, 2)
        narrow[name] = replace(entry, format=replace(entry.fixed, frac_bits=frac_bits))
    plan = replace(plan, tensors=narrow, rounding=rounding, overflow=overflow, seed=7)
    found = observed(network, weights, plan)
    for name in ("stem_relu", "sum_relu", "one", "mean", "norm"):
        assert found[name].outside, name
    passes(run_model(modelled(tmp_path, network, weights, plan)))


WAYS = (
    Way(SAT, True, 2, AWAY),
    Way(WRAP, False),
    Way(SYM, False, 2, UP, by_kernel=True),
    Way(WRAP, True, 1, EVEN),
    Way(SYM, True, by_kernel=True),
    Way(SAT, False, 3, POS),
    Way(SAT, True, 1, ZERO, by_kernel=True),
)


@pytest.mark.parametrize("turn", range(3))
def test_accumulators(turn: int, run_model: Run, tmp_path: Path) -> None:
    """Narrow ones at the end and at every MAC, dropping fraction bits, of a layer or a kernel."""
    network = crossing()
    weights = uneven(network, 4)
    plan = planned(network, weights, "hybrid", granularity="2D", data_granularity="map")
    plan = narrowed(network, weights, plan, (*WAYS[2 * turn :], *WAYS[: 2 * turn]))
    found = observed(network, weights, plan)
    assert all(found[name].overflows for name in plan.layers if name != "last")
    passes(run_model(modelled(tmp_path, network, weights, plan)))


LIMITS = (
    None,
    Way(SAT, False, 1, DOWN),
    Way(SYM, True),
    Way(SAT, True, 2, ZERO),
    Way(WRAP, True, 1, EVEN),
)


@pytest.mark.parametrize("way", LIMITS, ids=str)
def test_clusters(way: Way | None, run_model: Run, tmp_path: Path) -> None:
    """Base kernels and residuals, of groups too."""
    network = crossing()
    weights = uneven(network, 5)
    clusters = {"stem": 4, "left": 4, "one": 3, "two": 0, "right": 2}
    plan = planned(network, weights, "clustered", granularity="2D", clusters=clusters)
    if way:
        plan = narrowed(network, weights, plan, [way])
        found = observed(network, weights, plan)
        assert all(found[name].overflows for name in clusters)
    folder = modelled(tmp_path, network, weights, plan)
    assert "base_raise" in (folder / "layers.c").read_text()
    passes(run_model(folder))


@pytest.mark.parametrize(
    ("scheme", "options"),
    [
        ("uniform", {"bits_act": 9}),
        ("enq", {"bits_act": 3}),
        ("knq", {"bits_act": 3}),
        ("knq", {"bits_act": 3, "assign": "floor"}),
        ("hybrid", {"data_granularity": "map", "rounding": RANDOM, "seed": 5}),
    ],
    ids=str,
)
@pytest.mark.parametrize("network", [crossing(), ending()], ids=lambda network: network.name)
def test_schemes(
    network: Network, scheme: str, options: dict[str, Any], run_model: Run, tmp_path: Path
) -> None:
    weights = uneven(network, 8)
    plan = planned(network, weights, scheme, **options)
    alive = {name: len(np.unique(t.codes)) for name, t in observed(network, weights, plan).items()}
    assert min(alive.values()) > 1, alive
    assert alive.get("share", 9) > 2
    passes(run_model(modelled(tmp_path, network, weights, plan)))


@pytest.mark.parametrize(
    "scheme, options",
    [
        ("uniform", {"bits_act": 7}),
        ("enq", {"bits_act": 4}),
        ("knq", {"bits_act": 2}),
        ("hybrid", {"data_granularity": "map"}),
    ],
    ids=str,
)
def test_shortcuts_of_zeros(
    scheme: str, options: dict[str, Any], run_model: Run, tmp_path: Path
) -> None:
    network = shortcut()
    weights = uneven(network, 8)
    plan = planned(network, weights, scheme, **options)
    if scheme == "knq":
        # zeros stay zeros where the codebook has none
        code = plan.tensors["short"].code
        assert isinstance(code, Codebook)
        rest = tuple(max(value, 9) for value in code.values)
        tensors = {
            name: replace(entry, code=replace(code, values=rest))
            if name in ("short", "moved", "stem_relu")
            else entry
            for name, entry in plan.tensors.items()
        }
        plan = replace(plan, tensors=tensors)
    passes(run_model(modelled(tmp_path, network, weights, plan)))


@pytest.mark.parametrize(
    ("layers", "computed"),
    [
        ("right:two,wide", "right right_relu joined/all one two wide wide_relu"),
        ("right:joined/all,sum,wide", "right right_relu joined/all sum sum_relu wide wide_relu"),
    ],
)
def test_layers_of_a_cut(layers: str, computed: str, run_model: Run, tmp_path: Path) -> None:
    """What the cut reads is taken from the set; layers outside are not computed."""
    network = crossing()
    weights = uneven(network, 2)
    plan = planned(network, weights, "enq")
    answer = run_model(modelled(tmp_path, network, weights, plan, layers))
    passes(answer)
    names = {line.split(".")[0] for line in answer.stdout.splitlines() if line.endswith("equal")}
    assert names == set(computed.split())
