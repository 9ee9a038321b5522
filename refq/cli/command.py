"""Commands and their options: declared as rows, parsed into what was asked and what was typed."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from refq.cli import console, paths
from refq.errors import NAME, OptionError, clipped

# columns of help in a wide terminal, and the column of what options say
WIDEST, SAID = 100, 30


@dataclass(frozen=True)
class Group:
    """What options are for. reader: who reads them, `scheme` or `search`; empty for the command.
    instead: what is wanted of who types one that is not read."""

    title: str
    reader: str = ""
    instead: str = ""


@dataclass(frozen=True, eq=False)
class Option:
    """One option of the command line.

    flag: `--name VALUE`, `--name` of a switch, or `name VALUE` of a place. choices: the only values
    there are. kind: makes a value of the text, by default of the default's type. field: what
    Options of schemes or Settings of a search call it, if not by its name; means: makes what they
    hold of the value, None where that takes several options; by_layer: the field with numbers of
    single layers, each of this kind. instead: as of a group. alias: a short flag. several: values
    after one flag; again: the flag again for each. path: where the value is a path, what is done
    with it, as cli.paths says. memory: whether less of it takes less memory.
    """

    flag: str
    group: Group
    help: str
    default: Any = None
    choices: Sequence[str] = ()
    kind: Callable[[str], Any] | None = None
    field: str = ""
    means: Callable[[Any], Any] | None = lambda value: value
    by_layer: str = ""
    instead: str = ""
    alias: str = ""
    required: bool = False
    several: bool = False
    again: bool = False
    path: str = ""
    memory: bool = False

    @property
    def spelled(self) -> str:
        """The flag alone, `--bits-act`."""
        return self.flag.partition(" ")[0]

    @property
    def told(self) -> str:
        """What a line calls it: by its flag, or by what stands in its place."""
        return self.takes if self.placed else self.spelled

    @property
    def takes(self) -> str:
        """How help calls its value; empty for a switch."""
        return self.flag.partition(" ")[2]

    @property
    def name(self) -> str:
        """What the value is asked for by, `bits_act`."""
        return self.spelled.lstrip("-").replace("-", "_")

    @property
    def placed(self) -> bool:
        """Whether it is told by its place, without a flag."""
        return not self.flag.startswith("-")

    @property
    def fields(self) -> set[str]:
        """Fields that hold what it says."""
        return {self.field or self.name, self.by_layer or self.field or self.name}

    def add(self, parser: argparse._ActionsContainer, more: str = "") -> None:
        """Adds it to a parser, which tells its value only where it is typed. more: for its help."""
        choices = f": {', '.join(self.choices)}" if self.choices else ""
        usual = "" if self.default in (None, (), "") else f" (default: {self.default})"
        how: dict[str, Any] = {"help": f"{self.help}{choices}{usual}{more}".replace("%", "%%")}
        if self.takes:
            how |= {"metavar": self.takes, "type": self._value}
        if not self.takes:
            how |= {"nargs": 0, "const": True}
        if self.several:
            how["nargs"] = "+"
        if not self.placed:
            how |= {"default": argparse.SUPPRESS, "required": self.required}
            how["action"] = "append" if self.again else _Once
        parser.add_argument(*filter(None, (self.alias, self.spelled)), **how)

    def _value(self, text: str) -> Any:
        """What typed text means. Nothing, as of a shell's variable that is not set, would silently
        take the place of what is usual, or stand for the folder that one is in."""
        if not text.strip():
            raise OptionError(f"{self.told} {text!r}", "a value")
        number = type(self.default) if isinstance(self.default, (int, float)) else str
        kind = str if self.by_layer else self.kind or number
        try:
            return kind(text)
        except ValueError:
            wanted = "a whole number" if kind is int else "a number"
            raise OptionError(f"{self.told} {clipped(text, NAME)}", wanted) from None


@dataclass(frozen=True)
class Request:
    """What was asked of a command with such options: their values, also by attribute; and which of
    them were typed, be it with their default."""

    rows: Sequence[Option]
    values: Mapping[str, Any]
    given: frozenset[str]

    def __getattr__(self, name: str) -> Any:
        if name in self.__dict__.get("values", ()):
            return self.values[name]
        raise AttributeError(name)

    def refuse(self, unread: Collection[str], beside: str, wanted: str = "") -> None:
        """Raises OptionError where options of these names were typed, which say nothing here.

        beside: what they stand beside, as in `--qm with scheme knq`; wanted: instead, by default
        as the first of them says.
        """
        typed = [row for row in self.rows if row.name in self.given and row.name in unread]
        if typed:
            instead = wanted or typed[0].instead or typed[0].group.instead
            raise OptionError(f"{', '.join(row.spelled for row in typed)} {beside}", instead)


@dataclass(frozen=True)
class Command:
    """A command's name, what it is for, and its options in order.

    narrowed: which of them --help shows beside what else was typed, with more to say of each, and
    a last line; without it all.
    """

    name: str
    purpose: str
    rows: tuple[Option, ...]
    narrowed: Callable[[Command, Sequence[str]], tuple[Mapping[Option, str], str]] | None = None

    @property
    def lighter(self) -> str:
        """Options of which less takes less memory, between `or`."""
        return " or ".join(row.spelled for row in self.rows if row.memory)

    def parse_args(self, arguments: Sequence[str] | None = None) -> Request:
        """Raises OptionError for what is no option, for values that are none of its own, and for
        outputs that would write over what is read."""
        typed = list(sys.argv[1:] if arguments is None else arguments)
        parser = self._parser(dict.fromkeys(self.rows, ""))
        parser.add_argument("-h", "--help", action=_Help, nargs=0, const=lambda: self.help(typed))
        given = vars(parser.parse_args(typed))
        for row in self.rows:
            value = given.get(row.name)
            if row.choices and value is not None and value not in row.choices:
                raise OptionError(f"{row.told} {value}", f"one of {', '.join(row.choices)}")
        usual = {row.name: row.default if row.takes else False for row in self.rows}
        paths.check(self.rows, {**usual, **given})
        return Request(self.rows, {**usual, **given}, frozenset(given))

    def help(self, typed: Sequence[str] = ()) -> str:
        """What --help says."""
        if self.narrowed is None:
            return self._parser(dict.fromkeys(self.rows, "")).format_help()
        return self._parser(*self.narrowed(self, typed)).format_help()

    def _parser(self, rows: Mapping[Option, str], epilog: str = "") -> console.Parser:
        """A parser of these options, with what their help says besides."""
        places = [row.takes + " ..." * row.several for row in self.rows if row.placed]
        width = min(WIDEST, shutil.get_terminal_size().columns)
        parser = console.Parser(
            self.name,
            usage=" ".join([self.name, *places, "[options]"]),
            description=self.purpose,
            epilog=epilog,
            allow_abbrev=False,
            add_help=False,
            formatter_class=lambda prog: argparse.HelpFormatter(prog, 2, SAID, width),
        )
        groups: dict[Group, argparse._ArgumentGroup] = {}
        for row, more in rows.items():
            if row.group not in groups:
                groups[row.group] = parser.add_argument_group(row.group.title)
            row.add(groups[row.group], more)
        return parser


class _Once(argparse.Action):
    """Keeps a value, or that a switch was typed. A second one would silently take its place."""

    def __call__(self, parser: Any, given: Any, value: Any, flag: str | None = None) -> None:
        if hasattr(given, self.dest):
            raise OptionError(f"{flag} again", "each option once")
        setattr(given, self.dest, self.const or value)


class _Help(argparse.Action):
    """Prints what its const makes, and ends."""

    def __init__(self, **how: Any) -> None:
        super().__init__(**{**how, "default": argparse.SUPPRESS})

    def __call__(self, parser: argparse.ArgumentParser, *told: Any) -> None:
        console.tell(self.const().rstrip())
        parser.exit()
