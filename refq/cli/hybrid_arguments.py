"""The command line's part about paper B: hybrid formats, energy, clusters, accumulators."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import TypeVar

from refq.errors import OptionError
from refq.formats.fixed import Accumulator, parse_overflow, parse_rounding
from refq.networks import Network
from refq.schemes.hybrid_options import (
    ACCUMULATED,
    DATA_GRANULARITIES,
    EXPERIMENTS,
    FORMATS,
    GRANULARITIES,
    HybridOptions,
)

Amount = TypeVar("Amount", int, float)

# options that the schemes below read, and those of each scheme alone
SHARED = (
    "granularity",
    "data_granularity",
    "formats",
    "bits_bias",
    "unsigned",
    "acc_frac",
    "float_data",
    "only",
)
ENERGY = ("threshold", "low_share", "experiment")
CLUSTERED = ("clusters",)
LOW = ("bits_low",)


def add(parser: argparse.ArgumentParser) -> None:
    """Adds the options to a parser."""
    own = parser.add_argument_group("hybrid, energy, clustered")
    own.add_argument("--granularity", default="3D", help=f"{_names(GRANULARITIES)}: coefficients'")
    own.add_argument(
        "--data-granularity", default="4D", help=f"{_names(DATA_GRANULARITIES)}: of data"
    )
    own.add_argument("--formats", default="magnitude", help=f"coefficients': {_names(FORMATS)}")
    own.add_argument("--bits-bias", type=int, default=8, help="bits of biases")
    own.add_argument("--unsigned", action="store_true", help="no sign bit behind a ReLU")
    own.add_argument("--float-data", action="store_true", help="quantize coefficients alone")
    own.add_argument("--only", help="layers that are quantized, such as conv2,conv3")
    own.add_argument("--acc-frac", default="products", help=f"{_names(ACCUMULATED)}: accumulators'")
    own.add_argument("--bits-low", default="4", help="few bits: 4, or conv1=8,conv2=4")
    own.add_argument("--threshold", type=float, help="energy: few bits below so many mean energies")
    own.add_argument("--low-share", help="energy: percent with few bits: 40, or conv1=0,conv2=40")
    own.add_argument("--experiment", help=f"energy: {_names(EXPERIMENTS)} (default: moderate)")
    own.add_argument("--clusters", default="4", help="base kernels: 4, or conv1=2,conv2=0")


def _names(known: Sequence[str]) -> str:
    return ", ".join(known)


def hybrid_options(arguments: argparse.Namespace, network: Network) -> HybridOptions:
    """What the options ask of paper B's schemes."""
    layers = [node.name for node in network.weighted]
    _, weight_bits = per_layer("--bits-wt", arguments.bits_wt, layers, int)
    _, accumulator_bits = per_layer("--bits-acc", _asked(arguments.bits_acc), layers, int)
    low, low_bits = per_layer("--bits-low", arguments.bits_low, layers, int)
    share, low_share = per_layer("--low-share", arguments.low_share, layers, float)
    if share is not None:
        low_share = dict.fromkeys(layers, share)
    every, clusters = per_layer("--clusters", arguments.clusters, layers, int)
    return HybridOptions(
        granularity=arguments.granularity,
        data_granularity=arguments.data_granularity,
        formats=arguments.formats,
        bits_bias=arguments.bits_bias,
        weight_bits=weight_bits,
        unsigned=arguments.unsigned,
        float_data=arguments.float_data,
        only=tuple(name.strip() for name in (arguments.only or "").split(",") if name.strip()),
        accumulator_bits=accumulator_bits,
        accumulated=arguments.acc_frac,
        bits_low=4 if low is None else low,
        low_bits=low_bits,
        threshold=arguments.threshold,
        low_share=low_share,
        experiment=arguments.experiment,
        clusters=clusters,
        every_layer=0 if every is None else every,
    )


def _asked(bits_acc: str | None) -> str | None:
    """What is asked of an accumulator's width, beside that it is exact."""
    return None if bits_acc == "exact" else bits_acc


def accumulator(arguments: argparse.Namespace, network: Network) -> Accumulator | None:
    """The accumulator of all layers that is asked for; None for the scheme's own."""
    layers = [node.name for node in network.weighted]
    bits, named = per_layer("--bits-acc", _asked(arguments.bits_acc), layers, int)
    if arguments.bits_acc is None:
        return None
    # layers that are not named have the 32 bits of paper B's C-model
    width = (32 if named else None) if bits is None else bits
    return Accumulator(
        width,
        parse_overflow(arguments.acc_overflow),
        arguments.acc_every_mac,
        rounding=parse_rounding(arguments.acc_rounding),
    )


def per_layer(
    option: str, text: str | None, layers: Sequence[str], kind: Callable[[str], Amount]
) -> tuple[Amount | None, dict[str, Amount]]:
    """`5` for all, a list for all layers in order `8,4,5,...`, or `fc6=6,fc7=3`: (for all, by
    layer)."""
    if text is None:
        return None, {}
    fields = [field.strip() for field in str(text).split(",")]
    try:
        if len(fields) == 1 and "=" not in fields[0]:
            return kind(fields[0]), {}
        if all("=" in field for field in fields):
            pairs = [field.split("=", 1) for field in fields]
            named = {name.strip(): kind(amount) for name, amount in pairs}
            if len(named) < len(pairs):
                raise OptionError(f"{option} {text}", "each layer once")
            return None, named
        amounts = [kind(field) for field in fields]
    except ValueError:
        raise OptionError(
            f"{option} {text}", "a number, a comma-separated list, or layer=number,..."
        ) from None
    if len(amounts) != len(layers):
        raise OptionError(
            f"{option} with {len(amounts)} numbers", f"{len(layers)}: {', '.join(layers)}"
        )
    return None, dict(zip(layers, amounts, strict=True))
