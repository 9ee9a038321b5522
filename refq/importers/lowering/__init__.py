"""From another tool's whole network to refq's: one file a kind of operators, then passes that fold
and join what was made (docs/your-network.md).
"""

from __future__ import annotations

from refq.importers.foreign import Asked, Foreign, Model
from refq.importers.lowering import choosing, elementwise, moving, parts, pooling, weighted
from refq.importers.lowering.finishing import finished
from refq.importers.lowering.folding import fold, unfolded
from refq.importers.lowering.inputs import begun
from refq.importers.lowering.merging import merge
from refq.importers.lowering.outputs import chosen
from refq.importers.lowering.walking import HANDLERS, Walker

__all__ = [
    "HANDLERS",
    "choosing",
    "elementwise",
    "lowered",
    "moving",
    "parts",
    "pooling",
    "weighted",
]


def lowered(foreign: Foreign, asked: Asked) -> Model:
    """A network and its weights, of what another tool's file holds.

    Raises WeightsError that names the node and operator which no network of refq holds, unless it
    is an epilogue without weights, which is cut off and told in the notes.
    """
    drafts, values, notes = begun(foreign, asked)
    walker = Walker(foreign, drafts, values)
    walker.walk()
    outputs, more = chosen(walker, asked)
    drafts.prune(outputs)
    merge(drafts, outputs)
    fold(drafts, outputs)
    merge(drafts, outputs)
    unfolded(drafts, outputs)
    merge(drafts, outputs)
    return finished(foreign, drafts, outputs, (*foreign.notes, *notes, *more))
