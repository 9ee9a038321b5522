"""What the conversion units of a plan are sized by and look up: a row of each layer that reads
codes (paper A, Figs. 2 and 3).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from refq.errors import FormatError
from refq.formats.codes import StorageCode
from refq.networks.graph import Network
from refq.networks.points import storage_points
from refq.plans.plan import Plan

# inputs of a layer that a bench tries one by one, and bits of a constant that Verilog tools take
MOST_VALUE_BITS = 16
MOST_TABLE_BITS = 1 << 16


@dataclass(frozen=True)
class Row:
    """A layer as the units know it, by its place in the tables.

    layer: the first one that reads the tensors. value_bits: q_m of their value codes. code: how
    they are stored. signed: values are two's complement, and so are the indices of shifts.
    """

    layer: str
    tensors: tuple[str, ...]
    value_bits: int
    code: StorageCode
    signed: bool = False

    @property
    def value_sign(self) -> int:
        """The sign's place in a value, 0 where it has none."""
        return int(self.signed) << (self.value_bits - 1)


@dataclass(frozen=True)
class Table:
    """A packed parameter: one number of `bits` bits after another, the first one lowest."""

    bits: int
    numbers: tuple[int, ...]

    def __str__(self) -> str:
        """As Verilog writes it."""
        packed = sum(number << (place * self.bits) for place, number in enumerate(self.numbers))
        return f"{self.bits * len(self.numbers)}'h{packed:x}"


Parameters = Mapping[str, "int | Table"]


@dataclass(frozen=True)
class Unit:
    """A conversion unit. name: of its module, without refq_. given, got: its ports beside layer."""

    name: str
    given: str
    got: str
    parameters: Parameters
    rows: tuple[Row, ...]

    def bits(self, port: str) -> int:
        found = self.parameters[f"{port.upper()}_BITS"]
        assert isinstance(found, int)
        return found


def coded_rows(
    network: Network, plan: Plan, chosen: Collection[str] | None = None
) -> tuple[Row, ...]:
    """The layers of a plan whose inputs are stored as codes, in order of computation. The others
    read value codes, which pass no unit. chosen: of these layers' tensors alone."""
    found = []
    for point in storage_points(network):
        kept = plan.kept(point)
        if kept and kept.code and (chosen is None or set(point.tensors) & set(chosen)):
            fmt = kept.fixed
            found.append(Row(point.name, point.tensors, fmt.bits, kept.code, fmt.signed))
    return tuple(found)


def units(rows: Iterable[Row]) -> tuple[Unit, ...]:
    """QE and CE for rows stored by shifts, QK and CK for those stored by codebooks.

    Raises FormatError for values that are too wide to be tried one by one, tables that are too
    large, and layers stored by different rules.
    """
    known = tuple(rows)
    for row in known:
        if row.value_bits > MOST_VALUE_BITS:
            raise FormatError(
                f"layer {row.layer}: codes of {row.value_bits}-bit values",
                f"values of up to {MOST_VALUE_BITS} bits, all of which a bench tries",
            )
        if not row.code.shifted and "thresholds" not in row.code.tables:
            raise FormatError(
                f"layer {row.layer}: codes of kind {row.code.kind}", "shift or codebook, for a unit"
            )
        if row.code.first < 0 and _is_cut(row):
            raise FormatError(
                f"layer {row.layer}: signed codes from {row.code.levels[0]} on",
                f"from {-row.value_sign} on, as refq_qe has no lower end",
            )
    by_shift = tuple(row for row in known if row.code.shifted)
    by_book = tuple(row for row in known if not row.code.shifted)
    found: tuple[Unit, ...] = ()
    if by_shift:
        found += shift_units(by_shift)
    if by_book:
        found += codebook_units(by_book)
    return found


def shift_units(rows: tuple[Row, ...]) -> tuple[Unit, Unit]:
    """QE and CE, sized by the widest layer."""
    codes = [row.code.shifted for row in rows if row.code.shifted]
    # where nothing is dropped, both rules are the same
    rules = {nearest for _, drop, nearest, _ in codes if drop} or {False}
    if len(rules) > 1:
        raise FormatError("layers assigned by floor and others by nearest", "one rule for one QE")
    common = _sizes(rows)
    amount_bits = max(1, max(drop for _, drop, *_ in codes).bit_length())
    shifts: Parameters = {
        "SHIFT_BITS": amount_bits,
        "SHIFTS": Table(amount_bits, tuple(drop for _, drop, *_ in codes)),
    }
    nearest = rules.pop()
    rules_of_qe: Parameters = {
        "NEAREST": int(nearest),
        "SATURATE": int(nearest or any(_is_cut(row) for row in rows)),
        "LIMITS": Table(common["CODE_BITS"], tuple((1 << bits) - 1 for bits, *_ in codes)),
        **_value_signs(rows),
        **_code_signs(rows),
    }
    return (
        Unit("qe", "value", "code", {**common, **shifts, **rules_of_qe}, rows),
        Unit("ce", "code", "value", {**common, **shifts}, rows),
    )


def codebook_units(rows: tuple[Row, ...]) -> tuple[Unit, Unit]:
    """QK and CK, sized by the longest codebook."""
    common = _sizes(rows)
    values = 1 << common["CODE_BITS"]
    short = any(len(row.code.levels) < values for row in rows)
    wide = common["VALUE_BITS"] + int(short)
    if len(rows) * values * wide > MOST_TABLE_BITS:
        raise FormatError(
            f"codebooks of {common['CODE_BITS']} bits in {len(rows)} layers",
            f"tables of up to {MOST_TABLE_BITS} bits",
            "give them fewer bits, or export fewer layers",
        )
    thresholds: list[int] = []
    entries: list[int] = []
    for row in rows:
        missing = values - len(row.code.levels)
        # what no value reaches stands for thresholds that a shorter codebook has not
        reached = [threshold + row.value_sign for threshold in row.code.tables["thresholds"]]
        thresholds += [*reached, *(1 << common["VALUE_BITS"],) * missing]
        ones = (1 << row.value_bits) - 1
        entries += [*(level & ones for level in row.code.levels), *(0,) * missing]
    return (
        Unit(
            "qk",
            "value",
            "code",
            {
                **common,
                "THRESHOLD_BITS": wide,
                "THRESHOLDS": Table(wide, tuple(thresholds)),
                **_value_signs(rows),
            },
            rows,
        ),
        Unit(
            "ck",
            "code",
            "value",
            {**common, "CODEBOOKS": Table(common["VALUE_BITS"], tuple(entries))},
            rows,
        ),
    )


def _sizes(rows: Sequence[Row]) -> dict[str, int]:
    return {
        "LAYERS": len(rows),
        "LAYER_BITS": max(1, (len(rows) - 1).bit_length()),
        "VALUE_BITS": max(row.value_bits for row in rows),
        "CODE_BITS": max(row.code.bits for row in rows),
    }


def _value_signs(rows: Sequence[Row]) -> Parameters:
    """Nothing where no layer has signs: a unit for such layers looks none up."""
    if not any(row.signed for row in rows):
        return {}
    bits = max(row.value_bits for row in rows)
    return {"SIGNED": 1, "VALUE_SIGNS": Table(bits, tuple(row.value_sign for row in rows))}


def _code_signs(rows: Sequence[Row]) -> Parameters:
    if not any(row.signed for row in rows):
        return {}
    bits = max(row.code.bits for row in rows)
    return {"CODE_SIGNS": Table(bits, tuple(-row.code.first for row in rows))}


def _is_cut(row: Row) -> bool:
    """True where a layer's code is of fewer bits than the shift leaves."""
    return row.code.levels[-1].bit_length() + row.signed < row.value_bits
