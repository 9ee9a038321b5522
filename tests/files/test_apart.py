"""An output that is an input or another output is refused, however it is spelled."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from refq.errors import OptionError
from refq.files.apart import Named, check_apart

SPELLED = ["w.h5", "./w.h5", "in/../w.h5", "hard.h5", "soft.h5", "loop/w.h5", "{here}/w.h5"]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("w.h5").write_text("weights")
    Path("in/deep").mkdir(parents=True)
    Path("in/deep/a.png").write_text("image")
    os.link("w.h5", "hard.h5")
    os.symlink("w.h5", "soft.h5")
    os.symlink(".", "loop")
    os.symlink("new.json", "dangling")
    return tmp_path


def refused(*named: Named) -> str:
    """What is said, the same in either order."""
    told = []
    for order in (named, named[::-1]):
        with pytest.raises(OptionError) as caught:
            check_apart(order)
        told.append(str(caught.value))
    assert not any("\n" in each for each in told)
    return told[0]


@pytest.mark.parametrize("name", SPELLED)
def test_an_input_by_any_name(here: Path, name: str) -> None:
    told = refused(Named("--json", name.format(here=here), True), Named("--weights", "w.h5"))
    assert "as --json and as --weights; expected two different files" in told


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("new.json", "./new.json"),
        ("new.json", "loop/new.json"),
        ("new.json", "dangling"),
        ("caf\xe9.json", "cafe\u0301.json"),  # one name where names are normalised
        ("new.json", "NEW.json"),  # one file where case is not told apart
    ],
)
def test_two_outputs_of_one_file(one: str, other: str) -> None:
    assert "two different" in refused(Named("--json", one, True), Named("--save-plan", other, True))


@pytest.mark.parametrize("output", ["in/x.json", "in/deep/a.png", "in/new", "loop/in/deep/x"])
def test_an_output_within_an_input(output: str) -> None:
    told = refused(Named("--json", output, True), Named("--data", "in"))
    assert f"{output} as --json, within in; expected a place outside of --data" in told


def test_a_folder_around_an_input_or_an_output() -> None:
    assert "within in" in refused(Named("--out", "in", True), Named("results", "in/deep/a.png"))
    assert "within out" in refused(Named("--out", "out", True), Named("--rtl", "out/rtl", True))
    assert "within out" in refused(Named("--out", "out", True), Named("--json", "OUT/x", True))


def test_where_a_link_within_an_input_leads() -> None:
    Path("kept.json").write_text("{}")
    os.symlink("../../kept.json", "in/deep/b.png")
    told = refused(Named("--json", "kept.json", True), Named("--data", "in"))
    assert "where a link in in leads" in told


def test_where_links_to_folders_within_an_input_lead() -> None:
    os.makedirs("real/a/deep")
    Path("real/a/deep/0.png").touch()
    os.symlink("../real/a", "in/linked")
    os.symlink("..", "real/a/round")
    told = refused(Named("--json", "real/a/deep/0.png", True), Named("--data", "in"))
    assert "where a link in in leads" in told
    check_apart([Named("--json", "real/new", True), Named("--data", "in")])


def test_what_the_shell_writes_to(capfd: pytest.CaptureFixture[str]) -> None:
    code = (
        "from refq.files.apart import Named, check_streams\n"
        "check_streams([Named('--json', 'told', True)])"
    )
    for place in (">told", "2>told", ">>told", ">/dev/null 2>&1", ">&-"):
        done = subprocess.run(f'{sys.executable} -c "{code}" {place}', shell=True)
        assert bool(done.returncode) == ("told" in place), place


def test_files_that_begin_with_an_outputs_name() -> None:
    journal = Named("--journal", "in/j", True, several=True)
    assert "does not begin with in/j." in refused(journal, Named("--json", "in/j.vgg16", True))
    check_apart([journal, Named("--json", "in/jj", True), Named("--weights", "in/deep/a.png")])


def test_what_may_be_together() -> None:
    inputs = Named("golden", "in"), Named("device", "in"), Named("more", "in/deep")
    check_apart([*inputs, Named("--json", "new.json", True), Named("--out", "new", True)])
    check_apart([Named("--json", "/dev/null", True), Named("--save-plan", "/dev/null", True)])
    check_apart([Named("--weights", "random:0"), Named("--json", "W.h5x", True)])
