"""What an ONNX model states besides its graph, which is told and not read."""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from dataclasses import dataclass, field

from refq.errors import listed
from refq.importers import wire
from refq.importers.contents import MOST

NEWEST = 26  # version of ONNX's operators
# in words, of images and of what a Cast gives
NAMES = {2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 9: "bool"}
NAMES |= {10: "float16", 11: "float64", 16: "bfloat16"}
HALVES = {10, 16}


@dataclass
class Noted:
    """What a model states. opset: the version of ONNX's own operators. images: the type of their
    values, where it is none of refq's; halves: other types that it computes in."""

    opset: int = 0
    metadata: list[str] = field(default_factory=list)
    functions: int = 0
    training: int = 0
    images: str = ""
    halves: list[str] = field(default_factory=list)
    quantized: int = 0

    def enter(self, data: mmap.mmap, part: wire.Field) -> None:
        inner = list(wire.fields(data, part.begin, part.end)) if part.number in (8, 14) else []
        texts = {each.number: each for each in inner}
        if part.number == 8:
            domain = wire.text(data, texts[1]) if 1 in texts else ""
            if domain in ("", "ai.onnx") and 2 in texts:
                self.opset = texts[2].value
        elif part.number == 14 and 1 in texts and len(self.metadata) < MOST:
            self.metadata.append(wire.text(data, texts[1]))
        self.functions += part.number == 25
        self.training += part.number == 20

    def lines(self, outputs: Sequence[str]) -> list[str]:
        keys = ", ".join(self.metadata[:5])
        more = f" and {len(self.metadata) - 5} more" if len(self.metadata) > 5 else ""
        told = {
            f"operators of version {self.opset}, where refq knows those to {NEWEST}": self.opset
            > NEWEST,
            f"metadata ({keys}{more}), which refq does not read": self.metadata,
            "functions of its own, which no layer here is": self.functions,
            "how it is trained, which refq does not read": self.training,
            "how tensors are quantized, which refq does not read": self.quantized,
            f"images of {self.images}, where refq's are float32": self.images,
            f"casts to {', '.join(self.halves)}, where refq computes in float32": self.halves,
            f"{len(outputs)} outputs ({listed(outputs)}), and refq has one": len(outputs) > 1,
        }
        return [f"the model states {line}" for line, there in told.items() if there]
