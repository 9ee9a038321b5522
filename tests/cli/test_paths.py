"""Commands refuse outputs that would write over what they read, before they read it."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from refq.networks import bundled

CASES = [
    ("evaluate vgg16 --plan p.json --json p.json", "as --plan and as --json"),
    ("evaluate vgg16 --scheme enq --json x --save-plan ./x", "as --save-plan and as --json"),
    ("evaluate vgg16 --scheme enq --delta 1 --journal j --json j", "as --journal and as --json"),
    ("evaluate vgg16 --weights w.h5 --data set --save-outputs set/a", "set/a as --save-outputs, w"),
    ("evaluate vgg16 --weights w.h5 --data set --json hard.h5", "as --weights and as --json"),
    ("evaluate vgg16 --data . --json new.json", "new.json as --json, within ."),
    (
        "evaluate vgg16 --data random:3 --weights random:0 --json .",
        "cannot write .; expected a file",
    ),
    ("evaluate vgg16 --data bundled --json .", "cannot write .; expected a file"),
    ("evaluate vgg16 --scheme enq --save-plan -", "--save-plan -; expected a name: standard"),
    ("evaluate vgg16 --save-outputs -", "--save-outputs -; expected a name"),
    ("convert w.h5 -o -", "--out -; expected a name"),
    ("report p.json --out -", "--out -; expected a name"),
    ("convert random:3 -o .", "random:3 as FILE, within ."),
    ("reproduce ilnq --journal j --json j.vgg16", "a name that does not begin with j."),
    ("export vgg16 --scheme enq --out a --rtl a/b", "a/b as --rtl, within a"),
    ("export vgg16 --plan set/p --c-model set", "set/p as --plan, within set"),
    ("export vgg16 --scheme enq --out a --json a/manifest.json", "as --json, within a"),
    ("verify set set --json set/manifest.json", "set/manifest.json as --json, within set"),
    ("verify set other --json link/x", "link/x as --json, within set"),
    ("report p.json --out .", "p.json as RESULT.json, within ."),
    ("convert w.h5 -o soft.h5", "as FILE and as --out"),
    ("convert w.h5 -o n.h5 --json N.h5", "as --out and as --json"),
]


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("set", "other"):
        Path(name).mkdir()
    for name in ("p.json", "w.h5", "set/p", "set/manifest.json"):
        Path(name).write_text(name)
    os.link("w.h5", "hard.h5")
    os.symlink("w.h5", "soft.h5")
    os.symlink("set", "link")


def there() -> dict[Path, str]:
    return {path: path.read_text() for path in Path().rglob("*") if path.is_file()}


@pytest.mark.parametrize(("command", "told"), CASES)
def test_nothing_is_written_over(refusal: Callable[..., str], command: str, told: str) -> None:
    door, *arguments = command.split()
    before = there()
    assert told in refusal(importlib.import_module(f"refq.{door}").main, *arguments)
    assert there() == before


@pytest.mark.skipif(not os.path.exists("/dev/stdout"), reason="a system without /dev/stdout")
def test_one_stream_takes_one_output() -> None:
    stream = ("--save-plan", "/dev/stdout")
    for more, told in (
        (("--json", "-", *stream), "/dev/stdout as --json and as --save-plan; expected a stream"),
        (("--json", "/dev/stdout", *stream), "as --save-plan and as --json; expected a stream"),
        (("--json", "/dev/null", "--save-plan", "/dev/null", "--images", "0"), "--images 0"),
    ):
        command = [sys.executable, "-m", "refq.evaluate", "vgg16", "--scheme", "enq", *more]
        done = subprocess.run(command, capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (2, "") and told in done.stderr
        assert done.stderr.count("\n") == 1


def test_files_that_come_with_refq(refusal: Callable[..., str]) -> None:
    path = bundled.path("vgg16.h5")
    before = path.stat()
    main = importlib.import_module("refq.evaluate").main
    assert "a place outside of bundled files" in refusal(main, "vgg16", "--json", path)
    assert path.stat() == before
