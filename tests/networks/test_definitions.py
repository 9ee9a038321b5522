"""A user's own networks, described in a Python file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from refq import networks
from refq.errors import OptionError
from refq.networks import definitions

OWN = """
from refq.networks import Network, chain
from refq.networks.layers import Conv, Dense, ReLU

def build(classes: int = 5, input_size: int = 8) -> Network:
    steps = [("conv", Conv(4, (3, 3))), ("relu", ReLU()), ("fc", Dense(classes))]
    sizes = dict(classes=classes, input_size=input_size)
    return Network("mine", (3, input_size, input_size), tuple(chain("data", *steps)), sizes)

NETWORKS = {"mine": build}
"""


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    yield
    networks.OWN.clear()


def written(folder: Path, text: str) -> str:
    (folder / "mine.py").write_text(text)
    return str(folder / "mine.py")


def test_a_file_makes_a_network_known(tmp_path: Path) -> None:
    assert definitions.define(written(tmp_path, OWN)) == ["mine"]
    assert "mine" in networks.known()
    assert networks.build("mine", {"classes": 3}).shapes["fc"] == (3,)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("1 / 0", "fails: ZeroDivisionError"),
        ("def", "fails: SyntaxError"),
        ("x = 1", "defines no NETWORKS"),
        ("NETWORKS = {}", "defines no NETWORKS"),
        ("NETWORKS = {'mine': 3}", "NETWORKS with 'mine'"),
        (OWN.replace('"mine": build', '"vgg16": build'), "defines vgg16, which is known already"),
        ("NETWORKS = {'mine': lambda: 3}", "mine builds no Network"),
    ],
)
def test_files_that_define_none(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(OptionError, match=told):
        definitions.define(written(tmp_path, text))
    assert "mine" not in networks.known()


def test_what_is_no_python_file(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="is no Python file"):
        definitions.define(str(tmp_path / "none.py"))
    with pytest.raises(OptionError, match="is no Python file"):
        definitions.define(str(tmp_path))
