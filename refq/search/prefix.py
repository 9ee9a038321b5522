"""Cuts of past forward passes, kept narrow, so that a change in a layer recomputes from there on.

What a plan computes before a node depends on the entries of the tensors and layers before it. Such
prefixes are numbered: two plans whose prefixes have one number share their cuts there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from refq.engine.forward import Cut, Tensor
from refq.networks.graph import INPUT, Network
from refq.networks.points import is_wide
from refq.plans.plan import Plan, TensorPlan

Path = tuple[int, ...]
# Share of the network's MACs that a cut has to spare.
LEAST_GAIN = 0.05


@dataclass(frozen=True)
class Narrow:
    """A tensor's stored codes in the smallest integers that hold them; drop: low zero bits that
    are left out."""

    codes: np.ndarray
    drop: int
    frac_bits: int
    stored: TensorPlan | None

    def tensor(self) -> Tensor:
        codes = self.codes.astype(np.int32)
        codes <<= self.drop
        return Tensor(codes, self.frac_bits, self.stored)


def narrow(tensor: Tensor) -> Narrow:
    """A Tensor as it is kept; Narrow.tensor gives its codes back."""
    entry, codes = tensor.stored, tensor.codes
    if entry is None:
        return Narrow(codes, 0, tensor.frac_bits, None)
    drop = entry.storage.shift or 0
    if drop:
        codes = codes >> drop
    # a signed format's least code needs as many bits as all others
    widest = entry.fixed.min_code if entry.fixed.signed else entry.fixed.max_code
    fits = np.min_scalar_type(widest >> drop)
    return Narrow(codes.astype(fits), drop, tensor.frac_bits, entry)


def clean_cuts(network: Network) -> tuple[int, ...]:
    """For each node's number the last one not after it where no exact sum is on its way to a
    ReLU: where the network can be cut."""
    made = {INPUT: -1, **{node.name: number for number, node in enumerate(network.nodes)}}
    last = {name: number for number, node in enumerate(network.nodes) for name in node.inputs}
    wide = [node.name for node in network.nodes if is_wide(network, node)]
    open_until = {made[name]: last[name] for name in wide if name in last}
    out: list[int] = []
    for number in range(len(network.nodes)):
        on_way = [start for start, end in open_until.items() if start < number <= end]
        out.append(out[min(on_way)] if on_way else number)
    return tuple(out)


class Prefixes:
    """Cuts by block of images, within a budget of bytes.

    A block that needs room gives up cuts of its own, of plans that nobody is near to first; where
    that is not enough, nothing is kept and the block is computed from an earlier cut, or from its
    images.
    """

    def __init__(self, network: Network, budget: int) -> None:
        self.network, self.budget = network, budget
        self.clean = clean_cuts(network)
        self.bytes = 0
        self.kept: dict[int, dict[tuple[int, int], dict[str, Narrow]]] = {}
        self.numbers: dict[object, int] = {}
        macs = network.macs()
        after = np.cumsum([macs.get(node.name, 0) for node in network.nodes][::-1])[::-1]
        self.share = tuple(float(macs) for macs in after / max(1, after[0]))

    def path(self, plan: Plan) -> Path:
        """Numbers of a plan's prefixes: before each node, and before the end."""
        out = [self._number((plan.rounding, plan.overflow, plan.seed, plan.tensors[INPUT]))]
        for node in self.network.nodes:
            entries = plan.tensors.get(node.name), plan.layers.get(node.name)
            out.append(self._number((out[-1], entries)))
        return tuple(out)

    def _number(self, prefix: object) -> int:
        return self.numbers.setdefault(prefix, len(self.numbers))

    def parting(self, path: Path, other: Path) -> int:
        """The last place to cut before two plans differ."""
        same = [a == b for a, b in zip(path, other, strict=True)]
        alike = same.index(False) if False in same else len(same)
        return self.clean[min(max(alike - 1, 0), len(self.clean) - 1)]

    def worth(self, at: int, since: int | None) -> bool:
        """Whether a cut is worth its copy, for a batch that is computed from node `since` on, or
        from its images (None), which a cut at the first node spares to decode."""
        if since is None and at == 0:
            return True
        return self.share[since or 0] - self.share[at] >= LEAST_GAIN

    def deepest(self, block: int, path: Path) -> Cut | None:
        """The cut of a block from which a plan has the least to recompute."""
        kept = self.kept.get(block, {})
        usable = [key for key in kept if path[key[0]] == key[1]]
        if not usable:
            return None
        key = max(usable)
        kept[key] = kept.pop(key)  # the last to be given up
        return Cut(key[0], {name: tensor.tensor() for name, tensor in kept[key].items()})

    def keep(self, block: int, path: Path, cut: Cut, near: Path) -> None:
        """Keeps a cut that a plan's path made. near: the path that later plans part from."""
        tensors = {name: narrow(tensor) for name, tensor in cut.tensors.items()}
        size, kept = _size(tensors), self.kept.setdefault(block, {})
        order = sorted(kept, key=lambda key: near[key[0]] == key[1])  # stale, then least used
        room, leaving = self.budget - self.bytes, []
        while order and room < size:
            leaving.append(order.pop(0))
            room += _size(kept[leaving[-1]])
        if room < size:
            return
        for key in leaving:
            self.bytes -= _size(kept.pop(key))
        kept[cut.at, path[cut.at]] = tensors
        self.bytes += size


def _size(tensors: dict[str, Narrow]) -> int:
    return sum(tensor.codes.nbytes for tensor in tensors.values())
