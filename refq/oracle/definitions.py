"""Numbers, sums, windows, channels, storage codes and statistics, by definition."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from refq.errors import FormatError
from refq.formats.fixed import Accumulator, FixedPointFormat, FormatGrid, Overflow, Rounding
from refq.formats.floats import Affine, AffineGrid, Buckets, MiniFloat, Number, PowerOfTwo

NO_PADS = (0, 0, 0, 0)


# --- one number -------------------------------------------------------------------------------


def random_fraction(seed: int, index: int) -> Fraction:
    """The 64-bit fraction in [0, 1) at a place in the stochastic sequence (SplitMix64)."""
    mask = 2**64 - 1
    z = (seed + (index + 1) * 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return Fraction(z ^ (z >> 31), 2**64)


def round_fraction(value: Fraction, rounding: Rounding, chance: Fraction = Fraction(0)) -> int:
    """An exact value rounded to an integer by the named rule (contract section 1)."""
    below = math.floor(value)
    if value == below:
        return below
    part = value - below
    half = Fraction(1, 2)
    match rounding:
        case Rounding.TO_NEG:
            return below
        case Rounding.TO_POS:
            return below + 1
        case Rounding.TO_ZERO:
            return below if value > 0 else below + 1
        case Rounding.STOCHASTIC:
            # away from zero with the probability of the magnitude's fraction
            magnitude = abs(value)
            away = math.floor(magnitude) + int(magnitude - math.floor(magnitude) > chance)
            return away if value > 0 else -away
    if part != half:
        return below + int(part > half)
    match rounding:
        case Rounding.TIES_POS:
            return below + 1
        case Rounding.TIES_AWAY:
            return below + 1 if value > 0 else below
        case Rounding.TIES_EVEN:
            return below if below % 2 == 0 else below + 1
    raise FormatError(f"rounding {rounding!r}")


def bring_into_range(code: int, fmt: FixedPointFormat, overflow: Overflow) -> int:
    """Saturation or wrapping of an integer of any size."""
    if overflow is Overflow.WRAP:
        span = 2**fmt.bits
        code %= span
        return code - span if code > fmt.max_code else code
    low = fmt.min_code
    if overflow is Overflow.SAT_SYM and fmt.signed:
        low = -fmt.max_code
    return max(low, min(code, fmt.max_code))


def _codes(
    values: Sequence[Fraction],
    shape: tuple[int, ...],
    fmt: FixedPointFormat,
    rounding: Rounding,
    overflow: Overflow,
    chances: Sequence[Fraction] | None,
) -> tuple[np.ndarray, int]:
    out, outside = [], 0
    for index, value in enumerate(values):
        exact = round_fraction(value, rounding, chances[index] if chances else Fraction(0))
        code = bring_into_range(exact, fmt, overflow)
        outside += code != exact
        out.append(code)
    return np.array(out, fmt.dtype).reshape(shape), outside


def _chances(
    rounding: Rounding, count: int, seed: int, offset: int, bits: int = 64
) -> list[Fraction] | None:
    """Random fractions for the stochastic mode, cut to as many bits as the operation uses."""
    if rounding is not Rounding.STOCHASTIC:
        return None
    grid = 2**bits
    return [
        Fraction(math.floor(random_fraction(seed, offset + i) * grid), grid) for i in range(count)
    ]


def quantize(
    x: np.ndarray,
    fmt: FixedPointFormat,
    rounding: Rounding = Rounding.TIES_EVEN,
    overflow: Overflow = Overflow.SAT,
    seed: int = 0,
    offset: int = 0,
) -> tuple[np.ndarray, int]:
    flat = [float(value) for value in np.asarray(x).reshape(-1)]
    unusable = [v for v in flat if math.isnan(v) or (math.isinf(v) and overflow is Overflow.WRAP)]
    if unusable:
        raise FormatError(f"{len(unusable)} NaN or infinite values", "finite values to quantize")
    # an infinity is beyond every format, as this number is
    huge = Fraction(2) ** 2000
    scale = Fraction(2) ** fmt.frac_bits
    values = [
        math.copysign(1, v).__int__() * huge if math.isinf(v) else Fraction(v) * scale for v in flat
    ]
    chances = _chances(rounding, len(flat), seed, offset, bits=53)
    return _codes(values, np.shape(x), fmt, rounding, overflow, chances)


def quantize_grid(x: np.ndarray, grid: FormatGrid) -> tuple[np.ndarray, int]:
    codes, outside = np.empty(x.shape, np.int32), 0
    for place in np.ndindex(grid.bits.shape):
        fmt = FixedPointFormat(int(grid.bits[place]), int(grid.frac_bits[place]))
        codes[place], beyond = quantize(x[place], fmt)
        outside += beyond
    return codes, outside


def dequantize(codes: np.ndarray, frac_bits: int) -> np.ndarray:
    scale = Fraction(2) ** -frac_bits
    flat = [float(int(code) * scale) for code in np.asarray(codes).reshape(-1)]
    return np.array(flat, np.float64).reshape(np.shape(codes))


def requantize(
    codes: np.ndarray,
    frac_bits: int,
    fmt: FixedPointFormat,
    rounding: Rounding = Rounding.TIES_EVEN,
    overflow: Overflow = Overflow.SAT,
    seed: int = 0,
    offset: int = 0,
) -> tuple[np.ndarray, int]:
    scale = Fraction(2) ** (fmt.frac_bits - frac_bits)
    values = [int(code) * scale for code in np.asarray(codes).reshape(-1)]
    chances = _chances(rounding, len(values), seed, offset)
    return _codes(values, np.shape(codes), fmt, rounding, overflow, chances)


def requantize_maps(
    codes: np.ndarray,
    frac_bits: int,
    fmt: FixedPointFormat,
    drops: np.ndarray,
    rounding: Rounding = Rounding.TIES_EVEN,
    overflow: Overflow = Overflow.SAT,
    seed: int = 0,
    offset: int = 0,
) -> tuple[np.ndarray, int]:
    places = np.arange(codes.size).reshape(codes.shape)
    out, outside = np.empty(codes.shape, np.int64), 0
    for n, c in np.ndindex(codes.shape[:2]):
        own = FixedPointFormat(fmt.bits, fmt.frac_bits - int(drops[c]), fmt.signed)
        first = offset + int(places[n, c].flat[0])
        kept, beyond = requantize(codes[n, c], frac_bits, own, rounding, overflow, seed, first)
        out[n, c] = kept.astype(np.int64) * 2 ** int(drops[c])
        outside += beyond
    return out, outside


# --- real values of other formats -----------------------------------------------------------------


def round_values(
    x: np.ndarray, fmt: Number, rounding: Rounding = Rounding.TIES_EVEN
) -> tuple[np.ndarray, int]:
    if x.dtype != np.float32:
        raise FormatError(f"values of dtype {x.dtype}", "float32")
    if rounding not in (Rounding.TIES_EVEN, Rounding.TIES_AWAY):
        raise FormatError(f"rounding {rounding.value} of real values", "ties-even or ties-away")
    if np.isnan(x).any():
        raise FormatError("NaN values", "numbers to round")
    out, outside = [float(value) for value in x.reshape(-1)], 0
    for index, value in enumerate(out):
        out[index], beyond = _rounded(value, fmt, rounding)
        outside += beyond
        if isinstance(fmt, MiniFloat) and fmt.until_zero and out[index] == 0:
            break
    return np.array(out, np.float32).reshape(x.shape), outside


def round_affine(x: np.ndarray, grid: AffineGrid) -> tuple[np.ndarray, int]:
    out, outside = np.empty(x.shape, np.float32), 0
    for place in np.ndindex(x.shape):
        own = place[: grid.mean.ndim]
        mean, step = float(grid.mean[own]), float(grid.step[own])
        exact = round_fraction(Fraction((float(x[place]) - mean) / step), Rounding.TIES_EVEN)
        number = max(-(2 ** (grid.bits - 1)), min(exact, 2 ** (grid.bits - 1) - 1))
        outside += number != exact
        out[place] = np.float32(mean + step * number)
    return out, outside


def _rounded(value: float, fmt: Number, rounding: Rounding) -> tuple[float, bool]:
    """(a value of the format, whether the real one is beyond its range)."""
    sign = -1.0 if value < 0 else 1.0
    match fmt:
        case FixedPointFormat():
            code, outside = quantize(np.array([value]), fmt, rounding)
            return float(int(code[0]) * Fraction(2) ** -fmt.frac_bits), outside == 1
        case Affine():
            # defined in float64: one difference, one quotient, one product, one sum
            exact = round_fraction(Fraction((value - fmt.mean) / fmt.step), rounding)
            number = max(fmt.first, min(exact, fmt.first + 2**fmt.bits - 1))
            return fmt.mean + fmt.step * number, number != exact
        case Buckets():
            low, high = np.float32(fmt.low), np.float32(fmt.high)
            outside = not low <= value <= high
            if low == high:
                return float(low), outside
            # defined in float32, operation by operation
            width = np.float32(high - low) / np.float32(2**fmt.bits)
            distance = float(np.float32(np.float32(value) - low))
            quotient = np.float32(max(0.0, min(distance, float(high - low)))) / width
            number = min(math.floor(quotient), 2**fmt.bits - 1)
            return float(low + np.float32(width * np.float32(number + 0.5))), outside
        case MiniFloat():
            if abs(value) < Fraction(2) ** -fmt.bias:
                return 0.0, False
            _, exponent = math.frexp(value)
            most = 2**fmt.exponent_bits - 1 - fmt.bias
            if exponent - 1 > most:
                return sign * (2 - 2.0**-fmt.mantissa_bits) * 2.0**most, True
            scale = Fraction(2) ** (exponent - 1)
            mantissa = (abs(Fraction(value)) / scale - 1) * 2**fmt.mantissa_bits
            grown = 1 + Fraction(round_fraction(mantissa, rounding), 2**fmt.mantissa_bits)
            return sign * float(grown * scale), False
        case PowerOfTwo():
            exponent = fmt.least
            if value != 0:
                logarithm = np.float32(math.log2(abs(value)))
                exponent = round_fraction(Fraction(float(logarithm)), rounding)
            return sign * 2.0 ** max(fmt.least, min(exponent, fmt.most)), exponent > fmt.most
    raise FormatError(f"values in {fmt}", "a known format")


# --- convolution and dense ----------------------------------------------------------------------


def _padded(x: np.ndarray, pads: tuple[int, int, int, int]) -> np.ndarray:
    top, left, bottom, right = pads
    return np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))


def _taps(
    x: np.ndarray,
    w: np.ndarray,
    strides: tuple[int, int],
    pads: tuple[int, int, int, int],
    dilations: tuple[int, int],
) -> list[tuple[np.ndarray, np.ndarray]]:
    """For every (input channel, kernel row, kernel column), each ascending: the weights (O,) and
    the pixels (N, H', W') that they meet."""
    image = _padded(x, pads)
    rows = (image.shape[2] - dilations[0] * (w.shape[2] - 1) - 1) // strides[0] + 1
    columns = (image.shape[3] - dilations[1] * (w.shape[3] - 1) - 1) // strides[1] + 1
    taps = []
    for c in range(w.shape[1]):
        for i in range(w.shape[2]):
            for j in range(w.shape[3]):
                lines = image[:, c, i * dilations[0] :: strides[0]]
                pixels = lines[:, :rows, j * dilations[1] :: strides[1]][:, :, :columns]
                taps.append((w[:, c, i, j], pixels))
    return taps


def _groups(x: np.ndarray, w: np.ndarray, group: int) -> list[tuple[np.ndarray, np.ndarray]]:
    return list(zip(np.split(x, group, axis=1), np.split(w, group, axis=0), strict=True))


def conv(
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None = None,
    strides: tuple[int, int] = (1, 1),
    pads: tuple[int, int, int, int] = NO_PADS,
    group: int = 1,
    dilations: tuple[int, int] = (1, 1),
) -> np.ndarray:
    parts = []
    for part, weights in _groups(x.astype(np.float64), w.astype(np.float64), group):
        total = sum(
            factors[None, :, None, None] * pixels[:, None]
            for factors, pixels in _taps(part, weights, strides, pads, dilations)
        )
        parts.append(total)
    out = np.concatenate(parts, axis=1)
    if b is not None:
        out = out + b.astype(np.float64)[None, :, None, None]
    return out.astype(np.float32)


def conv_integer(
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None = None,
    strides: tuple[int, int] = (1, 1),
    pads: tuple[int, int, int, int] = NO_PADS,
    group: int = 1,
    dilations: tuple[int, int] = (1, 1),
    accumulator: Accumulator = Accumulator(),  # noqa: B008 - frozen
    drop: np.ndarray | None = None,
) -> tuple[np.ndarray, int]:
    bias = [0] * w.shape[0] if b is None else [int(value) for value in b]
    # int64 holds every sum below when this many bits hold the worst case
    worst = max(
        sum(abs(int(value)) for value in row.reshape(-1)) * int(np.abs(x.astype(object)).max())
        + abs(start)
        for row, start in zip(w, bias, strict=True)
    )
    if worst >= 2**63:
        raise FormatError(f"sums of up to {worst.bit_length() + 1} bits", "sums within 64 bits")
    exact = accumulator.bits is None
    bits = np.zeros(len(w), np.int64) + (0 if exact else np.array(accumulator.bits))
    drops = np.zeros(len(w), np.int64) if drop is None or exact else drop.astype(np.int64)
    parts, overflows, first = [], 0, 0
    for part, weights in _groups(x.astype(np.int64), w.astype(np.int64), group):
        taps = _taps(part, weights, strides, pads, dilations)
        shape = (x.shape[0], weights.shape[0], *taps[0][1].shape[1:])
        rows = slice(first, first + weights.shape[0])
        first = rows.stop
        own = (bits[rows][None, :, None, None], accumulator.overflow)
        down = (drops[rows][None, :, None, None], accumulator.rounding)
        start = np.array(bias[rows], np.int64)[None, :, None, None]
        total = np.broadcast_to(start, shape).copy()
        steps = [factors[None, :, None, None] * pixels[:, None] for factors, pixels in taps]
        if accumulator.every_mac and not exact:
            total = _shifted_right(total, *down)
            steps = [_shifted_right(step, *down) for step in steps]
        if accumulator.every_mac and not exact and accumulator.overflow is not Overflow.WRAP:
            total, overflows = _keep(total, *own, overflows)
            for step in steps:
                total, overflows = _keep(total + step, *own, overflows)
        else:
            for step in steps:
                total = total + step
            if not accumulator.every_mac:
                total = _shifted_right(total, *down)
            if not exact:
                total, overflows = _keep(total, *own, overflows)
        parts.append(total)
    return np.concatenate(parts, axis=1), overflows


def add_limited(
    sums: np.ndarray, more: np.ndarray, accumulator: Accumulator, drop: np.ndarray
) -> tuple[np.ndarray, int]:
    total = sums.astype(np.int64) + more
    if accumulator.bits is None:
        return total, 0
    own = drop.reshape(-1, *(1,) * (total.ndim - 2))
    total = _shifted_right(total, own, accumulator.rounding)
    return _keep(total, np.array(accumulator.bits), accumulator.overflow, 0)


def _shifted_right(values: np.ndarray, drop: np.ndarray, rounding: Rounding) -> np.ndarray:
    """Integers divided by 2**drop and rounded by the named rule."""
    step = 2**drop
    below = values // step
    twice = 2 * (values - below * step)
    some, more, tie = twice > 0, twice > step, (twice == step) & (step > 1)
    up = {
        Rounding.TO_NEG: np.zeros_like(some),
        Rounding.TO_POS: some,
        Rounding.TO_ZERO: some & (values < 0),
        Rounding.TIES_POS: more | tie,
        Rounding.TIES_AWAY: more | (tie & (values > 0)),
        Rounding.TIES_EVEN: more | (tie & (below % 2 == 1)),
    }
    return below + up[rounding]


def _keep(
    sums: np.ndarray, bits: np.ndarray, overflow: Overflow, overflows: int
) -> tuple[np.ndarray, int]:
    """Sums as declared accumulators keep them, and the overflows counted so far."""
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    if overflow is Overflow.WRAP:
        kept = (sums - low) % 2**bits + low
    elif overflow is Overflow.SAT_SYM:
        kept = np.clip(sums, -high, high)
    else:
        kept = np.clip(sums, low, high)
    return kept, overflows + int((kept != sums).sum())


def dense(x: np.ndarray, w: np.ndarray, b: np.ndarray | None = None) -> np.ndarray:
    flat = x.reshape(x.shape[0], -1).astype(np.float64)
    out = (flat[:, None, :] * w.astype(np.float64)[None]).sum(axis=2)
    return (out if b is None else out + b).astype(np.float32)


def dense_integer(
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None = None,
    accumulator: Accumulator = Accumulator(),  # noqa: B008 - frozen
    drop: np.ndarray | None = None,
) -> tuple[np.ndarray, int]:
    pixels = x.reshape(x.shape[0], -1, 1, 1)
    sums, overflows = conv_integer(
        pixels, w[:, :, None, None], b, accumulator=accumulator, drop=drop
    )
    return sums[:, :, 0, 0], overflows


# --- pooling ----------------------------------------------------------------------------------


def _starts(length: int, k: int, stride: int, before: int, after: int, ceil: bool) -> list[int]:
    """Where the windows of one axis start, relative to the image (contract section 4)."""
    starts = [-before]
    while starts[-1] + stride + k <= length + after:
        starts.append(starts[-1] + stride)
    if ceil and starts[-1] + k < length + after:
        following = starts[-1] + stride
        # a window without a cell of the image is dropped
        if following < length:
            starts.append(following)
    return starts


def _windows(
    x: np.ndarray,
    kernel: tuple[int, int],
    strides: tuple[int, int],
    pads: tuple[int, int, int, int],
    ceil: bool,
) -> list[list[tuple[np.ndarray, int]]]:
    """Per output row and column: the real cells of the window (N, C, cells), and the number of
    cells with padding."""
    height, width = x.shape[2:]
    grid = []
    for top in _starts(height, kernel[0], strides[0], pads[0], pads[2], ceil):
        line = []
        for left in _starts(width, kernel[1], strides[1], pads[1], pads[3], ceil):
            bottom = min(top + kernel[0], height + pads[2])
            right = min(left + kernel[1], width + pads[3])
            cells = x[:, :, max(top, 0) : min(bottom, height), max(left, 0) : min(right, width)]
            count = (bottom - top) * (right - left)
            line.append((cells.reshape(*x.shape[:2], -1), count))
        grid.append(line)
    return grid


def _on_grid(values: list[list[np.ndarray]]) -> np.ndarray:
    """(N, C, rows, columns) from rows of (N, C) arrays."""
    return np.stack([np.stack(line, axis=-1) for line in values], axis=-2)


def max_pool(
    x: np.ndarray,
    kernel_shape: tuple[int, int],
    strides: tuple[int, int] = (1, 1),
    pads: tuple[int, int, int, int] = NO_PADS,
    ceil_mode: bool = False,
) -> np.ndarray:
    grid = _windows(x, kernel_shape, strides, pads, ceil_mode)
    return _on_grid([[cells.max(axis=2) for cells, _ in line] for line in grid])


def avg_pool(
    x: np.ndarray,
    kernel_shape: tuple[int, int],
    strides: tuple[int, int] = (1, 1),
    pads: tuple[int, int, int, int] = NO_PADS,
    ceil_mode: bool = False,
    count_include_pad: bool = False,
) -> np.ndarray:
    grid = _windows(x.astype(np.float64), kernel_shape, strides, pads, ceil_mode)
    means = [
        [
            cells.sum(axis=2) / (count if count_include_pad else cells.shape[2])
            for cells, count in line
        ]
        for line in grid
    ]
    return _on_grid(means).astype(np.float32)


def avg_pool_integer(
    x: np.ndarray,
    frac_bits: int,
    fmt: FixedPointFormat,
    kernel_shape: tuple[int, int],
    strides: tuple[int, int] = (1, 1),
    pads: tuple[int, int, int, int] = NO_PADS,
    ceil_mode: bool = False,
    count_include_pad: bool = False,
    rounding: Rounding = Rounding.TIES_EVEN,
    overflow: Overflow = Overflow.SAT,
    seed: int = 0,
    offset: int = 0,
) -> tuple[np.ndarray, int]:
    grid = _windows(x.astype(np.int64), kernel_shape, strides, pads, ceil_mode)
    sums = _on_grid([[cells.sum(axis=2) for cells, _ in line] for line in grid])
    counts = np.array(
        [[count if count_include_pad else cells.shape[2] for cells, count in line] for line in grid]
    )
    divisors = np.broadcast_to(counts, sums.shape).reshape(-1)
    scale = Fraction(2) ** (fmt.frac_bits - frac_bits)
    values = [
        int(total) * scale / int(count)
        for total, count in zip(sums.reshape(-1), divisors, strict=True)
    ]
    if rounding is Rounding.STOCHASTIC:
        # a division decides by 32 bits of its fraction against 32 random bits
        values = [_cut(value, 32) for value in values]
    chances = _chances(rounding, len(values), seed, offset, bits=32)
    return _codes(values, sums.shape, fmt, rounding, overflow, chances)


def _cut(value: Fraction, bits: int) -> Fraction:
    """The magnitude cut to so many fraction bits; what is not an integer stays none."""
    cut = Fraction(math.floor(abs(value) * 2**bits), 2**bits)
    return cut if value >= 0 else -cut


def global_avg_pool(x: np.ndarray) -> np.ndarray:
    return x.astype(np.float64).mean(axis=(2, 3)).astype(np.float32)


def global_avg_pool_integer(
    x: np.ndarray,
    frac_bits: int,
    fmt: FixedPointFormat,
    rounding: Rounding = Rounding.TIES_EVEN,
    overflow: Overflow = Overflow.SAT,
    seed: int = 0,
    offset: int = 0,
) -> tuple[np.ndarray, int]:
    whole = (x.shape[2], x.shape[3])
    codes, outside = avg_pool_integer(
        x, frac_bits, fmt, whole, rounding=rounding, overflow=overflow, seed=seed, offset=offset
    )
    return codes.reshape(x.shape[:2]), outside


# --- normalisation, softmax, elementwise --------------------------------------------------------


def _neighbours(channels: int, size: int) -> list[range]:
    """Channels that each channel's sum of squares runs over (ONNX LRN)."""
    reach_down, reach_up = (size - 1) // 2, math.ceil((size - 1) / 2)
    return [
        range(max(0, c - reach_down), min(channels - 1, c + reach_up) + 1) for c in range(channels)
    ]


def lrn(
    x: np.ndarray,
    size: int,
    alpha: float = 1e-4,
    beta: float = 0.75,
    bias: float = 1.0,
    per_window: bool = True,
) -> np.ndarray:
    wide = x.astype(np.float64)
    out = np.empty(x.shape, np.float64)
    for c, reach in enumerate(_neighbours(x.shape[1], size)):
        total = sum(wide[:, k] ** 2 for k in reach)
        out[:, c] = wide[:, c] / (bias + (alpha / size if per_window else alpha) * total) ** beta
    return out.astype(np.float32)


def lrn_integer(
    x: np.ndarray,
    frac_bits: int,
    fmt: FixedPointFormat,
    size: int,
    alpha: float = 1e-4,
    beta: float = 0.75,
    bias: float = 1.0,
    per_window: bool = True,
    rounding: Rounding = Rounding.TIES_EVEN,
    overflow: Overflow = Overflow.SAT,
    seed: int = 0,
    offset: int = 0,
) -> tuple[np.ndarray, int]:
    quarters = Fraction(beta) * 4
    if quarters.denominator != 1 or quarters < 0:
        raise FormatError(f"integer LRN with beta {beta}", "a multiple of 1/4")
    factor = math.ldexp(alpha / size if per_window else alpha, -2 * frac_bits)
    values = np.empty(x.shape, np.float64)
    for c, reach in enumerate(_neighbours(x.shape[1], size)):
        for n in range(x.shape[0]):
            for place in np.ndindex(x.shape[2:]):
                total = sum(int(x[(n, k) + place]) ** 2 for k in reach)
                base = bias + factor * float(total)
                power = 1.0
                for _ in range(int(quarters) // 4):
                    power *= base
                if int(quarters) & 2:
                    power *= math.sqrt(base)
                if int(quarters) & 1:
                    power *= math.sqrt(math.sqrt(base))
                values[(n, c) + place] = float(int(x[(n, c) + place])) / power
    shifted = FixedPointFormat(fmt.bits, fmt.frac_bits - frac_bits, fmt.signed)
    return quantize(values, shifted, rounding, overflow, seed, offset)


def softmax(x: np.ndarray) -> np.ndarray:
    powers = np.exp(x.astype(np.float64))
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


def softmax_integer(x: np.ndarray, frac_bits: int, fmt: FixedPointFormat) -> np.ndarray:
    def power(distance: int) -> int:
        """exp(-distance * 2**-frac_bits) with 30 fraction bits."""
        product = 2**30
        for b in reversed(range(distance.bit_length())):
            if distance & (1 << b):
                exponent = Fraction(2) ** (b - frac_bits)
                constant = round(2**30 * math.exp(-min(float(exponent), 1e6)))
                product = math.floor(Fraction(product * constant, 2**30) + Fraction(1, 2))
        return product

    out = np.empty(x.shape, fmt.dtype)
    for n in range(x.shape[0]):
        for place in np.ndindex(x.shape[2:]):
            column = [int(x[(n, c) + place]) for c in range(x.shape[1])]
            powers = [power(max(column) - code) for code in column]
            for c, value in enumerate(powers):
                share = Fraction(value * 2**fmt.frac_bits, sum(powers))
                code = math.floor(share + Fraction(1, 2))
                out[(n, c) + place] = min(code, fmt.max_code)
    return out


def relu(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, np.zeros_like(x))


# --- storage codes and statistics -----------------------------------------------------------------


def shift_encode(
    codes: np.ndarray, bits: int, drop: int, nearest: bool, signed: bool = False
) -> np.ndarray:
    rule = Rounding.TIES_POS if nearest else Rounding.TO_NEG
    indices = FixedPointFormat(bits, 0, signed)
    flat = [
        bring_into_range(round_fraction(Fraction(int(code), 2**drop), rule), indices, Overflow.SAT)
        for code in codes.reshape(-1)
    ]
    return np.array(flat, np.int32).reshape(codes.shape)


def shift_decode(index: np.ndarray, drop: int) -> np.ndarray:
    return (index.astype(np.int64) * 2**drop).astype(np.int32)


def codebook_encode(codes: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    if list(thresholds) != sorted(thresholds):
        raise FormatError(f"thresholds {list(thresholds)}", "ascending ones")
    flat = [sum(1 for t in thresholds if int(t) <= int(code)) for code in codes.reshape(-1)]
    return np.array(flat, np.int32).reshape(codes.shape)


def codebook_decode(index: np.ndarray, values: np.ndarray) -> np.ndarray:
    table = dict(enumerate(values))
    if not all(int(k) in table for k in index.reshape(-1)):
        raise FormatError("an index beyond the codebook", f"0 to {len(values) - 1}")
    flat = [int(table[int(k)]) for k in index.reshape(-1)]
    return np.array(flat, np.int32).reshape(index.shape)


def float_histogram(x: np.ndarray) -> np.ndarray:
    counts = np.zeros(65536, np.int64)
    for value in np.asarray(x, np.float32).reshape(-1):
        pattern = struct.unpack("<I", struct.pack("<f", float(value)))[0]
        counts[pattern // 65536] += 1
    return counts


def exponent_histograms(x: np.ndarray) -> np.ndarray:
    counts = np.zeros((x.shape[1], 256), np.int64)
    for place in np.ndindex(x.shape):
        pattern = struct.unpack("<I", struct.pack("<f", float(x[place])))[0]
        counts[place[1], pattern // 2**23 % 256] += 1
    return counts


def code_histogram(codes: np.ndarray, low: int, drop: int, bins: int) -> np.ndarray:
    counts = np.zeros(bins, np.int64)
    for code in codes.reshape(-1):
        index = (int(code) - low) // 2**drop
        if not 0 <= index < bins:
            raise FormatError(f"code {code} outside a histogram", f"{bins} bins from {low} on")
        counts[index] += 1
    return counts


def energies(reference: np.ndarray, codes: np.ndarray, frac_bits: int) -> tuple[float, float]:
    pairs = [
        (float(value), float(value) - float(Fraction(int(code)) / Fraction(2) ** frac_bits))
        for value, code in zip(reference.reshape(-1), codes.reshape(-1), strict=True)
    ]
    return math.fsum(a * a for a, _ in pairs), math.fsum(d * d for _, d in pairs)


def patch_grams(
    x: np.ndarray,
    kernel_shape: tuple[int, int],
    strides: tuple[int, int] = (1, 1),
    pads: tuple[int, int, int, int] = NO_PADS,
    dilations: tuple[int, int] = (1, 1),
) -> np.ndarray:
    image, (kh, kw), (down, right) = _padded(x.astype(np.float64), pads), kernel_shape, dilations
    total = np.zeros((x.shape[1], kh * kw, kh * kw))
    tall, wide = down * (kh - 1) + 1, right * (kw - 1) + 1
    for top in range(0, image.shape[2] - tall + 1, strides[0]):
        for left in range(0, image.shape[3] - wide + 1, strides[1]):
            window = image[:, :, top : top + tall : down, left : left + wide : right]
            patches = window.reshape(*x.shape[:2], -1)
            total += (patches[:, :, :, None] * patches[:, :, None, :]).sum(axis=0)
    return total
