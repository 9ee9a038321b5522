"""From the layers of a file to refq's weight file, one layer in memory at a time."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from importers import preparing
from importers.contents import Contents, Tensor, Unit, one_line, refuse
from importers.matching import Match, match
from refq.data.preprocessing import Preprocessing
from refq.errors import WeightsError
from refq.folding import caffe_moments, fold, matconvnet_moments
from refq.layers import Dense
from refq.networks import Network


@dataclass(frozen=True)
class Row:
    """What became of a layer. taken: names in the file; done: folded, transposed, ..."""

    layer: str
    taken: tuple[str, ...]
    shape: tuple[int, ...]
    done: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """A conversion. ignored: layers and arrays of the file that the network does not have."""

    file: str
    form: str
    network: str
    parameters: Mapping[str, Any]
    preprocessing: Preprocessing
    rule: str
    sha256: str
    rows: tuple[Row, ...]
    ignored: tuple[str, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        content = asdict(self)
        return {**content, "preprocessing": self.preprocessing.to_json()}

    def to_text(self) -> str:
        sizes = ", ".join(f"{key} {value}" for key, value in self.parameters.items())
        lines = [
            f"{self.file}: {self.form}",
            f"network  {self.network}  {sizes}",
            f"weights  sha256 {self.sha256[:12]}",
            f"input    {self.preprocessing} ({self.rule})",
            "",
        ]
        table = [("layer", "from", "shape", "done")]
        table += [
            (row.layer, " + ".join(row.taken), "x".join(map(str, row.shape)), ", ".join(row.done))
            for row in self.rows
        ]
        widths = [max(len(row[column]) for row in table) for column in range(3)]
        for row in table:
            cells = [cell.ljust(width) for cell, width in zip(row, widths)]
            lines.append("  ".join([*cells, row[3]]).rstrip())
        lines += ["", f"ignored  {_shortened(self.ignored)}"]
        return "\n".join([*lines, *(f"note     {note}" for note in self.notes)])


def _shortened(names: tuple[str, ...]) -> str:
    clean = ["".join(each if each.isprintable() else "?" for each in name)[:60] for name in names]
    more = f" and {len(names) - 12} more" if len(names) > 12 else ""
    return f"{len(names)}: {', '.join(clean[:12])}{more}" if names else "nothing"


def convert(
    contents: Contents, file: Path, out: Path, network: str | None, rule: str | None
) -> Report:
    """Writes `out` in refq's layout; it appears only when it is complete.

    network, rule: names, or None for what the file looks like. Raises WeightsError in one line.
    """
    with one_line(file, contents.form):
        found = match(contents, network)
        chosen = rule or preparing.usual(contents, found.network)
        prepared = preparing.preprocessing(preparing.RULES[chosen], contents, found.network)
        rows, digest = _write(contents, found, preparing.RULES[chosen], prepared, file, out)
    used = {name for row in rows for name in row.taken}
    ignored = (*(name for name in contents.units if name not in used), *contents.ignored)
    usual = "the file does not say how images were prepared; --preprocessing changes it"
    return Report(
        file.name, contents.form, found.network.name, dict(found.network.parameters), prepared,
        chosen, digest, tuple(rows), ignored, (usual,) if rule is None else (),
    )  # fmt: skip


def _write(
    contents: Contents,
    found: Match,
    rule: preparing.Rule,
    prepared: Preprocessing,
    source: Path,
    out: Path,
) -> tuple[list[Row], str]:
    partial = out.with_name(f".{out.name}.{os.getpid()}.part")
    rows = []
    first = found.network.weighted[0].name
    try:
        with h5py.File(partial, "w") as file:
            for layer, names in found.names.items():
                units = [contents.units[name] for name in names]
                weight, bias, done = _layer(contents, found.network, layer, units)
                if layer == first and rule.deviation != (1.0, 1.0, 1.0):
                    weight = preparing.rescaled(weight, rule)
                    done.append("divided by the deviations")
                if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
                    raise refuse(f"{names[0]}: NaN or infinite values", "numbers")
                file[f"{layer}/weight"] = weight
                file[f"{layer}/bias"] = bias
                folded = tuple(name for unit in units for name in unit.folded)
                rows.append(Row(layer, (*names, *folded), weight.shape, tuple(done)))
            digest = _sha256(file, list(found.names))
            stated: dict[str, Any] = {
                "network": found.network.name, "sha256": digest,
                "parameters": json.dumps(dict(found.network.parameters)),
                "preprocessing": json.dumps(prepared.to_json()),
                "source": f"converted from {source.name}, {contents.form}",
            }  # fmt: skip
            file.attrs.update(stated)
        os.replace(partial, out)
    finally:
        partial.unlink(missing_ok=True)
    return rows, digest


def _sha256(file: h5py.File, layers: list[str]) -> str:
    """refq.weights.Weights.sha256, from what is written, array by array."""
    digest = hashlib.sha256()
    for layer in sorted(layers):
        for part in ("weight", "bias"):
            array = file[f"{layer}/{part}"][()]
            digest.update(f"{layer} {array.shape}\n".encode())
            digest.update(np.ascontiguousarray(array, "<f4").data)
    return digest.hexdigest()


def _layer(
    contents: Contents, network: Network, layer: str, units: list[Unit]
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """(weight, bias, what was done) of one layer of the network, float32."""
    unit = units[0]
    arrays: dict[str, Tensor] = {}
    eps: float | None = None
    for each in units:
        arrays.update(each.arrays)
        eps = each.eps if each.eps is not None else eps
    weight, done = arrays["weight"].load(), []
    if contents.source in ("keras", "matconvnet"):
        done.append("axes")
    node = network.by_name[layer]
    if isinstance(node.layer, Dense):
        source = network.shapes[node.inputs[0]]
        if unit.channels_last and len(source) == 3 and source[1:] != (1, 1):
            channels, rows, columns = source
            weight = weight.reshape(-1, rows, columns, channels).transpose(0, 3, 1, 2)
            done.append("H,W,C to C,H,W")
        weight = weight.reshape(len(weight), -1)
    weight = np.ascontiguousarray(weight)
    loaded = {role: tensor.load() for role, tensor in arrays.items() if role != "weight"}
    bias = loaded.get("bias")
    outputs = weight.shape[:1]
    if bias is not None and bias.shape != outputs:
        raise WeightsError(f"{unit.name}: a bias of shape {bias.shape}", f"{outputs}")
    if set(loaded) - {"bias"}:
        weight, bias = _folded(contents, network, unit.name, weight, loaded, eps)
        done.append("normalisation folded")
    if bias is None:
        bias = np.zeros(outputs, np.float32)
        done.append("no bias")
    return weight, bias, done


def _folded(
    contents: Contents,
    network: Network,
    name: str,
    weight: np.ndarray,
    loaded: Mapping[str, np.ndarray],
    eps: float | None,
) -> tuple[np.ndarray, np.ndarray]:
    if "moments" in loaded:
        mean, variance = matconvnet_moments(loaded["moments"])
    elif "mean" not in loaded or "variance" not in loaded:
        raise refuse(f"{name}: a normalisation without mean or variance", "both")
    else:
        mean, variance = loaded["mean"], loaded["variance"]
    if "factor" in loaded:
        mean, variance = caffe_moments(mean, variance, loaded["factor"])
    gamma, beta = loaded.get("gamma"), loaded.get("beta")
    if eps is None:
        eps = usual_eps(contents.source, network.name)
    return fold(weight, loaded.get("bias"), gamma, beta, mean, variance, eps)


def usual_eps(source: str, network: str) -> float:
    """What published models add to the variance where their file does not say."""
    if source == "keras":
        return 1.001e-5 if network.startswith("resnet") else 1e-3
    return 1e-3 if network == "googlenet_torchvision" else 1e-5
