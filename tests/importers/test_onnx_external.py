"""Values outside of an ONNX model are read from where the user allows it alone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from onnx import TensorProto  # noqa: E402

from refq.importers.foreign import Asked  # noqa: E402
from tests.importers.onnx_models import IMAGE, WEIGHT, model, node, read, refused  # noqa: E402


def _external(folder: Path, location: str, **more: object) -> Any:
    """Its weight lies in another file."""
    made = model([node("Conv", "x w", "y")], IMAGE, {"w": WEIGHT})
    weight = made.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **more}.items():
        weight.external_data.add(key=key, value=str(value))
    return made


def test_data_beside_the_model(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "w.bin").write_bytes(b"12345678" + WEIGHT.tobytes())
    made = _external(tmp_path, "parts/w.bin", offset=8, length=96)
    for allowed in (tmp_path, tmp_path / "parts"):
        found = read(tmp_path, made, Asked(external_data=str(allowed)))
        assert np.array_equal(found.constants["w"], WEIGHT)
    assert "values in another file, parts/w.bin" in refused(tmp_path, made)
    (tmp_path / "other").mkdir()
    told = refused(tmp_path, made, Asked(external_data=str(tmp_path / "other")))
    assert "values in parts/w.bin, which is not in" in told


OUTSIDE = [
    "../w.bin",
    "parts/../../w.bin",
    "{top}/w.bin",
    "link/w.bin",
    "w.link",
    "fifo",
    "none",
    ".",
]
OUTSIDE += ["..\\w.bin", "C:\\w.bin", "", "w\0.bin"]


@pytest.mark.parametrize("location", OUTSIDE)
def test_data_that_is_not_beside_the_model(tmp_path: Path, location: str) -> None:
    (tmp_path / "w.bin").write_bytes(WEIGHT.tobytes())
    folder = tmp_path / "folder"
    (folder / "parts").mkdir(parents=True)
    (folder / "link").symlink_to(tmp_path)
    (folder / "w.link").symlink_to(tmp_path / "w.bin")
    os.mkfifo(folder / "fifo")
    made = _external(folder, location.format(top=tmp_path))
    for allowed in (folder, tmp_path):
        assert "w: values in " in refused(folder, made, Asked(external_data=str(allowed)))


@pytest.mark.parametrize("more", [{"offset": 1}, {"offset": -8}, {"length": 95}, {"offset": "x"}])
def test_data_beyond_its_file(tmp_path: Path, more: dict[str, object]) -> None:
    (tmp_path / "w.bin").write_bytes(WEIGHT.tobytes())
    made = _external(tmp_path, "w.bin", **more)
    assert refused(tmp_path, made, Asked(external_data=str(tmp_path)))


def test_devices_are_not_opened(tmp_path: Path) -> None:
    made = _external(tmp_path, "zero")
    (tmp_path / "zero").symlink_to("/dev/zero")
    for allowed in (str(tmp_path), "/dev", "/"):
        assert "zero" in refused(tmp_path, made, Asked(external_data=allowed))
