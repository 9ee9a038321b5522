"""A pickle machine that can only build data: it imports nothing and calls nothing.

Python's pickle.load runs what a file names, and takes memory as a file says. This one knows the
names of a dialect, such as a state dict of torch, and turns their calls into plain values; any
other name is an error. Sizes are checked against the bytes that are there before they are taken.
"""

from __future__ import annotations

import mmap
import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from refq.errors import RefqError, printable

# ints that are alike modulo 2**61 - 1 share a hash: a dict of many would take for ever
LARGEST_KEY = 1 << 60
MOST_PROTOCOL = 5


@dataclass(frozen=True)
class Name:
    """What a pickle would import: module and name with a space between."""

    name: str


@dataclass(frozen=True)
class Dialect:
    """What one kind of pickle holds.

    wanted: that, for messages; remedy: for one that imports something else. known: whether a name
    is one of its own. called: what a call of a name gives, as plain data that takes no more memory
    than its arguments. built: takes a state for a value. stored: makes a value of what is kept
    outside the pickle. keys: types of keys. longest: bytes of a string or number; most: of all.
    work: operations.
    """

    wanted: str
    remedy: str
    known: Callable[[str], bool]
    called: Callable[[str, tuple[Any, ...]], Any]
    built: Callable[[Any, Any], None]
    stored: Callable[[Any], Any]
    keys: tuple[type, ...] = (str, int)
    longest: int = 1 << 20
    # 932 tensors, as ResNet-152 has, take 28 thousand operations; with Adam's 70 thousand, 0.2 MB
    most: int = 16 << 20
    work: int = 1_000_000


def refuse(found: str, wanted: str = "", remedy: str = "") -> RefqError:
    """An error whose text is short and printable, whatever a hostile file put into names."""
    return RefqError(printable(found), wanted, remedy)


class _Bounded:
    """A file for pickletools that hands out no more than `longest` bytes at a time."""

    def __init__(self, data: mmap.mmap | bytes, begin: int, longest: int) -> None:
        self.data, self.position, self.longest = data, begin, longest

    def read(self, count: int) -> bytes:
        if not 0 <= count <= self.longest:
            raise refuse(f"a pickle with a value of {count} bytes", f"at most {self.longest}")
        part = bytes(self.data[self.position : self.position + count])
        self.position += len(part)
        return part

    def readline(self) -> bytes:
        end = self.data.find(b"\n", self.position, self.position + self.longest)
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
    "BYTEARRAY8",
}


def load(dialect: Dialect, data: mmap.mmap | bytes, begin: int = 0) -> tuple[Any, int]:
    """(value, where the pickle ends) of the pickle that starts at byte `begin`.

    Values are numbers, text, bytes, tuples, lists, dicts, Name and what the dialect makes. Raises
    RefqError naming what the pickle wanted to import, and ValueError or LookupError for a broken
    one.
    """
    file = _Bounded(data, begin, dialect.longest)
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    work = 0
    argument: Any
    for opcode, argument, _ in pickletools.genops(file):  # type: ignore[arg-type]
        name = opcode.name
        work += 1
        if work > dialect.work or file.position - begin > dialect.most:
            raise refuse("a pickle of too many operations or bytes", dialect.wanted)
        if name in ("PROTO", "FRAME"):
            if name == "PROTO" and argument > MOST_PROTOCOL:
                raise refuse(f"a pickle of protocol {argument}", f"at most {MOST_PROTOCOL}")
        elif name == "STOP":
            return stack.pop(), file.position
        elif name == "MARK":
            stack.append(_MARK)
        elif name in _CONSTANT:
            stack.append(_CONSTANT[name])
        elif name in _NEW:
            stack.append(_NEW[name]())
        elif name in _VALUES:
            stack.append(argument)
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            if argument >= LARGEST_KEY:
                raise refuse("a pickle that counts its values beyond all bounds")
            memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            size = int(name[-1])
            stack[-size:] = [tuple(stack[-size:])]
        elif name in ("TUPLE", "LIST", "DICT", "APPENDS", "SETITEMS", "POP_MARK"):
            _gathered(name, stack, dialect.keys)
        elif name == "APPEND":
            value = stack.pop()
            of(stack[-1], list).append(value)
        elif name == "SETITEM":
            value, key = stack.pop(), stack.pop()
            put(stack[-1], [key, value], dialect.keys)
        elif name == "POP":
            stack.pop()
        elif name == "GLOBAL":
            stack.append(_known(dialect, of(argument, str)))
        elif name == "STACK_GLOBAL":
            part, module = of(stack.pop(), str), of(stack.pop(), str)
            stack.append(_known(dialect, f"{module} {part}"))
        elif name == "BINPERSID":
            stack.append(dialect.stored(stack.pop()))
        elif name in ("REDUCE", "NEWOBJ"):
            arguments = of(stack.pop(), tuple)
            # one long list, read back from the memo, may be the argument of many calls
            work += len(arguments)
            work += sum(len(part) for part in arguments if isinstance(part, (list, tuple)))
            stack.append(dialect.called(of(stack.pop(), Name).name, arguments))
        elif name == "BUILD":
            state = stack.pop()
            dialect.built(stack[-1], state)
        else:
            raise refuse(f"a pickle with operation {name}", dialect.wanted)
    raise refuse("a pickle without an end", "a complete file")


def of(value: Any, kind: type) -> Any:
    """The value, which is of that type and no other."""
    if type(value) is not kind:
        raise refuse(f"a pickle that uses a {type(value).__name__} as {kind.__name__}")
    return value


def _gathered(name: str, stack: list[Any], keys: tuple[type, ...]) -> None:
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
        put(stack[-1], values, keys)
    elif name == "APPENDS":
        of(stack[-1], list).extend(values)
    elif name == "SETITEMS":
        put(stack[-1], values, keys)


def put(target: Any, values: list[Any], keys: tuple[type, ...]) -> None:
    """Keys and values in turns into a dict."""
    for key, value in zip(values[::2], values[1::2]):
        if type(key) not in keys:  # a deep tuple as key would be hashed recursively
            raise refuse(f"a pickle with a {type(key).__name__} as key", "names")
        if type(key) is int and abs(key) >= LARGEST_KEY:
            raise refuse("a pickle with an absurd number as key", "names")
        of(target, dict)[key] = value


def _known(dialect: Dialect, name: str) -> Name:
    if dialect.known(name):
        return Name(name)
    module, _, part = name.partition(" ")
    raise refuse(f"a pickle that imports {module}.{part}", dialect.wanted, dialect.remedy)
