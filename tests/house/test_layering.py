"""Who may import whom, and who may print, checked on the source text."""

from __future__ import annotations

import ast
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]

# From the ground up: a room imports from floors below its own only. Rooms on one floor do not know
# each other; inside a room, files may import each other as long as there is no circle. A folder
# inside a room is a room of its own where it is listed.
FLOORS = [
    ["errors", "tables", "papers.published"],
    ["files", "formats", "results.drawing", "hdf5"],
    ["networks", "hardware.files"],
    ["kernels", "oracle", "data", "plans", "hardware.c_model"],
    ["engine", "importers", "schemes.kmeans"],
    ["schemes", "hardware.golden", "hardware.rtl"],
    ["measure", "hardware.diagnosis"],
    ["results", "search"],
    ["papers"],
    ["cli"],
    ["evaluate", "reproduce", "export", "verify", "report", "convert"],
    ["__main__"],
]
DOORS = FLOORS[-2]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
PACKAGES = {"numpy", "numba", "scipy", "h5py", "tqdm"}
# `__init__`: what Numba would refuse as it is imported, before a command could
PRINTING = {"cli", "__main__", "__init__"}
MOST_LINES_OF_A_DOOR = 120
MODULES = {
    ".".join(path.relative_to(TOP).with_suffix("").parts): path
    for path in sorted((TOP / "refq").rglob("*.py"))
}
TREES = {name: ast.parse(path.read_text("utf-8")) for name, path in MODULES.items()}


def room(module: str) -> str:
    """`kernels` of `refq.kernels.conv`; `__init__` of `refq` itself."""
    parts = module.split(".")
    inner = ".".join(parts[1:3])
    return inner if inner in FLOOR else parts[1] if len(parts) > 1 else "__init__"


def imports(module: str) -> list[tuple[ast.stmt, str]]:
    """Every import of a module, wherever it stands, as (statement, dotted name)."""
    found: list[tuple[ast.stmt, str]] = []
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Import):
            found += [(node, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            for alias in node.names:
                whole = f"{base}.{alias.name}"
                deeper = whole in MODULES or f"{whole}.__init__" in MODULES
                found.append((node, whole if deeper else base))
    return found


def own_imports(module: str) -> set[str]:
    return {name for _, name in imports(module) if name.split(".")[0] == "refq"}


def test_every_module_has_a_floor() -> None:
    rooms = {room(module) for module in MODULES} - {"__init__", "hardware"}
    unknown = sorted(rooms - set(FLOOR))
    assert not unknown, f"give {unknown} a floor in FLOORS and a word in README.md"
    assert not set(FLOOR) - rooms, "FLOORS names modules that are gone"


def test_imports_go_down() -> None:
    # `refq` itself is below all; a room that nobody placed fails the test before this one
    floor = {"__init__": -1, **FLOOR}
    wrong = [
        f"{module} imports {name}"
        for module in MODULES
        for name in own_imports(module)
        if room(name) != room(module) or room(module) == "__init__"
        if floor.get(room(name), 0) >= floor.get(room(module), len(FLOORS))
    ]
    assert not wrong


def test_doors_are_thin() -> None:
    for name in DOORS:
        text = MODULES[f"refq.{name}"].read_text("utf-8")
        assert len(text.splitlines()) <= MOST_LINES_OF_A_DOOR, f"{name} does work of a room"
        assert "argparse" not in text, f"{name} parses what refq.cli.command parses"
        others = own_imports(f"refq.{name}") & {f"refq.{door}" for door in DOORS}
        assert not others, f"{name} imports {others}"


def test_imports_are_no_circle() -> None:
    graph = {
        name: own_imports(name) & MODULES.keys()
        for name in MODULES
        # a package's __init__ collects its files for others
        if not name.endswith("__init__")
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"imports in a circle: {' -> '.join(error.args[1])}")


def test_runtime_packages_are_few() -> None:
    wrong = []
    for module, tree in TREES.items():
        for node, name in imports(module):
            package = name.split(".")[0]
            if package == "PIL":
                # an extra: for image files alone, and only once one is met
                allowed = module.startswith("refq.data.") and node not in tree.body
            elif package == "matplotlib":
                # an extra: for figures alone, and only once one is drawn
                allowed = module.startswith("refq.results.drawing.") and node not in tree.body
            elif package == "h5py":
                # a damaged file may end the process that reads it: this room takes care of that
                allowed = module.startswith("refq.hdf5.")
            elif package == "llvmlite":
                # what Numba compiles with and brings along: for instructions it has no name for
                allowed = module.startswith("refq.kernels.")
            else:
                allowed = package in {"refq", *PACKAGES} or package in sys.stdlib_module_names
            if not allowed:
                wrong.append(f"{module}:{node.lineno} imports {name}")
    assert not wrong


def test_only_commands_print() -> None:
    wrong = []
    for module in MODULES:
        if room(module) in PRINTING:
            continue
        for node in ast.walk(TREES[module]):
            prints = isinstance(node, ast.Name) and node.id == "print"
            streams = (
                isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Name)
                and (node.value.id, node.attr) in (("sys", "stdout"), ("sys", "stderr"))
            )
            if isinstance(node, ast.expr) and (prints or streams):
                wrong.append(f"{module}:{node.lineno}")
    assert not wrong
