"""What every storage code says of itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from types import ModuleType
from typing import Any, ClassVar

import numpy as np

from refq.errors import FormatError
from refq.formats.fixed import FixedPointFormat


@dataclass(frozen=True)
class StorageCode:
    """How value codes are kept: an index of `bits` bits for each.

    A kind is a frozen dataclass; its fields, whole numbers, flags and tuples of whole numbers, are
    its JSON in a plan. It defines kind, levels, encode and decode; the rest of what is here is
    right for any, and defined where there is more to say. ops is refq.kernels or refq.oracle.

    kind: its name. stages: names of what golden sets hold of it beside tensors.
    """

    bits: int

    kind: ClassVar[str]
    stages: ClassVar[tuple[str, ...]] = ()

    @property
    def levels(self) -> Sequence[int]:
        """The value code of every index, from the first on, never descending: at most 2**bits."""
        raise NotImplementedError

    @property
    def first(self) -> int:
        """The least index: below 0 where indices are two's complement."""
        return 0

    def encode(self, codes: np.ndarray, ops: ModuleType) -> np.ndarray:
        """The index of each value code, int32 of the same shape; codes: int32 or int64."""
        raise NotImplementedError

    def decode(self, indices: np.ndarray, ops: ModuleType) -> np.ndarray:
        """The value code that each index stands for, int32 of the same shape."""
        raise NotImplementedError

    def kept(self, codes: np.ndarray, ops: ModuleType) -> np.ndarray:
        """Value codes as they are after storage: encoded, and decoded again."""
        return self.decode(self.encode(codes, ops), ops)

    def check(self, fmt: FixedPointFormat) -> None:
        """Raises FormatError for levels that a format does not have, and where a signed one's lack
        zero, which a ReLU of what is stored makes of all that is negative."""
        if self.levels[0] < fmt.min_code or self.levels[-1] > fmt.max_code:
            raise FormatError(
                f"a {self.kind} from {self.levels[0]} to {self.levels[-1]}",
                f"{fmt.min_code} to {fmt.max_code} of {fmt}",
            )
        if fmt.signed and 0 not in self.levels:
            raise FormatError(f"a {self.kind} without the level 0 on {fmt}", "0 among its levels")

    @property
    def shift(self) -> int | None:
        """Where an index is a number of its own, its level is this many places further left,
        counted from the least; None where it is not."""
        return None

    @property
    def shifted(self) -> tuple[int, int, bool, bool] | None:
        """(bits, shift, nearest, signed) where shift_encode makes the indices."""
        return None

    @property
    def lookup(self) -> Sequence[int]:
        """Levels that are kept in a table; none where they are computed."""
        return ()

    @property
    def numbers(self) -> Mapping[str, Sequence[int]]:
        """Whole numbers that a golden set holds of it, by stage."""
        return {}

    @property
    def tables(self) -> Mapping[str, Sequence[int]]:
        """Value codes that a golden set holds of it, by stage."""
        return {}

    def counted(self, codes: np.ndarray, ops: ModuleType) -> np.ndarray:
        """How often each index stands for one of the codes, all of them levels: int64 (2**bits,).
        Of equal levels one has them all."""
        low, drop = self.levels[0], self.shift
        if drop is None:
            low, drop, codes = 0, 0, self.encode(codes, ops)
        counts: np.ndarray = ops.code_histogram(codes, low, drop, 1 << self.bits)
        return counts

    def described(self) -> dict[str, Any]:
        """Plain JSON values of all but tables."""
        entries = {field.name: getattr(self, field.name) for field in fields(self)}
        few = {name: value for name, value in entries.items() if not isinstance(value, tuple)}
        return {"kind": self.kind, **few}


def known() -> list[type[StorageCode]]:
    """Every kind that has a name."""
    return [kind for kind in StorageCode.__subclasses__() if hasattr(kind, "kind")]


def of_fields(names: Collection[str]) -> type[StorageCode]:
    """The kind that has fields of these names, or most like them."""
    return min(known(), key=lambda kind: len(set(names) ^ {field.name for field in fields(kind)}))
