"""The pickles of torch's state dicts: names, and tensors whose values are kept outside."""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from typing import Any

from refq.errors import RefqError, WeightsError
from refq.files import pickles
from refq.files.pickles import Name, of
from refq.importers import pickled_beside
from refq.importers.contents import refuse

LONGEST_KEY = 100
KEYS = (str, int)
STORAGES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}
DTYPES = {
    "float32",
    "float64",
    "float16",
    "bfloat16",
    "int64",
    "int32",
    "int16",
    "int8",
    "uint8",
    "bool",
    "float",
    "double",
    "half",
    "long",
    "int",
}
CALLS = {
    "collections OrderedDict",
    "torch Size",
    "torch._utils _rebuild_tensor",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
}


@dataclass(frozen=True)
class Storage:
    """numel values of a kind (a NumPy type, or bfloat16), kept outside the pickle under key."""

    kind: str
    key: str
    numel: int


@dataclass(frozen=True)
class Strided:
    """A tensor: a view of a storage; offset and strides count values."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def load(data: mmap.mmap | bytes, begin: int = 0) -> tuple[Any, int]:
    """(value, where the pickle ends) of the pickle that starts at byte `begin`.

    Values are numbers, text, tuples, lists, dicts, Name, Storage, Strided and Beside. Raises
    WeightsError naming what the pickle wanted to import, and ValueError or LookupError for a broken
    one.
    """
    try:
        return pickles.load(STATE_DICT, data, begin)
    except WeightsError:
        raise
    except RefqError as error:
        raise WeightsError(error.found, error.wanted, error.remedy) from None


FLOAT = "save tensor.float()"
# tensors of other kinds, by what torch rebuilds them with: (what they are, what to do)
OTHERS = {
    "torch._utils _rebuild_qtensor": (
        "quantized tensors",
        "save the state dict before it is quantized, or tensor.dequantize()",
    ),
    "torch._utils _rebuild_sparse_tensor": ("sparse tensors", "save tensor.to_dense()"),
    "torch._utils _rebuild_nested_tensor": ("nested tensors", "save plain tensors"),
    "torch._utils _rebuild_meta_tensor_no_storage": (
        "tensors of the meta device, which have no values",
        "save the model with its values",
    ),
    "torch._utils _rebuild_tensor_v3": ("tensors of a type of its own, as float8", FLOAT),
    "torch._utils _rebuild_device_tensor_from_numpy": ("tensors of another device", FLOAT),
    "torch ComplexFloatStorage": ("complex tensors", FLOAT),
    "torch ComplexDoubleStorage": ("complex tensors", FLOAT),
    "torch.jit _pickle": ("a program of TorchScript", "save its state_dict() with torch.save"),
}


def _known(name: str) -> bool:
    module, _, part = name.partition(" ")
    what, remedy = OTHERS.get(name, ("", ""))
    if module.startswith("__torch__"):
        what, remedy = "a program of TorchScript", OTHERS["torch.jit _pickle"][1]
    if what:
        raise refuse(f"a file of {what}", "a state dict of float tensors", remedy)
    storage = module in ("torch", "torch.storage", "torch.cuda") and part in STORAGES
    dtype = module == "torch" and part in DTYPES
    return name in CALLS | pickled_beside.NAMES or storage or dtype


def _built(value: Any, state: Any) -> None:
    """A state dict carries its version as an attribute; what stands beside it, more."""
    if type(value) is not pickled_beside.Beside:
        of(value, dict)


def _storage(described: Any) -> Storage:
    parts = of(described, tuple)
    if len(parts) not in (5, 6) or parts[0] != "storage" or type(parts[1]) is not Name:
        raise refuse("a pickle with something stored outside that is no tensor's storage")
    kind = STORAGES.get(parts[1].name.partition(" ")[2])
    if kind is None or type(parts[4]) is not int or parts[4] < 0:
        raise refuse("a storage without a type or a size")
    if len(parts) == 6 and parts[5] is not None:
        raise refuse("a storage that is part of another", remedy="save the state dict again")
    if len(of(parts[2], str)) > LONGEST_KEY:
        raise refuse("a storage with a long name", f"{LONGEST_KEY} letters or less")
    return Storage(kind, parts[2], parts[4])


def _called(name: str, arguments: tuple[Any, ...]) -> Any:
    """What the call would give, as plain data."""
    if name == "collections OrderedDict":
        pairs = of(arguments[0], list) if arguments else []
        made: dict[Any, Any] = {}
        for pair in pairs:
            pickles.put(
                made,
                list(pair) if type(pair) in (tuple, list) and len(pair) == 2 else [pair, 0],
                KEYS,
            )
        return made
    if name == "torch Size":
        return tuple(of(arguments[0], tuple))
    if name == "torch._utils _rebuild_parameter":
        return of(arguments[0], Strided)
    if name in ("torch._utils _rebuild_tensor", "torch._utils _rebuild_tensor_v2"):
        storage, offset, shape, strides = arguments[:4]
        if len(arguments) > 6 and arguments[6]:
            raise refuse(
                "a tensor whose sign or conjugate is still to be taken",
                "its values",
                "save tensor.resolve_neg() or tensor.resolve_conj()",
            )
        numbers = (offset, *of(shape, tuple), *of(strides, tuple))
        if len(shape) != len(strides) or len(shape) > 8:
            raise refuse("a tensor with other than as many strides as sizes")
        if not all(type(each) is int and 0 <= each < 1 << 40 for each in numbers):
            raise refuse("a tensor with absurd sizes or strides")
        return Strided(of(storage, Storage), offset, shape, strides)
    if name in pickled_beside.NAMES:
        return pickled_beside.made(name)
    raise refuse(f"a pickle that calls {name.replace(' ', '.')}", "a tensor or a dict")


STATE_DICT = pickles.Dialect(
    wanted="a state dict: names and tensors",
    remedy="save model.state_dict() with torch and convert that",
    known=_known,
    called=_called,
    built=_built,
    stored=_storage,
    keys=KEYS,
)
