"""What JSON of files may hold, and how the rest is refused."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from refq.errors import OptionError
from refq.files import json_

REFUSED = {
    "": "Expecting value",
    '{"a": 1': "Expecting ',' delimiter",
    "[1] [2]": "Extra data",
    '{"a": 1, "b": {"c": 2, "c": 2}}': "'c' twice in an object",
    "[NaN]": "NaN is no number",
    "[-Infinity]": "-Infinity is no number",
    "[1e999]": "1e999 is beyond all floats",
    f"[{'1' * 4300}]": "a number of 4300 digits",
    f"[-{'1' * 5000}]": "a number of 5001 digits",
    "[" * 65 + "]" * 65: "nested too deeply",
    "[" * 100_000: "nested too deeply",
    '{"a":' * 100_000: "nested too deeply",
    r'["\ud800"]': "half a surrogate pair",
    r'{"\udfff": 1}': "half a surrogate pair",
    "[1,]": "Expecting value|Illegal trailing comma",
    "{'a': 1}": "Expecting property name",
    "\x00\x00": "UTF-16 or binary data",
}


@pytest.mark.parametrize("text", REFUSED, ids=range(len(REFUSED)))
def test_what_is_refused(text: str) -> None:
    began = time.monotonic()
    with pytest.raises(ValueError, match=REFUSED[text]) as caught:
        json_.parse(text.encode())
    assert len(str(caught.value)) < 100 and time.monotonic() - began < 5


def test_what_is_read() -> None:
    content = {"a": [1, -2.5e-3, None, True, "caf\xe9 \U0001f600"], "b": {"c": {}}, "n": 10**39}
    for text in (json.dumps(content), json.dumps(content, ensure_ascii=False)):
        assert json_.parse(text.encode()) == content
        assert json_.parse(b"\xef\xbb\xbf" + text.encode()) == content
    assert json_.parse(b"[" * 64 + b"]" * 64)
    for coding in ("utf-16", "utf-16-le", "utf-32-be"):
        with pytest.raises(ValueError, match=r"UTF-16 or binary|no UTF-8"):
            json_.parse(json.dumps(content).encode(coding))
    with pytest.raises(ValueError, match="byte 2 is no UTF-8"):
        json_.parse(b'["\xff"]')


def refusal(path: str | Path) -> str:
    with pytest.raises(OptionError) as caught:
        json_.load(path, "plan", OptionError, "what --save-plan writes")
    return str(caught.value)


def test_what_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "no file: a pipe or a device; expected what" in refusal(tmp_path / "pipe")
    assert "no file: a pipe or a device" in refusal("/dev/zero")
    assert "a folder" in refusal(tmp_path)
    assert "(No such file or directory)" in refusal(tmp_path / "nowhere")
    (tmp_path / "list").write_text("[1]")
    assert "list holds a list; expected what --save-plan writes" in refusal(tmp_path / "list")
    monkeypatch.setattr(json_, "LONGEST", 1 << 20)
    with (tmp_path / "large").open("wb") as file:
        file.truncate(json_.LONGEST + 1)
    assert "large: more than 1 MiB" in refusal(tmp_path / "large")


def test_a_pipe_that_the_shell_names(tmp_path: Path) -> None:
    reads, writes = os.pipe()
    os.write(writes, b'{"a": 1}')
    os.close(writes)
    assert json_.load(f"/dev/fd/{reads}", "plan", OptionError, "") == {"a": 1}
    os.close(reads)
