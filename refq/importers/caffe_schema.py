"""Field numbers of caffe.proto, and what a layer's parameters say."""

from __future__ import annotations

from typing import Any

from refq.importers import wire
from refq.importers.contents import refuse

# of NetParameter: name, inputs (input, input_dim, input_shape), layers; others are of training
NET = {
    1: "name",
    2: "layers",
    3: "input",
    4: "input_dim",
    5: "force_backward",
    6: "state",
    7: "debug_info",
    8: "input_shape",
    100: "layer",
}
# of V1LayerParameter and LayerParameter
V1_LAYER = {
    2: "bottom",
    3: "top",
    4: "name",
    5: "type",
    6: "blobs",
    7: "blobs_lr",
    8: "weight_decay",
    32: "include",
    33: "exclude",
    35: "loss_weight",
    1001: "param",
    1002: "blob_share_mode",
    9: "concat_param",
    10: "convolution_param",
    12: "dropout_param",
    17: "inner_product_param",
    18: "lrn_param",
    19: "pooling_param",
    21: "power_param",
    22: "memory_data_param",
    24: "eltwise_param",
    30: "relu_param",
    36: "transform_param",
    39: "softmax_param",
    11: "data_param",
    15: "image_data_param",
    20: "window_data_param",
    **dict.fromkeys((13, 14, 16, 23, 25, 26, 27, 29, 31, 34, 37, 38, 40, 41, 42), "other"),
}
V2_LAYER = {
    1: "name",
    2: "type",
    3: "bottom",
    4: "top",
    5: "loss_weight",
    6: "param",
    7: "blobs",
    8: "include",
    9: "exclude",
    10: "phase",
    11: "propagate_down",
    100: "transform_param",
    104: "concat_param",
    106: "convolution_param",
    108: "dropout_param",
    110: "eltwise_param",
    117: "inner_product_param",
    118: "lrn_param",
    119: "memory_data_param",
    121: "pooling_param",
    122: "power_param",
    123: "relu_param",
    125: "softmax_param",
    133: "reshape_param",
    135: "flatten_param",
    139: "batch_norm_param",
    142: "scale_param",
    143: "input_param",
    107: "data_param",
    115: "image_data_param",
    129: "window_data_param",
    **dict.fromkeys((*range(101, 104), 105, 109, *range(111, 115), 116, 120, 124), "other"),
    **dict.fromkeys(
        (*range(126, 129), *range(130, 133), 134, *range(136, 139), 140, 141, *range(144, 150)),
        "other",
    ),
}
V1_TYPES = dict(
    enumerate(
        [
            "None",
            "Accuracy",
            "BNLL",
            "Concat",
            "Convolution",
            "Data",
            "Dropout",
            "EuclideanLoss",
            "Flatten",
            "HDF5Data",
            "HDF5Output",
            "Im2col",
            "ImageData",
            "InfogainLoss",
            "InnerProduct",
            "LRN",
            "MultinomialLogisticLoss",
            "Pooling",
            "ReLU",
            "Sigmoid",
            "Softmax",
            "SoftmaxWithLoss",
            "Split",
            "TanH",
            "WindowData",
            "Eltwise",
            "Power",
            "SigmoidCrossEntropyLoss",
            "HingeLoss",
            "MemoryData",
            "ArgMax",
            "Threshold",
            "DummyData",
            "Slice",
            "MVN",
            "AbsVal",
            "Silence",
            "ContrastiveLoss",
            "Exp",
            "Deconvolution",
        ]
    )
)
# which message says what a type of layer computes
OF_TYPE = {
    "Convolution": "convolution_param",
    "InnerProduct": "inner_product_param",
    "Pooling": "pooling_param",
    "LRN": "lrn_param",
    "ReLU": "relu_param",
    "BatchNorm": "batch_norm_param",
    "Scale": "scale_param",
    "Eltwise": "eltwise_param",
    "Concat": "concat_param",
    "Softmax": "softmax_param",
    "Dropout": "dropout_param",
    "Flatten": "flatten_param",
    "Reshape": "reshape_param",
    "Power": "power_param",
}
# what layers of data, of images and of windows have alike
_OF_DATA = {1: "source", 2: "scale", 3: "mean_file", 4: "batch_size", 5: "crop_size", 6: "mirror"}
MESSAGES = {
    "convolution_param": {
        1: "num_output",
        2: "bias_term",
        3: "pad",
        4: "kernel_size",
        5: "group",
        6: "stride",
        7: "weight_filler",
        8: "bias_filler",
        9: "pad_h",
        10: "pad_w",
        11: "kernel_h",
        12: "kernel_w",
        13: "stride_h",
        14: "stride_w",
        15: "engine",
        16: "axis",
        17: "force_nd_im2col",
        18: "dilation",
    },
    "inner_product_param": {
        1: "num_output",
        2: "bias_term",
        3: "weight_filler",
        4: "bias_filler",
        5: "axis",
        6: "transpose",
    },
    "pooling_param": {
        1: "pool",
        2: "kernel_size",
        3: "stride",
        4: "pad",
        5: "kernel_h",
        6: "kernel_w",
        7: "stride_h",
        8: "stride_w",
        9: "pad_h",
        10: "pad_w",
        11: "engine",
        12: "global_pooling",
        13: "round_mode",
    },
    "lrn_param": {1: "local_size", 2: "alpha", 3: "beta", 4: "norm_region", 5: "k", 6: "engine"},
    "relu_param": {1: "negative_slope", 2: "engine"},
    "batch_norm_param": {1: "use_global_stats", 2: "moving_average_fraction", 3: "eps"},
    "scale_param": {1: "axis", 2: "num_axes", 3: "filler", 4: "bias_term", 5: "bias_filler"},
    "eltwise_param": {1: "operation", 2: "coeff", 3: "stable_prod_grad"},
    "concat_param": {1: "concat_dim", 2: "axis"},
    "softmax_param": {1: "engine", 2: "axis"},
    "dropout_param": {1: "dropout_ratio"},
    "flatten_param": {1: "axis", 2: "end_axis"},
    "reshape_param": {1: "shape", 2: "axis", 3: "num_axes"},
    "power_param": {1: "power", 2: "scale", 3: "shift"},
    "memory_data_param": {1: "batch_size", 2: "channels", 3: "height", 4: "width"},
    "transform_param": {
        1: "scale",
        2: "mirror",
        3: "crop_size",
        4: "mean_file",
        5: "mean_value",
        6: "force_color",
        7: "force_gray",
    },
    "data_param": {
        **_OF_DATA,
        7: "rand_skip",
        8: "backend",
        9: "force_encoded_color",
        10: "prefetch",
    },
    "image_data_param": {
        **_OF_DATA,
        7: "rand_skip",
        8: "shuffle",
        9: "new_height",
        10: "new_width",
        11: "is_color",
        12: "root_folder",
    },
    "window_data_param": {
        **_OF_DATA,
        7: "fg_threshold",
        8: "bg_threshold",
        9: "fg_fraction",
        10: "context_pad",
        11: "crop_mode",
        12: "cache_images",
        13: "root_folder",
    },
    "include": {1: "phase", 2: "min_level", 3: "max_level", 4: "stage", 5: "not_stage"},
    "exclude": {1: "phase", 2: "min_level", 3: "max_level", 4: "stage", 5: "not_stage"},
}
# of these only training knows, or how fast a layer is computed
WITHOUT_EFFECT = {
    "weight_filler",
    "bias_filler",
    "filler",
    "engine",
    "force_nd_im2col",
    "moving_average_fraction",
    "stable_prod_grad",
    "dropout_ratio",
}
FLOATS = {"coeff", "mean_value"}
UNREAD = {
    "weight_filler",
    "bias_filler",
    "filler",
    "mean_file",
    "stage",
    "not_stage",
    "source",
    "root_folder",
    "crop_mode",
}


def stated(data: wire.Data, message: str, parts: list[wire.Field]) -> dict[str, list[Any]]:
    """{field: its numbers} of a message, which may lie in several parts; what nobody knows has the
    name `field N`."""
    found: dict[str, list[Any]] = {}
    for part in parts:
        for field in wire.fields(data, part.begin, part.end):
            name = MESSAGES[message].get(field.number, f"field {field.number}")
            values = found.setdefault(name, [])
            if name in UNREAD or field.number not in MESSAGES[message]:
                values.append(field.number)
            elif name == "shape":
                values += shape(data, field)
            elif field.kind == wire.FIXED32 or name in FLOATS:
                if wire.count_floats(field, 4) > 64:
                    raise refuse(f"{message}: more than 64 numbers of {name}")
                values += wire.floats(data, [field], 4).tolist()
            else:
                wire.more_integers(values, data, field)
    return found


def shape(data: wire.Data, field: wire.Field) -> list[int]:
    """The sizes of a BlobShape."""
    sizes: list[int] = []
    for part in wire.fields(data, field.begin, field.end):
        if part.number == 1:
            wire.more_integers(sizes, data, part)
    return sizes
