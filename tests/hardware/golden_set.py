"""A small golden set, made by hand: what the tests of refq.verify compare with.

data (3 x 5 x 4) -> conv1 -> relu1 (ENQ) -> conv2 -> relu2 (KNQ) -> fc (sums stay exact), 2 images.
Nothing is convolved: accumulators are drawn, and what follows them is computed from them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from refq.hardware.files import file_format
from refq.hardware.files.array import Array
from refq.hardware.files.layouts import Layout
from refq.hardware.files.words import Packing

IMAGES = 2
SUM_FRACTION, FRACTION = 9, 5
KINDS = {
    "relu1": {"kind": "shift", "bits": 4, "drop": 3, "nearest": True},
    "relu2": {"kind": "codebook", "bits": 2, "nearest": True},
}
CODEBOOK = (3, 20, 50, 101)
CHANNELS, HEIGHT, WIDTH = 7, 6, 5


def ties_even(codes: np.ndarray, right: int) -> np.ndarray:
    """codes / 2**right to nearest, ties to even, one by one."""
    return np.array([round(int(c) / 2**right) for c in codes.ravel()]).reshape(codes.shape)


def arrays(seed: int = 5) -> dict[str, np.ndarray]:
    """{name: codes} in order of computation."""
    rng = np.random.default_rng(seed)
    out = {"data.code": rng.integers(-256, 256, (IMAGES, 3, 5, 4))}
    out["data.code"][1, 2, 3, 1:] = -256
    for number, channels in ((1, CHANNELS), (2, 3)):
        height, width = HEIGHT + number, WIDTH + number
        conv, relu = f"conv{number}", f"relu{number}"
        out[f"{conv}.weight"] = rng.integers(-128, 128, (channels, 2, 3, 1))
        out[f"{conv}.bias"] = rng.integers(-40, 40, channels)
        out[f"{conv}.bias_shift"] = rng.integers(1, 4, channels)
        shape = (IMAGES, channels, height, width)
        out[f"{conv}.accumulator"] = rng.integers(-1500, 3500, shape)
        # ties, and their neighbours
        out[f"{conv}.accumulator"][:, :, 1] = 8 * rng.integers(-90, 200, shape[:2] + shape[3:])
        bias = out[f"{conv}.bias"] << out[f"{conv}.bias_shift"]
        out[f"{conv}.sum"] = out[f"{conv}.accumulator"] + bias[:, None, None]
        rounded = ties_even(np.maximum(out[f"{conv}.sum"], 0), SUM_FRACTION - FRACTION)
        out[f"{relu}.rounded"] = np.minimum(rounded, 127)
    x = out["relu1.rounded"]
    out["relu1.code"] = np.minimum((x + 4) >> 3, 15)
    out["relu1.value"] = out["relu1.code"] << 3
    y = out["relu2.rounded"]
    # 12 = (3 + 20 + 1) // 2, and so on: the midpoint belongs to the value above
    out["relu2.code"] = (y >= 12).astype(int) + (y >= 35) + (y >= 76)
    out["relu2.value"] = np.array(CODEBOOK)[out["relu2.code"]]
    out["relu2.codebook"] = np.array(CODEBOOK)
    out["fc.sum"] = rng.integers(-(2**37), 2**37, (IMAGES, 11))
    order = ["data", "conv1", "relu1", "conv2", "relu2", "fc"]
    names = sorted(out, key=lambda name: order.index(name.partition(".")[0]))
    return {name: np.asarray(out[name], np.int64) for name in names}


# stage: bits, signed, fraction bits
FORMATS = {
    "data.code": (9, True, 0),
    "weight": (8, True, 7),
    "bias": (7, True, 8),
    "bias_shift": (3, False, None),
    "accumulator": (13, True, SUM_FRACTION),
    "sum": (14, True, SUM_FRACTION),
    "rounded": (7, False, FRACTION),
    "relu1.code": (4, False, None),
    "relu2.code": (2, False, None),
    "value": (7, False, FRACTION),
    "codebook": (7, False, FRACTION),
    "fc.sum": (40, True, 12),
}
PARAMETERS = ("weight", "bias", "bias_shift", "accumulator_drop", "codebook")
ALSO = {"relu1.value": ["conv2.operand"], "relu2.value": ["fc.operand"]}


EXACT = {
    "bits": None,
    "overflow": "sat",
    "every_mac": False,
    "frac_bits": None,
    "rounding": "ties-even",
}
SHAPES = {
    "data": [3, 5, 4],
    "conv1": [CHANNELS, HEIGHT + 1, WIDTH + 1],
    "conv2": [3, HEIGHT + 2, WIDTH + 2],
    "fc": [11],
}


def plan(
    overflow: str = "sat",
    tensors: Mapping[str, Any] | None = None,
    accumulators: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The manifest's plan. tensors, accumulators: instead of what is usual."""
    image: dict[str, Any] = {"bits": 9, "frac_bits": 0, "signed": True}
    stored = {"bits": 7, "frac_bits": FRACTION, "signed": False}
    weight = {"bits": 8, "frac_bits": 7, "signed": True}
    bias = {"bits": 7, "frac_bits": 8, "signed": True}
    enq = {"bits": 4, "drop": 3, "nearest": True}
    knq = {"bits": 2, "values": list(CODEBOOK), "nearest": True}
    sums = {name: EXACT for name in ("conv1", "conv2", "fc")} | dict(accumulators or {})
    return {
        "refq_plan": 1,
        "network": "handmade",
        "parameters": {},
        "scheme": "mixed",
        "tensors": {
            "data": {"format": image, "code": None, "drops": []},
            "relu1": {"format": stored, "code": enq, "drops": []},
            "relu2": {"format": stored, "code": knq, "drops": []},
            **(tensors or {}),
        },
        "layers": {
            name: {"weight": weight, "bias": bias, "accumulator": accumulator}
            for name, accumulator in sums.items()
        },
        "rounding": "ties-even",
        "overflow": overflow,
        "seed": 0,
        "options": {},
        "arithmetic": "integer",
    }


def layers(plan: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The manifest's layers."""

    def layer(name: str, type_: str, inputs: list[str], shape: str) -> dict[str, Any]:
        kept, stored = plan["tensors"].get(name), None
        if kept:
            code = KINDS.get(name) if kept["code"] else None
            stored = {**kept["format"], "code": code, "drops": kept["drops"]}
        return {
            "name": name,
            "type": type_,
            "inputs": inputs,
            "attributes": {},
            "shape": SHAPES[shape],
            "accumulator": plan["layers"][name]["accumulator"] if name in plan["layers"] else None,
            "stored": stored,
        }

    return [
        layer("data", "Input", [], "data"),
        layer("conv1", "Conv", ["data"], "conv1"),
        layer("relu1", "ReLU", ["conv1"], "conv1"),
        layer("conv2", "Conv", ["relu1"], "conv2"),
        layer("relu2", "ReLU", ["conv2"], "conv2"),
        layer("fc", "Dense", ["relu2"], "fc"),
    ]


def entry_of(name: str) -> tuple[int, bool, int | None]:
    return FORMATS[name] if name in FORMATS else FORMATS[name.rpartition(".")[2]]


def described(name: str, shape: tuple[int, ...]) -> Array:
    """The array as a file of that (stored) shape has it."""
    bits, signed, frac = entry_of(name)
    axes = tuple("NCHWT"[: len(shape)])
    return Array(name, shape, axes, bits, signed, f"fxp-{'su'[not signed]}{bits}/{frac}")


def write_files(
    folder: Path,
    codes: Mapping[str, np.ndarray],
    format_: str = "mem",
    layout: Layout | None = None,
    packing: Packing | None = None,
) -> None:
    """Arrays as a device writes them. Their words are cut to their bits."""
    module, layout = file_format(format_), layout or Layout()
    folder.mkdir(exist_ok=True)
    writer = module.writer(folder, packing or Packing(byte_order=module.BYTE_ORDER))
    for name, array in codes.items():
        own = described(name, layout.stored_shape(array.shape))
        half = 1 << (own.bits - 1)
        words = array & (2 * half - 1)
        writer.append(own, layout.arranged((words ^ half) - half if own.signed else words))
    writer.close()


def write(
    folder: Path,
    codes: Mapping[str, np.ndarray] | None = None,
    format_: str = "mem",
    layout: Layout | None = None,
    packing: Packing | None = None,
    **changes: Any,
) -> dict[str, np.ndarray]:
    """A whole golden set; returns its arrays. changes: of its plan."""
    codes, layout = arrays() if codes is None else dict(codes), layout or Layout()
    module = file_format(format_)
    packing = packing or Packing(byte_order=module.BYTE_ORDER)
    write_files(folder, codes, format_, layout, packing)
    entries = []
    for name, array in codes.items():
        bits, signed, frac_bits = entry_of(name)
        own = described(name, layout.stored_shape(array.shape))
        stage = name.rpartition(".")[2]
        entries.append(
            {
                "name": name,
                "layer": name.rpartition(".")[0],
                "stage": stage,
                "kind": "parameter" if stage in PARAMETERS else "tensor",
                "shape": list(array.shape),
                "stored_shape": list(own.shape),
                "stored_axes": list(own.axes),
                "bits": bits,
                "signed": signed,
                "frac_bits": frac_bits,
                "format": own.format,
                "file": module.SINGLE or name + module.SUFFIX,
                "codes_sha256": hashlib.sha256(array.astype("<i8").tobytes()).hexdigest(),
                "also": ALSO.get(name, []),
            }
        )
    files = {
        path.name: {
            "bytes": path.stat().st_size,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        for path in sorted(folder.iterdir())
    }
    planned = plan(**changes)
    manifest = {
        "refq_golden": 1,
        "network": "handmade",
        "parameters": {},
        "scheme": "mixed",
        "rounding": planned["rounding"],
        "overflow": planned["overflow"],
        "seed": 0,
        "mac_order": ["bias", "input channel", "kernel row", "kernel column"],
        "format": format_,
        "layout": layout.name,
        "tile": layout.tile,
        "packing": vars(packing),
        "layers": layers(planned),
        "arrays": entries,
        "plan": planned,
        "files": files,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return codes
