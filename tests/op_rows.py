"""What a row of tests/op_cases.py is made of: arguments that it draws from a seed of its own.

An argument says what it is before it is drawn. The words make the row's id, and the id its seed: a
row that comes or goes changes no other row's numbers, and a failing row is run alone by its id.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from enum import Enum
from typing import Any

import numpy as np

from refq.formats.fixed import FixedPointFormat, FormatGrid
from refq.formats.floats import AffineGrid

Case = tuple[str, dict[str, Any]]
# arguments whose place says what they are, and short words for long names
SILENT = ("x", "codes", "arrays", "fmt", "rounding", "overflow", "accumulator", "expression")
SHORT = {
    "kernel_shape": "k",
    "strides": "s",
    "pads": "p",
    "group": "g",
    "dilations": "d",
    "output_padding": "o",
    "frac_bits": "f",
}
UNSAID = ("seed", "offset")


@dataclass(frozen=True)
class Drawn:
    """An array of a row: its words in the id, its shape, and how it is drawn."""

    words: str
    shape: tuple[int, ...]
    draw: Callable[[np.random.Generator], Any]


@dataclass(frozen=True)
class Row:
    operation: str
    id: str
    parameters: dict[str, Any]

    def arguments(self) -> dict[str, Any]:
        """The operation's arguments, arrays drawn: the same ones at every call."""
        rng = np.random.default_rng(zlib.crc32(self.id.encode()))
        return {name: _drawn(value, rng) for name, value in self.parameters.items()}


def rows(cases: Iterable[Case]) -> list[Row]:
    """Rows with ids such as conv_integer-2x6x9x11-w4x3x3x2-s2x1-p1.0.2.3-g2-18-bit.sat."""
    made = [Row(operation, _id(operation, given), given) for operation, given in cases]
    ids = [row.id for row in made]
    assert len(set(ids)) == len(ids), f"twice: {sorted({i for i in ids if ids.count(i) > 1})}"
    return made


def real(*shape: int, scale: float = 3.0, dtype: type = np.float32) -> Drawn:
    words = _by(shape) + ("" if scale == 3 else f"*{scale:g}")
    words += "" if dtype is np.float32 else f".{np.dtype(dtype).name}"
    return Drawn(words, shape, lambda rng: rng.normal(0, scale, shape).astype(dtype))


def codes(
    *shape: int, bits: int = 12, signed: bool = True, dtype: type = np.int32, shift: int = 0
) -> Drawn:
    """Codes of all the range, its ends among them, moved left by `shift`."""
    low, high = _ends(bits, signed)

    def draw(rng: np.random.Generator) -> np.ndarray:
        values = rng.integers(low, high, shape, endpoint=True, dtype=np.int64)
        values.reshape(-1)[0], values.reshape(-1)[-1] = low, high
        return values.astype(dtype) << shift

    words = f"{_by(shape)}{'s' if signed else 'u'}{bits}{f'<<{shift}' * bool(shift)}"
    return Drawn(words + ("" if dtype is np.int32 else f".{np.dtype(dtype).name}"), shape, draw)


def edges(*shape: int, bits: int, signed: bool = True, dtype: type = np.int32) -> Drawn:
    """Codes at +-2**k + {-2, -1, 0, 1, 2} up to the range's ends, in some order, again from the
    first on where the shape has room: all of them are among the values."""
    low, high = _ends(bits, signed)
    near = {sign * (1 << k) + d for sign in (-1, 1) for k in range(bits + 1) for d in range(-2, 3)}
    values = np.array(sorted({low, high} | {n for n in near if low <= n <= high}), np.int64)
    assert values.size <= np.prod(shape), f"{values.size} edges for {shape}"
    words = f"{_by(shape)}{'s' if signed else 'u'}{bits}.edges"
    words += "" if dtype is np.int32 else f".{np.dtype(dtype).name}"
    return Drawn(words, shape, lambda rng: np.resize(rng.permutation(values), shape).astype(dtype))


def same(words: str, values: Any, dtype: type | None = None) -> Drawn:
    """Values written by hand."""
    array = np.array(values, dtype)
    return Drawn(words, array.shape, lambda rng: array.copy())


def whole(source: Drawn) -> Drawn:
    """Integers as float32: sums in any order are the same to the last bit."""
    words = f"{source.words}.float32"
    return Drawn(words, source.shape, lambda rng: source.draw(rng).astype(np.float32))


def _drawn(value: Any, rng: np.random.Generator) -> Any:
    if isinstance(value, Drawn):
        return value.draw(rng)
    return [_drawn(part, rng) for part in value] if isinstance(value, list) else value


def _ends(bits: int, signed: bool) -> tuple[int, int]:
    return (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)


def _by(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def _id(operation: str, parameters: dict[str, Any]) -> str:
    parts = [operation]
    for name, value in parameters.items():
        if value is True:
            parts.append(name)
        elif value is not False and name not in UNSAID:
            parts.append(("" if name in SILENT else SHORT.get(name, name)) + _words(value))
    return "-".join(parts)


def _words(value: Any) -> str:
    match value:
        case Drawn():
            return value.words
        case Enum():
            return str(value.value)
        case FixedPointFormat() | FormatGrid() | AffineGrid():
            return value.short.replace(" ", ".")
        case list() | tuple():
            return ("x" if len(value) == 2 else ".").join(map(_words, value))
        case float():
            return f"{value:g}"
        case None | int():
            return str(value)
        case str():
            return value
    given = [
        field.name if getattr(value, field.name) is True else _words(getattr(value, field.name))
        for field in fields(value)
        if field.init and getattr(value, field.name) != field.default
    ]
    return f"{type(value).__name__.lower()}({','.join(given)})"
