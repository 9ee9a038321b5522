"""Messages of caffe.proto that say what layers compute: names of their fields, and their values."""

from __future__ import annotations

from typing import Any

from refq.importers import wire
from refq.importers.contents import refuse

Values = dict[str, list[Any]]
# what layers of data, of images and of windows have alike
_OF_DATA = "source scale mean_file batch_size crop_size mirror"
_RULE = "phase min_level max_level stage not_stage"
# in the order of their numbers
MESSAGES = {
    message: dict(enumerate(names.split(), start=1))
    for message, names in {
        "convolution_param": "num_output bias_term pad kernel_size group stride weight_filler "
        "bias_filler pad_h pad_w kernel_h kernel_w stride_h stride_w engine axis force_nd_im2col "
        "dilation",
        "inner_product_param": "num_output bias_term weight_filler bias_filler axis transpose",
        "pooling_param": "pool kernel_size stride pad kernel_h kernel_w stride_h stride_w pad_h "
        "pad_w engine global_pooling round_mode",
        "lrn_param": "local_size alpha beta norm_region k engine",
        "relu_param": "negative_slope engine",
        "prelu_param": "filler channel_shared",
        "elu_param": "alpha",
        "exp_param": "base scale shift",
        "log_param": "base scale shift",
        "power_param": "power scale shift",
        "swish_param": "beta",
        "clip_param": "min max",
        "threshold_param": "threshold",
        "batch_norm_param": "use_global_stats moving_average_fraction eps",
        "scale_param": "axis num_axes filler bias_term bias_filler",
        "bias_param": "axis num_axes filler",
        "eltwise_param": "operation coeff stable_prod_grad",
        "concat_param": "concat_dim axis",
        "slice_param": "slice_dim slice_point axis",
        "crop_param": "axis offset",
        "softmax_param": "engine axis",
        "argmax_param": "out_max_val top_k axis",
        "reduction_param": "operation axis coeff",
        "tile_param": "axis tiles",
        "dropout_param": "dropout_ratio scale_train",
        "flatten_param": "axis end_axis",
        "reshape_param": "shape axis num_axes",
        "permute_param": "order",
        "interp_param": "height width zoom_factor shrink_factor pad_beg pad_end",
        "upsample_param": "scale",
        "shuffle_channel_param": "group",
        "python_param": "module layer param_str share_in_parallel",
        "parameter_param": "shape",
        "input_param": "shape",
        "memory_data_param": "batch_size channels height width",
        "transform_param": "scale mirror crop_size mean_file mean_value force_color force_gray",
        "data_param": f"{_OF_DATA} rand_skip backend force_encoded_color prefetch",
        "image_data_param": f"{_OF_DATA} rand_skip shuffle new_height new_width is_color "
        "root_folder",
        "window_data_param": f"{_OF_DATA} fg_threshold bg_threshold fg_fraction context_pad "
        "crop_mode cache_images root_folder",
        "include": _RULE,
        "exclude": _RULE,
        # a layer of version 0, which has all in one
        "layer": "name type num_output biasterm weight_filler bias_filler pad kernelsize group "
        "stride pool dropout_ratio local_size alpha beta source scale meanfile batchsize cropsize "
        "mirror k",
    }.items()
}
MESSAGES["layer"].update({50: "blobs", 51: "blobs_lr", 52: "weight_decay", 65: "concat_dim"})
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
# repeated numbers that are no integers, and all such numbers
FLOATS = {"coeff", "mean_value"}
REAL = FLOATS | {
    *("alpha", "base", "beta", "bg_threshold", "dropout_ratio", "eps", "fg_fraction"),
    *("fg_threshold", "k", "max", "min", "moving_average_fraction", "negative_slope", "power"),
    *("scale", "shift", "threshold"),
}
TEXTS = {"name", "type", "module", "layer"}
UNREAD = {
    "weight_filler",
    "bias_filler",
    "filler",
    "mean_file",
    "meanfile",
    "stage",
    "not_stage",
    "source",
    "root_folder",
    "crop_mode",
    "param_str",
    "blobs",
    "blobs_lr",
    "weight_decay",
}


def stated(data: wire.Data, message: str, parts: list[wire.Field]) -> Values:
    """{field: its values} of a message, which may lie in several parts; what nobody knows has the
    name `field N`. Shapes are lists."""
    found: Values = {}
    for part in parts:
        for field in wire.fields(data, part.begin, part.end):
            name = MESSAGES[message].get(field.number, f"field {field.number}")
            values = found.setdefault(name, [])
            if name in UNREAD or field.number not in MESSAGES[message]:
                values.append(field.number)
            elif name in TEXTS:
                values.append(wire.text(data, field))
            elif name == "shape":
                values.append(shape(data, field))
            elif field.kind == wire.FIXED32 or name in FLOATS:
                if wire.count_floats(field, 4) > 64:
                    raise refuse(f"{message}: more than 64 numbers of {name}")
                values += wire.floats(data, [field], 4).tolist()
            else:
                wire.more_integers(values, data, field)
            if len(values) > wire.MOST_INTEGERS:
                raise refuse(f"{message}: more than {wire.MOST_INTEGERS:,} values of {name}")
    return found


def shape(data: wire.Data, field: wire.Field) -> list[int]:
    """The sizes of a BlobShape."""
    if field.kind != wire.BYTES:
        raise refuse("a shape that is no list of sizes")
    sizes: list[int] = []
    for part in wire.fields(data, field.begin, field.end):
        if part.number == 1:
            wire.more_integers(sizes, data, part)
    return sizes
