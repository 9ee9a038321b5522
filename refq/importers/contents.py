"""What every reader of weight files gives: layers with arrays that are not read yet.

Readers trust nothing. They check sizes against the file before they allocate, execute nothing, and
say what is wrong in one line. Arrays are read one by one, when they are asked for.
"""

from __future__ import annotations

import bisect
import contextlib
import functools
import math
import mmap
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from refq.errors import RefqError, WeightsError, printable
from refq.hdf5.nodes import Hdf5Error
from refq.networks.layers import NO_PADS, Pads, Pair, Shape
from refq.networks.layers.windows import pool_size

LARGEST = 1 << 30  # bytes of one array; VGG's fc6 has 411 MB, 822 in double precision
MOST = 100_000  # arrays or layers of a file; ResNet-152 has about a thousand
DEEPEST = 32  # parts within parts
# what Python, NumPy and h5py raise where bytes make no sense
MALFORMED = (
    OSError,
    RuntimeError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    ArithmeticError,
    EOFError,
    MemoryError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True)
class Tensor:
    """An array of a file: load() reads it, float32 of that shape, or float64 where the file's
    values are."""

    shape: Shape
    load: Callable[[], np.ndarray] = field(repr=False)

    def transposed(self, *axes: int) -> Tensor:
        shape = tuple(self.shape[axis] for axis in axes)
        return Tensor(shape, lambda: self.load().transpose(axes))

    def reshaped(self, shape: Shape) -> Tensor:
        return Tensor(shape, lambda: self.load().reshape(shape))


@dataclass(frozen=True)
class Unit:
    """A layer of a file, its axes in refq's order.

    arrays: `weight` (O, I / group, rows, columns) or (O, K) and `bias` (O,); or a normalisation's
    `gamma`, `beta`, `mean`, `variance` (O,), Caffe's `factor`, MatConvNet's `moments` (O, 2); or
    `other`, of which nobody knows what it does.
    eps: what is added to the variance, None where the file does not say.
    channels_last: K, where it is a flattened image, is in the order H, W, C.
    folded: names of normalisations that the file's graph puts behind the layer.
    """

    name: str
    arrays: Mapping[str, Tensor]
    eps: float | None = None
    channels_last: bool = False
    folded: tuple[str, ...] = ()


def stated_size(channels: int, rows: int, columns: int) -> Pair | None:
    """Rows and columns of images as a file states them, None where they are no sizes. Raises
    WeightsError for images that are not of three channels; 0 and less are unknown."""
    if channels > 0 and channels != 3:
        raise refuse(f"images of {channels} channels", "3, as refq's networks read them")
    return (rows, columns) if 0 < min(rows, columns) <= max(rows, columns) < 1 << 14 else None


@dataclass(frozen=True)
class Window:
    """What a convolution or pooling layer slides over an image; ONNX's attributes.

    auto: SAME_UPPER or SAME_LOWER, where the pads depend on the image; else empty. dilations: how
    far apart the cells of the kernel lie.
    """

    kernel: Pair
    strides: Pair
    pads: Pads = NO_PADS
    ceil_mode: bool = False
    auto: str = ""
    dilations: Pair = (1, 1)

    def over(self, size: Pair) -> tuple[Pair, Pair]:
        """((rows, columns) before the image, how many windows down and right)."""
        before, count = [], []
        for axis, length in enumerate(size):
            kernel = (self.kernel[axis] - 1) * self.dilations[axis] + 1
            stride = self.strides[axis]
            first, after = self.pads[axis], self.pads[axis + 2]
            if self.auto:
                whole = max(0, (-(-length // stride) - 1) * stride + kernel - length)
                first = whole // 2 if self.auto == "SAME_UPPER" else -(-whole // 2)
                after = whole - first
            before.append(first)
            count.append(pool_size(length, kernel, stride, first, after, self.ceil_mode))
        return (before[0], before[1]), (count[0], count[1])


@dataclass(frozen=True)
class Step:
    """A node of a file's graph: what it computes as far as networks are told apart by it."""

    name: str
    kind: str
    inputs: tuple[str, ...]
    window: Window | None = None


@dataclass(frozen=True)
class Contents:
    """A file. source: whose names and layouts these are (caffe, torch, keras, matconvnet, onnx);
    form: of what kind the file is, in words; order: all layers, also those without arrays.
    ignored: arrays that are no layer's. graph: where the file has one. mean: RGB, where stated, and
    scale: what images without it are multiplied by.
    size: rows and columns of the image, where stated. by_name: units stand in the order of their
    names, which says nothing. notes: what a reader has to tell of the file. head: what names of
    its classifier begin with, where somebody says it."""

    source: str
    form: str
    units: Mapping[str, Unit]
    order: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    graph: tuple[Step, ...] = ()
    producer: str = ""
    mean: tuple[float, float, float] | None = None
    scale: float = 1.0
    size: Pair | None = None
    by_name: bool = False
    notes: tuple[str, ...] = ()
    head: str = ""

    @functools.cached_property
    def sorted_names(self) -> list[str]:
        return sorted((*self.units, *self.ignored))

    def has_below(self, name: str) -> bool:
        """Whether there is anything named `name.part` or `name/part`."""
        for begin in (f"{name}.", f"{name}/"):
            place = bisect.bisect_left(self.sorted_names, begin)
            if place < len(self.sorted_names) and self.sorted_names[place].startswith(begin):
                return True
        return False


def refuse(found: str, wanted: str = "", remedy: str = "") -> WeightsError:
    """An error whose text is short and printable, whatever a hostile file put into names."""
    return WeightsError(printable(found), wanted, remedy)


def checked_shape(name: str, shape: object, item: int = 4) -> Shape:
    """The shape as a tuple. Raises WeightsError for one that is absurd, before any allocation."""
    if not isinstance(shape, (tuple, list)) or len(shape) > 8:
        raise refuse(f"{name}: a shape that is no list of up to 8 numbers")
    if not all(type(size) is int and 0 < size < 1 << 40 for size in shape):
        raise refuse(f"{name}: a shape with sizes other than numbers of 1 or more")
    if math.prod(shape) * max(item, 4) > LARGEST:
        raise refuse(
            f"{name}: an array of {math.prod(shape):,} values", f"{LARGEST:,} bytes or less"
        )
    return tuple(shape)


def floats(raw: np.ndarray, kind: str) -> np.ndarray:
    """float32 of stored floats, or float64. kind bfloat16: raw holds the upper halves of float32,
    uint16."""
    if kind == "bfloat16":
        return (raw.astype(np.uint32) << 16).view(np.float32)
    return raw.astype(np.float64 if raw.itemsize > 4 else np.float32, copy=False)


def inflated(parts: Iterable[bytes], most: int) -> Iterator[bytes]:
    """A zlib stream unpacked, at most 16 MiB at a time. Raises WeightsError for more than `most`
    bytes, and for a stream that does not end."""
    stream, size = zlib.decompressobj(), 0
    for part in parts:
        while part and not stream.eof:
            out = stream.decompress(part, 1 << 24)
            size += len(out)
            if size > most:
                raise refuse(f"a compressed element of more than {most:,} bytes", "weights")
            yield out
            part = stream.unconsumed_tail
    if not stream.eof:
        raise refuse("a compressed element that is cut off", "a complete file")


@contextlib.contextmanager
def one_line(path: Path, what: str) -> Iterator[None]:
    """Whatever a broken file raises becomes one line that says which file it was."""
    try:
        yield
    except Hdf5Error as error:
        raise WeightsError(f"{path}: {error.reason}", error.wanted, error.remedy) from None
    except RefqError as error:
        if error.found.startswith(str(path)):
            raise
        raise WeightsError(f"{path}: {error.found}", error.wanted, error.remedy) from None
    except (*MALFORMED, RecursionError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        found = refuse(f"{path}: cannot be read as {what} ({reason})").found
        raise WeightsError(found, "a complete file", "fetch it again") from None


def mapped(path: Path) -> mmap.mmap:
    """The file's bytes, read by the operating system where they are looked at."""
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def forget(data: mmap.mmap) -> None:
    """Lets the system drop what was read before; what is looked at again is read again. Without it
    a large file would come to stay in memory part by part."""
    if hasattr(data, "madvise"):
        data.madvise(mmap.MADV_DONTNEED)


def stored(data: mmap.mmap, begin: int, shape: Shape, kind: str, order: str = "C") -> Tensor:
    """A tensor that lies as plain numbers in the file. kind: a NumPy type, or bfloat16."""
    dtype = np.dtype("<u2" if kind == "bfloat16" else kind)
    count = math.prod(shape)
    if begin < 0 or begin + count * dtype.itemsize > len(data):
        raise refuse("an array that reaches beyond the end of the file")

    def load() -> np.ndarray:
        forget(data)
        flat = floats(np.frombuffer(data, dtype, count, begin), kind)
        return flat.reshape(shape, order=order)  # type: ignore[call-overload]

    return Tensor(shape, load)
