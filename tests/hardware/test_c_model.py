"""The C model computes the integers of golden sets, and notices one wrong bit."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from refq import export
from refq.engine.forward import quantize_weights
from refq.errors import OptionError
from refq.formats.codes import Codebook
from refq.formats.fixed import Overflow, Rounding
from refq.hardware import c_model
from refq.hardware.c_model import source
from refq.hardware.files.layouts import Layout
from refq.hardware.files.words import Packing
from refq.hardware.golden.form import Form
from refq.hardware.golden.span import span
from refq.hardware.golden.writing import Subject, write
from refq.networks import Network
from refq.networks.weights import Weights
from refq.plans.plan import Plan
from tests.small_networks import (
    COUNT,
    FIRST,
    Way,
    crossing,
    ending,
    narrowed,
    observed,
    pixels,
    planned,
    shortcut,
    uneven,
)

GCC = shutil.which("gcc")
CLANG = shutil.which("clang")
pytestmark = pytest.mark.skipif(GCC is None, reason="compiling the C model needs gcc")

STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-O1")
SANITIZED = ("-fsanitize=address,undefined", "-fno-sanitize-recover")
RAW = Form("raw", Layout(), Packing())
EVEN, AWAY, POS, DOWN, ZERO, UP, RANDOM = Rounding
SAT, SYM, WRAP = Overflow

Run = Callable[[Path], "subprocess.CompletedProcess[str]"]


def called(*command: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(each) for each in command], capture_output=True, text=True)


def compiled(compiler: str, folder: Path, out: Path, *options: str) -> None:
    source = folder / out.name[:-1]
    found = called(compiler, *STRICT, *options, "-c", "-I", folder, source, "-o", out)
    assert found.returncode == 0, found.stderr


@pytest.fixture(scope="session")
def objects(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The sources that are the same for every network, compiled under the sanitizers, once."""
    folder, found = tmp_path_factory.mktemp("c_model"), []
    for name, content in c_model.static_sources().items():
        (folder / name).write_bytes(content)
    for path in sorted(folder.glob("*.c")):
        found.append(folder / f"{path.name}o")
        compiled(str(GCC), folder, found[-1], *SANITIZED)
    return found


@pytest.fixture
def run(objects: Sequence[Path]) -> Run:
    """Compiles what a C model adds, and runs it on its vectors."""

    def run(folder: Path) -> subprocess.CompletedProcess[str]:
        if not (folder / "model").exists():
            compiled(str(GCC), folder, folder / "layers.co", *SANITIZED)
            linked = called(
                GCC, *SANITIZED, *objects, folder / "layers.co", "-lm", "-o", folder / "model"
            )
            assert linked.returncode == 0, linked.stderr
        return called(folder / "model", folder / "vectors")

    return run


# --- golden sets ----------------------------------------------------------------------------------


def modelled(
    folder: Path, network: Network, weights: Weights, plan: Plan, layers: str | None = None
) -> Path:
    """A C model and its vectors for the images that plans are tried on."""
    own = quantize_weights(network, weights, plan)
    about = {"images": {"count": COUNT, "first": FIRST}}
    chosen = span(network, layers)
    subject = Subject(network, weights, own, plan, chosen, None, COUNT, FIRST)
    (folder / "vectors").mkdir()
    images = pixels(network, COUNT, 9)
    write(folder / "vectors", subject, RAW, [images], about)
    c_model.write(folder, manifest_of(folder))
    return folder


def manifest_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "vectors" / "manifest.json").read_text())
    return found


def passes(answer: subprocess.CompletedProcess[str]) -> str:
    """The last line of a run that found no difference."""
    told = answer.stdout.splitlines()
    wrong = [line for line in told if not line.endswith("equal")]
    assert (answer.returncode, answer.stderr) == (0, ""), "\n".join(wrong[:8]) + answer.stderr
    assert told[-1].startswith("PASS ")
    return told[-1]


# --- networks against their golden sets -----------------------------------------------------------


def test_functions_do_what_the_contract_prints(objects: Sequence[Path], tmp_path: Path) -> None:
    """Single functions, as somebody else's test bench calls them, with the contract's numbers."""
    calls = Path(__file__).with_name("c_model_functions.c")
    options = [*STRICT, *SANITIZED, "-I", objects[0].parent]
    # these alone need no network
    used = [path for path in objects if path.stem in ("fixed", "storage", "sums", "pool", "normal")]
    built = called(GCC, *options, calls, *used, "-lm", "-o", tmp_path / "functions")
    assert built.returncode == 0, built.stderr
    answer = called(tmp_path / "functions")
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_the_pages_example_runs(objects: Sequence[Path], tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "c-model.md").read_text()
    example, used = tmp_path / "example.c", ("fixed", "storage", "sums")
    example.write_text(page.partition("```c\n")[2].partition("```")[0])
    parts = [path for path in objects if path.stem in used]
    options = [*STRICT, *SANITIZED, "-I", objects[0].parent]
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
    name: str, scheme: str, options: tuple[str, ...], told: str, run: Run, tmp_path: Path
) -> None:
    few = ("--images", "2", "--calibrate", "16", "--format", "raw")
    wanted = [name, "--scheme", scheme, *options, *few, "--out", str(tmp_path / "vectors")]
    assert export.main(wanted) == 0
    c_model.write(tmp_path, manifest_of(tmp_path))
    assert passes(run(tmp_path)).startswith(told)


@pytest.mark.parametrize("number", range(7))
def test_every_rounding_and_overflow(number: int, run: Run, tmp_path: Path) -> None:
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
    passes(run(modelled(tmp_path, network, weights, plan)))


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
def test_accumulators(turn: int, run: Run, tmp_path: Path) -> None:
    """Narrow ones at the end and at every MAC, dropping fraction bits, of a layer or a kernel."""
    network = crossing()
    weights = uneven(network, 4)
    plan = planned(network, weights, "hybrid", granularity="2D", data_granularity="map")
    plan = narrowed(network, weights, plan, (*WAYS[2 * turn :], *WAYS[: 2 * turn]))
    found = observed(network, weights, plan)
    assert all(found[name].overflows for name in plan.layers if name != "last")
    passes(run(modelled(tmp_path, network, weights, plan)))


LIMITS = (
    None,
    Way(SAT, False, 1, DOWN),
    Way(SYM, True),
    Way(SAT, True, 2, ZERO),
    Way(WRAP, True, 1, EVEN),
)


@pytest.mark.parametrize("way", LIMITS, ids=str)
def test_clusters(way: Way | None, run: Run, tmp_path: Path) -> None:
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
    passes(run(folder))


@pytest.mark.parametrize(
    ("scheme", "options"),
    [
        ("uniform", {"bits_act": 9}),
        ("enq", {"bits_act": 3}),
        ("knq", {"bits_act": 3}),
        ("knq", {"bits_act": 2, "assign": "floor"}),
        ("hybrid", {"data_granularity": "map", "rounding": RANDOM, "seed": 5}),
    ],
    ids=str,
)
@pytest.mark.parametrize("network", [crossing(), ending()], ids=lambda network: network.name)
def test_schemes(
    network: Network, scheme: str, options: dict[str, Any], run: Run, tmp_path: Path
) -> None:
    weights = uneven(network, 8)
    plan = planned(network, weights, scheme, **options)
    alive = {name: len(np.unique(t.codes)) for name, t in observed(network, weights, plan).items()}
    assert min(alive.values()) > 1, alive
    assert alive.get("share", 9) > 2
    passes(run(modelled(tmp_path, network, weights, plan)))


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
def test_shortcuts_of_zeros(scheme: str, options: dict[str, Any], run: Run, tmp_path: Path) -> None:
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
    passes(run(modelled(tmp_path, network, weights, plan)))


@pytest.mark.parametrize(
    ("layers", "computed"),
    [
        ("right:two,wide", "right right_relu joined/all one two wide wide_relu"),
        ("right:joined/all,sum,wide", "right right_relu joined/all sum sum_relu wide wide_relu"),
    ],
)
def test_layers_of_a_cut(layers: str, computed: str, run: Run, tmp_path: Path) -> None:
    """What the cut reads is taken from the set; layers outside are not computed."""
    network = crossing()
    weights = uneven(network, 2)
    plan = planned(network, weights, "enq")
    answer = run(modelled(tmp_path, network, weights, plan, layers))
    passes(answer)
    names = {line.split(".")[0] for line in answer.stdout.splitlines() if line.endswith("equal")}
    assert names == set(computed.split())


# --- wrong files ----------------------------------------------------------------------------------


@pytest.fixture
def model(tmp_path: Path) -> Path:
    network = ending()
    weights = uneven(network, 1)
    return modelled(tmp_path, network, weights, planned(network, weights, "uniform", bits_act=7))


@pytest.mark.parametrize(
    ("stage", "word", "place"),
    [
        ("first.accumulator", 7, "n 0 c 0 y 1 x 1"),
        ("third.sum", -1, "n 1 c 8 y 4 x 5"),
        ("mean.code", 10, "n 1 c 1"),
        ("both_relu.code", 0, "n 0 c 0 y 0 x 0"),
    ],
)
def test_one_wrong_bit_is_found(stage: str, word: int, place: str, model: Path, run: Run) -> None:
    path = model / "vectors" / f"{stage}.bin"
    array = next(each for each in manifest_of(model)["arrays"] if each["name"] == stage)
    size = path.stat().st_size // int(np.prod(array["shape"]))
    content = bytearray(path.read_bytes())
    content[word * size % len(content)] ^= 1
    path.write_bytes(content)
    answer = run(model)
    told = answer.stdout.splitlines()
    assert (answer.returncode, told[-1].split()[0]) == (1, "FAIL")
    assert told[-1].endswith(f", first {stage}")
    line = next(line for line in told if line.startswith(f"{stage} 1 of"))
    assert f"first at {place}: computed " in line
    computed, expected = (int(part.split()[-1]) for part in line.split(": ")[1].split(","))
    assert computed ^ expected == 1


def test_a_word_beyond_its_format_is_no_operand(model: Path, run: Run) -> None:
    path = model / "vectors" / "data.code.bin"
    content = bytearray(path.read_bytes())
    content[1] = 0x7F  # the high byte of a 9-bit code
    path.write_bytes(content)
    answer = run(model)
    assert (answer.returncode, answer.stderr) == (1, "")
    assert "data.code has the word 32" in answer.stdout
    assert "which has more than 9 bits" in answer.stdout


@pytest.mark.parametrize(
    ("name", "keep", "told"),
    [
        (
            "second.weight.bin",
            24,
            "model: wrong size of second.weight.bin; expected 50 bytes, not 24",
        ),
        ("third.sum.bin", 0, "model: wrong size of third.sum.bin; expected "),
        ("first.bias.bin", None, "model: cannot read first.bias.bin; expected it in the folder"),
    ],
)
def test_missing_and_short_files(
    name: str, keep: int | None, told: str, model: Path, run: Run
) -> None:
    path = model / "vectors" / name
    path.unlink() if keep is None else path.write_bytes(path.read_bytes()[:keep])
    answer = run(model)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert answer.stderr.startswith(told)
    assert answer.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"format": "mem"},
            "vectors in mem, NCHW, little-endian; expected raw, NCHW, little-endian",
        ),
        ({"mac_order": ["bias", "kernel row"]}, "MACs in the order"),
        ({"refq_golden": 2}, "a golden set of version 2; expected 1"),
        (
            "second.bias_shift",
            "a golden set without second.bias_shift; expected it; export without",
        ),
        ("first.code", "a golden set without first.code"),
        ("data.code", "a golden set without data, which first reads"),
    ],
)
def test_what_is_not_modelled_is_refused(
    change: dict[str, Any] | str, told: str, model: Path, tmp_path: Path
) -> None:
    manifest = manifest_of(model)
    if isinstance(change, dict):
        manifest |= change
    else:
        manifest["arrays"] = [each for each in manifest["arrays"] if each["name"] != change]
    new = tmp_path / "new"
    new.mkdir()
    with pytest.raises(OptionError, match=told):
        c_model.write(new, manifest)
    assert not list(new.iterdir())


def test_names_are_text_in_c() -> None:
    """A layer's name ends no string and makes no trigraph, whatever it is."""
    assert source.quoted('a"b\\c??/*\né') == '"a\\042b\\134c\\077\\077/\\052\\012\\303\\251"'


@pytest.mark.skipif(CLANG is None, reason="no clang to compile the C model with")
def test_clang_compiles_it(model: Path) -> None:
    names = {path.name for path in model.glob("*.c")}
    assert {"fixed.c", "layers.c", "main.c"} < names
    for name in names:
        compiled(str(CLANG), model, model / f"{name}o")


@pytest.mark.skipif(shutil.which("make") is None, reason="no make to build the C model with")
def test_the_makefile_builds_and_checks(model: Path) -> None:
    built = called("make", "-C", model, "CFLAGS=-O0 -Werror", "check")
    assert built.returncode == 0, built.stderr
    assert "\nPASS 36 tensors, 16236 words\n" in built.stdout
