"""Broken images, lists and batches: each reader refuses them in one line."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.data import fuzz_images

INPUTS = 60


@pytest.mark.parametrize("reader", ["png checked", "tiff", "list", "classes", "cifar 2"])
def test_broken_files_are_refused(reader: str) -> None:
    pytest.importorskip("PIL.Image", reason="image files need Pillow")
    tool = [sys.executable, str(Path(fuzz_images.__file__)), "--inside", "--only", reader]
    command = [*tool, "--inputs", str(INPUTS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    counts = {what: int(count) for count, what in re.findall(r"(\d+) (read|refused)", done.stdout)}
    assert sum(counts.values()) == INPUTS and counts["refused"] > INPUTS // 3
