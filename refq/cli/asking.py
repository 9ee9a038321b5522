"""What the command line asks of a scheme and of a search, as the options of their own."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from refq import schemes, search
from refq.cli import reading
from refq.cli.command import Option, Request
from refq.cli.options import SCHEME, SEARCH
from refq.errors import OptionError
from refq.formats.fixed import Accumulator, parse_overflow, parse_rounding
from refq.networks import Network, description
from refq.networks.points import storage_points
from refq.schemes.hybrid_options import HybridOptions

Amount = TypeVar("Amount", int, float)
EXACT = "exact"
# of layers beside those that are named: no base kernels, and the bits of paper B's C-model
OTHERS = {"clusters": 0, "bits_acc": 32}


class Bounded(Protocol):
    """What is known of a network's inputs: their least and greatest value, and whether all are
    whole numbers."""

    @property
    def bounds(self) -> tuple[float, float]: ...
    @property
    def integral(self) -> bool: ...


def scheme_options(asked: Request, network: Network, image: Bounded | None) -> schemes.Options:
    """The options that the command line gives a scheme. image: of the inputs; None where no format
    of theirs is asked for.

    Raises OptionError for values out of range, and for options that say nothing beside others.
    """
    made: dict[str, Any] = {}
    for row in asked.rows:
        if row.group.reader == SCHEME and row.by_layer:
            made |= _by_layer(row, asked, network)
        elif row.group.reader == SCHEME and row.means is not None:
            made[row.field or row.name] = row.means(getattr(asked, row.name))
    if made["frac_by"] is None:
        # paper A's one F is for its own networks; others' layers differ more
        own = description.described(network) and made["frac_act"] is None
        made["frac_by"] = "layer" if own else "network"
    first = stored_inputs(network)[0]
    if "bits_image" in asked.given and first in made["widths"]:
        raise OptionError(f"--bits-image with bits of {first} in --bits-act", "one or the other")
    made["accumulator"] = _accumulator(asked, made.get("accumulator"))
    if image is not None:
        made |= {"image_bounds": image.bounds, "image_integral": image.integral}
    inner = {
        each.name: made.pop(each.name)
        for each in dataclasses.fields(HybridOptions)
        if each.name in made
    }
    options = schemes.Options(**made, hybrid=HybridOptions(**inner))
    reading.check_conditions(asked, options)
    return options


def _by_layer(row: Option, asked: Request, network: Network) -> Mapping[str, Any]:
    """The fields of an option that takes numbers by layer; none for what is as usual."""
    text, field = getattr(asked, row.name), row.field or row.name
    if row.name == "bits_acc" and text == EXACT:
        text = None
    layers = [node.name for node in network.weighted]
    if row.by_layer == "widths":
        layers = stored_inputs(network)
    every, named = per_layer(row.spelled, text, layers, row.kind or int)
    if named and row.by_layer not in reading.names(reading.reads(asked.scheme or "float")):
        raise OptionError(
            f"{row.spelled} by layer with scheme {asked.scheme}",
            f"one number, or scheme {' or '.join(reading.readers(row.by_layer))}",
        )
    if field == row.by_layer:
        return {field: named if every is None else dict.fromkeys(layers, every)}
    every = OTHERS.get(row.name) if named else every
    return {row.by_layer: named, **({} if every is None else {field: every})}


def stored_inputs(network: Network) -> list[str]:
    """Layers with a stored input of their own, the image's first."""
    return list(dict.fromkeys(p.width_of for p in storage_points(network) if p.readers))


def _accumulator(asked: Request, bits: int | None) -> Accumulator | None:
    """The accumulator of all layers that is asked for; None for the scheme's own."""
    if asked.bits_acc == EXACT and asked.acc_frac != "products":
        raise OptionError(
            f"--bits-acc exact with --acc-frac {asked.acc_frac}", "a number of bits with it"
        )
    if asked.bits_acc in (None, EXACT):
        rules = ("acc_every_mac", "acc_overflow", "acc_rounding")
        asked.refuse(rules, "alone", "--bits-acc with them")
    if asked.acc_frac == "products":
        asked.refuse(["acc_rounding"], "with exact sums", "--acc-frac range or kernel")
    if asked.bits_acc is None:
        return None
    overflow, rounding = parse_overflow(asked.acc_overflow), parse_rounding(asked.acc_rounding)
    return Accumulator(bits, overflow, asked.acc_every_mac, rounding=rounding)


def search_settings(asked: Request, calibration: Sequence[int], at_once: int) -> search.Settings:
    """What the command line asks of a search.

    calibration: images that formats are chosen on, and images there are.
    """
    made = {
        row.field or row.name: row.means(getattr(asked, row.name))
        for row in asked.rows
        if row.group.reader == SEARCH and row.means is not None
    }
    made |= {"seed": asked.seed, "at_once": at_once, "strategy": reading.strategy_of(asked)}
    if made["images"] is None:
        made["images"] = calibration[0]
    if not 1 <= made["images"] <= calibration[1]:
        raise OptionError(f"--search-images {made['images']}", f"1 to {calibration[1]}")
    if made["widths"] is None:
        searched = schemes.find(asked.scheme).SEARCHED
        made["widths"] = searched if isinstance(searched, range) else range(0)
    return search.Settings(**made)


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
