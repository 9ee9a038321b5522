"""A pickle machine that can only build data: it imports nothing and calls nothing.

Python's pickle.load runs what a file names. This one knows the few names that a state dict of
torch needs, and turns their calls into plain values; any other name is an error.
"""

from __future__ import annotations

import mmap
import pickletools
from dataclasses import dataclass
from typing import Any

from refq.importers.contents import refuse

LONGEST = 1 << 20  # bytes of a string or number
# 932 tensors, as ResNet-152 has, take 28 thousand operations; with Adam's 70 thousand, 0.2 MB
MOST_BYTES = 16 << 20
MOST_WORK = 1_000_000
LONGEST_KEY = 100
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
class Name:
    """What a pickle would import."""

    name: str


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


class _Bounded:
    """A file for pickletools that hands out no more than LONGEST bytes at a time."""

    def __init__(self, data: mmap.mmap | bytes, begin: int) -> None:
        self.data, self.position = data, begin

    def read(self, count: int) -> bytes:
        if not 0 <= count <= LONGEST:
            raise refuse(f"a pickle with a value of {count} bytes", f"at most {LONGEST}")
        part = bytes(self.data[self.position : self.position + count])
        self.position += len(part)
        return part

    def readline(self) -> bytes:
        end = self.data.find(b"\n", self.position, self.position + LONGEST)
        return self.read((end + 1 if end >= 0 else len(self.data)) - self.position)

    def tell(self) -> int:
        return self.position


_MARK = object()
_CONSTANT: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_NEW: dict[str, Any] = {"EMPTY_TUPLE": tuple, "EMPTY_LIST": list, "EMPTY_DICT": dict}
_VALUES = {
    "INT",
    "BININT",
    "BININT1",
    "BININT2",
    "LONG",
    "LONG1",
    "LONG4",
    "FLOAT",
    "BINFLOAT",
    "STRING",
    "BINSTRING",
    "SHORT_BINSTRING",
    "UNICODE",
    "BINUNICODE",
    "SHORT_BINUNICODE",
    "BINUNICODE8",
    "BINBYTES",
    "SHORT_BINBYTES",
    "BINBYTES8",
}


def load(data: mmap.mmap | bytes, begin: int = 0) -> tuple[Any, int]:
    """(value, where the pickle ends) of the pickle that starts at byte `begin`.

    Values are numbers, text, tuples, lists, dicts, Name, Storage and Strided. Raises WeightsError
    naming what the pickle wanted to import, and ValueError or IndexError for a broken one.
    """
    file, stack, memo, work = _Bounded(data, begin), [], {}, 0  # type: ignore[var-annotated]
    for opcode, argument, _ in pickletools.genops(file):  # type: ignore[arg-type]
        name = opcode.name
        work += 1
        if work > MOST_WORK or file.position - begin > MOST_BYTES:
            raise refuse(
                "a pickle of millions of operations or bytes", "names, and values outside it"
            )
        if name in ("PROTO", "FRAME"):
            continue
        if name == "STOP":
            return stack.pop(), file.position
        if name == "MARK":
            stack.append(_MARK)
        elif name in _CONSTANT:
            stack.append(_CONSTANT[name])
        elif name in _NEW:
            stack.append(_NEW[name]())
        elif name in _VALUES:
            stack.append(argument)
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            size = int(name[-1])
            stack[-size:] = [tuple(stack[-size:])]
        elif name in ("TUPLE", "LIST", "DICT", "APPENDS", "SETITEMS", "POP_MARK"):
            _gathered(name, stack)
        elif name == "APPEND":
            value = stack.pop()
            _of(stack[-1], list).append(value)
        elif name == "SETITEM":
            value, key = stack.pop(), stack.pop()
            _put(stack[-1], [key, value])
        elif name == "POP":
            stack.pop()
        elif name == "GLOBAL":
            stack.append(_known(_of(argument, str)))
        elif name == "STACK_GLOBAL":
            part, module = _of(stack.pop(), str), _of(stack.pop(), str)
            stack.append(_known(f"{module} {part}"))
        elif name == "BINPERSID":
            stack.append(_storage(stack.pop()))
        elif name == "REDUCE":
            arguments = _of(stack.pop(), tuple)
            # one long list, read back from the memo, may be the argument of many calls
            work += len(arguments)
            work += sum(len(part) for part in arguments if isinstance(part, (list, tuple)))
            stack.append(_called(_of(stack.pop(), Name).name, arguments))
        elif name == "BUILD":
            # a state dict carries its version as an attribute
            stack.pop()
            _of(stack[-1], dict)
        else:
            raise refuse(f"a pickle with operation {name}", "what a state dict needs")
    raise refuse("a pickle without an end", "a complete file")


def _of(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise refuse(f"a pickle that uses a {type(value).__name__} as {kind.__name__}")
    return value


def _gathered(name: str, stack: list[Any]) -> None:
    """The operations that take everything above the last mark."""
    place = len(stack) - 1
    while stack[place] is not _MARK:
        place -= 1
        if place < 0:
            raise refuse("a pickle without a mark", "a complete file")
    values = stack[place + 1 :]
    del stack[place:]
    if name == "TUPLE":
        stack.append(tuple(values))
    elif name == "LIST":
        stack.append(values)
    elif name == "DICT":
        stack.append({})
        _put(stack[-1], values)
    elif name == "APPENDS":
        _of(stack[-1], list).extend(values)
    elif name == "SETITEMS":
        _put(stack[-1], values)


def _put(target: Any, values: list[Any]) -> None:
    for key, value in zip(values[::2], values[1::2]):
        if type(key) not in (str, int):  # a deep tuple as key would be hashed recursively
            raise refuse(f"a pickle with a {type(key).__name__} as key", "names")
        _of(target, dict)[key] = value


def _known(name: str) -> Name:
    module, _, part = name.partition(" ")
    storage = module in ("torch", "torch.storage", "torch.cuda") and part in STORAGES
    if name in CALLS or storage or (module == "torch" and part in DTYPES):
        return Name(name)
    raise refuse(
        f"a pickle that imports {module}.{part}",
        "a state dict: names and tensors",
        "save model.state_dict() with torch and convert that",
    )


def _storage(described: Any) -> Storage:
    parts = _of(described, tuple)
    if len(parts) not in (5, 6) or parts[0] != "storage" or type(parts[1]) is not Name:
        raise refuse("a pickle with something stored outside that is no tensor's storage")
    kind = STORAGES.get(parts[1].name.partition(" ")[2])
    if kind is None or type(parts[4]) is not int or parts[4] < 0:
        raise refuse("a storage without a type or a size")
    if len(parts) == 6 and parts[5] is not None:
        raise refuse("a storage that is part of another", remedy="save the state dict again")
    if len(_of(parts[2], str)) > LONGEST_KEY:
        raise refuse("a storage with a long name", f"{LONGEST_KEY} letters or less")
    return Storage(kind, parts[2], parts[4])


def _called(name: str, arguments: tuple[Any, ...]) -> Any:
    """What the call would give, as plain data."""
    if name == "collections OrderedDict":
        pairs = _of(arguments[0], list) if arguments else []
        made: dict[Any, Any] = {}
        for pair in pairs:
            _put(made, list(pair) if type(pair) in (tuple, list) and len(pair) == 2 else [pair, 0])
        return made
    if name == "torch Size":
        return tuple(_of(arguments[0], tuple))
    if name == "torch._utils _rebuild_parameter":
        return _of(arguments[0], Strided)
    if name in ("torch._utils _rebuild_tensor", "torch._utils _rebuild_tensor_v2"):
        storage, offset, shape, strides = arguments[:4]
        if len(arguments) > 6 and arguments[6]:
            raise refuse(
                "a tensor whose sign or conjugate is still to be taken",
                "its values",
                "save tensor.resolve_neg() or tensor.resolve_conj()",
            )
        numbers = (offset, *_of(shape, tuple), *_of(strides, tuple))
        if len(shape) != len(strides) or len(shape) > 8:
            raise refuse("a tensor with other than as many strides as sizes")
        if not all(type(each) is int and 0 <= each < 1 << 40 for each in numbers):
            raise refuse("a tensor with absurd sizes or strides")
        return Strided(_of(storage, Storage), offset, shape, strides)
    raise refuse(f"a pickle that calls {name.replace(' ', '.')}", "a tensor or a dict")
