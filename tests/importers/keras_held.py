"""Models of Keras that are in no file, and whether what is read of them computes the same."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from refq.importers.contents import Tensor, one_line
from refq.importers.foreign import Foreign
from refq.importers.keras_model import Stored, foreign
from tests.importers import as_onnx
from tests.importers.keras_whole import Arrays, Config, source

RNG = np.random.default_rng(7)
X = RNG.normal(0, 2, (2, 9, 7, 6)).astype(np.float32)
IMAGE = source("image", 9, 7, 6)


def floats(*shape: int) -> np.ndarray:
    return RNG.normal(0, 0.5, shape).astype(np.float32)


def arrays(**named: np.ndarray) -> dict[str, np.ndarray]:
    return named


@dataclass(frozen=True)
class Held:
    """Arrays by the layer's name, in no file."""

    arrays: Arrays

    def of(self, models: tuple[str, ...], name: str, path: str) -> dict[str, Tensor]:
        return {
            key: Tensor(array.shape, lambda array=array: array)  # type: ignore[misc]
            for key, array in self.arrays.get(name, {}).items()
        }


def found(made: Config, stored: Arrays, version: str = "2.13.1") -> Foreign:
    with one_line(Path("m.h5"), "Keras"):
        return foreign(Stored(made, Held(stored), version), "m")


def agrees(whole: Foreign, wanted: np.ndarray, *inputs: np.ndarray) -> None:
    """Images of N,H,W,C, outputs as the file has them."""
    given = inputs or (X,)
    images = [np.moveaxis(each, -1, 1) if each.ndim == 4 else each for each in given]
    (made,) = as_onnx.run(whole, images)
    turned = any(note.startswith("outputs with channels first") for note in whole.notes)
    made = np.moveaxis(made, 1, -1) if turned else made
    assert made.shape == wanted.shape
    np.testing.assert_allclose(made, wanted, rtol=1e-5, atol=1e-5 * abs(wanted).max())
