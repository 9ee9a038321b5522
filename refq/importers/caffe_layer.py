"""A layer of a .caffemodel as its message says it, before anybody knows what it computes."""

from __future__ import annotations

from dataclasses import dataclass, field

from refq.importers import caffe_schema as schema
from refq.importers import wire
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
ENDS = {"Accuracy", "Silence", "ArgMax", "HDF5Output"}


@dataclass
class Layer:
    """A layer of either form. parameters: the messages that it holds, unread;
    unknown: the number of a field that caffe.proto does not have."""

    name: str = ""
    type: str = ""
    bottoms: list[str] = field(default_factory=list)
    tops: list[str] = field(default_factory=list)
    blobs: list[Tensor] = field(default_factory=list)
    parameters: dict[str, list[wire.Field]] = field(default_factory=dict)
    unknown: int = 0
    phase: int | None = None

    def facts(self, data: wire.Data, message: str | None = None) -> Facts:
        message = message or schema.OF_TYPE[self.type]
        fields = schema.stated(data, message, self.parameters.get(message, []))
        return Facts.of(self.name, self.type, fields)

    def check_known(self) -> None:
        """Raises WeightsError for a field that could mean anything."""
        if self.unknown:
            raise refuse(
                f"{self.name}: field {self.unknown} of a layer, which refq does not know",
                "the fields of caffe.proto",
            )

    @property
    def is_data(self) -> bool:
        """Whether it gives images. Python's layers may do anything."""
        return self.type in DATA or (self.type == "Python" and not self.bottoms)

    @property
    def is_loss(self) -> bool:
        return self.type.endswith("Loss") or self.type in ENDS
