"""What a training run is made of, and the command line that says so."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from refq.cli import console
from refq.data.preprocessing import Preprocessing

# The originals' layer lists at sizes that fit 32x32 images and a small download.
SIZES: dict[str, dict[str, Any]] = {
    "vgg16": {"width": 0.25, "hidden": 512},
    "alexnet": {"width": 0.5, "hidden": 512, "stem_stride": 2, "stem_pad": 5},
    "squeezenet1_1": {"width": 0.5, "stem_stride": 1},
    "googlenet": {"width": 0.25, "stem_stride": 1},
    "resnet50": {"width": 0.25, "stem_stride": 1},
    "vgg19": {"width": 0.125, "hidden": 256},
    "alexnet_matconvnet": {"width": 0.25, "hidden": 256, "stem_stride": 2, "stem_pad": 5},
}
MEAN = 128.0  # subtracted from every pixel: the input is whole numbers within 9 bits


@dataclass(frozen=True)
class Recipe:
    """What a training run is made of; stored with the weights."""

    network: str
    epochs: int
    batch: int
    rate: float
    decay: float
    dropout: float
    smoothing: float
    gain: float
    seed: int

    @property
    def command(self) -> str:
        """What to type to train again."""
        options = [
            f"--{name} {value:g}" for name, value in asdict(self).items() if name != "network"
        ]
        return f"python tools/train.py {self.network} --train-file TRAIN.h5 {' '.join(options)}"

    def metadata(self, side: int, epoch: int, images: int) -> dict[str, Any]:
        """What the weight file says of itself, after `epoch` epochs of `images` images."""
        means = (MEAN, MEAN, MEAN)
        return {
            "preprocessing": Preprocessing((side, side), (side, 256), "RGB", means).to_json(),
            "data_set": "glyphs",
            "source": "trained by tools/train.py of refq",
            "licence": "MIT",
            "training": {**asdict(self), "epochs_done": epoch, "images": images},
        }


def parser(description: str) -> console.Parser:
    made = console.Parser(allow_abbrev=False, description=description)
    made.add_argument("network", help=", ".join(SIZES))
    made.add_argument("--train-file", type=Path, required=True)
    made.add_argument("--out", type=Path, default=Path("weights"), help="test images, result")
    made.add_argument("--checkpoint", type=Path, help="default: beside the training images")
    made.add_argument("--epochs", type=int, default=10)
    made.add_argument("--batch", type=int, default=256)
    made.add_argument("--rate", type=float, default=2e-3)
    made.add_argument("--decay", type=float, default=0.05)
    made.add_argument("--dropout", type=float, default=0.2)
    made.add_argument("--smoothing", type=float, default=0.05)
    made.add_argument("--gain", type=float, default=16.0, help="scale of hidden activations")
    made.add_argument("--threads", type=int, default=0, help="default: all processors")
    made.add_argument("--seed", type=int, default=1)
    return made
