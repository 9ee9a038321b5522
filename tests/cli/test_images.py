"""Images as `refq.evaluate` meets them: their labels in the report, those that cannot be read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from refq.evaluate import main
from refq.export import main as export
from refq.reproduce import main as reproduce
from tests.data.pictures import noise, save_image

TOP = Path(__file__).parents[2]
SMALL = ("resnet20", "--weights", "random:0")
BAD = 13  # in the order of evaluation


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten classes of two images of noise."""
    for label in range(10):
        for name in ("a", "b"):
            save_image(tmp_path / "ten" / str(label) / f"{name}.png", noise(32, 32, 3))
    return tmp_path / "ten"


@pytest.fixture
def damaged(folder: Path) -> Path:
    """The same with an image cut short, the fourteenth."""
    path = folder / "3" / "b.png"
    path.write_bytes(path.read_bytes()[:900])
    return folder


def test_a_report_tells_classes_and_first_images(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "__MACOSX").mkdir()
    assert main([*SMALL, "--data", str(folder), "--skip", "1", "--images", "12"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert (
        "labels   10 classes (0..9) of 1 to 2 images, folders in natural order: 1/a.png is 1 (1), "
        "2/a.png is 2 (2), 3/a.png is 3 (3)"
    ) in lines
    assert "         left out: __MACOSX" in lines


def test_a_wrong_number_of_classes_is_refused(
    folder: Path, refusal: Callable[..., str], tmp_path: Path
) -> None:
    (folder / "3" / "a.png").rename(folder / "a.png")
    (folder / "3" / "b.png").unlink()
    (folder / "3").rmdir()
    (folder / "a.png").unlink()
    told = refusal(main, *SMALL, "--data", folder)
    assert "ten (9 class folders): 9 classes; expected 10, as the network has; give data of" in told
    assert "--classes FILE that says which each one is" in told
    listed = tmp_path / "classes.txt"
    listed.write_text("\n".join(map(str, range(10))))
    assert main([*SMALL, "--data", str(folder), "--classes", str(listed)]) == 0


def test_classes_and_their_order_by_option(
    folder: Path, evaluation: Callable[..., dict[str, Any]], refusal: Callable[..., str]
) -> None:
    (folder / "9").rename(folder / "10")
    natural = evaluation(*SMALL, "--data", folder)["data"]["labels"]
    plain = evaluation(*SMALL, "--data", folder, "--class-order", "codepoint")["data"]["labels"]
    assert [image["class"] for image in natural["images"]] == ["0", "1", "2"]
    assert [image["class"] for image in plain["images"]] == ["0", "1", "10"]
    assert natural["order"].startswith("natural order (--class-order codepoint would")
    both = (*SMALL, "--data", folder, "--class-order", "natural", "--classes", folder)
    assert "--class-order with --classes; expected one or the other" in refusal(main, *both)
    assert "--class-order with random noise" in refusal(
        main, *SMALL, "--data", "random:2", "--class-order", "natural"
    )


@pytest.mark.parametrize("size", [1, 4, 13, 14, 50])
def test_what_was_measured_before_a_bad_image_is_reported(
    damaged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], size: int
) -> None:
    out, report = tmp_path / "out.npy", tmp_path / "report.json"
    options = ["--batch-size", str(size), "--save-outputs", str(out), "--json", str(report)]
    assert main([*SMALL, "--data", str(damaged), *options]) == 2
    told = capsys.readouterr()
    assert told.err == (
        f"refq: cannot decode {damaged / '3' / 'b.png'} (image file is truncated); expected a "
        "complete image file; fetch it again, or leave it out: --bad-images skip\n"
    )
    assert "STOPPED: the figures cover 13 images only" in told.out
    content = json.loads(report.read_text())
    assert content["images"] == content["labelled"] == len(np.load(out)) == BAD
    assert content["interrupted"] and content["stopped"] == told.err[6:-1]
    assert content["data"]["labels"]["classes"] == 10


def test_nothing_is_reported_where_the_first_image_is_bad(
    damaged: Path, refusal: Callable[..., str]
) -> None:
    told = refusal(main, *SMALL, "--data", damaged, "--skip", BAD)
    assert "b.png (image file is truncated)" in told
    assert "b.png (image file is truncated)" in refusal(
        main, *SMALL, "--data", damaged, "--scheme", "enq"
    )


@pytest.mark.parametrize("scheme", [(), ("--scheme", "enq")])
def test_bad_images_are_skipped_and_named(
    damaged: Path, evaluation: Callable[..., dict[str, Any]], scheme: tuple[str, ...]
) -> None:
    for path in (damaged / "0" / "c.png", damaged / "5" / "c.png"):
        path.write_text("none")
    got = evaluation(*SMALL, "--data", damaged, "--bad-images", "skip", *scheme)
    assert got["images"] == 19 and not got["interrupted"] and got["stopped"] is None
    places = [damaged / "3" / "b.png", damaged / "0" / "c.png", damaged / "5" / "c.png"]
    assert [each["image"] for each in got["data"]["skipped"]] == list(map(str, places))
    assert "(image file is truncated)" in got["data"]["skipped"][0]["why"]
    for path in places:
        path.unlink()
    clean = evaluation(*SMALL, "--data", damaged, *scheme)
    for key in ("images", "float", "quantized", "plan", "output_sqnr_db"):
        assert clean[key] == got[key]
    assert clean["data"]["sha256"] == got["data"]["sha256"] and clean["data"]["skipped"] == []


def test_images_that_a_search_sees_are_skipped_too(
    damaged: Path, evaluation: Callable[..., dict[str, Any]]
) -> None:
    search = ("--scheme", "uniform", "--frac-act", "0", "--delta", "100", "--search", "network")
    few = ("--calibrate", "5", "--search-images", "16", "--images", "4")
    data = ("--data", damaged, "--bad-images", "skip", "--search-bits", "8-9")
    got = evaluation(*SMALL, *data, *search[:2], *search[4:], *few)
    assert [each["image"] for each in got["data"]["skipped"]] == [str(damaged / "3" / "b.png")]
    assert got["search"]["images"] == 16


def test_skipped_images_are_told(damaged: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (damaged / "0" / "c.png").write_text("none")
    assert main([*SMALL, "--data", str(damaged), "--bad-images", "skip"]) == 0
    told = capsys.readouterr()
    assert "skipped  2 images that cannot be read: 3/b.png, 0/c.png" in told.out
    assert told.err == ""


def test_other_commands_skip_too(
    damaged: Path, tmp_path: Path, refusal: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    plan = ("--scheme", "uniform", "--frac-act", "0", "--images", "20", "--layers", "conv1")
    out = tmp_path / "golden"
    told = refusal(export, *SMALL, "--data", damaged, *plan, "--out", out)
    assert "b.png (image file is truncated)" in told and not out.exists()
    skip = ("--bad-images", "skip", "--images", "20")
    arguments = [*SMALL, "--data", damaged, *plan[:4], "--layers", "conv1", *skip, "--out", out]
    assert export(list(map(str, arguments))) == 0
    assert json.loads((out / "manifest.json").read_text())["images"]["count"] == 19
    capsys.readouterr()
    reproduction = ("ilnq", "--network", "resnet20", "--weights", "random:0", "--no-search")
    assert reproduce([*reproduction, "--data", str(damaged)]) == 2
    assert "b.png (image file is truncated)" in capsys.readouterr().err


@pytest.mark.skipif(os.name != "posix", reason="names of files are bytes on POSIX")
@pytest.mark.parametrize(
    "environment",
    [
        {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "utf-8:strict"},
    ],
)
def test_names_never_end_a_run(damaged: Path, environment: dict[str, str]) -> None:
    (damaged / "0").rename(damaged / os.fsdecode(b"caf\xe9"))
    (damaged / "1").rename(damaged / "日本")
    for path in (damaged / os.fsdecode(b"caf\xe9"), damaged / "日本"):
        (path / "b.png").rename(path / os.fsdecode(b"\xff\xfe.png"))
        (path / "c.png").write_text("none")
    whole = os.fsdecode(b"tausend\xff")
    damaged.rename(damaged.with_name(whole))
    command = [sys.executable, "-m", "refq.evaluate", *SMALL, "--data", whole]
    for options, status in (((), 2), (("--bad-images", "skip"), 0)):
        done = subprocess.run(
            [*command, *options],
            cwd=damaged.parent,
            env={**os.environ, "PYTHONPATH": str(TOP), **environment},
            capture_output=True,
            timeout=120,
        )
        assert done.returncode == status, done.stderr
        assert b"10 classes (0..9)" in done.stdout and b"Traceback" not in done.stderr
        assert done.stderr.count(b"\n") == (1 if status else 0)
