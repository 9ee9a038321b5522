"""Writes docs/refused.md: every message that refq refuses with, read off its source, and what the
tests saw it say.

    REFQ_REFUSALS=FOLDER python -m pytest -n 2 --dist loadfile
    python tools/refusals.py FOLDER

Without a folder the examples that the page has stay.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
PAGE = TOP / "docs" / "refused.md"
ERRORS = ("RefqError", "ShapeError", "FormatError", "WeightsError", "DataError", "OptionError")
# what makes an error of the same three parts
MAKERS = (*ERRORS, "refuse")
VARIES = "…"
# a heading of the page and the rooms whose messages stand under it
HEADINGS = {
    "Options": (
        "cli",
        "__main__",
        "convert",
        "evaluate",
        "export",
        "reproduce",
        "verify",
        "report",
    ),
    "Files that are read and written": ("files",),
    "Images and labels": ("data",),
    "Networks and their weights": ("networks",),
    "Weight files of other tools": ("importers", "hdf5"),
    "Schemes": ("schemes", "measure"),
    "Plans": ("plans",),
    "Searches and their journals": ("search",),
    "Golden sets, devices' files, Verilog and C": ("hardware",),
    "Results and papers": ("results", "papers"),
    "Numbers, shapes and machines": ("errors", "formats", "kernels", "engine", "oracle", "tables"),
}
HEAD = """# When something is refused

Bad input ends a command with one line on stderr, `refq: what was found; expected what was wanted;
what to do`, and exit code 2; nothing half-written stays. These are all of those lines, by what they
are about; … stands for what varies, and under a line stands what a test saw it say.
`python tools/refusals.py` makes this page of the source and the tests. Other exit codes are in
[evaluate.md](evaluate.md).
"""


@dataclass(frozen=True, order=True)
class Refusal:
    """A message as the source has it, `…` for what varies."""

    text: str

    @property
    def fixed(self) -> int:
        """Letters that do not vary."""
        return len(self.text.replace(VARIES, "").replace(" ", ""))

    def says(self, message: str) -> bool:
        """Whether a message is one of these."""
        pattern = ".*".join(map(re.escape, self.text.split(VARIES)))
        return re.fullmatch(pattern, message, re.DOTALL) is not None


def refusals() -> dict[str, list[Refusal]]:
    """All messages of the source by heading."""
    found: dict[str, set[Refusal]] = {heading: set() for heading in HEADINGS}
    headings = {room: heading for heading, rooms in HEADINGS.items() for room in rooms}
    for path in sorted((TOP / "refq").rglob("*.py")):
        room = path.relative_to(TOP / "refq").parts[0].removesuffix(".py")
        for text in _texts(ast.parse(path.read_text("utf-8"))):
            found[headings[room]].add(Refusal(text))
    return {heading: sorted(texts) for heading, texts in found.items() if texts}


def _texts(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
            if node.func.id in MAKERS:
                yield from filter(_tells, _message(node))
            elif node.func.id == "unknown":
                kind, *_ = _spelled(node.args[0])
                yield f"unknown {kind} {VARIES}; expected one of {VARIES}"


def _tells(text: str) -> bool:
    return bool(re.search(r"[A-Za-z]{3}", text.replace("expected", "")))


def _message(call: ast.Call) -> Iterator[str]:
    """found; expected wanted; remedy, in each form that the call may give it."""
    given = dict(zip(("found", "wanted", "remedy"), call.args))
    given |= {word.arg: word.value for word in call.keywords if word.arg}
    spelled = [
        _spelled(given[part]) if part in given else [""] for part in ("found", "wanted", "remedy")
    ]
    for form in range(max(map(len, spelled))):
        found, wanted, remedy = (each[min(form, len(each) - 1)] for each in spelled)
        parts = (found, wanted and f"expected {wanted}", remedy)
        text = " ".join("; ".join(filter(None, parts)).split())
        yield re.sub(f"{VARIES}(?:[ ;:]*{VARIES})+", VARIES, text)


def _spelled(node: ast.expr) -> list[str]:
    """What an expression says, one text for each of its forms."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    if isinstance(node, ast.JoinedStr):
        return ["".join(_spelled(part)[0] for part in node.values)]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return [_spelled(node.left)[0] + _spelled(node.right)[0]]
    if isinstance(node, ast.IfExp):
        return [*_spelled(node.body), *_spelled(node.orelse)]
    return [VARIES]


def page(seen: Sequence[str]) -> str:
    """The page, with examples among messages that were seen."""
    found = refusals()
    every = [each for texts in found.values() for each in texts]
    examples: dict[Refusal, str] = {}
    for message in sorted(seen, key=lambda text: (len(text), text)):
        fitting = [each for each in every if each.says(message)]
        if fitting:
            examples.setdefault(max(fitting, key=lambda each: each.fixed), message)
    lines = [HEAD]
    for heading, texts in found.items():
        lines.append(f"## {heading}\n")
        for each in texts:
            example = examples.get(each, "")
            lines.append(f"- {_code(each.text)}")
            if example and example != each.text:
                lines.append(f"  <br>{_code(example)}")
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _code(text: str) -> str:
    ticks = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    inner = f" {text} " if "`" in text else text
    return f"{ticks}{inner}{ticks}"


def examples_of(text: str) -> list[str]:
    """Examples that a page has."""
    return re.findall(r"^  <br>`+ ?(.*?) ?`+$", text, re.MULTILINE)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", nargs="?", type=Path, help="what tests wrote")
    folder = parser.parse_args(arguments).folder
    if folder is None:
        seen = examples_of(PAGE.read_text("utf-8"))
    else:
        seen = [
            line
            for file in sorted(folder.glob("*.txt"))
            for line in file.read_text("utf-8").splitlines()
        ]
    PAGE.write_text(page(seen), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
