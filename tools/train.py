"""Trains a network on packed images with PyTorch and exports it as a refq weight file.

    python tools/train.py vgg16 --train-file glyphs_train.h5

Every convolution and dense layer is followed by batch normalisation, which the export folds
into its weights and bias. The exported file is read back, checked against the trained network
and scored on the test images. An interrupted run goes on from its last finished epoch;
a finished one is only exported again.
"""

from __future__ import annotations

import argparse
import functools
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import glyph_manifest
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm
from train_images import Images, accuracy, read
from train_recipe import MEAN, SIZES, Recipe, parser

from refq import networks
from refq.cli import console
from refq.errors import DataError, OptionError, WeightsError
from refq.files import writing
from refq.files.apart import Named, check_apart
from refq.networks import Network, Node, folding, weights
from refq.networks.graph import INPUT
from refq.networks.layers import LRN, Add, Concat, Conv, Dense, GlobalAvgPool, MaxPool, ReLU

BATCH = 1000  # images at a time where no gradient is needed


class Model(nn.Module):
    """A refq network in PyTorch. Nodes keep their names; `norms` is empty once folded."""

    def __init__(self, network: Network, gain: float | None, dropout: float = 0.0) -> None:
        """gain: what batch normalisation scales hidden outputs to at first; None to have none."""
        super().__init__()
        self.network, self.dropout = network, dropout
        self.layers: dict[str, nn.Conv2d | nn.Linear] = {}
        self.norms: dict[str, nn.BatchNorm1d | nn.BatchNorm2d] = {}
        for node in network.weighted:
            layer, shape, bias = node.layer, network.shapes[node.inputs[0]], gain is None
            if isinstance(layer, Conv):
                self.layers[node.name] = nn.Conv2d(
                    shape[0],
                    layer.out_channels,
                    layer.kernel,
                    layer.strides,
                    _equal_pads(node),
                    groups=layer.group,
                    dilation=layer.dilations,
                    bias=bias,
                )
                self.norms[node.name] = nn.BatchNorm2d(layer.out_channels)
            elif isinstance(layer, Dense):
                self.layers[node.name] = nn.Linear(math.prod(shape), layer.out_features, bias)
                self.norms[node.name] = nn.BatchNorm1d(layer.out_features)
        if gain is None:
            self.norms.clear()
        for name, norm in self.norms.items():
            self.add_module(f"{name} norm", norm)
            if gain is not None and name != network.weighted[-1].name:
                nn.init.constant_(norm.weight, gain)
        for name, module in self.layers.items():
            self.add_module(name, module)

    def forward(self, image: Tensor) -> Tensor:
        return self.trace(image)[self.network.output]

    def trace(self, image: Tensor) -> dict[str, Tensor]:
        """Every tensor of the network by name."""
        made: dict[str, Tensor] = {INPUT: image}
        for node in self.network.nodes:
            layer, x = node.layer, made[node.inputs[0]]
            if isinstance(layer, Dense):
                x = functional.dropout(x.flatten(1), self.dropout, self.training)
            if node.name in self.layers:
                x = self.layers[node.name](x)
                if node.name in self.norms:
                    x = self.norms[node.name](x)
            elif isinstance(layer, ReLU):
                x = functional.relu(x)
            elif isinstance(layer, MaxPool):
                x = functional.max_pool2d(
                    x, layer.kernel, layer.strides, _equal_pads(node), ceil_mode=layer.ceil_mode
                )
            elif isinstance(layer, LRN):
                x = _local_response(x, layer)
            elif isinstance(layer, Concat):
                x = torch.cat([made[name] for name in node.inputs], 1)
            elif isinstance(layer, Add):
                x = functools.reduce(torch.add, (made[name] for name in node.inputs))
            elif isinstance(layer, GlobalAvgPool):
                x = x.mean((2, 3))
            else:
                raise OptionError(f"layer {node.name!r}", "a layer that tools/train.py can train")
            made[node.name] = x
        return made


def _equal_pads(node: Node) -> tuple[int, int]:
    """A layer's padding as PyTorch takes it: (top and bottom, left and right)."""
    assert isinstance(node.layer, (Conv, MaxPool))
    top, left, bottom, right = node.layer.pads
    if (top, left) != (bottom, right):
        raise OptionError(f"{node.name}: pads {node.layer.pads}", "equal ones to train")
    return top, left


def _local_response(x: Tensor, layer: LRN) -> Tensor:
    """LRN whose sums over channels are a 1x1 convolution: much faster than PyTorch's own."""
    count = x.shape[1]
    near = torch.ones(count, count).tril(layer.size // 2).triu(-((layer.size - 1) // 2))
    alpha = layer.alpha / layer.size if layer.per_window else layer.alpha
    sums = functional.conv2d(x * x, near.reshape(count, count, 1, 1).to(x.dtype))
    return x * (layer.bias + alpha * sums).pow(-layer.beta).to(x.dtype)


def folded(model: Model) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Weights and biases with the batch normalisation multiplied in, in double precision."""
    weight, bias = {}, {}
    for name, layer in model.layers.items():
        norm = model.norms[name]
        assert norm.running_var is not None and norm.running_mean is not None
        parts = (layer.weight, norm.weight, norm.bias, norm.running_mean, norm.running_var)
        own, gamma, beta, mean, variance = (part.detach().numpy() for part in parts)
        weight[name], bias[name] = folding.fold(own, None, gamma, beta, mean, variance, norm.eps)
    return weight, bias


def plain(network: Network, stored: weights.Weights) -> Model:
    """The network with exported weights, without batch normalisation."""
    model = Model(network, None).eval()
    with torch.no_grad():
        for name, layer in model.layers.items():
            layer.weight.copy_(torch.from_numpy(stored.weight[name]))
            if layer.bias is not None:
                layer.bias.copy_(torch.from_numpy(stored.bias[name]))
    return model


def batch(images: Images, rows: np.ndarray | slice) -> Tensor:
    """Network input: pixels minus MEAN, (N, 3, rows, columns), channels last in memory."""
    return torch.from_numpy(images.pixels[rows]).permute(0, 3, 1, 2).float() - MEAN


@torch.no_grad()
def logits(model: Model, images: Images) -> np.ndarray:
    starts = range(0, len(images.labels), BATCH)
    scores = [model(batch(images, slice(start, start + BATCH))) for start in starts]
    return torch.cat(scores).numpy()


@torch.no_grad()
def quantiles(model: Model, images: Images) -> dict[str, float]:
    """The 99.9 % quantile of each weighted layer's outputs, after its ReLU where it has one."""
    made = model.trace(batch(images, slice(0, 500)))
    found = {}
    for node in model.network.weighted:
        values = made[node.name].relu().flatten().numpy()
        found[node.name] = round(float(np.quantile(values, 0.999)), 2)
    return found


def train(
    model: Model,
    images: Images,
    recipe: Recipe,
    checkpoint: Path,
    after_epoch: Callable[[int], None],
) -> None:
    """AdamW with a one-cycle rate, in bfloat16 where that is safe; resumes from the checkpoint."""
    matrices = [layer.weight for layer in model.layers.values()]
    last = model.network.weighted[-1].name
    hidden = [p for name, n in model.norms.items() if name != last for p in n.parameters()]
    groups: list[dict[str, Any]] = [
        {"params": matrices, "weight_decay": recipe.decay},
        # scales and shifts start `gain` times larger, so they also move in larger steps
        {"params": hidden, "lr": recipe.rate * recipe.gain},
        {"params": list(model.norms[last].parameters())},
    ]
    optimizer = torch.optim.AdamW(groups, recipe.rate, weight_decay=0.0)
    steps = len(images.labels) // recipe.batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        [group["lr"] for group in optimizer.param_groups],
        total_steps=recipe.epochs * steps,
        pct_start=0.2,
        cycle_momentum=False,
    )
    parts: dict[str, Any] = {"model": model, "optimizer": optimizer, "schedule": schedule}
    first = _resume(checkpoint, parts, recipe)
    if first == recipe.epochs:
        after_epoch(first)
    for epoch in range(first, recipe.epochs):
        torch.manual_seed(recipe.seed * 1000 + epoch)
        order = torch.randperm(len(images.labels)).numpy()
        model.train()
        total = 0.0
        bar = tqdm(range(steps), f"epoch {epoch + 1}/{recipe.epochs}", mininterval=5)
        for step in bar:
            rows = order[step * recipe.batch : (step + 1) * recipe.batch]
            with torch.autocast("cpu", torch.bfloat16):
                scores = model(batch(images, rows))
            labels = torch.from_numpy(images.labels[rows])
            loss = functional.cross_entropy(
                scores.float(), labels, label_smoothing=recipe.smoothing
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        console.tell(f"epoch {epoch + 1}: loss {total / steps:.4f}")
        state = {name: part.state_dict() for name, part in parts.items()}
        whole = {"recipe": asdict(recipe), "epoch": epoch + 1, **state}
        writing.write_whole(str(checkpoint), functools.partial(torch.save, whole))
        after_epoch(epoch + 1)


def _resume(checkpoint: Path, parts: Mapping[str, Any], recipe: Recipe) -> int:
    """Restores a run of the same recipe; the number of epochs it has finished."""
    if not checkpoint.is_file():
        return 0
    try:
        state = torch.load(checkpoint, weights_only=True)
        if state["recipe"] != asdict(recipe):
            raise OptionError(
                f"checkpoint {checkpoint} of another run", "the same options", "delete it"
            )
        for name, part in parts.items():
            part.load_state_dict(state[name])
        return int(state["epoch"])
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise DataError(f"cannot read {checkpoint} ({error})", remedy="delete it") from None


def export(
    model: Model, recipe: Recipe, epoch: int, images: int, splits: Mapping[str, Images], out: Path
) -> None:
    """Writes the weight file, reads it back, checks and scores it, notes it in the manifest."""
    network, path = model.network, out / f"{recipe.network}.h5"
    metadata = recipe.metadata(network.input_shape[1], epoch, images)
    weights.save(path, network, weights.Weights(*folded(model), metadata))
    _, stored = weights.load(path, recipe.network)
    exported, test = plain(network, stored), splits["test"]
    model.eval()
    scores, wanted = logits(exported, test), logits(model, test)
    difference = float(np.abs(scores - wanted).max() / np.abs(wanted).max())
    if not difference <= 1e-4:
        raise WeightsError(f"{path}: logits differ by {difference:.1e} of their range", "1e-4")
    result = {
        "command": recipe.command,
        "versions": glyph_manifest.versions("torch", "numpy", "h5py"),
        "parameters": dict(network.parameters),
        "epochs_done": epoch,
        "train_images": images,
        "threads": torch.get_num_threads(),
        "float32": {name: accuracy(logits(exported, s), s.labels) for name, s in splits.items()},
        "largest_logit_difference_from_unfolded": float(f"{difference:.2g}"),
        "quantiles_99_9": quantiles(exported, splits["calibration"]),
    }
    glyph_manifest.update(out / "manifest.json", recipe.network, result)
    console.tell(f"{path}: {result['float32']}, logits within {difference:.1e}")


def run(arguments: argparse.Namespace) -> None:
    if arguments.network not in SIZES:
        raise OptionError(f"network {arguments.network!r}", f"one of {', '.join(sorted(SIZES))}")
    options = vars(arguments)
    recipe = Recipe(**{name: options[name] for name in Recipe.__annotations__})
    if min(recipe.epochs, recipe.batch) < 1:
        raise OptionError(f"{recipe.epochs} epochs of batch {recipe.batch}", "1 or more of each")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    out: Path = arguments.out
    data = read(arguments.train_file)
    splits = {name: read(out / f"glyphs_{name}.h5") for name in ("test", "calibration")}
    size = {"input_size": data.pixels.shape[1], "classes": data.classes, **SIZES[recipe.network]}
    network = networks.build(recipe.network, size)
    torch.manual_seed(recipe.seed)
    model = Model(network, recipe.gain, recipe.dropout)
    checkpoint = arguments.checkpoint or arguments.train_file.with_name(f"{recipe.network}.pt")
    check_apart(
        [
            Named("--train-file", str(arguments.train_file)),
            *(Named(name, str(out / f"glyphs_{name}.h5")) for name in splits),
            Named("--checkpoint", str(checkpoint), True),
            Named("the weights", str(out / f"{recipe.network}.h5"), True),
            Named("the manifest", str(out / "manifest.json"), True),
        ]
    )

    def after_epoch(epoch: int) -> None:
        export(model, recipe, epoch, len(data.labels), splits, out)

    train(model, data, recipe, checkpoint, after_epoch)


def main() -> int:
    def work(arguments: argparse.Namespace) -> int:
        run(arguments)
        return 0

    return console.run(work, parser((__doc__ or "").partition("\n")[0]), None, "train")


if __name__ == "__main__":
    sys.exit(main())
