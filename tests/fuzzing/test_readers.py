"""Every reader of files from outside refuses broken ones in one line, and does nothing else."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from refq.data import decoding
from refq.hardware.files import file_formats
from tests.fuzzing import images, weights
from tests.fuzzing.__main__ import KINDS, READERS, Row, total
from tests.importers import hostile_files, small_weights

TOP = Path(__file__).parents[2]
INPUTS = 24
# no byte of these is wrong by itself
TAKES_ALL = ("dump_raw",)
NEEDED = {"result": "matplotlib", **dict.fromkeys(images.READERS, "PIL")}


def _run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.fuzzing", *map(str, arguments)]
    return subprocess.run(command, cwd=TOP, capture_output=True, text=True, timeout=900)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the command says of all readers, at once: each starts in no time from one process."""
    able = [name for name in READERS if importlib.util.find_spec(NEEDED.get(name, "numpy"))]
    file = tmp_path_factory.mktemp("fuzzing") / "told.json"
    done = _run("--inputs", INPUTS, "--seconds", 120, "--json", file, "--only", *able)
    assert done.returncode in (0, 1), done.stderr
    content: dict[str, Any] = json.loads(file.read_text())
    return content


@pytest.mark.parametrize("reader", READERS)
def test_broken_files_are_refused(told: dict[str, Any], reader: str) -> None:
    if reader in NEEDED:
        pytest.importorskip(NEEDED[reader], reason=f"{reader} needs {NEEDED[reader]}")
    row = told["readers"][reader]
    assert not row["findings"]
    assert row["inputs"] == row["read"] + row["refused"] == INPUTS
    assert row["refused"] > INPUTS // 4 or reader in TAKES_ALL


def test_constructed_files_are_among_the_inputs() -> None:
    readers = [reader for reader, _, _ in hostile_files.FILES.values()]
    for reader in readers:
        assert len(weights.READERS[reader].constructed) == readers.count(reader) <= INPUTS // 4


def test_every_format_has_a_reader() -> None:
    assert {f"dump_{name}" for name in file_formats()} <= set(READERS)
    assert {name.lower() for name in decoding.FORMATS} <= set(READERS)
    assert set(small_weights.WRITERS) <= set(READERS)
    assert sum(len(kind.READERS) for kind in KINDS) == len(READERS), "two readers of one name"


def test_rows_are_added_up() -> None:
    rows = [Row("a", 9, 4, 3, ["x", "y"], 0.25, 80), Row("b", 1200, 700, 500, [], 1.5, 70)]
    whole = total(rows)
    assert whole == Row("total", 1209, 704, 503, ["x", "y"], 1.5, 80)
    assert str(whole).split() == ["total", "1,209", "704", "503", "2", "1.5", "s", "80", "MB"]


def test_names_are_listed() -> None:
    assert _run("--list").stdout.split("\n")[:-1] == list(READERS)


# a reader of __main__'s that does what it must not
HARMFUL = """
import os, signal, sys
from tests.fuzzing import __main__ as command
from tests.fuzzing.reader import Reader

calls = []


def read(path):
    calls.append(path)
    if len(calls) > 5:  # the second input
        print("last words", file=sys.stderr, flush=True)
        {harm}


command.READERS = {{
    "harmful": Reader(lambda folder: (folder / "w").write_bytes(bytes(range(99))), read),
    "harmless": Reader(lambda folder: (folder / "w").write_bytes(bytes(range(99))), lambda path: 0),
}}
sys.exit(command.main(["--inputs", "3", "--keep", sys.argv[1]]))
"""


@pytest.mark.parametrize(
    ("harm", "ended"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV"),
        ("os.abort()", "SIGABRT"),
        ("os._exit(0)", "exit code 0"),
        ("sys.exit(3)", "exit code 3"),
    ],
)
def test_a_crash_is_a_finding_and_others_go_on(tmp_path: Path, harm: str, ended: str) -> None:
    command = [sys.executable, "-c", HARMFUL.format(harm=harm), str(tmp_path)]
    done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert f"  harmful seed 0: input harmful-1-w ended the process by {ended}\n" in done.stdout
    assert "\nharmless                3        0        3        0 " in done.stdout
    assert "last words\n" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["harmful-1-w"]
