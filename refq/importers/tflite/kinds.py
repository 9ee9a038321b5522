"""Every operator that is read, and what it becomes."""

from __future__ import annotations

from collections.abc import Callable

from refq.importers.building import Value
from refq.importers.foreign import Operator
from refq.importers.tflite import elementwise, moving, pooling, spreading, weighted
from refq.importers.tflite.elementwise import clipped, one, two
from refq.importers.tflite.operation import Operation, Reader
from refq.importers.tflite.schema import FLOATS

FLOAT, INT64 = 1, 7  # ONNX's numbers of types
DOMAIN = "tflite"  # of operators that ONNX has not


def _cast(op: Operation) -> Value:
    """Between floats, or of what the model reads, it changes nothing that refq computes."""
    value, read, kind = op.value(), op.tensor(0), op.output().kind
    if kind in FLOATS and (read.kind in FLOATS or read.index in op.made.model.inputs):
        return value
    return op.add("Cast", [value], value, to=FLOAT if kind in FLOATS else INT64)


SINGLE: dict[str, Reader] = {
    "ABS": one("Abs"),
    "ADD": two("Add"),
    "ADD_N": elementwise.total,
    "ARG_MAX": elementwise.chosen("ArgMax"),
    "ARG_MIN": elementwise.chosen("ArgMin"),
    "AVERAGE_POOL_2D": pooling.mean,
    "BATCH_MATMUL": weighted.multiplied,
    "BATCH_TO_SPACE_ND": spreading.gathered,
    "CAST": _cast,
    "CEIL": one("Ceil"),
    "CONCATENATION": moving.concat,
    "CONV_2D": weighted.convolution,
    "COS": one("Cos"),
    "DEPTHWISE_CONV_2D": weighted.depthwise,
    "DEPTH_TO_SPACE": moving.to_space,
    "DEQUANTIZE": _cast,
    "DIV": two("Div"),
    "ELU": one("Elu", alpha=1.0),
    "EQUAL": two("Equal", function=False),
    "EXP": one("Exp"),
    "EXPAND_DIMS": moving.reshape,
    "FLOOR": one("Floor"),
    "FULLY_CONNECTED": weighted.connected,
    "GATHER": moving.gather,
    "GELU": elementwise.gelu,
    "GREATER": two("Greater", function=False),
    "GREATER_EQUAL": two("GreaterOrEqual", function=False),
    "HARD_SWISH": one("HardSwish"),
    "LEAKY_RELU": elementwise.leaky,
    "LESS": two("Less", function=False),
    "LESS_EQUAL": two("LessOrEqual", function=False),
    "LOCAL_RESPONSE_NORMALIZATION": elementwise.normalized,
    "LOG": one("Log"),
    "LOGICAL_AND": two("And", function=False),
    "LOGICAL_NOT": one("Not"),
    "LOGICAL_OR": two("Or", function=False),
    "LOGISTIC": one("Sigmoid"),
    "LOG_SOFTMAX": elementwise.log_softmax,
    "MAXIMUM": two("Max", function=False),
    "MAX_POOL_2D": pooling.largest,
    "MEAN": elementwise.reduced("ReduceMean"),
    "MINIMUM": two("Min", function=False),
    "MIRROR_PAD": moving.mirrored,
    "MUL": two("Mul"),
    "NEG": one("Neg"),
    "PACK": moving.pack,
    "PAD": moving.pad,
    "PADV2": moving.pad,
    "POW": two("Pow", function=False),
    "PRELU": elementwise.prelu,
    "REDUCE_MAX": elementwise.reduced("ReduceMax"),
    "REDUCE_MIN": elementwise.reduced("ReduceMin"),
    "REDUCE_PROD": elementwise.reduced("ReduceProd"),
    "RELU": one("Relu"),
    "RELU6": clipped(0.0, 6.0),
    "RELU_0_TO_1": clipped(0.0, 1.0),
    "RELU_N1_TO_1": clipped(-1.0, 1.0),
    "RESHAPE": moving.reshape,
    "RESIZE_BILINEAR": pooling.bilinear,
    "RESIZE_NEAREST_NEIGHBOR": pooling.nearest,
    "ROUND": one("Round"),
    "RSQRT": elementwise.rsqrt,
    "SELECT": elementwise.selected,
    "SELECT_V2": elementwise.selected,
    "SHAPE": moving.shape,
    "SIGN": one("Sign"),
    "SIN": one("Sin"),
    "SLICE": moving.cut,
    "SOFTMAX": elementwise.softmax,
    "SPACE_TO_BATCH_ND": spreading.spread,
    "SPACE_TO_DEPTH": moving.to_depth,
    "SQRT": one("Sqrt"),
    "SQUARE": elementwise.square,
    "SQUARED_DIFFERENCE": elementwise.squared_difference,
    "SQUEEZE": moving.reshape,
    "STRIDED_SLICE": moving.strided,
    "SUB": two("Sub"),
    "SUM": elementwise.reduced("ReduceSum"),
    "TANH": one("Tanh"),
    "TILE": moving.tile,
    "TRANSPOSE": moving.transpose,
    "TRANSPOSE_CONV": weighted.transposed,
}
SEVERAL: dict[str, Callable[[Operation], list[Value]]] = {
    "SPLIT": moving.split,
    "SPLIT_V": moving.split_sizes,
    "UNPACK": moving.unpack,
}
# operators that carry on what SPACE_TO_BATCH_ND has spread
WITHIN = {"CONV_2D", "DEPTHWISE_CONV_2D", "BATCH_TO_SPACE_ND", "ADD", "SUB", "MUL", "RELU", "RELU6"}
WITHIN |= {"EXPAND_DIMS", "RESHAPE", "SQUEEZE"}


def outputs(op: Operation) -> list[Value]:
    """The tensors that an operator makes. What refq knows nothing of stays as the file calls it:
    lowering refuses it, or cuts it off behind the network."""
    kind = op.node.kind
    if any(number in op.made.spread for number in op.node.inputs) and kind not in WITHIN:
        raise op.refuse("between SPACE_TO_BATCH_ND and BATCH_TO_SPACE_ND", "a convolution")
    if kind in SEVERAL and not op.node.custom:
        return SEVERAL[kind](op)
    if kind in SINGLE and not op.node.custom:
        return [SINGLE[kind](op)]
    return _unknown(op)


def _unknown(op: Operation) -> list[Value]:
    model, builder = op.made.model, op.builder
    inputs = [op.plain(place) for place in range(len(op.node.inputs)) if op.has(place)]
    made = []
    for number in op.node.outputs:
        tensor = model.tensors[number]
        made.append(Value(builder.fresh(tensor.name or f"{op.name}/output"), len(tensor.shape)))
    read, names = (tuple(value.name for value in values) for values in (inputs, made))
    builder.operators.append(Operator(op.node.kind, op.name, read, names, domain=DOMAIN))
    return made
