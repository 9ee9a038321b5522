"""Which map holds which tensor: buffers are reused, and concatenated tensors share one map."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from refq.kernels.maps import Layout
from refq.networks.graph import Network
from refq.networks.layers import Pads


@dataclass(frozen=True)
class Place:
    """Some channels of a map. whole: the tensor owns the map's memory."""

    map: Any
    channels: slice
    whole: bool = True

    @property
    def first(self) -> int:
        return self.channels.start or 0


class MapMemory:
    """Lends maps to the tensors of one batch. Use as a context: leaving it takes all back.

    idle: maps that wait for the next tensor of their kind, kept between batches. Steps write real
    pixels only, so the padding of a map keeps its value.
    """

    def __init__(self, network: Network, images: int, idle: dict[Any, list[Any]]) -> None:
        self.network, self.images, self.idle = network, images, idle
        self.joined: dict[str, Place] = {}  # where operands of a concatenation write
        self.lent: dict[int, tuple[Any, Any]] = {}
        self.readers: dict[int, int] = {}  # pending sums that still read a map, by its id
        self.dropped: set[int] = set()  # maps whose tensor no later node reads

    def __enter__(self) -> MapMemory:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for key, lent in self.lent.values():
            self.idle.setdefault(key, []).append(lent)
        self.lent.clear()

    def borrow(self, key: Any, make: Callable[[Any], Any]) -> Any:
        """A map of a kind: make(idle one, or None) -> map."""
        waiting = self.idle.get(key)
        lent = make(waiting.pop() if waiting else None)
        self.lent[id(lent)] = (key, lent)
        return lent

    def drop(self, place: Place) -> None:
        """No later node reads this tensor: its memory is free once no pending sum reads it."""
        if place.whole:
            self.dropped.add(id(place.map))
            self._reclaim(place.map)

    def hold(self, read: Any) -> None:
        """A pending sum will read this map."""
        self.readers[id(read)] = self.readers.get(id(read), 0) + 1

    def unhold(self, read: Any) -> None:
        """A pending sum has been made."""
        self.readers[id(read)] -= 1
        self._reclaim(read)

    def _reclaim(self, read: Any) -> None:
        key = id(read)
        if key in self.dropped and not self.readers.get(key) and key in self.lent:
            self.dropped.discard(key)
            kind, lent = self.lent.pop(key)
            self.idle.setdefault(kind, []).append(lent)

    def layout(self, name: str, pads: Pads) -> Layout:
        """A tensor's layout; vectors are images of one pixel."""
        shape = self.network.shapes[name]
        channels, height, width = shape if len(shape) == 3 else (*shape, 1, 1)
        return Layout(self.images, channels, height, width, pads)

    def shape(self, name: str) -> tuple[int, ...]:
        return (self.images, *self.network.shapes[name])

    def place(self, name: str, make: Callable[[Layout], Any]) -> Place:
        """Where a tensor is to be written: a map of its own, made for the padding of the
        convolutions that read it; or channels of its only reader, a concatenation."""
        readers = self.network.consumers[name]
        if len(readers) == 1 and readers[0].layer.joins:
            reader = readers[0]
            if reader.name not in self.joined:
                self.joined[reader.name] = self.place(reader.name, make)
            whole = self.joined[reader.name]
            sizes = [self.network.shapes[operand][0] for operand in reader.inputs]
            index = reader.inputs.index(name)
            first = whole.first + sum(sizes[:index])
            return Place(whole.map, slice(first, first + sizes[index]), whole=False)
        return Place(make(self.layout(name, self.network.map_pads[name])), slice(None))

    def concatenated(self, name: str, operands: list[Any]) -> Place | None:
        """Where the joined tensor lies, if all operands have been written there."""
        joined = self.joined.get(name)
        if joined is None or any(operand is not joined.map for operand in operands):
            return None
        return joined
