"""Every option is read or refused: what schemes and searches declare, and that they keep to it."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from dataclasses import make_dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from refq import convert, evaluate, export, networks, reproduce, schemes, search, verify
from refq.cli import asking, reading
from refq.cli.command import Option
from refq.cli.options import DATA, SCHEME, SEARCH
from refq.data.presets import for_network
from refq.errors import OptionError
from refq.formats.fixed import Accumulator, Overflow, Rounding
from refq.measure.calibration import gather
from refq.measure.streaming import Source
from refq.networks.weights import random_weights
from refq.schemes.hybrid_options import HybridOptions
from refq.schemes.options import Options, conditions, names
from refq.schemes.statistics import Wanted
from tests.small_networks import crossing, pixels

# --- schemes read what they declare, and nothing else ---

NETWORK = crossing()
WEIGHTS = random_weights(NETWORK, 3)
# of each field a value that no base has
ALTERED: dict[str, Any] = {
    "bits_act": 4,
    "widths": {"one": 3},
    "frac_act": 2,
    "bits_wt": 6,
    "bits_fc": 5,
    "bits_image": 11,
    "accumulator": Accumulator(20),
    "rounding": Rounding.TO_NEG,
    "overflow": Overflow.WRAP,
    "assign": "floor",
    "qm": "global",
    "kmeans": "lloyd",
    "kmeans_iterations": 1,
    "saturate": False,
    "coverage": 0.7,
    "distribution": "uniform",
    "allocate": "all",
    "kappa": 6.0,
    "numbers": "minifloat",
    "device": "gpu",
    "mode": "eightbit",
    "seed": 7,
    "granularity": "2D",
    "data_granularity": "map",
    "formats": "coverage",
    "frac_by": "layer",
    "bits_bias": 5,
    "weight_bits": {"one": 4},
    "unsigned": True,
    "float_data": True,
    "only": ("one",),
    "accumulator_bits": {"one": 18},
    "accumulated": "range",
    "bits_low": 3,
    "low_bits": {"one": 2},
    "threshold": 0.9,
    "low_share": {"one": 50.0},
    "experiment": "aggressive",
    "clusters": {"one": 2},
    "every_layer": 2,
}
BASES = (
    Options(),
    Options(frac_act=7, rounding=Rounding.STOCHASTIC, kmeans="lloyd-random", mode="eightbit"),
    Options(qm="global", frac_act=1, numbers="power-of-two"),
    Options(hybrid=HybridOptions(experiment="conservative", every_layer=0, formats="affine")),
    Options(hybrid=HybridOptions(float_data=True)),
    Options(hybrid=HybridOptions(float_data=True, formats="coverage")),
    Options(coverage=0.8, hybrid=HybridOptions(low_share={"one": 50.0})),
)


def altered(base: Options, name: str) -> Options:
    change = {name: ALTERED[name]}
    if hasattr(base, name):
        return replace(base, **change)
    return replace(base, hybrid=replace(base.hybrid, **change))


def planned(scheme: ModuleType, options: Options, known: dict[str, Any]) -> Any:
    """What a plan computes; what it says of options and of a seed for nothing is no part of it."""
    source = Source(NETWORK, WEIGHTS, lambda: [(pixels(NETWORK, 5, 6), None)])
    known["found"] = gather(scheme.wanted(NETWORK, options), source, known.get("found"))
    plan = scheme.plan(NETWORK, WEIGHTS, known["found"], options)
    content: dict[str, Any] = {} if plan is None else plan.to_json()
    seed = content.pop("seed", None)
    return {**content, "options": {}}, seed if content.get("rounding") == "stochastic" else None


@pytest.mark.parametrize("name", schemes.known())
def test_a_scheme_reads_what_it_declares(name: str) -> None:
    scheme = schemes.find(name)
    declared, seen = names(scheme.READS), set()
    known: dict[str, Any] = {}
    assert declared <= ALTERED.keys()
    for base in BASES:
        with contextlib.suppress(OptionError):  # a base that is nothing for this scheme
            usual = planned(scheme, base, known)
            for each in ALTERED:
                with contextlib.suppress(OptionError):  # what contradicts the base is refused
                    options = altered(base, each)
                    if planned(scheme, options, known) != usual:
                        unmet = conditions(scheme.READS, each)
                        assert each in declared, f"{each} is read"
                        assert not unmet or any(when.holds(options) for when in unmet), each
                        seen.add(each)
    assert seen == declared


# --- what is typed is read, or refused in one line ---

Refusal = Callable[..., str]
SQUEEZENET = networks.build("squeezenet1_1", {"input_size": 48, "width": 0.25, "classes": 7})
IMAGES = for_network({}, SQUEEZENET.input_shape)
# of options without a default
TYPED = {
    "bits_act": "8",
    "frac_act": "0",
    "frac_by": "layer",
    "bits_wt": "8",
    "bits_fc": "8",
    "bits_acc": "24",
    "only": "conv1",
    "threshold": "1",
    "low_share": "10",
    "experiment": "moderate",
    "search_bits": "3-5",
    "search_images": "4",
    "journal": "j",
}
ROWS = {
    reader: [row for row in evaluate.COMMAND.rows if row.group.reader == reader]
    for reader in (SCHEME, SEARCH)
}
# what says nothing beside the others' defaults, in whatever scheme
ALONE = ("acc_overflow", "acc_every_mac", "acc_rounding")


def typed(row: Option) -> list[str]:
    """An option with its default, or any value."""
    return [row.spelled, *([TYPED.get(row.name) or str(row.default)] if row.takes else [])]


@pytest.mark.parametrize("scheme", schemes.known())
def test_an_option_is_read_or_refused(refusal: Refusal, scheme: str) -> None:
    declared, read = schemes.find(scheme).READS, 0
    for row in ROWS[SCHEME]:
        arguments = ["squeezenet1_1", "--scheme", scheme, *typed(row)]
        if not row.fields & names(declared):
            told = f"{row.spelled} with scheme {scheme}; expected a scheme that reads them"
            assert told in refusal(evaluate.main, *arguments)
            continue
        asked, read = evaluate.COMMAND.parse_args(arguments), read + 1
        reading.check(asked)
        unmet = conditions(declared, row.field or row.name)
        if row.name in ALONE or (unmet and not any(when.holds(Options()) for when in unmet)):
            with pytest.raises(OptionError, match=r"says nothing here|alone"):
                asking.scheme_options(asked, SQUEEZENET, IMAGES)
        else:
            asking.scheme_options(asked, SQUEEZENET, IMAGES)
    assert read >= len(names(declared)) - 5  # fields that numbers by layer have beside others


@pytest.mark.parametrize("scheme", [each for each in schemes.known() if reading.strategies(each)])
def test_an_option_of_a_search_is_read_or_refused(refusal: Refusal, scheme: str) -> None:
    for strategy in reading.strategies(scheme):
        search_it = ["squeezenet1_1", "--scheme", scheme, "--delta", "1", "--search", strategy]
        for row in ROWS[SEARCH]:
            if row.name in ("delta", "search"):
                continue
            assert "without --delta" in refusal(evaluate.main, *search_it[:3], *typed(row))
            if row.fields & search.READS[strategy]:
                reading.check(evaluate.COMMAND.parse_args([*search_it, *typed(row)]))
            else:
                told = refusal(evaluate.main, *search_it, *typed(row))
                assert f"{row.spelled} with --search {strategy}; expected " in told


RANDOM = ("squeezenet1_1", "--weights", "random:0", "--data", "random:2", "--input-size", "48")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("enq --seed 0", "--seed, which says nothing here; expected --rounding stochastic"),
        ("knq --seed 0", "--rounding stochastic or --kmeans lloyd-random or lloyd++"),
        ("knq --kmeans-iterations 100", "one of Lloyd's --kmeans"),
        ("uniform --frac-act 0 --coverage 0.999", "--coverage, which says nothing here"),
        ("enq --frac-act 0 --qm global --coverage 0.9", "no --frac-act or --qm layer"),
        ("uniform --bits-act conv1=9 --bits-image 9", "--bits-image with bits of conv1"),
        ("uniform --acc-overflow sat", "--acc-overflow alone; expected --bits-acc with them"),
        ("hybrid --bits-acc 20 --acc-rounding to-neg", "--acc-frac range or kernel"),
        ("hybrid --float-data --coverage 0.9", "expected --formats coverage"),
        ("hybrid --only conv1 --bits-acc exact", "sums are float32"),
        ("energy --experiment conservative --bits-low 4", "filters with few bits"),
        ("clustered --clusters 0 --seed 1", "base kernels"),
        ("tensorflow --bits-act 8", "--mode eightbit"),
        ("tensorflow --bits-act conv1=8 --mode eightbit", "by layer with scheme tensorflow"),
        ("ristretto --numbers power-of-two --bits-act 8", "--device gpu"),
        ("ristretto --bits-fc 8", "a network with dense layers"),
        ("uniform --bits-act exact", "--bits-act exact; expected a number"),
        ("float --calibrate 5", "--calibrate with scheme float; expected none"),
        ("uniform --frac-act 0 --calibrate 5", "--calibrate with scheme uniform"),
    ],
)
def test_what_says_nothing_beside_others_is_refused(
    refusal: Refusal, arguments: str, told: str
) -> None:
    assert told in refusal(evaluate.main, *RANDOM, "--scheme", *arguments.split())


def test_other_commands_leave_nothing_unread(refusal: Refusal, tmp_path: Path) -> None:
    enq = ("alexnet", "--scheme", "enq", "--out", tmp_path / "set")
    verilog = ("alexnet", "--scheme", "enq", "--rtl", tmp_path / "rtl")
    few = ("--network", "alexnet", "--weights", "random:0", "--data", "random:2")
    cases: list[tuple[Callable[..., int], tuple[object, ...], str, str]] = [
        (export.main, enq, "--format npy --byte-order little", "--byte-order with npy"),
        (export.main, enq, "--format mem --lane-order low-first", "--lane-order with one lane"),
        (export.main, enq, "--tile 16", "--tile with layout NCHW; expected --layout tiled"),
        (export.main, enq, "--qm layer --kappa 5", "--kappa with scheme enq"),
        (export.main, verilog, "--lanes 1", "--lanes without --out"),
        (export.main, verilog, "--stages code", "--stages without --out"),
        (export.main, verilog, "--images 1", "--images with --rtl alone"),
        (export.main, verilog, "--json -", "--json without --out"),
        (reproduce.main, ("ilnq",), "--no-search --metric top1", "--metric with --no-search"),
        (reproduce.main, ("hybrid",), "--frac-act 0", "expected a paper that reads them"),
        (reproduce.main, ("ilnq", *few), "--delta 2", "--delta without labels"),
        (verify.main, ("golden", "dut"), "--all --json -", "--all with --json -"),
    ]
    for main, arguments, more, told in cases:
        assert told in refusal(main, *arguments, *more.split())
    twice = ("--parameter", "top=true", "--parameter", "top=false")
    told = refusal(convert.main, tmp_path / "w", "-o", tmp_path / "x", *twice)
    assert "--parameter top again; expected each name once" in told
    assert not list(tmp_path.iterdir())


# --- new schemes and new options ---


def plan(*given: object) -> None:
    """Of a scheme that computes in float32."""


@pytest.fixture
def novel(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A scheme that nobody knows yet."""
    module = ModuleType("novel")
    module.plan, module.wanted = plan, lambda network, options: Wanted()  # type: ignore[attr-defined]
    known = {name: schemes.find(name) for name in schemes.known()}
    monkeypatch.setattr(schemes, "_schemes", lambda: {**known, "novel": module})
    return module


def test_a_new_scheme_reads_nothing_unless_it_says_so(refusal: Refusal, novel: ModuleType) -> None:
    new = ("squeezenet1_1", "--scheme", "novel")
    for row in ROWS[SCHEME]:
        assert f"{row.spelled} with scheme novel" in refusal(evaluate.main, *new, *typed(row))
    assert "--delta with scheme novel" in refusal(evaluate.main, *new, "--delta", "1")
    novel.READS = ("bits_act",)  # type: ignore[attr-defined]
    for row in ROWS[SCHEME][1:]:
        assert f"{row.spelled} with scheme novel" in refusal(evaluate.main, *new, *typed(row))
    asked = evaluate.COMMAND.parse_args([*new, "--bits-act", "7"])
    reading.check(asked)
    assert asking.scheme_options(asked, SQUEEZENET, IMAGES).bits_act == 7
    by_layer = evaluate.COMMAND.parse_args([*new, "--bits-act", "conv1=7"])
    with pytest.raises(
        OptionError, match="--bits-act by layer with scheme novel; expected one num"
    ):
        asking.scheme_options(by_layer, SQUEEZENET, IMAGES)


def test_a_new_option_is_a_row_a_field_and_its_reader(
    monkeypatch: pytest.MonkeyPatch, novel: ModuleType
) -> None:
    larger = make_dataclass("Larger", [("warmth", int, 1)], bases=(Options,), frozen=True)
    monkeypatch.setattr(schemes, "Options", larger)
    novel.READS = ("warmth",)  # type: ignore[attr-defined]
    row = Option("--warmth N", DATA, "of the numbers", 1)
    command = replace(evaluate.COMMAND, rows=(*evaluate.COMMAND.rows, row))
    asked = command.parse_args(["squeezenet1_1", "--scheme", "novel", "--warmth", "3"])
    reading.check(asked)
    assert asking.scheme_options(asked, SQUEEZENET, IMAGES).warmth == 3  # type: ignore[attr-defined]
    with pytest.raises(OptionError, match="--warmth with scheme enq; expected a scheme that reads"):
        reading.check(command.parse_args(["squeezenet1_1", "--scheme", "enq", "--warmth", "1"]))
    assert "--warmth N" in command.help(["--scheme", "novel"])
    assert "--warmth N" not in command.help(["--scheme", "enq"])


# --- help ---


def flags(text: str) -> set[str]:
    return set(re.findall(r"^  (--[a-z-]+)", text, re.MULTILINE))


def test_help_groups_options_and_shows_a_schemes_alone() -> None:
    with pytest.raises(SystemExit) as ended:
        evaluate.main(["--scheme", "enq", "--help"])
    assert ended.value.code == 0
    rows = evaluate.COMMAND.rows
    whole, enq = evaluate.COMMAND.help(), evaluate.COMMAND.help(["--scheme=enq"])
    assert flags(whole) == {row.spelled for row in rows if not row.placed}
    assert "--scheme NAME --help" in whole and "[knq]" in whole
    alone = {"--qm", "--assign", "--frac-act", "--bits-image", "--objective"}
    assert alone <= flags(enq) < flags(whole)
    assert not flags(enq) & {"--kmeans", "--granularity", "--mode", "--step", "--acc-frac"}
    assert "activations:" in enq and "few bits" not in enq
    assert "--search" not in flags(evaluate.COMMAND.help(["--scheme", "float"]))
    assert {"--out", "--qm"} <= flags(export.COMMAND.help(["--scheme", "enq"]))
    for text in (whole, enq):
        assert all(len(line) <= 100 for line in text.splitlines())
