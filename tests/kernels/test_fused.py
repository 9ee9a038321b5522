"""The fused convolutions equal the oracle, on every backend, at every tail and width."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numba
import numpy as np
import pytest

from refq import oracle
from refq.errors import OptionError
from refq.formats.fixed import FixedPointFormat, Overflow, Rounding
from refq.kernels import backends, channelwise, fused, maps, panels, planes, tiles, walk
from refq.kernels.endings import Ending
from refq.networks.layers import NO_PADS, Conv, Pads
from tests.kernels.ending_cases import ENDINGS, Case


@dataclass(frozen=True)
class Shape:
    images: int
    channels: int
    height: int
    width: int
    outputs: int
    kernel: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    pads: Pads = NO_PADS
    group: int = 1
    dilations: tuple[int, int] = (1, 1)

    @property
    def conv(self) -> Conv:
        window = self.kernel, self.strides, self.pads
        return Conv(self.outputs, *window, self.group, self.dilations)


# tails of every block: pixels (16, 32), channels (16, 32), steps (64 bytes), few-channel images
SHAPES = [
    Shape(2, 64, 9, 11, 32, (3, 3), pads=(1, 1, 1, 1)),
    Shape(3, 5, 13, 7, 19, (3, 2), pads=(1, 0, 1, 1)),
    Shape(2, 24, 15, 10, 36, (5, 3), (2, 2), (2, 1, 2, 1), 2),
    Shape(2, 6, 7, 9, 33, (2, 4), (3, 2), (0, 2, 1, 1), 3),
    Shape(1, 3, 23, 21, 17, (11, 11), (4, 4)),
    Shape(2, 3, 10, 12, 40, (3, 3), pads=(1, 1, 1, 1)),
    Shape(2, 16, 9, 5, 65, (3, 3), pads=(1, 1, 1, 1)),
    Shape(5, 96, 3, 1, 70, (1, 1)),
    Shape(1, 65, 4, 4, 15, (4, 4)),
    Shape(1, 2, 1, 40, 3, (1, 7), pads=(0, 3, 0, 3)),
    Shape(1, 8, 5, 6, 16, (1, 1), pads=(2, 2, 2, 2)),
    Shape(1, 130, 15, 16, 18, (1, 2), (7, 7)),
    Shape(1, 300, 3, 3, 17, (3, 3), (4, 4), (1, 1, 1, 1)),
    Shape(2, 5, 13, 17, 19, (3, 2), (2, 1), (2, 3, 1, 5), dilations=(3, 4)),
    Shape(1, 64, 7, 9, 33, (3, 3), pads=(2, 1, 2, 1), dilations=(2, 1)),
    Shape(2, 6, 7, 8, 9, (2, 3), (1, 2), (1, 2, 1, 2), 3, (5, 3)),
]
# (activation bits, signed, weight bits)
WIDTHS = [
    (2, False, 2),
    (5, False, 14),
    (8, False, 8),
    (9, True, 14),
    (12, False, 14),
    (16, False, 15),
    (16, True, 8),
    (4, True, 9),
    (14, True, 14),
    (13, False, 16),
    (16, False, 16),
    (7, False, 16),
    (14, False, 15),
    (10, True, 7),
]
OUT = FixedPointFormat(12, -9, signed=False)


@dataclass(frozen=True)
class End:
    """How sums end; width: bits to combine them in, as many as they need where None."""

    fmt: FixedPointFormat = OUT
    shift: int = 9
    rounding: Rounding = Rounding.TIES_EVEN
    relu: bool = True
    width: int | None = None
    clip: tuple[int, int] | None = None


@pytest.fixture(params=list(backends.TOKENS))
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param not in backends.supported():
        pytest.skip(f"this CPU has no {request.param}")
    monkeypatch.setenv(backends.VARIABLE, request.param)
    return str(request.param)


def layout_of(shape: tuple[int, ...], pads: Pads) -> maps.Layout:
    images, channels, height, width = shape
    return maps.Layout(images, channels, height, width, pads)


def random_codes(
    rng: np.random.Generator, bits: int, signed: bool, shape: tuple[int, ...]
) -> tuple[np.ndarray, tuple[int, int]]:
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    values = rng.integers(low, high + 1, shape).astype(np.int32)
    values.reshape(-1)[[0, -1]] = low, high
    return values, (low, high)


def run(
    x: np.ndarray,
    span: tuple[int, int],
    w: np.ndarray,
    b: np.ndarray,
    shape: Shape,
    end: End = End(),
) -> tuple[np.ndarray, fused.Result, np.ndarray]:
    """(codes, what was seen, exact sums) of the fused convolution."""
    layout = layout_of(x.shape, shape.pads)
    bits = max(span[1] - span[0], 1).bit_length()
    source = maps.new_map(layout, bits, 0, -span[0])
    maps.pack(x, source)
    operand = panels.Operand(layout, len(source.planes), *span, -span[0])
    prepare = channelwise.prepare if shape.group == shape.outputs > 1 else panels.prepare
    kernel = prepare(w, b, np.zeros_like(b), operand, shape.conv)
    assert kernel is not None
    assert end.width != 32 or kernel.largest + (1 << end.shift) < 2**31
    size = shape.conv.output_shape([x.shape[1:]])
    target_layout = layout_of((len(x), *size), (1, 1, 0, 2))
    low, high = end.fmt.min_code, end.fmt.max_code
    target = maps.new_map(target_layout, end.fmt.bits, end.fmt.frac_bits, -low)
    ending = Ending(end.relu, end.shift, end.rounding, low, high, clip=end.clip)
    seen = fused.convolve(source, kernel, target, ending, bits=end.width)
    return maps.unpack(target), seen, fused.exact_sums(source, kernel, target_layout)


@pytest.mark.parametrize("widths", WIDTHS, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_equals_oracle(backend: str, shape: Shape, widths: tuple[int, bool, int]) -> None:
    rng = np.random.default_rng(5)
    bits, signed, weight_bits = widths
    size = (shape.images, shape.channels, shape.height, shape.width)
    x, span = random_codes(rng, bits, signed, size)
    inputs = shape.channels // shape.group
    w, _ = random_codes(rng, weight_bits, True, (shape.outputs, inputs, *shape.kernel))
    b = rng.integers(-5000, 5000, shape.outputs)
    sums, _ = oracle.conv_integer(x, w, b, shape.strides, shape.pads, shape.group, shape.dilations)
    wanted, outside = oracle.requantize(oracle.relu(sums), 0, OUT)
    got, seen, exact = run(x, span, w, b, shape)
    np.testing.assert_array_equal(exact, sums)
    np.testing.assert_array_equal(got, wanted)
    assert seen.outside == outside
    assert (seen.low, seen.high) == (sums.min(), sums.max())


@pytest.mark.parametrize("rounding", [r for r in Rounding if r is not Rounding.STOCHASTIC])
@pytest.mark.parametrize("width", [32, 64])
@pytest.mark.parametrize("relu", [True, False])
def test_every_rounding(backend: str, rounding: Rounding, width: int, relu: bool) -> None:
    rng = np.random.default_rng(6)
    shape = Shape(1, 7, 6, 5, 21, (2, 3))
    x, span = random_codes(rng, 5, False, (1, 7, 6, 5))
    w, _ = random_codes(rng, 4, True, (21, 7, 2, 3))
    b = rng.integers(-9, 9, 21)
    for shift in (0, 1, 2, 5):
        fmt = FixedPointFormat(9, -shift, signed=not relu)
        sums, _ = oracle.conv_integer(x, w, b)
        values = oracle.relu(sums) if relu else sums
        wanted, outside = oracle.requantize(values, 0, fmt, rounding)
        got, seen, _ = run(x, span, w, b, shape, End(fmt, shift, rounding, relu, width))
        np.testing.assert_array_equal(got, wanted)
        assert seen.outside == outside


@pytest.mark.parametrize("clip", [(0, 40), (-30, 200), (-300, -2), (3, 2**62), (-(2**62), 7)])
@pytest.mark.parametrize("width", [32, 64])
@pytest.mark.parametrize("group", [1, 7])
def test_clipped(backend: str, clip: tuple[int, int], width: int, group: int) -> None:
    """Sums are brought between bounds that are codes of the format; what lies outside the format
    after that is saturated."""
    rng = np.random.default_rng(11)
    outputs = 21 if group == 1 else 7
    shape = Shape(1, 7, 6, 5, outputs, (2, 3), group=group)
    x, span = random_codes(rng, 5, False, (1, 7, 6, 5))
    w, _ = random_codes(rng, 4 if group == 1 else 6, True, (outputs, 7 // group, 2, 3))
    b, shift = rng.integers(-9, 9, outputs), 3
    for rounding in (Rounding.TIES_EVEN, Rounding.TO_NEG, Rounding.TO_ZERO):
        fmt = FixedPointFormat(7, -shift, signed=True)
        sums, _ = oracle.conv_integer(x, w, b, group=group)
        low, high = (max(min(code << shift, 2**62), -(2**62)) for code in clip)
        wanted, outside = oracle.requantize(np.clip(sums, low, high), 0, fmt, rounding)
        got, seen, _ = run(x, span, w, b, shape, End(fmt, shift, rounding, False, width, clip))
        np.testing.assert_array_equal(got, wanted)
        assert seen.outside == outside


@pytest.mark.parametrize("sign", [-1, 1])
def test_extremes_at_the_deepest_layer(backend: str, sign: int) -> None:
    """All operands at the ends of their range, K = 25,088 as in VGG's fc6."""
    depth = 25088
    x = np.full((2, depth, 1, 1), 4095, np.int32)
    w = np.full((3, depth, 1, 1), 8191 if sign > 0 else -8192, np.int32)
    w[1] = np.arange(depth).reshape(-1, 1, 1) % 16384 - 8192
    b = np.array([1, -1, 0])
    shape = Shape(2, depth, 1, 1, 3, (1, 1))
    _, seen, exact = run(x, (0, 4095), w, b, shape, End(FixedPointFormat(16, -30, False), 30))
    wanted = (x[:, :, 0, 0].astype(object) @ w[:, :, 0, 0].T.astype(object)) + b
    np.testing.assert_array_equal(exact[:, :, 0, 0], wanted.astype(np.int64))
    assert (seen.low, seen.high) == (wanted.min(), wanted.max())


@pytest.mark.parametrize("activations", [1, 2, 3])
@pytest.mark.parametrize("bits", range(2, 23))
def test_weight_planes_add_up(bits: int, activations: int) -> None:
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    codes = np.append(np.arange(low, high, max(1, (1 << bits) // 65536)), high)
    recipe = planes.recipe_for(low, high, activations)
    assert recipe is not None
    parts = [each.astype(np.int64) for each in planes.weight_planes(codes, recipe)]
    assert all(a < activations and w < len(parts) for a, w in recipe.passes)
    if recipe == planes.KARATSUBA:
        assert activations == 3 and 8 < bits <= 14
        np.testing.assert_array_equal(parts.pop(), parts[0] + parts[1])
    else:
        assert len(parts) == max(1, -(-(bits - 1) // 7))
    np.testing.assert_array_equal(sum(each << (7 * i) for i, each in enumerate(parts)), codes)


def test_three_products_as_far_as_bytes_allow() -> None:
    edges = np.array([planes.KARATSUBA_LOW, planes.KARATSUBA_HIGH])
    low, high = int(edges[0]), int(edges[1])
    assert planes.recipe_for(low, high, 3) == planes.KARATSUBA
    lower, upper, both = (
        each.astype(np.int64) for each in planes.weight_planes(edges, planes.KARATSUBA)
    )
    np.testing.assert_array_equal(lower + 128 * upper, edges)
    np.testing.assert_array_equal(both, lower + upper)
    for span in ((low - 1, high), (low, high + 1)):
        recipe = planes.recipe_for(*span, 3)
        assert recipe is not None and recipe != planes.KARATSUBA


def test_weights_of_more_than_three_planes_are_left_to_others() -> None:
    operand = panels.Operand(maps.Layout(1, 4, 5, 6, NO_PADS), 1, 0, 255)
    none = np.zeros(3, np.int64)
    arguments = (none, none, operand, Conv(3, (1, 1)))
    assert panels.prepare(np.full((3, 4, 1, 1), 1 << 20), *arguments) is not None
    assert panels.prepare(np.full((3, 4, 1, 1), 1 << 21), *arguments) is None


def test_maps_keep_codes_and_padding() -> None:
    rng = np.random.default_rng(7)
    codes = rng.integers(-256, 256, (3, 5, 4, 7)).astype(np.int32)
    target = maps.new_map(maps.Layout(3, 5, 4, 7, (2, 1, 0, 3)), 9, 0, 256)
    maps.pack(codes, target)
    np.testing.assert_array_equal(maps.unpack(target), codes)
    np.testing.assert_array_equal(maps.unpack(target, slice(1, 3)), codes[:, 1:3])
    layout = target.layout
    low, high, both = (plane.astype(np.int64) for plane in target.planes)
    values = low + 128 * high - 256
    np.testing.assert_array_equal(both, low + high)
    # all that is no pixel is zero
    assert np.count_nonzero(values) == np.count_nonzero(codes)
    assert layout.first == 2 * layout.pitch + 3


@pytest.mark.parametrize("bits", [5, 12])
def test_max_pool_on_maps(bits: int) -> None:
    rng = np.random.default_rng(8)
    codes = rng.integers(0, 1 << bits, (2, 19, 9, 8)).astype(np.int32)
    source = maps.new_map(maps.Layout(2, 19, 9, 8, (1, 1, 1, 1)), bits, 0)
    maps.pack(codes, source)
    for attributes in (((2, 2), (2, 2), NO_PADS), ((3, 2), (2, 1), (1, 0, 1, 1))):
        wanted = oracle.max_pool(codes, *attributes)
        layout = layout_of((2, 30, *wanted.shape[2:]), (0, 2, 1, 0))
        target = maps.new_map(layout, bits, 0)
        maps.max_pool(source, target, 4, *attributes)
        np.testing.assert_array_equal(maps.unpack(target, slice(4, 23)), wanted)
        assert not maps.unpack(target, slice(0, 4)).any()


def test_unknown_backend_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(backends.VARIABLE, "gpu")
    with pytest.raises(OptionError, match="unknown backend in REFQ_BACKEND 'gpu'; expected one of"):
        backends.chosen()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_microkernels_read_inside_their_map(shape: Shape) -> None:
    source = maps.Layout(shape.images, shape.channels, shape.height, shape.width, shape.pads)
    inputs = (shape.channels, shape.height, shape.width)
    target = layout_of((shape.images, *shape.conv.output_shape([inputs])), NO_PADS)
    where = walk.pixels(source, target, shape.strides, shape.pads)
    weights = np.ones((shape.outputs, shape.channels // shape.group, *shape.kernel), np.int32)
    none = np.zeros(shape.outputs, np.int64)
    kernel = panels.prepare(weights, none, none, panels.Operand(source, 1, 0, 255), shape.conv)
    assert kernel is not None and where.starts.min() >= 0
    last = int(where.starts.max() + 15 * where.stride + kernel.offsets.max())
    assert last + tiles.STEP <= source.size


def test_sums_beyond_64_bits_are_left_to_the_definition() -> None:
    operand = panels.Operand(maps.Layout(1, 4, 5, 6, NO_PADS), 3, 0, 4095)
    weights, bias, layer = np.full((3, 4, 1, 1), 8191), np.zeros(3, np.int64), Conv(3, (1, 1))
    some, one = np.full(3, 20), np.array([20, 45, 20])
    assert panels.prepare(weights, bias, some, operand, layer) is not None
    assert panels.prepare(weights, bias, one, operand, layer) is None


@pytest.mark.parametrize("case", ENDINGS, ids=str)
def test_every_ending_in_some_channels(backend: str, case: Case) -> None:
    """ENQ's scale and code, symmetric saturation, and neighbours in a shared map."""
    rng = np.random.default_rng(9)
    bits, signed, symmetric, encode, width = case
    x, span = random_codes(rng, 5, False, (2, 6, 5, 7))
    w, _ = random_codes(rng, 6, True, (19, 6, 3, 2))
    w, b = w.astype(np.int8), rng.integers(-4000, 4000, 19)
    scale, shift, first = 3, 4, 5
    fmt = FixedPointFormat(bits, -shift, signed)
    sums, _ = oracle.conv_integer(x << scale, w.astype(np.int32), b)
    overflow = Overflow.SAT_SYM if symmetric else Overflow.SAT
    wanted, outside = oracle.requantize(sums, 0, fmt, Rounding.TIES_EVEN, overflow)
    table: np.ndarray | None = None
    stored_bits, drop = bits, 0
    if isinstance(encode, list):
        values = np.array(encode, np.int32)
        wanted = oracle.codebook_decode(oracle.codebook_encode(wanted, values[1:]), values)
        low, high = fmt.limits(overflow)
        index = [sum(code >= value for value in encode[1:]) for code in range(low, high + 1)]
        table, stored_bits = values[index], bits if signed else encode[-1].bit_length()
        encode = None
    elif encode:
        stored_bits, drop, *_ = encode
        wanted = oracle.shift_decode(oracle.shift_encode(wanted, *encode), drop)
    source = maps.new_map(layout_of(x.shape, NO_PADS), 5, 0, 0, scale)
    maps.pack(x, source)
    operand = panels.Operand(source.layout, 1, *span)
    kernel = panels.prepare(w, b, np.full_like(b, scale), operand, Conv(19, (3, 2)))
    assert kernel is not None
    layout = layout_of((2, 30, *wanted.shape[2:]), (1, 0, 0, 1))
    target = maps.new_map(layout, stored_bits, 0, -(fmt.min_code >> drop), drop)
    for plane in target.planes:
        plane[:] = 77
    ending = Ending(False, shift, Rounding.TIES_EVEN, *fmt.limits(overflow), encode, table)
    seen = fused.convolve(source, kernel, target, ending, first, width)
    np.testing.assert_array_equal(maps.unpack(target, slice(first, first + 19)), wanted)
    assert (seen.outside, seen.low, seen.high) == (outside, sums.min(), sums.max())
    for plane in target.planes:
        assert np.count_nonzero(plane != 77) <= wanted.size  # and nothing beside it
        beside = maps.unpack(replace(target, planes=(plane,)), slice(0, first))
        assert (beside == beside[0, 0, 0, 0]).all()


def test_threads_do_not_matter(backend: str) -> None:
    rng = np.random.default_rng(10)
    x, span = random_codes(rng, 12, False, (3, 70, 9, 11))
    w, _ = random_codes(rng, 14, True, (65, 70, 3, 3))
    shape = Shape(3, 70, 9, 11, 65, (3, 3), pads=(1, 1, 1, 1))
    results = []
    before = numba.get_num_threads()
    try:
        for threads in (1, before):
            numba.set_num_threads(threads)
            results.append(run(x, span, w, np.zeros(65, np.int64), shape))
    finally:
        numba.set_num_threads(before)
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_array_equal(results[0][2], results[1][2])
    assert results[0][1] == results[1][1]
