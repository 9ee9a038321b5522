"""Formats of single feature maps, where layers move the maps' codes or mix them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from refq.errors import OptionError
from refq.networks import Network, Node
from refq.networks.layers import (
    Clip,
    Concat,
    Conv,
    Dense,
    GlobalMaxPool,
    Layer,
    Pad,
    Rearrange,
    ReLU,
    Resize,
    Slice,
)
from refq.plans import check
from tests.agreement import assert_all_ways_agree
from tests.small_networks import pixels, planned, uneven

MOVES: list[tuple[Layer, bool]] = [
    (Slice((1, 0, 2), (6, 5, 4), (2, 3, 1)), True),
    (Pad((2, 0, 1), (1, 3, 0)), True),
    (Pad((2, 0, 1), (1, 3, 0), "reflect"), True),
    (Resize((3, 7)), True),
    (GlobalMaxPool((2,)), True),
    (Rearrange((2, 3, 5, 4), (1, 0, 2, 3), (6, 5, 4)), False),
    (Concat(2), False),
    (Concat(), True),
]


@pytest.mark.parametrize(("layer", "whole"), MOVES, ids=str)
def test_maps_keep_their_formats_where_they_stay_whole(layer: Layer, whole: bool) -> None:
    nodes = (
        Node("first", Conv(6, (2, 2)), ("data",)),
        Node("bounded", Clip(-90.0, 700.0) if layer.several else ReLU(), ("first",)),
        Node("moved", layer, ("bounded",) * (1 + layer.several)),
        Node("last", Dense(3), ("moved",)),
    )
    network = Network("moving", (3, 6, 5), nodes)
    weights = uneven(network, 2)
    plan = planned(network, weights, "hybrid", data_granularity="map")
    check.check(plan, network)
    assert_all_ways_agree(network, weights, plan, pixels(network, 2, 4))
    drops = {name: plan.tensors[name].drops for name in ("bounded", "moved")}
    if whole:
        assert len(set(drops["bounded"])) > 1 and len(drops["moved"]) == network.shapes["moved"][0]
        return
    assert drops == {"bounded": (), "moved": ()}
    some = replace(plan.tensors["bounded"], drops=(0, 1, 0, 0, 0, 2))
    with pytest.raises(OptionError, match="formats of feature maps in bounded"):
        check.check(replace(plan, tensors={**plan.tensors, "bounded": some}), network)
