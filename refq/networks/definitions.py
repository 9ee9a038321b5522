"""A user's own networks: a Python file that defines NETWORKS, as the files of this folder do."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from refq import networks
from refq.errors import OptionError, RefqError
from refq.networks.graph import Network

WANTED = "a Python file that defines NETWORKS, {name: builder} (docs/add_network.md)"


def define(path: str) -> list[str]:
    """Runs a Python file, and makes the networks known that it defines; their names.

    The file is code of the user's own, and is trusted as such. Raises OptionError for a file that
    is missing, fails, or defines none.
    """
    place = Path(path)
    if place.suffix != ".py" or not place.is_file():
        raise OptionError(f"{path} is no Python file", WANTED)
    spec = importlib.util.spec_from_file_location(f"refq_own_{place.stem}", place)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except RefqError:
        raise
    except Exception as error:
        raise OptionError(f"{path} fails: {type(error).__name__}: {error}", WANTED) from None
    defined = getattr(module, "NETWORKS", None)
    if not isinstance(defined, Mapping) or not defined:
        raise OptionError(f"{path} defines no NETWORKS", WANTED)
    for name, builder in defined.items():
        if not isinstance(name, str) or not callable(builder):
            raise OptionError(f"{path}: NETWORKS with {name!r}", "names and functions")
        if name in networks.known():
            raise OptionError(f"{path} defines {name}, which is known already", "another name")
        _check(path, name, builder)
    networks.OWN.append(module)
    return list(defined)


def _check(path: str, name: str, builder: Callable[..., Any]) -> None:
    try:
        built = builder()
    except RefqError:
        raise
    except Exception as error:
        raise OptionError(f"{path}: {name}: {type(error).__name__}: {error}", WANTED) from None
    if not isinstance(built, Network):
        raise OptionError(f"{path}: {name} builds no Network", WANTED)
