"""Which network a command works on: a name, a weight file with its graph, a model file of another
tool, or a description in Python.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from refq import networks
from refq.errors import DataError, OptionError
from refq.importers import models
from refq.importers.foreign import Asked
from refq.networks import Network, bundled, definitions, weights
from refq.networks.weights import Weights, load

RANDOM = "random:"
Size = tuple[int, int]


class Wanted(Protocol):
    """What of a command's inputs says which network it is."""

    @property
    def model(self) -> str: ...
    @property
    def network(self) -> str | None: ...
    @property
    def weights(self) -> str | None: ...
    @property
    def input_size(self) -> Size | None: ...
    @property
    def outputs(self) -> tuple[str, ...] | None: ...
    @property
    def external_data(self) -> str | None: ...
    @property
    def prototxt(self) -> str | None: ...


@dataclass(frozen=True)
class Opened:
    """A network with weights. source: what reports call these. notes: what became of a file.
    from_file: whether the network itself comes from one."""

    network: Network
    weights: Weights
    source: str
    notes: tuple[str, ...] = ()
    from_file: bool = False


def open_network(which: Wanted) -> Opened:
    """Raises OptionError for options that the network does not take, WeightsError for files that
    hold none."""
    name = which.model
    if which.network is not None:
        definitions.define(which.network)
    elif name not in networks.known() and name.endswith(".py"):
        (name, *more) = definitions.define(name)
        if more:
            wanted = f"one of {', '.join([name, *more])}, and --network {which.model}"
            raise OptionError(f"{which.model} with {1 + len(more)} networks", wanted)
    if name in networks.known():
        return _named(which, name)
    if not Path(name).exists() and "/" not in name and "." not in name:
        networks.build(name)  # answers with the known names
    return _of_file(which, Path(name))


def _named(which: Wanted, name: str) -> Opened:
    for option, value in _of_files(which).items():
        if value:
            raise OptionError(f"{option} with {name}", "a model file")
    size = which.input_size
    if size is not None and size[0] != size[1]:
        raise OptionError(f"--input-size {size[0]}x{size[1]} for {name}", "one number")
    source = str(_bundled_weights(name)) if which.weights is None else which.weights
    network, loaded = load(source, name, {} if size is None else {"input_size": size[0]})
    return Opened(network, loaded, "bundled" if which.weights is None else source)


def _of_files(which: Wanted) -> dict[str, object]:
    """Options that only model files have."""
    return {
        "--outputs": which.outputs,
        "--external-data": which.external_data,
        "--prototxt": which.prototxt,
    }


def _bundled_weights(name: str) -> Path:
    try:
        return bundled.path(f"{name}.h5")
    except DataError:
        raise OptionError(
            f"no bundled weights for {name}", "--weights FILE or --weights random:SEED"
        ) from None


def _of_file(which: Wanted, path: Path) -> Opened:
    """The network that a file holds; its own weights, or random ones in their place."""
    if which.weights is not None and not which.weights.startswith(RANDOM):
        raise OptionError(
            f"--weights {which.weights} with the network of {path}",
            "none: it has its own, or random:SEED in their place",
        )
    network, loaded, notes = _read(which, path)
    if which.weights is not None:
        seed = weights.seed_of(which.weights)
        return Opened(network, weights.random_weights(network, seed), which.weights, notes, True)
    return Opened(network, loaded, str(path), notes, True)


def _read(which: Wanted, path: Path) -> tuple[Network, Weights, tuple[str, ...]]:
    if weights.holds_graph(path):
        for option, value in {"--input-size": which.input_size, **_of_files(which)}.items():
            if value:
                raise OptionError(f"{option} with {path}", "none: its graph is complete")
        network, loaded = load(path, None)
        return network, loaded, ()
    asked = Asked(which.input_size, which.outputs or (), which.external_data, which.prototxt)
    model = models.read(path, asked)
    return model.network, model.weights, model.notes
