"""The C model notices one wrong bit, and what it refuses."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from refq.errors import OptionError
from refq.hardware import c_model
from refq.hardware.c_model import source
from tests.hardware.c_programs import CLANG, GCC, Run, called, compiled, manifest_of, modelled
from tests.small_networks import ending, planned, uneven

pytestmark = pytest.mark.skipif(GCC is None, reason="compiling the C model needs gcc")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    network = ending()
    weights = uneven(network, 1)
    return modelled(tmp_path, network, weights, planned(network, weights, "uniform", bits_act=7))


@pytest.mark.parametrize(
    ("stage", "word", "place"),
    [
        ("first.accumulator", 7, "n 0 c 0 y 1 x 1"),
        ("third.sum", -1, "n 1 c 8 y 2 x 5"),
        ("mean.code", 10, "n 1 c 1"),
        ("both_relu.code", 0, "n 0 c 0 y 0 x 0"),
    ],
)
def test_one_wrong_bit_is_found(
    stage: str, word: int, place: str, model: Path, run_model: Run
) -> None:
    path = model / "vectors" / f"{stage}.bin"
    array = next(each for each in manifest_of(model)["arrays"] if each["name"] == stage)
    size = path.stat().st_size // int(np.prod(array["shape"]))
    content = bytearray(path.read_bytes())
    content[word * size % len(content)] ^= 1
    path.write_bytes(content)
    answer = run_model(model)
    told = answer.stdout.splitlines()
    assert (answer.returncode, told[-1].split()[0]) == (1, "FAIL")
    assert told[-1].endswith(f", first {stage}")
    line = next(line for line in told if line.startswith(f"{stage} 1 of"))
    assert f"first at {place}: computed " in line
    computed, expected = (int(part.split()[-1]) for part in line.split(": ")[1].split(","))
    assert computed ^ expected == 1


def test_a_word_beyond_its_format_is_no_operand(model: Path, run_model: Run) -> None:
    path = model / "vectors" / "data.code.bin"
    content = bytearray(path.read_bytes())
    content[1] = 0x7F  # the high byte of a 9-bit code
    path.write_bytes(content)
    answer = run_model(model)
    assert (answer.returncode, answer.stderr) == (1, "")
    assert "data.code has the word 32" in answer.stdout
    assert "which has more than 9 bits" in answer.stdout


@pytest.mark.parametrize(
    ("name", "keep", "told"),
    [
        (
            "third.weight.bin",
            24,
            "model: wrong size of third.weight.bin; expected 270 bytes, not 24",
        ),
        ("third.sum.bin", 0, "model: wrong size of third.sum.bin; expected "),
        ("first.bias.bin", None, "model: cannot read first.bias.bin; expected it in the folder"),
    ],
)
def test_missing_and_short_files(
    name: str, keep: int | None, told: str, model: Path, run_model: Run
) -> None:
    path = model / "vectors" / name
    path.unlink() if keep is None else path.write_bytes(path.read_bytes()[:keep])
    answer = run_model(model)
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
    assert "\nPASS 36 tensors, 12780 words\n" in built.stdout
