"""Messages of caffe.proto, built at run time for protobuf to write: names, numbers and types as
BVLC/caffe's src/caffe/proto/caffe.proto has them, enumerations as the numbers that they are."""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

Field = descriptor_pb2.FieldDescriptorProto
TYPES = {
    "int32": Field.TYPE_INT32,
    "int64": Field.TYPE_INT64,
    "uint32": Field.TYPE_UINT32,
    "bool": Field.TYPE_BOOL,
    "float": Field.TYPE_FLOAT,
    "double": Field.TYPE_DOUBLE,
    "string": Field.TYPE_STRING,
}
# {message: "type name number" of each field}; * is repeated, + repeated and packed
MESSAGES = {
    "BlobShape": "+int64 dim 1",
    "BlobProto": """BlobShape shape 7, +float data 5, +float diff 6, +double double_data 8,
        +double double_diff 9, int32 num 1, int32 channels 2, int32 height 3, int32 width 4""",
    # before [packed = true]
    "OldBlobProto": """*float data 5, int32 num 1, int32 channels 2, int32 height 3,
        int32 width 4""",
    "FillerParameter": "string type 1, float value 2, float std 7",
    "ParamSpec": "string name 1, float lr_mult 3, float decay_mult 4",
    "NetStateRule": "int32 phase 1, int32 min_level 2, int32 max_level 3, *string stage 4",
    "NetState": "int32 phase 1, int32 level 2, *string stage 3",
    "InputParameter": "*BlobShape shape 1",
    "TransformationParameter": """float scale 1, bool mirror 2, uint32 crop_size 3,
        string mean_file 4, *float mean_value 5, bool force_color 6, bool force_gray 7""",
    "DataParameter": """string source 1, float scale 2, string mean_file 3, uint32 batch_size 4,
        uint32 crop_size 5, bool mirror 6, int32 backend 8""",
    "ImageDataParameter": """string source 1, float scale 2, string mean_file 3,
        uint32 batch_size 4, uint32 crop_size 5, bool mirror 6, uint32 new_height 9,
        uint32 new_width 10, bool is_color 11""",
    "ConvolutionParameter": """uint32 num_output 1, bool bias_term 2, *uint32 pad 3,
        *uint32 kernel_size 4, uint32 group 5, *uint32 stride 6, FillerParameter weight_filler 7,
        FillerParameter bias_filler 8, uint32 pad_h 9, uint32 pad_w 10, uint32 kernel_h 11,
        uint32 kernel_w 12, uint32 stride_h 13, uint32 stride_w 14, int32 engine 15, int32 axis 16,
        bool force_nd_im2col 17, *uint32 dilation 18""",
    "PoolingParameter": """int32 pool 1, uint32 kernel_size 2, uint32 stride 3, uint32 pad 4,
        uint32 kernel_h 5, uint32 kernel_w 6, uint32 stride_h 7, uint32 stride_w 8, uint32 pad_h 9,
        uint32 pad_w 10, int32 engine 11, bool global_pooling 12, int32 round_mode 13""",
    "InnerProductParameter": """uint32 num_output 1, bool bias_term 2,
        FillerParameter weight_filler 3, int32 axis 5, bool transpose 6""",
    "LRNParameter": """uint32 local_size 1, float alpha 2, float beta 3, int32 norm_region 4,
        float k 5""",
    "ReLUParameter": "float negative_slope 1, int32 engine 2",
    "DropoutParameter": "float dropout_ratio 1",
    "EltwiseParameter": "int32 operation 1, *float coeff 2, bool stable_prod_grad 3",
    "ConcatParameter": "uint32 concat_dim 1, int32 axis 2",
    "SoftmaxParameter": "int32 engine 1, int32 axis 2",
    "BatchNormParameter": """bool use_global_stats 1, float moving_average_fraction 2,
        float eps 3""",
    "ScaleParameter": "int32 axis 1, int32 num_axes 2, bool bias_term 4",
    "LayerParameter": """string name 1, string type 2, *string bottom 3, *string top 4,
        *float loss_weight 5, *ParamSpec param 6, *BlobProto blobs 7, *NetStateRule include 8,
        *NetStateRule exclude 9, int32 phase 10, *bool propagate_down 11,
        TransformationParameter transform_param 100, ConcatParameter concat_param 104,
        ConvolutionParameter convolution_param 106, DataParameter data_param 107,
        DropoutParameter dropout_param 108, EltwiseParameter eltwise_param 110,
        ImageDataParameter image_data_param 115, InnerProductParameter inner_product_param 117,
        LRNParameter lrn_param 118, PoolingParameter pooling_param 121,
        ReLUParameter relu_param 123,
        SoftmaxParameter softmax_param 125, BatchNormParameter batch_norm_param 139,
        ScaleParameter scale_param 142, InputParameter input_param 143""",
    "V0LayerParameter": """string name 1, string type 2, uint32 num_output 3, bool biasterm 4,
        uint32 pad 7, uint32 kernelsize 8, uint32 group 9, uint32 stride 10, int32 pool 11,
        float dropout_ratio 12, uint32 local_size 13, *OldBlobProto blobs 50""",
    "V1LayerParameter": """V0LayerParameter layer 1, *string bottom 2, *string top 3, string name 4,
        int32 type 5, *OldBlobProto blobs 6, *float blobs_lr 7, *float weight_decay 8,
        ConcatParameter concat_param 9, ConvolutionParameter convolution_param 10,
        DataParameter data_param 11, DropoutParameter dropout_param 12,
        InnerProductParameter inner_product_param 17, LRNParameter lrn_param 18,
        PoolingParameter pooling_param 19, EltwiseParameter eltwise_param 24,
        ReLUParameter relu_param 30, *NetStateRule include 32, SoftmaxParameter softmax_param 39,
        TransformationParameter transform_param 36""",
    "NetParameter": """string name 1, *V1LayerParameter layers 2, *string input 3,
        *int32 input_dim 4, bool force_backward 5, NetState state 6, bool debug_info 7,
        *BlobShape input_shape 8, *LayerParameter layer 100""",
    "SolverState": "int32 iter 1, string learned_net 2, *BlobProto history 3, int32 current_step 4",
}
# what each type of layer has its parameters in, the same name in both forms
PARAMETERS = {
    "Convolution": "convolution_param",
    "InnerProduct": "inner_product_param",
    "LRN": "lrn_param",
    "Pooling": "pooling_param",
    "ReLU": "relu_param",
    "Eltwise": "eltwise_param",
    "Concat": "concat_param",
}


def _classes() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="caffe.proto", package="caffe", syntax="proto2")
    for message, fields in MESSAGES.items():
        made = file.message_type.add(name=message)
        for each in fields.split(","):
            kind, name, number = each.split()
            packed, repeated = kind.startswith("+"), kind[0] in "+*"
            kind = kind.lstrip("+*")
            said = made.field.add(name=name, number=int(number))
            said.label = Field.LABEL_REPEATED if repeated else Field.LABEL_OPTIONAL
            if kind in TYPES:
                said.type = TYPES[kind]
            else:
                said.type, said.type_name = Field.TYPE_MESSAGE, f".caffe.{kind}"
            if packed:
                said.options.packed = True
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"caffe.{name}"))
        for name in MESSAGES
    }


CAFFE = _classes()


def net() -> Any:
    """An empty NetParameter."""
    return CAFFE["NetParameter"]()
