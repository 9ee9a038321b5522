"""Data sets and preprocessing: what goes into a network, streamed in batches."""

from refq.data.batches import batches, kept
from refq.data.dataset import Dataset, check_labels, digest
from refq.data.opening import SPLITS, open_dataset
from refq.data.preprocessing import Preprocessing

__all__ = [
    "SPLITS",
    "Dataset",
    "Preprocessing",
    "batches",
    "check_labels",
    "digest",
    "kept",
    "open_dataset",
]
