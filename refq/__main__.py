"""`refq COMMAND ...`: the same commands as `python -m refq.COMMAND`."""

from __future__ import annotations

import importlib
import sys

from refq import __version__

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
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        print("usage: refq COMMAND [options]\n")
        for name, purpose in COMMANDS.items():
            print(f"  {name:<12}{purpose}")
        print("\nrefq COMMAND --help tells a command's options")
        return 0
    if sys.argv[1] == "--version":
        print(f"refq {__version__}")
        return 0
    name = sys.argv[1]
    if name not in COMMANDS:
        print(
            f"refq: unknown command {name!r}; expected one of {', '.join(COMMANDS)}",
            file=sys.stderr,
        )
        return 2
    status: int = importlib.import_module(f"refq.{name}").main(sys.argv[2:])
    return status


if __name__ == "__main__":
    sys.exit(main())
