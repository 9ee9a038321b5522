"""The pages say what the code does: commands, options, keys, links and examples."""

from __future__ import annotations

import ast
import doctest
import importlib
import re
import runpy
from pathlib import Path
from types import ModuleType

import pytest

from refq import convert, evaluate, export, networks, report, reproduce, schemes, verify
from refq.cli.command import Option
from refq.cli.options import SCHEME
from refq.cli.reading import FEW, readers
from refq.engine.steps import Steps
from refq.results import evaluation
from refq.results.layers import LAYERS
from refq.search import judging

TOP = Path(__file__).parents[2]
PAGES = sorted((TOP / "docs").glob("*.md"))
TEXTS = [*PAGES, *TOP.glob("*.md")]
RUN = "pip install . && python -m refq.evaluate vgg16 --scheme enq"
TEST = "pip install '.[test]' && python -m pytest -n 2 --dist loadfile"


def text(name: str) -> str:
    return (TOP / name).read_text("utf-8")


def blocks(page: str, language: str) -> list[str]:
    """Contents of the fenced code blocks of that language."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return [body for tongue, body in found if tongue == language]


def options(command: ModuleType) -> dict[str, Option]:
    """A command's options by flag."""
    return {row.spelled: row for row in command.COMMAND.rows if not row.placed}


def rows(page: str) -> dict[str, list[str]]:
    """Cells of all table rows of a page by the first word in backquotes."""
    found = {}
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        name = re.match(r"`(\S+?)[ `]", cells[0])
        if line.startswith("|") and name:
            found[name[1]] = cells[1:]
    return found


def test_readme_gives_the_two_commands() -> None:
    assert blocks(text("README.md"), "")[:2] == [RUN + "\n", TEST + "\n"]


def test_ci_ends_with_the_readmes_test_command() -> None:
    lines = [line for line in text(".ci/run").splitlines() if line.strip()]
    assert lines[-1] == TEST.partition(" && ")[2]
    assert any("pip install" in line and ".[test" in line for line in lines)
    assert (TOP / ".ci" / "run").stat().st_mode & 0o111, ".ci/run is not executable"


def test_index_links_every_page() -> None:
    linked = set(re.findall(r"\]\(([\w-]+\.md)\)", text("docs/index.md")))
    assert linked == {page.name for page in PAGES} - {"index.md"}


def test_links_lead_somewhere() -> None:
    links = [
        (page, target)
        for page in TEXTS
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text("utf-8"))
        if "://" not in target
    ]
    assert len(links) > 3 * len(TEXTS) > 60
    wrong = [(page.name, target) for page, target in links if not (page.parent / target).exists()]
    assert not wrong


def test_names_on_an_images_way_exist() -> None:
    """`a.b.c` is refq's module a.b with c in it, `a/b.py` a file."""
    way = text("docs/architecture.md").partition("## One image's way")[2]
    dotted = re.findall(r"`([a-z_]+(?:\.\w+)+)`", re.sub(r"`[\w/.]+\.py`", "", way))
    files = re.findall(r"`(?:refq/)?([\w/]+\.py)`", way)
    assert len(dotted) > 15 and len(files) > 4
    assert [name for name in files if not (TOP / "refq" / name).is_file()] == []
    for name in dotted:
        if name.startswith("steps."):
            assert hasattr(Steps, name.partition(".")[2]), name
            continue
        room, _, last = f"refq.{name.removeprefix('refq.')}".rpartition(".")
        try:
            assert hasattr(importlib.import_module(room), last), name
        except ModuleNotFoundError:
            holder, _, owner = room.rpartition(".")
            assert hasattr(getattr(importlib.import_module(holder), owner), last), name


def test_sections_of_the_contract_are_numbered_through() -> None:
    sections = [int(number) for number in re.findall(r"^## (\d+) ", text("docs/contract.md"), re.M)]
    assert sections == list(range(1, 1 + len(sections)))
    sources = [*PAGES, *(TOP / "refq").rglob("*.py")]
    for path in sources:
        named = re.findall(r"contract(?:\.md\))?,? (?:section )?(\d+)", path.read_text("utf-8"))
        assert {int(number) for number in named} <= set(sections), path


def test_readme_lists_every_room() -> None:
    listing = blocks(text("README.md"), "")[2]
    assert len(listing.splitlines()) <= 25
    for path in (TOP / "refq").iterdir():
        if not path.name.startswith("_"):
            name = f"{path.name}/" if path.is_dir() else path.stem
            assert re.search(rf"(?<!\w){name}", listing), f"no word about {name}"


def test_options_are_documented() -> None:
    page = text("docs/evaluate.md")
    known = options(evaluate).keys()
    assert set(re.findall(r"--[a-z][a-z-]*", page)) == known | {"--help"}
    assert {name for name in rows(page) if name.startswith("--")} == known


@pytest.mark.parametrize("command", [convert, report, reproduce, verify])
def test_other_commands_options_are_documented(command: ModuleType) -> None:
    page = text(f"docs/{command.__name__.rpartition('.')[2]}.md").partition("\n## ")[0]
    assert {name for name in rows(page) if name.startswith("--")} == options(command).keys()


def test_options_of_export_are_documented() -> None:
    # those of plans and images are an evaluation's
    alone = options(export).keys() - options(evaluate).keys() | {"--json"}
    page = text("docs/export.md")
    assert {name for name in rows(page) if name.startswith("--")} == alone


def test_documented_defaults_hold() -> None:
    documented = rows(text("docs/evaluate.md"))
    stated = {
        name: str(row.default)
        for name, row in options(evaluate).items()
        if row.default is not None and row.takes  # switches take no value
    }
    assert len(stated) > 20
    assert {name: documented[name][0] for name in stated} == stated


def test_documented_readers_hold() -> None:
    """Where few schemes read an option, its row begins with their names."""
    documented = rows(text("docs/evaluate.md"))
    few = {
        name: readers(row.field or row.name)
        for name, row in options(evaluate).items()
        if row.group.reader == SCHEME
    }
    few = {name: known for name, known in few.items() if len(known) <= FEW}
    assert len(few) > 20
    for name, known in few.items():
        assert sorted(documented[name][1].partition(":")[0].split(", ")) == known, name


def test_names_are_documented() -> None:
    page = text("docs/evaluate.md")
    assert f"one of {', '.join(networks.known())}." in " ".join(page.split())
    for name in schemes.known():
        assert f"`{name}`" in page, name


def test_json_keys_are_documented() -> None:
    page = text("docs/evaluate.md").partition("## JSON")[2]
    tree = ast.parse(Path(evaluation.__file__).read_text("utf-8"))
    keys: list[str] = []
    for name in ("content", "to_json"):
        (function,) = [
            node
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef) and node.name == name
        ]
        (returned,) = [node.value for node in function.body if isinstance(node, ast.Return)]
        assert isinstance(returned, ast.Dict)
        keys += [str(key.value) for key in returned.keys if isinstance(key, ast.Constant)]
    assert len(keys) > 20 and keys[-1] == "figures"
    for key in [*keys, *(column.key for column in LAYERS)]:
        assert f"`{key}`" in page, key


EXAMPLES = {
    page: "\n".join(block for block in blocks(page.read_text("utf-8"), "python") if ">>>" in block)
    for page in PAGES
}


@pytest.mark.parametrize(
    "page", [page for page, examples in EXAMPLES.items() if examples], ids=lambda page: page.name
)
def test_examples_run(page: Path) -> None:
    test = doctest.DocTestParser().get_doctest(EXAMPLES[page], {}, page.name, None, 0)
    said: list[str] = []
    ran = doctest.DocTestRunner().run(test, out=said.append)
    assert not said, "".join(said)
    assert ran.attempted


def test_contract_has_examples() -> None:
    assert EXAMPLES[TOP / "docs" / "contract.md"]


def test_search_keys_are_documented() -> None:
    page = text("docs/search.md").partition("## Report")[2]
    source = (TOP / "refq" / "search" / "running.py").read_text("utf-8")
    keys = re.findall(r'^ {12}"(\w+)":', source, re.MULTILINE)
    assert len(keys) > 15
    for key in [*keys, *judging.Passes.__dataclass_fields__]:
        assert f"`{key}`" in page, key


def test_every_refusal_is_told() -> None:
    made = runpy.run_path(str(TOP / "tools" / "refusals.py"))
    told = text("docs/refused.md")
    again = "run tools/refusals.py"
    assert made["page"](made["examples_of"](told)) == told, again
    # what tests saw stands with them
    lines = re.findall(r"^- ", told, re.MULTILINE)
    assert 2 * len(made["examples_of"](told)) > len(lines), again


def test_limits_are_those_of_the_code() -> None:
    told = re.findall(
        r"\| ([\d,]+)( [KMG]iB| s)? \| `refq\.([\w.]+)\.(\w+)` \|", text("docs/security.md")
    )
    assert len(told) > 20
    units = {" KiB": 1 << 10, " MiB": 1 << 20, " GiB": 1 << 30}
    for number, unit, module, name in told:
        limit = getattr(importlib.import_module(f"refq.{module}"), name)
        assert int(number.replace(",", "")) * units.get(unit, 1) == limit, f"{module}.{name}"
