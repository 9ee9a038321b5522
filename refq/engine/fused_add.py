"""Which additions are one pass from bytes to bytes (refq.kernels.adding)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from refq.engine.map_codes import fits, stored_values
from refq.formats.codes import Codebook, ShiftCode
from refq.formats.fixed import Overflow, Rounding
from refq.kernels.adding import LONGEST, Ending
from refq.plans.plan import Plan, TensorPlan, exact_sum


def ending_of_sum(
    plan: Plan, operands: Sequence[TensorPlan], entry: TensorPlan | None, relu: bool
) -> Ending | None:
    """What becomes of an addition's sum; None where the kernel does not cover it: other than two
    operands, exact sums as the output, formats of feature maps, stochastic rounding, wrapping,
    codes beyond 16 bits, more fraction bits than the sum has."""
    if entry is None or len(operands) != 2 or any(each.drops for each in (entry, *operands)):
        return None
    fmt, (bits, frac_bits) = entry.fixed, exact_sum(operands)
    drop = frac_bits - fmt.frac_bits
    modes = plan.rounding is Rounding.STOCHASTIC or plan.overflow is Overflow.WRAP
    if modes or not fits(entry) or drop < 0 or max(bits, drop + 1) > LONGEST:
        return None
    low = -fmt.max_code if fmt.signed and plan.overflow is Overflow.SAT_SYM else fmt.min_code
    ending = Ending(relu, drop, plan.rounding, low, fmt.max_code)
    match entry.code:
        case ShiftCode(index_bits, dropped, nearest):
            return replace(ending, shifted=(index_bits, dropped, nearest))
        case Codebook():
            return replace(ending, table=stored_values(entry))
    return ending
