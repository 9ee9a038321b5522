"""Every option says whether its value is a path, and what is done with it."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from refq.cli import paths
from refq.cli.command import Command
from refq.errors import OptionError
from tests.house.test_layering import DOORS

# how help calls values that are no paths
PLAIN = {
    "",  # a switch
    *("A,B", "A,B:C", "BITS", "DB", "F", "HOW", "K", "KIND", "L", "LAYERS", "LEAST-MOST"),
    *("MIB", "MODE", "N", "NAME", "NAMES", "NAME=VALUE", "NETWORK", "O", "PAPER", "PERCENT"),
    *("POINTS", "RULE", "SHARE", "WHAT", "WHICH"),
}
INPUTS = {paths.INPUT, paths.MODEL, paths.WEIGHTS, paths.DATA, paths.RULE}
KINDS = {*INPUTS, paths.FILE, paths.FILES, paths.FOLDER}
COMMANDS: dict[str, Command] = {
    door: importlib.import_module(f"refq.{door}").COMMAND for door in DOORS
}
# of what is no file of its own in these
VALUES = {"model": "vgg16", "paper": "ilnq"}


@pytest.mark.parametrize("door", COMMANDS)
def test_options_say_what_is_done_with_a_path(door: str) -> None:
    for row in COMMANDS[door].rows:
        told = f"say of {row.flag} what is done with its path, or that it is none"
        assert (row.takes in PLAIN and not row.path) or row.path in KINDS, told


@pytest.mark.parametrize("door", COMMANDS)
def test_outputs_keep_apart(door: str, tmp_path: Path) -> None:
    """Each output of a command from each other path of it, as the table of options has them."""
    rows = COMMANDS[door].rows
    given = {row: tmp_path / row.name for row in rows if row.path}
    for row, path in given.items():
        if row.path in INPUTS:
            path.mkdir()
    outputs = [row for row in given if row.path not in INPUTS]
    assert outputs
    for output in outputs:
        for other in given:
            if other is output:
                continue
            clash = {**given, output: given[other]}
            typed: list[str] = []
            for row in rows:
                value = clash.get(row) or VALUES.get(row.name)
                if value and (row.path or row.placed):
                    typed += [str(value)] if row.placed else [row.spelled, str(value)]
            with pytest.raises(OptionError, match=rf"as {output.spelled}|as {other.spelled}"):
                COMMANDS[door].parse_args(typed)
