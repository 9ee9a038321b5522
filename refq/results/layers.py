"""The layer table: its columns, spelled once for JSON, text, page and docs, and its rows."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter

from refq.measure.measurement import Measurement
from refq.networks.graph import Network
from refq.networks.points import Point, storage_points
from refq.plans.cost import Memory, stored_bits
from refq.plans.plan import FLOAT, Plan
from refq.tables import Cell, Column, Row, Table

# what stands for a format where values are not quantized
FLOAT32 = "float32"


def decibels(value: float | None) -> Cell:
    """A signal-to-noise ratio, which nothing has where no noise is."""
    return "exact" if value is None else value


def _one_spelling(spellings: str | None) -> Cell:
    """The first of a format's two."""
    return spellings and spellings.partition(" = ")[0]


def _where_any(megabytes: float) -> Cell:
    """None for an input that is no convolution's output, or is listed with another layer."""
    return megabytes or None


# accumulator_bits: signed bits that hold every exact sum. saturated_percent: share of the input's
# values beyond its format. zero_percent, entropy_bits: share of its values that are zero, and the
# bits a value that no lossless code of single values goes below. megabytes: of the stored input.
# weight_, bias_saturated_percent: share of the layer's own weights and biases. empty_kernels: how
# many of those that hold anything but zero have nothing left of it.
LAYERS = (
    Column("name", "layer"),
    Column("input_format", "input", told=_one_spelling),
    Column("input_bits", "bits"),
    Column("weight_format", "weight", told=_one_spelling),
    Column("bias_format", "bias", told=_one_spelling),
    Column("weight_saturated_percent", "w. sat %", "weights saturated, %"),
    Column("bias_saturated_percent", "b. sat %", "biases saturated, %"),
    Column("empty_kernels", "empty", "empty kernels"),
    Column("accumulator"),
    Column("accumulator_bits", "needs"),
    Column("accumulator_overflows", "overflows"),
    Column("saturated_percent", "saturated %", "saturated, %", ".4f"),
    Column("sqnr_db", "SQNR dB", "SQNR, dB", told=decibels),
    Column("zero_percent", "zero %", "zero, %", ".1f"),
    Column("entropy_bits", "entropy", "entropy, bits"),
    Column("megabytes", "MB", "memory, MB", ".4g", _where_any),
)

# columns that older results do not have
COEFFICIENTS = ("weight_saturated_percent", "bias_saturated_percent", "empty_kernels")


def layer_table(rows: Sequence[Row], notes: Sequence[str] = ()) -> Table:
    """rows: as `layer_rows` makes them, or a result's JSON has them; those of older results know
    nothing of coefficients."""
    unknown = dict.fromkeys(COEFFICIENTS)
    return Table("Layers", [{**unknown, **row} for row in rows], notes, LAYERS)


def layer_rows(
    network: Network, plan: Plan | None, measurement: Measurement, memory: Memory
) -> list[Row]:
    """A row for each weighted layer and each other layer that reads stored values, in order; for an
    addition one for each operand, `layer.operand`. What does not apply is None."""
    order = {name: index for index, name in enumerate(network.shapes)}
    rows: list[tuple[int, Row]] = []
    for point in storage_points(network):
        megabytes = memory.points[point.name] / 8e6
        for reader in point.readers or (point.name,):
            node = network.by_name.get(reader)
            names = [reader]
            if node is not None and node.layer.several:
                read = dict.fromkeys(name for name in node.inputs if name in point.tensors)
                names = [f"{reader}.{operand}" for operand in read]
            for name in names:
                row: dict[str, Cell] = dict.fromkeys(column.key for column in LAYERS)
                row |= {"name": name, "megabytes": megabytes}
                if plan is not None:
                    row |= _told(name, point, plan, measurement)
                rows.append((order.get(reader, len(order)), row))
                megabytes = 0.0  # listed with its first reader alone
    return [row for _, row in sorted(rows, key=itemgetter(0))]


def _told(name: str, point: Point, plan: Plan, measurement: Measurement) -> Row:
    """What a plan and a measurement tell of a layer that reads a point."""
    stored, noise = plan.kept(point), measurement.points[point.name]
    told: dict[str, Cell] = {
        "input_format": str(stored.format) if stored else FLOAT32,
        "input_bits": stored_bits(plan, point),
        "saturated_percent": 100 * noise.outside / noise.values,
        "sqnr_db": noise.sqnr_db,
        "zero_percent": None if noise.zero_share is None else 100 * noise.zero_share,
        "entropy_bits": noise.entropy_bits,
    }
    if layer := plan.layers.get(name):
        told["weight_format"] = str(layer.weight or FLOAT32)
        told["bias_format"] = str(layer.bias or FLOAT32)
        told["accumulator"] = FLOAT32 if plan.arithmetic == FLOAT else str(layer.accumulator)
    if lost := measurement.losses.get(name):
        told["weight_saturated_percent"] = 100 * lost.saturated_weights / lost.weights
        told["bias_saturated_percent"] = 100 * lost.saturated_biases / lost.outputs
        told["empty_kernels"] = lost.empty_kernels
    if sums := measurement.sums.get(name):
        told["accumulator_bits"] = sums.bits
        told["accumulator_overflows"] = sums.overflows
    return told
