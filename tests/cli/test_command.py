"""Commands and their options: what is typed is a value of its option, or refused in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from refq import convert, evaluate, export, report, reproduce, verify
from refq.cli.command import Command, Group, Option
from refq.errors import OptionError

DOORS = {
    door.COMMAND.name: (door.main, door.COMMAND)
    for door in (convert, evaluate, export, report, reproduce, verify)
}


@pytest.mark.parametrize("name", DOORS)
@pytest.mark.parametrize("nothing", ["", " ", "\t\n"])
def test_nothing_is_no_value(
    refusal: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    nothing: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    main, command = DOORS[name]
    places = [row for row in command.rows if row.placed]
    for row in command.rows:
        if row.takes:
            before = [nothing if place is row else "x" for place in places]
            flag = () if row.placed else (row.spelled, nothing)
            told = refusal(main, *before, *flag)
            assert told == f"refq: {row.told} {nothing!r}; expected a value\n"
    for row in places:
        if row.several:
            assert "''; expected a value" in refusal(main, "x", "", "x")
    assert not list(tmp_path.iterdir())


def test_what_is_no_number_is_told_by_its_option() -> None:
    group = Group("numbers")
    rows = (Option("place N", group, "", kind=int), Option("--share F", group, "", 0.5))
    command = Command("tried", "", rows)
    assert command.parse_args(["3", "--share", "2"]).values == {"place": 3, "share": 2.0}
    for typed, told in (
        (["3.5"], "N 3.5; expected a whole number"),
        (["3", "--share", "half"], "--share half; expected a number"),
        (["9" * 5000 + "x"], "N 999"),
    ):
        with pytest.raises(OptionError) as refused:
            command.parse_args(typed)
        assert str(refused.value).startswith(told) and len(str(refused.value)) < 200
