"""What runs fast: public functions check and allocate, underscored njit functions only loop.

`refq.oracle` has the same public names; `tests/op_cases.py` has a row for each.
"""

from refq.kernels.accumulating import add_limited
from refq.kernels.compare import energies
from refq.kernels.conv import conv, conv_integer
from refq.kernels.dense import dense, dense_integer
from refq.kernels.elementwise import (
    add,
    clip,
    clip_integer,
    multiply,
    prelu,
    prelu_integer,
    relu,
    subtract,
)
from refq.kernels.fixed import dequantize, quantize, requantize
from refq.kernels.function import function, function_integer
from refq.kernels.gram import patch_grams
from refq.kernels.histogram import code_histogram, exponent_histograms, float_histogram
from refq.kernels.hybrid import quantize_grid, requantize_maps, round_affine
from refq.kernels.lrn import lrn, lrn_integer
from refq.kernels.moves import argmax, concat, pad, rearrange, slice_, subsample, take
from refq.kernels.pool import (
    avg_pool,
    avg_pool_integer,
    global_avg_pool,
    global_avg_pool_integer,
    max_pool,
)
from refq.kernels.resampling import interpolate, interpolate_integer
from refq.kernels.rounded import round_values
from refq.kernels.softmax import softmax, softmax_integer
from refq.kernels.storage import codebook_decode, codebook_encode, shift_decode, shift_encode
from refq.kernels.transposed import conv_transpose, conv_transpose_integer

__all__ = [
    "add",
    "add_limited",
    "argmax",
    "avg_pool",
    "avg_pool_integer",
    "clip",
    "clip_integer",
    "code_histogram",
    "codebook_decode",
    "codebook_encode",
    "concat",
    "conv",
    "conv_integer",
    "conv_transpose",
    "conv_transpose_integer",
    "dense",
    "dense_integer",
    "dequantize",
    "energies",
    "exponent_histograms",
    "float_histogram",
    "function",
    "function_integer",
    "global_avg_pool",
    "global_avg_pool_integer",
    "interpolate",
    "interpolate_integer",
    "lrn",
    "lrn_integer",
    "max_pool",
    "multiply",
    "pad",
    "patch_grams",
    "prelu",
    "prelu_integer",
    "quantize",
    "quantize_grid",
    "rearrange",
    "relu",
    "requantize",
    "requantize_maps",
    "round_affine",
    "round_values",
    "shift_decode",
    "shift_encode",
    "slice_",
    "softmax",
    "softmax_integer",
    "subsample",
    "subtract",
    "take",
]
