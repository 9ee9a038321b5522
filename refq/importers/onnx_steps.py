"""What nodes of an ONNX graph do, as far as networks are told apart by it (importers.graphs)."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from typing import Any

from refq.importers import graphs
from refq.importers.contents import Step, Window, refuse
from refq.importers.onnx_constants import Constants
from refq.networks.layers import NO_PADS, Pads, Pair

# of these, Reshape, Flatten and Cast where they keep the order of the values, and the values
TRANSPARENT = {"Dropout", "Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Cast"}
FLOATS = {1, 10, 11, 16}  # what a Cast may give: float, half, double, bfloat16
# at the end alone: they keep the order of the logits
SOFT = {"Softmax", "LogSoftmax"}
TO_LAST, TO_FIRST = [0, 2, 3, 1], [0, 3, 1, 2]
BOUNDLESS = 3e38


def read_on(nodes: Sequence[Any]) -> set[str]:
    """Tensors that something reads which is more than a Softmax and changes of form, or comes
    before such a thing. Nodes come after those they read from."""
    found: set[str] = set()
    for node in reversed(nodes):
        if node.kind not in TRANSPARENT | SOFT or not found.isdisjoint(node.outputs):
            found.update(node.inputs)
    return found


@dataclass
class Plain:
    """Goes through a graph. made: tensors that nodes make; others are the image.

    read_on: tensors from which more is computed, by more than ends a network. last: tensors with
    channels last. flat: those without rows and columns. padded: tensors that add rows and columns
    of zeros to another, which become a part of the window that reads them.
    """

    known: Constants
    made: Set[str]
    read_on: Set[str] = frozenset()
    last: set[str] = field(default_factory=set)
    flat: set[str] = field(default_factory=set)
    padded: dict[str, tuple[str, Pads]] = field(default_factory=dict)

    def weighted(self, node: Any, shape: tuple[int, ...], source: str, unit: str) -> Step:
        """The step of a convolution or matrix product, whose weights have that shape."""
        if node.kind != "Conv":
            self.flat.add(node.outputs[0])
            return Step(node.outputs[0], f"dense={unit}", (source,))
        if source in self.last | self.flat:
            raise refuse(f"{unit}: a convolution whose input has other axes than N, C, H, W")
        group = node.attributes.get("group") or 1
        source, window = self._window(node, source, (shape[2], shape[3]))
        return Step(node.outputs[0], f"{graphs.conv(group)}={unit}", (source,), window)

    def steps(self, node: Any, read: tuple[str, ...]) -> list[Step]:
        """read: the inputs that are not constants."""
        output, source = node.outputs[0], read[0]
        if node.kind == "Slice":
            return self._slices(node, source)
        kind, window = f"other {node.kind}", None
        if node.kind == "Transpose":
            kind = self._turned(node, source)
        elif node.kind in TRANSPARENT or (node.kind in SOFT and output not in self.read_on):
            if node.kind == "Dropout" and not self._rests(node):
                kind = "Dropout in training"
            elif len(read) == 1 and self._keeps(node, source):
                kind = ""
        elif node.kind == "Relu" or (node.kind == "Clip" and self._is_relu(node)):
            kind = "ReLU"
        elif node.kind in ("Sum", "Add") and len(read) == len(node.inputs) > 1:
            kind = "add"
        elif source in self.flat:
            pass  # what follows is about images
        elif node.kind == "Concat" and len(read) == len(node.inputs):
            axis = node.attributes.get("axis")
            kind = "concat" if self._axes([axis], source) == {1} else kind
        elif node.kind == "ReduceMean":
            axes = node.attributes.get("axes") or self._integers(node, 1)
            kind = "global mean" if self._axes(axes, source) == {2, 3} else kind
        elif node.kind == "Pad":
            pads = self._pads(node, source)
            if pads is not None and any(pads[2:4] + pads[6:]) and not any(pads[:2] + pads[4:6]):
                self._like(output, source)
                self.padded[output] = source, (pads[2], pads[3], pads[6], pads[7])
                return []
            if pads is not None and not any(pads[2:4] + pads[6:] + [pads[0], pads[4]]):
                kind = graphs.more_channels(pads[1], pads[5])
        elif source not in self.last:
            kind, source, window = self._of_channels_first(node, source)
        if node.kind != "Transpose":
            self._like(output, source)
        if not kind and source in self.padded:
            self.padded[output] = self.padded[source]
            return []
        if self.padded.keys() & {source, *read[1:]}:
            kind = f"other {node.kind} of a padded image"
        return [Step(output, kind, (source, *read[1:]), window)]

    def _of_channels_first(self, node: Any, source: str) -> tuple[str, str, Window | None]:
        """(kind, what is read, window) of layers that are defined on N, C, H, W alone."""
        said = node.attributes
        if node.kind == "LRN":
            return graphs.lrn(*(said.get(key, own) for key, own in LRN.items())), source, None
        if node.kind in ("MaxPool", "AveragePool") and len(said.get("kernel_shape") or ()) == 2:
            return self._pool(node, source)
        kind = "global mean" if node.kind == "GlobalAveragePool" else f"other {node.kind}"
        return kind, source, None

    def _like(self, output: str, source: str) -> None:
        """The output has its axes where the source has them."""
        for group in (self.last, self.flat):
            if source in group:
                group.add(output)

    def _turned(self, node: Any, source: str) -> str:
        """Kind of a Transpose: nothing where it changes between the two layouts of images."""
        turn, output = node.attributes.get("perm"), node.outputs[0]
        if source in self.flat:
            return "other Transpose"
        if turn == TO_LAST and source not in self.last:
            self.last.add(output)
            return ""
        image = source not in self.made
        return "" if turn == TO_FIRST and (source in self.last or image) else "other Transpose"

    def _keeps(self, node: Any, source: str) -> bool:
        """Whether values and their order stay; what loses rows and columns is flat."""
        output, said = node.outputs[0], node.attributes
        if node.kind == "Cast":
            return said.get("to") in FLOATS
        if node.kind == "Flatten":
            self.flat.add(output)
            return said.get("axis", 1) == 1
        if node.kind == "Reshape":
            shape = self._integers(node, 1) or list(said.get("shape") or ())
            if len(shape) != 4:
                self.flat.add(output)  # of a size that is computed, too
                return len(shape) in (0, 2)
            return shape[2:] == [1, 1]
        return True

    def _rests(self, node: Any) -> bool:
        """Whether a Dropout leaves all values: its third input says that it is in training."""
        return not any(node.inputs[2:3]) or self._integers(node, 2) == [0]

    def _window(self, node: Any, source: str, kernel: Pair) -> tuple[str, Window]:
        """(what it slides over, the window), with rows and columns of zeros before it."""
        said = node.attributes
        down, right = said.get("strides") or (1, 1)
        top, left, bottom, right_pad = said.get("pads") or NO_PADS
        auto = said.get("auto_pad") or ""
        auto = auto if auto.startswith("SAME") else ""
        more = NO_PADS
        if source in self.padded:
            if auto:
                raise refuse(f"{node.name}: a padded image under auto_pad", "one or the other")
            source, more = self.padded[source]
        pads = (top + more[0], left + more[1], bottom + more[2], right_pad + more[3])
        holes = tuple(said.get("dilations") or ()) or (1, 1)
        if len(holes) != 2:
            raise refuse(f"{node.name}: dilations {list(holes)}", "rows and columns")
        ceil = bool(said.get("ceil_mode"))
        return source, Window(kernel, (down, right), pads, ceil, auto, (holes[0], holes[1]))

    def _pool(self, node: Any, source: str) -> tuple[str, str, Window | None]:
        said = node.attributes
        rows, columns = said["kernel_shape"]
        if node.kind == "AveragePool" and (rows, columns) == (1, 1):
            return "", source, None  # what a GlobalAveragePool becomes in some exports
        zeros = source in self.padded
        source, window = self._window(node, source, (rows, columns))
        if node.kind == "MaxPool":
            return "max", source, window
        counted = zeros or bool(said.get("count_include_pad") and any(window.pads))
        return graphs.mean(counted), source, window

    def _is_relu(self, node: Any) -> bool:
        low, high = (
            self.known.scalar(node.inputs[index])
            if len(node.inputs) > index and node.inputs[index] in self.known.tensors
            else node.attributes.get(key)
            for index, key in ((1, "min"), (2, "max"))
        )
        return low == 0 and (high is None or high >= BOUNDLESS) and "" not in node.inputs[1:2]

    def _pads(self, node: Any, source: str) -> list[int] | None:
        """Of a padding by zeros: (N, C, rows, columns) before, then behind."""
        said = node.attributes
        pads = list(said.get("pads") or self._integers(node, 1))
        filled = said.get("value") or 0.0
        if any(node.inputs[2:3]):
            if node.inputs[2] not in self.known.tensors:
                return None
            filled = self.known.scalar(node.inputs[2])
        constant = said.get("mode", "constant") == "constant" and len(node.inputs) < 4
        if len(pads) != 8 or min(pads) < 0 or filled != 0 or not constant:
            return None
        if source in self.last:
            pads = [pads[axis] for axis in (0, 3, 1, 2, 4, 7, 5, 6)]
        return pads

    def _slices(self, node: Any, source: str) -> list[Step]:
        """Every so many rows and columns, a step an axis."""
        starts, ends, axes, strides = (self._integers(node, index) for index in range(1, 5))
        whole = not any(starts) and all(end >= LARGE for end in ends)
        once = len({len(each) for each in (starts, ends, axes, strides)}) == 1
        found, name = [], source
        if not once or not whole or min(strides, default=0) < 1 or len({*axes}) < len(axes):
            return [Step(node.outputs[0], "other Slice", (source,))]
        for axis, stride in sorted(zip(axes, strides)):
            (place,) = self._axes([axis], source)
            if place not in (2, 3):
                return [Step(node.outputs[0], "other Slice", (source,))]
            found.append(graphs.every(f"{node.outputs[0]} {axis}", (name,), place - 2, stride))
            name = found[-1].name
        return [*found, Step(node.outputs[0], "", (name,))]

    def _integers(self, node: Any, index: int) -> list[int]:
        name = node.inputs[index] if len(node.inputs) > index else ""
        return self.known.listed(name)

    def _axes(self, axes: Sequence[int | None], source: str) -> set[int]:
        """Axes of (N, C, rows, columns), however they lie and are counted."""
        order = (0, 2, 3, 1) if source in self.last else (0, 1, 2, 3)
        return {order[axis] if axis is not None and -4 <= axis < 4 else -1 for axis in axes}


LRN = {"size": 0, "alpha": 1e-4, "beta": 0.75, "bias": 1.0}
LARGE = 1 << 30  # the end of a slice that goes to the end
