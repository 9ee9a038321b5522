"""How inputs are prepared: as is asked, as the weights state, or as is usual."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from refq.data import Dataset, presets
from refq.data.as_stored import AsStored
from refq.data.preprocessing import Rule
from refq.errors import DataError, OptionError
from refq.networks import Network

ANOTHER = "--preprocessing tells another"


@dataclass(frozen=True)
class Prepared:
    """A rule, and what a report adds to it: empty where it is asked for or stated."""

    rule: Rule
    remark: str = ""

    def __str__(self) -> str:
        return f"{self.rule}{f' ({self.remark})' if self.remark else ''}"


@dataclass(frozen=True)
class Stated:
    """What there is to go by. asked: what the user types. metadata: of the weights, whose file is
    `source`. named: whether the network is one of refq's own, whose weights want Caffe's rule where
    they state none."""

    asked: str | None
    metadata: Mapping[str, Any]
    source: str
    named: bool


def prepared(stated: Stated, network: Network, dataset: Dataset) -> Prepared:
    """How a data set becomes inputs of a network. Raises OptionError for a rule that does not fit
    it, DataError for images where the network wants something else."""
    if dataset.array is not None:
        return _of_array(stated, network.input_shape, dataset.array)
    shape = network.input_shape
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise DataError(
            f"{dataset.name} for a network of inputs {'x'.join(map(str, shape))}",
            "arrays of that shape (.npy, .npz, .h5)",
            "images have 3 channels, or 1 in gray",
        )
    if stated.asked is not None:
        rule = presets.asked(stated.asked, shape)
        if rule.channels == "stored":
            raise OptionError(
                f"--preprocessing {stated.asked}: channels as stored with {dataset.name}",
                "RGB, BGR or GRAY, as images have them",
            )
        return Prepared(rule)
    if stated.named or "preprocessing" in stated.metadata:
        return Prepared(presets.for_network(stated.metadata, shape, stated.source))
    usual = "torchvision" if shape[0] == 3 else "raw"
    return Prepared(presets.named(usual, shape), f"assumed: {usual}; {ANOTHER}")


def _of_array(stated: Stated, shape: tuple[int, ...], dtype: np.dtype) -> Prepared:
    """Pixels are prepared as the weights state; other numbers are as they are."""
    plain = AsStored(shape, dtype)
    if stated.asked is not None:
        raw = stated.asked in presets.UNCHANGED
        return Prepared(
            plain if raw else AsStored(shape, dtype, presets.asked(stated.asked, shape))
        )
    if "preprocessing" not in stated.metadata:
        return Prepared(plain, f"assumed; {ANOTHER}")
    rule = presets.for_network(stated.metadata, shape, stated.source)
    if dtype == np.uint8:
        return Prepared(AsStored(shape, dtype, rule))
    return Prepared(plain, f"not pixels, which the weights want as {rule.values}; {ANOTHER}")
