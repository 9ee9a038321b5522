"""How a process that reads a file and the one that asked it talk: a letter, a length, the bytes."""

from __future__ import annotations

import json
import struct
from typing import Any, Protocol

JSON, ERROR, DATA = b"J", b"E", b"D"
HEAD = struct.Struct("<cI")
MOST = {JSON: 256 << 20, ERROR: 1 << 12, DATA: 1 << 31}  # bytes of each kind


class StreamError(Exception):
    """The other side has gone, or says what it cannot mean."""


class Stream(Protocol):
    def sendall(self, data: Any, /) -> None: ...

    def recv_into(self, buffer: Any, /) -> int: ...


def send(stream: Stream, kind: bytes, data: Any) -> None:
    view = memoryview(data).cast("B")
    stream.sendall(HEAD.pack(kind, len(view)))
    stream.sendall(view)


def send_json(stream: Stream, content: Any) -> None:
    send(stream, JSON, json.dumps(content).encode())


def fill(stream: Stream, buffer: Any) -> None:
    """Raises StreamError where the stream ends before the buffer is full."""
    view = memoryview(buffer)
    while view:
        count = stream.recv_into(view)
        if not count:
            raise StreamError
        view = view[count:]


def head(stream: Stream) -> tuple[bytes, int]:
    """(kind, length) of the next frame."""
    content = bytearray(HEAD.size)
    fill(stream, content)
    kind, size = HEAD.unpack(content)
    if size > MOST.get(kind, -1):
        raise StreamError
    return kind, size


def body(stream: Stream, size: int) -> bytearray:
    content = bytearray(size)
    fill(stream, content)
    return content
