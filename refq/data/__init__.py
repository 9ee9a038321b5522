"""Data sets and preprocessing: what goes into a network, streamed in batches."""

from refq.data.batches import batches, kept, prepared
from refq.data.dataset import Dataset, check_labels, digest, labelling
from refq.data.folders import ORDERS
from refq.data.labels import relabelled
from refq.data.numbering import renumbered
from refq.data.opening import SPLITS, file_of, open_dataset
from refq.data.preprocessing import Preprocessing, Rule
from refq.data.skipping import Skipped, readable

__all__ = [
    "ORDERS",
    "SPLITS",
    "Dataset",
    "Preprocessing",
    "Rule",
    "Skipped",
    "batches",
    "check_labels",
    "digest",
    "file_of",
    "kept",
    "labelling",
    "open_dataset",
    "prepared",
    "readable",
    "relabelled",
    "renumbered",
]
