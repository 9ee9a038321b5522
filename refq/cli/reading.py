"""Who reads which option: what nobody reads is refused, and not shown by --help."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from refq import schemes, search
from refq.cli import console
from refq.cli.command import Command, Option, Request
from refq.cli.options import SCHEME, SEARCH
from refq.errors import OptionError
from refq.schemes.options import Options, Reads, conditions, names

# --help names the schemes that read an option where they are so few
FEW = 3
UNCALIBRATED = "none: no calibration images are read"


def in_plan(row: Option) -> bool:
    """Whether a plan fixes what the option says."""
    return row.group.reader == SCHEME or row.name in ("scheme", "delta")


def reads(scheme: str) -> Reads:
    """What a scheme says that it reads; nothing where it says nothing."""
    declared: Reads = getattr(schemes.find(scheme), "READS", ())
    return declared


def readers(field: str) -> list[str]:
    """Schemes that read a field of theirs."""
    return [name for name in schemes.known() if field in names(reads(name))]


def strategies(scheme: str) -> list[str]:
    """Those that can search for a scheme's bits; none for a scheme without any."""
    searched = getattr(schemes.find(scheme), "SEARCHED", ())
    return list(search.WIDTHS if isinstance(searched, range) else searched)


def strategy_of(asked: Request) -> str:
    """The strategy of a search. Raises OptionError where the scheme has none, or not that one."""
    scheme = asked.scheme or "float"
    if not strategies(scheme):
        able = [name for name in schemes.known() if strategies(name)]
        raise OptionError(f"--delta with scheme {scheme}", " or ".join(able))
    strategy: str = asked.search or schemes.find(scheme).SEARCH
    if strategy not in strategies(scheme):
        raise OptionError(
            f"--search {strategy} with scheme {scheme}", " or ".join(strategies(scheme))
        )
    return strategy


def check(asked: Request) -> None:
    """Raises OptionError for options that nobody reads, or that contradict each other, before any
    work is done."""
    scheme = asked.scheme or "float"
    read = names(reads(scheme))
    if asked.delta is None:
        asked.refuse(
            _of(asked, SEARCH, set()), "without --delta", "--delta, which asks for a search"
        )
    if asked.plan:
        given = [row.spelled for row in asked.rows if in_plan(row) and row.name in asked.given]
        if given:
            raise OptionError(
                f"--plan with {', '.join(given)}", "one or the other: a plan fixes all numbers"
            )
        asked.refuse(["calibrate"], "with --plan", UNCALIBRATED)
        return
    if asked.save_plan and scheme == "float":
        raise OptionError("--save-plan with scheme float", "a scheme that makes a plan")
    if asked.delta is not None:
        read |= _check_search(asked)
    unread = _of(asked, SCHEME, read)
    asked.refuse(unread, f"with scheme {scheme}", _able(asked, unread))


def _able(asked: Request, unread: Collection[str]) -> str:
    """The schemes that read all the options of these names that were typed."""
    typed = [row for row in asked.rows if row.name in asked.given and row.name in unread]
    able = [
        name for name in schemes.known() if all(row.fields & names(reads(name)) for row in typed)
    ]
    return ": ".join(filter(None, ("a scheme that reads them", ", ".join(able))))


def _of(asked: Request, reader: str, read: set[str]) -> set[str]:
    """Options of a reader that reads such fields alone: those that it leaves unread."""
    return {row.name for row in asked.rows if row.group.reader == reader and not row.fields & read}


def _check_search(asked: Request) -> set[str]:
    """What a strategy reads. Raises OptionError for what it does not, or finds itself."""
    strategy = strategy_of(asked)
    if asked.bits_act is not None:
        raise OptionError("--delta with --bits-act", "one or the other: a search finds the bits")
    read, beside = search.READS[strategy], f"with --search {strategy}"
    asked.refuse(search.FINDS.get(strategy, ()), beside, "one or the other: it finds them")
    asked.refuse(_of(asked, SEARCH, read), beside)
    return read


def check_conditions(asked: Request, options: Options) -> None:
    """Raises OptionError for an option that the scheme does not read beside the others, though it
    reads it beside some."""
    also = search.READS[strategy_of(asked)] if asked.delta is not None else set()
    for row in asked.rows:
        if row.name not in asked.given or row.group.reader != SCHEME or row.fields & also:
            continue
        unmet = conditions(reads(asked.scheme or "float"), row.field or row.name)
        if unmet and not any(when.holds(options) for when in unmet):
            wanted = " or ".join(when.wanted for when in unmet)
            raise OptionError(f"{row.spelled}, which says nothing here", wanted)


def narrowed(command: Command, typed: Sequence[str]) -> tuple[Mapping[Option, str], str]:
    """What --help shows: all options, with their schemes where those are few; beside a scheme's
    name what it and its searches read."""
    probe = console.Parser(add_help=False, allow_abbrev=False)
    probe.add_argument("--scheme")
    scheme = probe.parse_known_args(list(typed))[0].scheme
    if scheme is None:
        shown = {row: _by_layer(row, row.fields) + _schemes(row) for row in command.rows}
        return shown, f"What one scheme reads: {command.name} --scheme NAME --help"
    found: set[str] = set().union(*(search.READS[name] for name in strategies(scheme)))
    read = {SEARCH: found, SCHEME: found | names(reads(scheme))}
    rows = [
        replace(row, choices=strategies(scheme)) if row.name == "search" else row
        for row in command.rows
        if row.fields & read.get(row.group.reader, row.fields)
    ]
    shown = {row: _by_layer(row, names(reads(scheme))) for row in rows}
    return shown, f"Without --scheme {scheme}, --help shows all options."


def _by_layer(row: Option, read: set[str]) -> str:
    """How numbers of single layers are typed, where they are read."""
    return ", or by layer: fc6=6,fc7=3" if row.by_layer in read else ""


def _schemes(row: Option) -> str:
    """Which schemes read an option, where they are few."""
    few = readers(row.field or row.name)
    return f" [{', '.join(few)}]" if row.group.reader == SCHEME and len(few) <= FEW else ""
