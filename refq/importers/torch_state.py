"""State dicts of torch: from names of tensors to layers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from refq.errors import listed
from refq.importers import wrappers
from refq.importers.contents import MOST, Contents, Tensor, Unit, checked_shape, floats, refuse
from refq.importers.pickled import Storage, Strided

ROLES = {"weight": "weight", "bias": "bias", "running_mean": "mean", "running_var": "variance"}
# the trained values first, then their running averages
WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "ema", "state_dict_ema", "model_ema")
COUNTERS = {"total_ops", "total_params", "num_batches_tracked", "n_averaged"}
LOSSES = {"criterion", "loss", "loss_fn", "loss_func", "loss_function", "losses"}
AVERAGES = {"ema", "ema_model", "model_ema", "ema_net", "module_ema"}
# of the images, by which a model prepares them itself
PREPARING = {"mean", "std", "pixel_mean", "pixel_std"}
NORMALISERS = {"", "normalize", "normalization", "normalizer", "norm", "preprocess", "transform"}
FLOATS = {"<f4", "<f8", "<f2", "bfloat16"}


def tensors(
    state: Any, read: Callable[[Storage], np.ndarray]
) -> tuple[dict[str, Tensor], list[str]]:
    """({name: tensor}, names of what is no float tensor) of an unpickled state dict.

    read gives a storage's values as they are stored. A dict around the state dict is opened.
    """
    found: dict[str, Tensor] = {}
    others: list[str] = []
    for _ in WRAPPERS:
        dicts = {key: part for key, part in _parts(state).items() if isinstance(part, dict)}
        tensor_dicts = [key for key, part in dicts.items() if _has_tensors(part)]
        chosen = [key for key in WRAPPERS if key in dicts]
        if not chosen and not _has_tensors(state):
            if len(tensor_dicts) > 1:
                raise refuse(
                    f"{len(tensor_dicts)} state dicts: {listed(tensor_dicts)}",
                    "one, or one of the usual names",
                    "save the network's alone, as checkpoint[NAME] with torch.save",
                )
            chosen = tensor_dicts
        if not chosen:
            break
        others += [str(key) for key in _parts(state) if key != chosen[0]]
        state = dicts[chosen[0]]
    if not isinstance(state, dict) or len(state) > MOST:
        raise refuse("a pickle of something else", "a state dict: names and tensors")
    for name, value in state.items():
        if type(value) is Strided and value.storage.kind in FLOATS:
            found[str(name)] = _lazy(str(name), value, read)
        else:
            others.append(str(name))
    if not found:
        kinds = {each.storage.kind for each in state.values() if type(each) is Strided}
        without_floats(sorted(str(np.dtype(kind)) for kind in kinds))
    return found, others


def without_floats(kinds: Sequence[str]) -> None:
    """Raises WeightsError for a file whose tensors are of these types, and none of floats."""
    if kinds:
        raise refuse(
            f"tensors of {', '.join(kinds)} alone",
            "floats",
            "save the state dict before it is quantized, or tensor.float()",
        )


def _parts(state: Any) -> dict[Any, Any]:
    return state if isinstance(state, dict) and len(state) <= MOST else {}


def _has_tensors(part: Any) -> bool:
    return any(type(value) is Strided for value in _parts(part).values())


def _beside(named: Mapping[str, Tensor]) -> dict[str, str]:
    """{name: why} of arrays that are no layer's: what profilers count, what losses weigh, and a
    running average of the weights beside these."""
    found = {}
    for name, tensor in named.items():
        parts = name.split(".")
        if parts[-1] in COUNTERS and math.prod(tensor.shape) == 1:
            found[name] = "counters"
        elif LOSSES & set(parts[:2]) and len(tensor.shape) < 2:
            found[name] = "of a loss"
        elif parts[0] in AVERAGES and len(parts) > 1:
            found[name] = "averages"
    averaged = {name for name, why in found.items() if why == "averages"}
    if len(averaged) == len(named.keys() - found.keys() | averaged):
        # there is nothing else
        return {name: why for name, why in found.items() if name not in averaged}
    return found


def _lazy(name: str, view: Strided, read: Callable[[Storage], np.ndarray]) -> Tensor:
    shape = checked_shape(name, view.shape)
    if math.prod(shape) > view.storage.numel:
        raise refuse(
            f"{name}: {math.prod(shape):,} values, of which {view.storage.numel:,} are stored",
            "a tensor of its own values",
            "save tensor.contiguous()",
        )
    last = view.offset + sum((size - 1) * step for size, step in zip(shape, view.strides))
    if last >= view.storage.numel:
        raise refuse(f"{name}: a tensor that reaches beyond its storage")

    def load() -> np.ndarray:
        flat = read(view.storage)
        steps = tuple(step * flat.itemsize for step in view.strides)
        part = np.lib.stride_tricks.as_strided(flat[view.offset :], shape, steps, writeable=False)
        return floats(part, view.storage.kind)

    return Tensor(shape, load)


def contents(
    named: Mapping[str, Tensor], others: list[str], form: str, by_name: bool = False
) -> Contents:
    """Layers of tensors named `layer.weight`, `layer.running_mean`, ...; one of another name is a
    layer of its own, as nobody knows what it does."""
    beside = _beside(named)
    named = {name: tensor for name, tensor in named.items() if name not in beside}
    renamed, notes = wrappers.stripped(list(named))
    grouped: dict[str, dict[str, Tensor]] = {}
    ignored, preparing = [*others, *beside], []
    for why in dict.fromkeys(beside.values()):
        first, *more = (name for name, each in beside.items() if each == why)
        behind = f" and {len(more)} more" if more else ""
        notes = (*notes, f"{first}{behind}: {why}, ignored")
    for name, tensor in zip(renamed, named.values()):
        layer, _, part = name.rpartition(".")
        if _prepares(name) and math.prod(tensor.shape) in (1, 3):
            preparing.append(name)
        elif layer and part in ROLES:
            grouped.setdefault(layer, {})[ROLES[part]] = tensor
        else:
            grouped.setdefault(name, {})["other"] = tensor
    units = {layer: Unit(layer, _roles(arrays)) for layer, arrays in grouped.items()}
    if preparing:
        said = "the model prepares images itself; --preprocessing has to say the same"
        notes = (*notes, f"{' and '.join(preparing)}: {said}")
    return Contents(
        "torch", form, units, tuple(units), (*ignored, *preparing), by_name=by_name, notes=notes
    )


def _prepares(name: str) -> bool:
    """Of the model, or of a layer of its own that normalises images: `normalize.mean`."""
    layer, _, part = name.rpartition(".")
    return part in PREPARING and layer in NORMALISERS


def _roles(arrays: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A normalisation's weight and bias are its gamma and beta; one dimension tells it, too, where
    it has no mean and variance."""
    flat = "weight" in arrays and len(arrays["weight"].shape) == 1
    plain = (
        {"weight": "gamma", "bias": "beta"} if flat or {"mean", "variance"} & set(arrays) else {}
    )
    return {plain.get(role, role): tensor for role, tensor in arrays.items()}
