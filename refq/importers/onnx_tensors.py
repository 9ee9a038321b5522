"""Values of ONNX's tensors, as NumPy has them: of bytes, of typed fields, or of another file."""

from __future__ import annotations

import math
from typing import NoReturn

import numpy as np

from refq.importers import wire
from refq.importers.contents import LARGEST, refuse
from refq.importers.onnx_external import Outside
from refq.importers.onnx_proto import Stored

# TensorProto.DataType: NumPy's type, and the number of the field that typed values are in
TYPES = {
    1: ("<f4", 4),
    2: ("u1", 5),
    3: ("i1", 5),
    4: ("<u2", 5),
    5: ("<i2", 5),
    6: ("<i4", 5),
    7: ("<i8", 7),
    9: ("?", 5),
    10: ("<f2", 5),
    11: ("<f8", 10),
    12: ("<u4", 11),
    13: ("<u8", 11),
    16: ("bfloat16", 5),
}
# others, in words
NAMES = {0: "no type", 1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32"}
NAMES |= {7: "int64", 8: "text", 9: "bool", 10: "float16", 11: "float64", 12: "uint32"}
NAMES |= {13: "uint64", 14: "complex64", 15: "complex128", 16: "bfloat16", 17: "float8e4m3fn"}
NAMES |= {18: "float8e4m3fnuz", 19: "float8e5m2", 20: "float8e5m2fnuz", 21: "uint4", 22: "int4"}
NAMES |= {23: "float4e2m1", 24: "float8e8m0", 25: "uint2", 26: "int2"}
FLOATS = {1, 10, 11, 16}
QUANTIZED = {17, 18, 19, 20, 21, 22, 23, 24, 25, 26}


def checked(tensor: Stored, outside: Outside | None) -> None:
    """Raises WeightsError, naming the tensor, unless load() can read it; reads no values."""
    name, shape = tensor.name, tensor.shape
    if tensor.kind not in TYPES:
        kind = NAMES.get(tensor.kind, f"type {tensor.kind}")
        more = ", a quantized model" if tensor.kind in QUANTIZED else ""
        raise refuse(f"{name}: values of {kind}{more}", "floats, integers or bool")
    if len(shape) > 8 or any(not 0 <= size < 1 << 40 for size in shape):
        raise refuse(f"{name}: a shape {shape[:9]}", "up to 8 sizes of 0 or more")
    dtype = np.dtype(_plain(tensor))
    count = math.prod(shape)
    if count * max(dtype.itemsize, 4) > LARGEST:
        raise refuse(f"{name}: an array of {count:,} values", f"{LARGEST:,} bytes or less")
    if tensor.external is not None:
        if outside is None:
            refuse_outside(name)
        outside.place(tensor, count * dtype.itemsize)
        return
    if tensor.raw is not None:
        size = tensor.raw.end - tensor.raw.begin
        if tensor.raw.kind != wire.BYTES or size != count * dtype.itemsize:
            raise refuse(f"{name}: {size:,} bytes for shape {shape}", f"{count * dtype.itemsize:,}")
        return
    held = _count(tensor)
    if held != count:
        raise refuse(f"{name}: {held:,} values for shape {shape}", f"{count:,}")


def refuse_outside(name: str) -> NoReturn:
    raise refuse(
        f"{name}: values in another file",
        "all values in the model",
        "save it with onnx.save and save_as_external_data=False",
    )


def load(tensor: Stored, outside: Outside | None = None) -> np.ndarray:
    """The values as their type has them, bfloat16 as float32; a view of the file where that is
    possible. After checked()."""
    dtype, count = np.dtype(_plain(tensor)), math.prod(tensor.shape)
    if not count:
        flat = np.empty(0, dtype)
    elif tensor.external is not None:
        assert outside is not None
        data, begin = outside.place(tensor, count * dtype.itemsize)
        flat = np.frombuffer(data, dtype, count, begin)
    elif tensor.raw is not None:
        flat = np.frombuffer(tensor.data, dtype, count, tensor.raw.begin)
    else:
        flat = _typed(tensor, dtype)
    if TYPES[tensor.kind][0] == "bfloat16":
        flat = (flat.astype(np.uint32) << 16).view(np.float32)
    return flat.reshape(tensor.shape)


def _plain(tensor: Stored) -> str:
    name = TYPES[tensor.kind][0]
    return "<u2" if name == "bfloat16" else name


def _fields(tensor: Stored) -> tuple[wire.Field, ...]:
    return tensor.typed.get(TYPES[tensor.kind][1], ())


def _count(tensor: Stored) -> int:
    """How many values its typed fields hold."""
    if tensor.kind in (1, 11):
        size = 4 if tensor.kind == 1 else 8
        return sum(wire.count_floats(each, size) for each in _fields(tensor))
    return sum(wire.count_varints(tensor.data, each) for each in _fields(tensor))


def _typed(tensor: Stored, dtype: np.dtype) -> np.ndarray:
    if tensor.kind in (1, 11):
        return wire.floats(tensor.data, list(_fields(tensor)), dtype.itemsize)
    parts = [wire.varints(tensor.data, each) for each in _fields(tensor)]
    values = np.concatenate(parts)
    if dtype.kind == "f":  # float16 as its bits
        values, dtype = values.astype(np.uint16), np.dtype("<f2")
        return values.view(dtype)
    stored = values.astype(dtype)
    if dtype.kind in "iu" and (stored.astype(np.int64) != values).any():
        raise refuse(f"{tensor.name}: values beyond {dtype}", f"{dtype}")
    return stored
