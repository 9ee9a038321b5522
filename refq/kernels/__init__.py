"""What runs fast: public functions check and allocate, underscored njit functions only loop.

`refq.oracle` has the same public names; `tests/op_cases.py` has a row for each.
"""

from refq.kernels.accumulating import add_limited
from refq.kernels.compare import energies
from refq.kernels.conv import conv, conv_integer
from refq.kernels.dense import dense, dense_integer
from refq.kernels.elementwise import add, concat, relu, subsample
from refq.kernels.fixed import dequantize, quantize, requantize
from refq.kernels.gram import patch_grams
from refq.kernels.histogram import code_histogram, exponent_histograms, float_histogram
from refq.kernels.hybrid import quantize_grid, requantize_maps, round_affine
from refq.kernels.lrn import lrn, lrn_integer
from refq.kernels.pool import (
    avg_pool,
    avg_pool_integer,
    global_avg_pool,
    global_avg_pool_integer,
    max_pool,
)
from refq.kernels.rounded import round_values
from refq.kernels.softmax import softmax, softmax_integer
from refq.kernels.storage import codebook_decode, codebook_encode, shift_decode, shift_encode

__all__ = [
    "add",
    "add_limited",
    "avg_pool",
    "avg_pool_integer",
    "code_histogram",
    "codebook_decode",
    "codebook_encode",
    "concat",
    "conv",
    "conv_integer",
    "dense",
    "dense_integer",
    "dequantize",
    "energies",
    "exponent_histograms",
    "float_histogram",
    "global_avg_pool",
    "global_avg_pool_integer",
    "lrn",
    "lrn_integer",
    "max_pool",
    "patch_grams",
    "quantize",
    "quantize_grid",
    "relu",
    "requantize",
    "requantize_maps",
    "round_affine",
    "round_values",
    "shift_decode",
    "shift_encode",
    "softmax",
    "softmax_integer",
    "subsample",
]
