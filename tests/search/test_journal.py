"""Journals that a crash, a bad disk or another hand changed."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest

from refq.errors import OptionError
from refq.search.journal import Journal

IDENTITY = {"network": "small", "weights": "1f" * 32, "base": {"tensors": {"a": {"bits": 8}}}}
MOST = {"hits": 50, "spent": 1e9}


def filled(path: Path, count: int = 4) -> bytes:
    journal = Journal(str(path), IDENTITY)
    for number in range(count):
        journal.recall(["trial", number], lambda: {"hits": number, "spent": 1.5}, MOST)  # noqa: B023
    journal.close()
    return path.read_bytes()


def opened(path: Path, **changes: Any) -> tuple[Journal, list[str]]:
    told: list[str] = []
    journal = Journal(str(path), {**IDENTITY, **changes}, told.append)
    journal.close()
    return journal, told


def refusal(path: Path, **changes: Any) -> str:
    before = path.read_bytes()
    with pytest.raises(OptionError) as caught:
        opened(path, **changes)
    assert path.read_bytes() == before
    return str(caught.value)


def signed(**content: Any) -> bytes:
    """A line whose checksum is right."""
    text = json.dumps(content)[:-1]
    return f'{text}, "crc": "{zlib.crc32(text.encode()):08x}"}}\n'.encode()


def test_every_changed_digit_is_seen(tmp_path: Path) -> None:
    content = filled(tmp_path / "j")
    begin, last = content.index(b"\n") + 1, content.rindex(b"\n", 0, -1) + 1
    digits = [at for at in range(begin, len(content)) if 48 <= content[at] <= 57]
    assert len(digits) > 30
    for at in digits:
        changed = bytearray(content)
        changed[at] = 48 + (changed[at] - 47) % 10
        (tmp_path / "j").write_bytes(changed)
        if at < last:
            line = 1 + content.count(b"\n", 0, at)
            assert f"line {line} is damaged, and lines after it are not" in refusal(tmp_path / "j")
        else:  # nobody can tell it from an end that a crash left
            journal, told = opened(tmp_path / "j")
            assert journal.resumed == 3 and "whole lines; it goes on from the 3" in told[0]


@pytest.mark.parametrize("filling", [b"", b"\0" * 7, b"\0" * 4096, b"\0\n\0\n", b"\xff{\n[1]\n"])
def test_it_goes_on_from_the_last_whole_line(tmp_path: Path, filling: bytes) -> None:
    path, content = tmp_path / "j", filled(tmp_path / "j")
    ends = [at + 1 for at, byte in enumerate(content) if byte == 10]
    for cut in (*range(ends[0], ends[1] + 2, 5), ends[2], len(content) - 1, len(content)):
        path.write_bytes(content[:cut] + filling)
        journal, told = opened(path)
        whole = [end for end in ends if end <= cut]
        assert journal.resumed == len(whole) - 1
        left = cut + len(filling) - whole[-1]
        wanted = [f"journal {path}: its last {left} bytes are no whole lines; "]
        assert [each[: len(wanted[0])] for each in told] == wanted[: bool(left)]
        assert filled(path) == content


@pytest.mark.parametrize("cut", [0, 1, 14, 30, 90])
@pytest.mark.parametrize("zeros", [0, 5, 4096])
def test_a_first_line_that_was_never_finished(tmp_path: Path, cut: int, zeros: int) -> None:
    content = filled(tmp_path / "j")
    (tmp_path / "j").write_bytes(content[:cut] + b"\0" * zeros)
    assert opened(tmp_path / "j")[0].resumed == 0
    assert filled(tmp_path / "j") == content


def test_a_damaged_first_line_before_results(tmp_path: Path) -> None:
    content = filled(tmp_path / "j")
    (tmp_path / "j").write_bytes(content.replace(b"small", b"smell", 1))
    assert "line 1 is damaged, and lines after it are not" in refusal(tmp_path / "j")
    (tmp_path / "j").write_bytes(content[content.index(b"\n") + 1 :])
    assert "is no journal of a search" in refusal(tmp_path / "j")


def test_what_differs_is_named(tmp_path: Path) -> None:
    filled(tmp_path / "j")
    base = {"tensors": {"a": {"bits": 7}}}
    assert "another search: base.tensors.a.bits 8; expected 7; give" in refusal(
        tmp_path / "j", base=base
    )
    told = refusal(tmp_path / "j", network="other", weights="2e" * 32)
    assert "another search: network 'small'; expected 'other' (and other weights); give" in told


def test_journals_without_checksums(tmp_path: Path) -> None:
    old = json.dumps({"refq_search": 1, **IDENTITY}) + '\n{"key": ["float"], "result": {}}\n'
    (tmp_path / "j").write_text(old)
    assert "is of an earlier refq, without checksums; expected one" in refusal(tmp_path / "j")


WRONG: tuple[Any, ...] = (
    None,
    [],
    {},
    {"hits": 1},
    {"hits": "1", "spent": 1.0},
    {"hits": True, "spent": 1.0},
)
NUMBERS = ((51, 1.0), (-1, 1.0), (1.0, 1.0), (1, -0.5), (1, 1e300), (10**39, 1.0), (1, [1.0]))


@pytest.mark.parametrize("result", [*WRONG, *({"hits": h, "spent": s} for h, s in NUMBERS)])
def test_results_that_make_no_sense(tmp_path: Path, result: Any) -> None:
    path, content = tmp_path / "j", filled(tmp_path / "j", 0)
    path.write_bytes(content + signed(key=["trial", 0], result=result) + signed(key=1, result={}))
    with pytest.raises(OptionError) as caught:
        opened(path)[0].recall(["trial", 0], dict, MOST)
    told = str(caught.value)
    assert told.startswith(f"journal {path}: ") and len(told) < 400
    assert ("line 2 is damaged" in told) != ("hits from 0 to 50, spent from 0 to 1e+09" in told)


def test_lines_that_are_no_results(tmp_path: Path) -> None:
    path, content = tmp_path / "j", filled(tmp_path / "j", 0)
    twice = signed(key=["a"], result={"hits": 1}) + signed(key=["a"], result={"hits": 2})
    for lines in (signed(result={}), signed(key=["a"]), twice):
        path.write_bytes(content + lines + signed(key=["z"], result={}))
        assert "is damaged" in refusal(path)


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OptionError, match="pipe: no file"):
        opened(tmp_path / "pipe")
    with (tmp_path / "large").open("wb") as file:
        file.truncate(1 << 29)
    with pytest.raises(OptionError, match="more than 256 MiB"):
        opened(tmp_path / "large")


def test_a_full_disk_leaves_whole_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = filled(tmp_path / "j")
    journal, _ = opened(tmp_path / "j")

    def full(*given: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OptionError, match=r"cannot write journal .*j .No space left on device.; "):
        journal.recall(["more"], lambda: {"hits": 1, "spent": 1.0}, MOST)
    assert (tmp_path / "j").read_bytes() == content


def test_lines_that_an_editor_ended_otherwise(tmp_path: Path) -> None:
    content = filled(tmp_path / "j")
    (tmp_path / "j").write_bytes(content.replace(b"\n", b"\r\n"))
    assert "with lines that end with CR LF; expected LF, as a search" in refusal(tmp_path / "j")


OTHER = """
import sys
from refq.search.journal import Journal

journal = Journal(sys.argv[1], {"network": "small"})
journal.recall(["a"], lambda: {"hits": 1}, {"hits": 5})
print("writes", flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(os.name != "posix", reason="locks are POSIX's")
@pytest.mark.parametrize("there", [False, True])
def test_one_search_at_a_time(tmp_path: Path, there: bool) -> None:
    path, identity = tmp_path / "j", {"network": "small"}
    if there:
        Journal(str(path), identity).close()
    command = [sys.executable, "-c", OTHER, str(path)]
    other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None and other.stdout.readline() == "writes\n"
        before = path.read_bytes()
        with pytest.raises(OptionError, match="which a search that runs writes to; expected one"):
            Journal(str(path), identity)
        with pytest.raises(OptionError, match="which a search that runs writes to"):
            Journal(str(path), {"network": "another"})
        assert path.read_bytes() == before
    finally:
        other.kill()
        other.communicate()
    journal = Journal(str(path), identity)  # the lock went with the process
    assert journal.resumed == 1
    journal.close()


def test_a_disk_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fcntl = pytest.importorskip("fcntl")

    def none(*given: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    assert filled(tmp_path / "j") == filled(tmp_path / "j")
