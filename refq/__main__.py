"""`refq COMMAND ...`: the same commands as `python -m refq.COMMAND`."""

from __future__ import annotations

import importlib
import sys

from refq import __version__
from refq.cli import console
from refq.errors import OptionError

COMMANDS = {
    "evaluate": "accuracy of a network in float and in integers, layer by layer",
    "reproduce": "a paper's tables beside the same measured here",
    "export": "golden vectors, Verilog units, a C model",
    "verify": "a device's integers beside the golden ones: the first wrong bit, and why",
    "report": "figures and one HTML page from results' JSON",
    "convert": "weight files of other frameworks into refq's HDF5",
}


def main() -> int:
    """Runs the named command; without one, lists them."""
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name not in COMMANDS:
        return console.ending(lambda: _answer(name))
    status: int = importlib.import_module(f"refq.{name}").main(sys.argv[2:])
    return status


def _answer(name: str) -> int:
    """Tells what is no command's to tell. Raises OptionError for a name that is none."""
    if name == "--version":
        console.tell(f"refq {__version__}")
    elif name in ("-h", "--help"):
        listed = [f"  {command:<12}{purpose}" for command, purpose in COMMANDS.items()]
        last = "refq COMMAND --help tells a command's options"
        console.tell("usage: refq COMMAND [options]\n", *listed, "", last)
    else:
        raise OptionError(f"unknown command {name!r}", f"one of {', '.join(COMMANDS)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
