"""layers.c: the tables of one network as C text."""

from __future__ import annotations

import string
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

from refq.hardware.c_model.fields import Entry, three
from refq.hardware.c_model.kinds import KINDS
from refq.hardware.c_model.tables import STAGES, STORAGE, Layer, Model

HEAD = """\
/* The network of this folder's vectors, written by refq. plan.h says what each entry means. */
#include "plan.h"

#include <stddef.h>
"""
# fields that are arrays of their own
POINTED = {
    "exponentials": "int64_t",
    "split": "long",
    "order": "int",
    "first": "long",
    "step": "long",
}
PLAIN = set((string.ascii_letters + string.digits + " ._/-,:").encode())


def text(model: Model) -> str:
    """The whole file, ASCII."""
    manifest = model.manifest
    layers = "".join(_layer(model, layer) for layer in model.layers)
    plan = _struct(
        {
            "network": quoted(manifest["network"]),
            "scheme": quoted(manifest["scheme"]),
            "images": model.images,
            "first_image": manifest["images"]["first"],
            "rounding": _constant(manifest["rounding"]),
            "overflow": _constant(manifest["overflow"]),
            "layers": len(model.layers),
            "layer": "layers",
        }
    )
    return (
        f"{HEAD}\nstatic const struct layer layers[] = {{\n{layers}}};\n\n"
        f"const struct plan plan = {{\n{plan}}};\n"
    )


def _layer(model: Model, layer: Layer) -> str:
    entry, stored = layer.entry, layer.entry["stored"]
    fields: dict[str, Any] = {
        "name": quoted(layer.name),
        "kind": "GIVEN" if layer.given else KINDS[entry["type"]].constant,
        "axes": len(entry["shape"]),
        "size": _list(entry["shape"] or [1]),
        "shape": three(entry["shape"]),
        "reads": _constant(layer.reads),
        "coded_by": layer.coded_by,
        "is_wide": int(stored is None),
    }
    if not layer.given:
        fields |= _reading(model, layer) | _accumulator(entry["accumulator"])
        seed = zlib.crc32(layer.name.encode()) ^ (model.manifest["seed"] << 32)
        fields["rounds"] = int(layer.rounds)
        fields["seed"] = f"UINT64_C({seed % 2**64:#018x})"
    if stored is not None:
        fields |= _stored(stored)
    elif "sum" in layer.arrays:
        fields |= _sums(layer.arrays["sum"]["frac_bits"])
    if "slope" in layer.arrays:
        fields["slope_frac_bits"] = layer.arrays["slope"]["frac_bits"]
    for name, value in fields.items():
        if isinstance(value, list):
            fields[name] = _list(value)
    for kind, part in (("stage", True), ("parameter", False)):
        listed = [array for array in layer.arrays.values() if (array["stage"] in STAGES) is part]
        lines = "".join(
            f"            [{_constant(array['stage'])}] = {_array(array)},\n" for array in listed
        )
        if lines:
            fields[kind] = f"{{\n{lines}        }}"
    return f"    {{\n{_struct(fields, 8)}    }},\n"


def _reading(model: Model, layer: Layer) -> dict[str, Any]:
    """Inputs and attributes, windows of global pools included."""
    source = model.layers[layer.inputs[0]]
    fields: dict[str, Any] = {
        "inputs": len(layer.inputs),
        "input": _numbers("int", layer.inputs),
        "group": 1,
        "count_padding": 0,
        **KINDS[layer.entry["type"]].fields(layer.entry, source.entry),
    }
    for name, kind in POINTED.items():
        if name in fields:
            fields[name] = _numbers(kind, fields[name])
    return fields


def _sums(frac_bits: int | list[int]) -> dict[str, Any]:
    numbers = [frac_bits] if isinstance(frac_bits, int) else frac_bits
    return {"sum_frac_bits": _numbers("int", numbers), "sum_count": len(numbers)}


def _accumulator(accumulator: Entry | None) -> dict[str, Any]:
    if accumulator is None or accumulator["bits"] is None:
        return {}
    bits = accumulator["bits"] if isinstance(accumulator["bits"], list) else [accumulator["bits"]]
    return {
        "acc_bits": _numbers("int", bits),
        "acc_count": len(bits),
        "every_mac": int(accumulator["every_mac"]),
        "acc_has_fraction": int(accumulator["frac_bits"] is not None),
        "acc_rounding": _constant(accumulator["rounding"]),
        "acc_overflow": _constant(accumulator["overflow"]),
    }


def _stored(stored: Entry) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "format": _list([stored["bits"], int(stored["signed"])]),
        "frac_bits": stored["frac_bits"],
    }
    if stored["drops"]:
        fields["drops"] = _numbers("int", stored["drops"])
    if stored["code"]:
        fields["storage"] = STORAGE[stored["code"]["kind"]]
        fields["code_bits"] = stored["code"]["bits"]
        fields["nearest"] = int(stored["code"]["nearest"])
    return fields


def _array(array: Entry) -> str:
    # raw words take the narrowest of these that hold them
    size = next(size for size in (1, 2, 4, 8) if array["bits"] <= 8 * size)
    shape = array["shape"]
    return _list(
        [
            quoted(array["name"]),
            quoted(array["file"]),
            size,
            array["bits"],
            int(array["signed"]),
            len(shape),
            _list(shape),
        ]
    )


def _struct(fields: Mapping[str, Any], indent: int = 4) -> str:
    return "".join(f"{' ' * indent}.{name} = {value},\n" for name, value in fields.items())


def _list(values: Iterable[Any]) -> str:
    """`{1, {2, 3}}`."""
    listed = (_list(value) if isinstance(value, list) else str(value) for value in values)
    return f"{{{', '.join(listed)}}}"


def _numbers(kind: str, values: Iterable[int]) -> str:
    return f"(const {kind}[])" + _list(values)


def _constant(name: str) -> str:
    """`ties-even` as C spells it."""
    return name.replace("-", "_").upper()


def quoted(value: str) -> str:
    """A C string literal, ASCII: what is no plain character by its number, so that nothing ends it
    or makes a trigraph."""
    characters = (chr(byte) if byte in PLAIN else f"\\{byte:03o}" for byte in value.encode())
    return f'"{"".join(characters)}"'
