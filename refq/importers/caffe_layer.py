"""A layer of a Caffe network as its file says it, before anybody knows what it computes."""

from __future__ import annotations

from dataclasses import dataclass, field

from refq.importers import caffe_schema as schema
from refq.importers.caffe_messages import Values
from refq.importers.contents import Tensor, refuse
from refq.importers.stating import Facts

DATA = {
    "Data",
    "ImageData",
    "HDF5Data",
    "MemoryData",
    "WindowData",
    "DummyData",
    "Input",
    "AnnotatedData",
}
# they read what a network computes, and make nothing that it reads
ENDS = {"Accuracy", "Silence", "HDF5Output"}
TRAIN, TEST = 0, 1


@dataclass
class Layer:
    """A layer of any form. parameters: the messages that it holds, decoded where its type has them;
    rules: of `include` and `exclude`; unknown: what caffe.proto does not have."""

    name: str = ""
    type: str = ""
    bottoms: list[str] = field(default_factory=list)
    tops: list[str] = field(default_factory=list)
    blobs: list[Tensor] = field(default_factory=list)
    parameters: dict[str, Values] = field(default_factory=dict)
    rules: list[tuple[str, Values]] = field(default_factory=list)
    unknown: str = ""
    phase: int | None = None
    loss_weights: list[float] = field(default_factory=list)

    def facts(self, message: str | None = None) -> Facts:
        message = message or schema.OF_TYPE[self.type]
        return Facts.of(self.name, self.type, self.parameters.get(message, {}))

    def check_known(self) -> None:
        """Raises WeightsError for a field that could mean anything."""
        if self.unknown:
            raise refuse(
                f"{self.name}: {self.unknown} of a layer, which refq does not know",
                "the fields of caffe.proto",
            )

    @property
    def in_test(self) -> bool:
        """Whether the network has the layer when it is run: include and exclude name a phase."""
        for message, wanted in (("include", True), ("exclude", False)):
            rules = [rule for name, rule in self.rules if name == message]
            if any(rule.keys() - {"phase"} for rule in rules):
                raise refuse(f"{self.name}: {message} by level or stage", "by phase")
            if rules and any(rule.get("phase", [TEST])[-1] == TEST for rule in rules) != wanted:
                return False
        return True

    @property
    def is_data(self) -> bool:
        """Whether it gives images. Python's layers may do anything."""
        return self.type in DATA or (self.type == "Python" and not self.bottoms)

    @property
    def is_loss(self) -> bool:
        return self.type.endswith("Loss") or self.type in ENDS


@dataclass
class Net:
    """A network: its layers in order; inputs, with their sizes in either form."""

    name: str = ""
    layers: list[Layer] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)
    input_dim: list[int] = field(default_factory=list)
    input_shape: list[list[int]] = field(default_factory=list)

    def shape(self, index: int) -> list[int]:
        """Of one of the inputs; empty where it is not stated."""
        if index < len(self.input_shape):
            return self.input_shape[index]
        return self.input_dim[4 * index : 4 * index + 4]
