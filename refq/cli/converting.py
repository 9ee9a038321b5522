"""A conversion: of weights of a known network, or of a model with its own graph."""

from __future__ import annotations

from dataclasses import replace

from refq.cli.command import Request
from refq.data import presets
from refq.errors import OptionError, RefqError, WeightsError
from refq.importers import converting, models, read, whole
from refq.importers.foreign import Asked

OWN_GRAPH = "no network that refq knows by name; --network NAME says where it differs"
# options of a model file's own graph
OWN = {"input_size", "outputs", "external_data", "prototxt"}


def converted(asked: Request) -> converting.Conversion | whole.Whole:
    """As weights of a known network, or else as a network of its own."""
    typed = asked.given - {"file", "out", "json"}
    others = sorted(typed - OWN - {"preprocessing"})
    if typed & OWN:
        if others:
            found = f"--{others[0].replace('_', '-')} with a model file's own graph"
            raise OptionError(found, "one or the other")
        return _model(asked)
    try:
        return _weights(asked)
    except WeightsError as error:
        if others or not models.fitting(asked.file):
            raise
        try:
            return _model(asked, OWN_GRAPH)
        except RefqError as reason:
            raise reason from error


def _model(asked: Request, *notes: str) -> whole.Whole:
    given = Asked(asked.input_size, asked.outputs or (), asked.external_data, asked.prototxt)
    model, stated = models.read(asked.file, given), {}
    if asked.preprocessing:
        rule = presets.asked(asked.preprocessing, model.network.input_shape)
        stated["preprocessing"] = rule.to_json()
    model = replace(model, notes=(*model.notes, *notes))
    return whole.write(model, asked.file, asked.out, stated)


def _weights(asked: Request) -> converting.Conversion:
    parameters = dict(asked.parameter)
    if len(parameters) < len(asked.parameter):
        raise OptionError(f"--parameter {asked.parameter[-1][0]} again", "each name once")
    return converting.convert(
        replace(read(asked.file), head=asked.head or ""),
        asked.file,
        asked.out,
        asked.network,
        asked.preprocessing,
        parameters,
    )
