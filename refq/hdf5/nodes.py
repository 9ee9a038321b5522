"""What is in an HDF5 file, as plain data."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Union

import numpy as np

from refq.errors import RefqError

LONGEST_REASON = 300
DENSEST = 64  # times that compressed weights may be smaller
SPARE = 1 << 16  # bytes of biases that are all zero
DTYPE = re.compile(r"[<>|]?[biufcSUVOMm]\d{0,10}(\[\w+\])?")


def shown(text: str) -> str:
    """A name or a text of a file, as a message can have it."""
    clean = "".join(each if each.isprintable() else "?" for each in text[:LONGEST_REASON])
    return clean if len(text) <= LONGEST_REASON else clean[: LONGEST_REASON - 3] + "..."


class Hdf5Error(RefqError):
    """A file, or a part of it, that cannot be read. reason: why, in a few words."""

    def __init__(self, path: object, reason: str) -> None:
        self.reason = shown(reason)
        super().__init__(
            f"cannot read {path} as HDF5 ({self.reason})",
            "a complete HDF5 file of plain datasets",
            "fetch it again",
        )


@dataclass(frozen=True)
class Foreign:
    """What is not read, and why: a link to elsewhere, values in another file, a group that holds
    itself; among attributes, what is no text and no number, or too large."""

    why: str
    path: str = ""


Plain = Union[str, int, float]
Value = Union[Plain, "tuple[Plain, ...]", Foreign]


@dataclass(frozen=True)
class Group:
    """path: without a slash in front, empty for the root. names: of what is in it, in order."""

    path: str
    attributes: Mapping[str, Value]
    names: tuple[str, ...]


@dataclass(frozen=True)
class Dataset:
    """dtype: of kind b, i, u or f for what `File.read` reads; references: whether it holds
    references to other nodes. shape: (0,) for an empty one. chunks: of a dataset in chunks.
    stored: bytes that it takes in the file. place: where they begin, if they are the values as they
    are, one after the other."""

    path: str
    attributes: Mapping[str, Value]
    shape: tuple[int, ...]
    dtype: np.dtype
    references: bool
    chunks: tuple[int, ...] | None
    stored: int
    place: int | None = None

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    @property
    def hollow(self) -> bool:
        """Whether the file stores much less of it than weights can be compressed to."""
        return self.nbytes > DENSEST * self.stored + SPARE

    @property
    def has_floats(self) -> bool:
        return self.dtype.kind == "f" and bool(self.shape)


Node = Union[Group, Dataset, Foreign]


def parsed(message: object) -> dict[str, Node]:
    """{path: node} of what `library.Library.tree` tells. Raises ValueError for anything else: the
    process that told it has read the file, which may have harmed it."""
    if not isinstance(message, list):
        raise ValueError("no list of nodes")
    return {_text(each["path"]): _node(each) for each in map(_table, message)}


def _node(told: dict[str, Any]) -> Node:
    path = told["path"]
    if "why" in told:
        return Foreign(_text(told["why"]), path)
    attributes = {name: _value(each) for name, each in _table(told["attributes"]).items()}
    if "names" in told:
        return Group(path, attributes, tuple(map(_text, told["names"])))
    if not DTYPE.fullmatch(_text(told["dtype"])):
        raise ValueError("no type of numbers")
    chunks = told["chunks"]
    return Dataset(
        path=path,
        attributes=attributes,
        shape=_sizes(told["shape"]),
        dtype=np.dtype(told["dtype"]),
        references=told["references"] is True,
        chunks=None if chunks is None else _sizes(chunks),
        stored=_sizes([told["stored"]])[0],
        place=None if told["place"] is None else _sizes([told["place"]])[0],
    )


def _table(told: object) -> dict[str, Any]:
    if not isinstance(told, dict):
        raise ValueError("no table")
    return told


def _text(told: object) -> str:
    if not isinstance(told, str):
        raise ValueError("no text")
    return told


def _sizes(told: object) -> tuple[int, ...]:
    if not isinstance(told, list) or not all(type(each) is int and each >= 0 for each in told):
        raise ValueError("no sizes")
    return tuple(told)


def _value(told: object) -> Value:
    if isinstance(told, dict):
        return Foreign(_text(told["why"]))
    if isinstance(told, list):
        return tuple(map(_plain, told))
    return _plain(told)


def _plain(told: object) -> Plain:
    if not isinstance(told, (str, int, float)):
        raise ValueError("no text and no number")
    return told
