"""Networks against published figures, shapes, errors, storage points and inferred sizes."""

from __future__ import annotations

import re
from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from refq import networks
from refq.errors import OptionError, RefqError, ShapeError
from refq.networks import Network, Node, build
from refq.networks.layers import (
    LRN,
    Add,
    AvgPool,
    Concat,
    Conv,
    Dense,
    GlobalAvgPool,
    Layer,
    MaxPool,
    ReLU,
    Softmax,
    Subsample,
)
from refq.networks.layers.windows import pool_size

BUILT = {name: build(name) for name in networks.known()}
MILLION = 10**6


def conv_outputs(network: Network) -> int:
    counts = network.activation_counts()
    return sum(n for name, n in counts.items() if isinstance(network.by_name[name].layer, Conv))


@pytest.mark.parametrize(
    ("name", "macs", "parameters", "outputs"),
    [
        ("alexnet", 724_406_816, 60_965_224, 650_080),
        ("caffenet", 724_406_816, 60_965_224, 650_080),
        ("alexnet_matconvnet", 724_406_816, 60_965_224, 650_080),
        ("alexnet_onnx", 654_560_384, 60_965_224, 600_448),
        ("alexnet_torchvision", 714_188_480, 61_100_840, 484_992),
        ("googlenet", 1_582_671_872, 6_998_552, 3_226_160),
        ("googlenet_onnx", 1_431_556_352, 6_998_552, 3_013_632),
        ("vgg16", 15_470_264_320, 138_357_544, 13_547_520),
        ("vgg19", 19_632_062_464, 143_667_240, 14_852_096),
        ("squeezenet1_0", None, 1_248_424, None),
        ("squeezenet1_1", None, 1_235_496, None),
    ],
)
def test_published_totals(
    name: str, macs: int | None, parameters: int, outputs: int | None
) -> None:
    network = BUILT[name]
    assert sum(network.parameter_counts().values()) == parameters
    if macs is not None:
        assert sum(network.macs().values()) == macs
        assert conv_outputs(network) == outputs


# published parameters count gamma and beta of each normalised channel; folded, one bias is left
@pytest.mark.parametrize(
    ("name", "giga_macs", "unfolded"),
    [
        ("googlenet_torchvision", 1.498, 6_624_904),
        ("resnet50", 3.858, 25_557_032),
        ("resnet50_keras", 3.858, 25_557_032),
        ("resnet50_torchvision", 4.089, 25_557_032),
        ("resnet101", 7.570, 44_549_160),
        ("resnet101_keras", 7.570, 44_549_160),
        ("resnet101_torchvision", 7.801, 44_549_160),
        ("resnet152", 11.282, 60_192_808),
        ("resnet152_keras", 11.282, 60_192_808),
        ("resnet152_torchvision", 11.514, 60_192_808),
        ("resnet20", 0.04055, 269_722),
        ("resnet32", 0.0689, 464_154),
        ("resnet44", 0.0972, 658_586),
        ("resnet56", 0.1255, 853_018),
    ],
)
def test_published_totals_of_normalised_networks(
    name: str, giga_macs: float, unfolded: int
) -> None:
    network = BUILT[name]
    normalised = sum(
        shape[0]
        for layer, shape in network.weight_shapes().items()
        if isinstance(network.by_name[layer].layer, Conv)
    )
    assert sum(network.parameter_counts().values()) == unfolded - normalised
    assert sum(network.macs().values()) / 1e9 == pytest.approx(giga_macs, rel=1e-3)


def test_googlenets_published_table() -> None:
    """Szegedy et al. 2015, Table 1: output sizes; weights and MACs of the stages that it gives."""
    shapes, macs = BUILT["googlenet"].shapes, BUILT["googlenet"].macs()
    assert shapes["pool1/3x3_s2"] == (64, 56, 56) and shapes["pool2/3x3_s2"] == (192, 28, 28)
    assert shapes["pool3/3x3_s2"] == (480, 14, 14) and shapes["pool4/3x3_s2"] == (832, 7, 7)
    outputs = [shape[0] for name, shape in shapes.items() if name.endswith("/output")]
    assert outputs == [256, 480, 512, 512, 512, 528, 832, 832, 1024]
    # of conv1 it gives 34 million operations; 7x7x3 times 64x112x112 are 118
    mega = {
        stage: sum(count for name, count in macs.items() if name.startswith(stage)) / 1e6
        for stage in ("conv1", "conv2", "inception_3a", "inception_3b", "inception_5b")
    }
    assert mega == pytest.approx(
        {"conv1": 118, "conv2": 360, "inception_3a": 128, "inception_3b": 304, "inception_5b": 71},
        rel=0.01,
    )


def convolution(network: Network, name: str) -> Conv:
    layer = network.by_name[name].layer
    assert isinstance(layer, Conv)
    return layer


def test_forms_of_alexnet() -> None:
    def between(name: str) -> list[str]:
        names = [node.name for node in BUILT[name].nodes]
        return names[2 : names.index("conv2")]

    assert between("alexnet") == ["norm1", "pool1"] and between("caffenet") == ["pool1", "norm1"]
    assert between("alexnet_matconvnet") == between("alexnet_torchvision") == ["pool1"]
    groups = {name: convolution(BUILT[name], "conv4").group for name in BUILT if "alex" in name}
    two = ("alexnet", "alexnet_matconvnet", "alexnet_onnx")
    assert groups == {**dict.fromkeys(two, 2), "alexnet_torchvision": 1}


def test_forms_of_resnet() -> None:
    """The same weights; where a stage's first block strides, and how the stem pools, differ."""
    caffe, torch, keras = (BUILT[f"resnet50{form}"] for form in ("", "_torchvision", "_keras"))
    assert caffe.weight_shapes() == torch.weight_shapes() == keras.weight_shapes()
    strides = [
        [convolution(network, f"res3a_branch{part}").strides[0] for part in ("1", "2a", "2b")]
        for network in (caffe, torch, keras)
    ]
    assert strides == [[2, 2, 1], [2, 1, 2], [2, 2, 1]]
    assert caffe.by_name["pool1"].layer == MaxPool((3, 3), (2, 2), ceil_mode=True)
    for network in (torch, keras):
        assert network.by_name["pool1"].layer == MaxPool((3, 3), (2, 2), (1, 1, 1, 1))
    for network in (caffe, torch, keras):
        sides = [network.shapes[f"{name}"][1] for name in ("pool1", "res2c", "res3d", "res4f")]
        assert sides == [56, 56, 28, 14] and network.shapes["res5c"] == (2048, 7, 7)
        depth = len([node for node in network.weighted if "branch1" not in node.name])
        assert depth == 50
    for name, depth in (("resnet101", 101), ("resnet152", 152)):
        layers = [node.name for node in BUILT[name].weighted if "branch1" not in node.name]
        assert len(layers) == depth
    # as in the authors' files: letters in stages of three blocks, numbers in others
    for name, blocks in (
        ("resnet50", "res2c res3b res3c res3d res4f res5c"),
        ("resnet101", "res2c res3b1 res3b3 res4b1 res4b22 res5b"),
        ("resnet152", "res2b res3b7 res4b35 res5c"),
    ):
        assert {f"{block}_branch2c" for block in blocks.split()} <= set(BUILT[name].by_name)


def test_cifars_resnets() -> None:
    for depth in (20, 32, 44, 56):
        network = BUILT[f"resnet{depth}"]
        assert len(network.weighted) == depth
        assert [network.shapes[f"res{stage}_1"] for stage in (1, 2, 3)] == [
            (16, 32, 32), (32, 16, 16), (64, 8, 8)
        ]  # fmt: skip
        layers = [node.layer for node in network.nodes]
        added = [layer.channels for layer in layers if isinstance(layer, Subsample)]
        assert added == [(0, 16), (0, 32)]
    centred = build("resnet20", {"centred": True, "width": 0.3125})
    assert centred.by_name["res2_1_shortcut"].layer == Subsample((2, 2), (2, 3))


# millions of multiply-accumulates and of weights, as the literature prints them
ALEXNET = {
    "conv1": (105.4, 0.035),
    "conv2": (223.9, 0.307),
    "conv3": (149.5, 0.885),
    "conv4": (112.1, 0.664),
    "conv5": (74.8, 0.443),
    "fc6": (37.7, 37.75),
    "fc7": (16.8, 16.78),
    "fc8": (4.1, 4.097),
}
VGG16 = {
    "conv1_1": (86.7, 0.0018),
    "conv1_2": (1849.7, 0.0369),
    "conv2_1": (924.8, 0.0739),
    "conv2_2": (1849.7, 0.1476),
    "conv3_1": (924.8, 0.2952),
    "conv3_2": (1849.7, 0.5901),
    "conv3_3": (1849.7, 0.5901),
    "conv4_1": (924.8, 1.1802),
    "conv4_2": (1849.7, 2.3598),
    "conv4_3": (1849.7, 2.3598),
    "conv5_1": (462.4, 2.3598),
    "conv5_2": (462.4, 2.3598),
    "conv5_3": (462.4, 2.3598),
    "fc6": (102.8, 102.7645),
    "fc7": (16.8, 16.7813),
    "fc8": (4.1, 4.097),
}


@pytest.mark.parametrize(("name", "layers"), [("alexnet", ALEXNET), ("vgg16", VGG16)])
def test_published_layers(name: str, layers: dict[str, tuple[float, float]]) -> None:
    network = BUILT[name]
    macs, parameters = network.macs(), network.parameter_counts()
    assert list(macs) == list(parameters) == list(layers)
    for layer, (mmacs, millions) in layers.items():
        assert macs[layer] / MILLION == pytest.approx(mmacs, abs=0.051), layer
        assert parameters[layer] / MILLION == pytest.approx(millions, rel=0.02), layer


@pytest.mark.parametrize(
    ("name", "size", "sides"),
    [
        ("alexnet", 227, {"conv1": 55, "pool1": 27, "conv2": 27, "pool2": 13, "pool5": 6}),
        ("alexnet", 224, {"conv1": 54, "pool1": 27, "pool2": 13, "pool5": 6}),
        ("alexnet", 231, {"conv1": 56, "pool1": 28, "pool2": 14, "pool5": 7}),
        ("squeezenet1_0", 227, {"conv1": 111, "pool1": 55, "pool4": 27, "pool8": 13}),
        ("squeezenet1_0", 224, {"conv1": 109, "pool1": 54, "pool4": 27, "pool8": 13}),
        ("squeezenet1_1", 227, {"conv1": 113, "pool1": 56, "pool3": 28, "pool5": 14}),
        ("squeezenet1_1", 224, {"conv1": 111, "pool1": 55, "pool3": 27, "pool5": 13}),
        ("vgg16", 224, {"pool1": 112, "pool2": 56, "pool3": 28, "pool4": 14, "pool5": 7}),
        ("googlenet", 224, {"conv1/7x7_s2": 112, "pool1/3x3_s2": 56, "inception_5b/output": 7}),
        ("googlenet", 32, {"conv1/7x7_s2": 16, "pool1/3x3_s2": 8, "pool4/3x3_s2": 1}),
        ("googlenet_torchvision", 99, {"conv1/7x7_s2": 50, "pool1/3x3_s2": 25, "pool4/3x3_s2": 3}),
        ("resnet50", 67, {"conv1": 34, "pool1": 17, "res3d": 9, "res4f": 5, "res5c": 3}),
        ("resnet50_torchvision", 67, {"conv1": 34, "pool1": 17, "res3d": 9, "res5c": 3}),
        ("resnet50", 70, {"conv1": 35, "pool1": 17, "res3d": 9, "res4f": 5, "res5c": 3}),
        ("resnet50_torchvision", 70, {"conv1": 35, "pool1": 18, "res3d": 9, "res5c": 3}),
        ("alexnet_torchvision", 224, {"conv1": 55, "pool1": 27, "pool2": 13, "pool5": 6}),
        ("alexnet_torchvision", 230, {"conv1": 56, "pool1": 27, "pool2": 13, "pool5": 6}),
        ("resnet20", 13, {"conv1": 13, "res2_1_shortcut": 7, "res3_1_shortcut": 4}),
        ("vgg19", 75, {"pool1": 37, "pool2": 18, "pool3": 9, "pool4": 4, "pool5": 2}),
    ],
)
def test_sides_follow_the_ceil_rule(name: str, size: int, sides: dict[str, int]) -> None:
    shapes = build(name, {"input_size": size}).shapes
    assert {layer: shapes[layer][1:] for layer in sides} == {k: (v, v) for k, v in sides.items()}


def test_pool_size_is_caffes() -> None:
    assert pool_size(13, 3, 2, 0, 0, True) == pool_size(13, 3, 2, 0, 0, False) == 6
    assert (pool_size(12, 3, 2, 0, 0, True), pool_size(12, 3, 2, 0, 0, False)) == (6, 5)
    # the last of ceil((7 + 2 - 2) / 3) + 1 = 4 windows would start in the padding
    assert pool_size(7, 2, 3, 1, 1, True) == 3
    assert pool_size(9, 2, 3, 1, 1, True) == 4
    # without padding, windows apart from each other may miss the image too
    assert pool_size(5, 1, 3, 0, 0, True) == 2


def test_asymmetric_windows() -> None:
    assert Conv(5, (3, 4), (2, 3), (1, 0, 2, 5)).output_shape(((7, 11, 13),)) == (5, 6, 5)
    assert AvgPool((2, 5), (3, 1), (0, 2, 1, 3)).output_shape(((7, 11, 13),)) == (7, 4, 14)
    assert GlobalAvgPool().output_shape(((7, 11, 13),)) == (7,)
    assert Subsample((2, 3), (1, 4)).output_shape(((7, 11, 12),)) == (12, 6, 4)
    assert Concat().output_shape(((7, 3, 4), (2, 3, 4), (1, 3, 4))) == (10, 3, 4)


IMAGE = (6, 9, 11)


@pytest.mark.parametrize(
    ("layer", "inputs", "text"),
    [
        (Conv(4, (3, 3), group=4), [IMAGE], "Conv from 6 to 4 channels in 4 groups; expected"),
        (Conv(4, (3, 3), group=3), [IMAGE], "Conv from 6 to 4 channels in 3 groups"),
        (Conv(4, (3, 3), group=0), [IMAGE], "in 0 groups; expected channel counts that"),
        (Conv(0, (3, 3)), [IMAGE], "Conv with 0 outputs; expected 1 or more"),
        (Dense(-2), [IMAGE], "Dense with -2 outputs"),
        (Conv(4, (10, 3)), [IMAGE], "Conv (10, 3) over 9x11 padded by (0, 0, 0, 0); expected an"),
        (Conv(4, (0, 3)), [IMAGE], "Conv with kernel (0, 3), strides (1, 1)"),
        (Conv(4, (3, 3), (1, 0)), [IMAGE], "strides (1, 0)"),
        (Conv(4, (3, 3), pads=(0, -1, 0, 0)), [IMAGE], "pads (0, -1, 0, 0); expected kernel and"),
        (MaxPool((2, 3), (1, 1), (0, 0, 2, 0)), [IMAGE], "expected pads smaller than kernel 2"),
        (AvgPool((2, 3), (1, 1), (0, 3, 0, 0)), [IMAGE], "AvgPool pads (0, 3, 0, 0); expected"),
        (MaxPool((2, 12), (1, 1)), [IMAGE], "use a larger input size"),
        (LRN(0), [IMAGE], "LRN over 0 channels"),
        (LRN(5), [(6,)], "LRN on shape (6,); expected (channels, rows, columns)"),
        (Conv(4, (1, 1)), [(6,)], "Conv on shape (6,)"),
        (Concat(), [IMAGE, (2, 9, 12)], "Concat of shapes [(6, 9, 11), (2, 9, 12)] along axis 0"),
        (Subsample((0, 2)), [IMAGE], "Subsample with strides (0, 2) and (0, 0) more channels; exp"),
        (Subsample((2, 2), (3, -1)), [IMAGE], "strides (2, 2) and (3, -1) more channels; expecte"),
        (Subsample((2, 2)), [(6,)], "Subsample on shape (6,); expected (channels, rows, columns)"),
        (Concat(), [IMAGE], "Concat of 1 input; expected two or more"),
        (Add(), [IMAGE, (5, 9, 11)], "Add of shapes [(6, 9, 11), (5, 9, 11)]; expected equal siz"),
        (Add(), [], "Add of 0 input"),
        (ReLU(), [IMAGE, IMAGE], "ReLU with 2 inputs; expected one"),
        (Softmax(), [], "Softmax with 0 inputs"),
    ],
)
def test_layers_that_do_not_fit(layer: Layer, inputs: list[Any], text: str) -> None:
    with pytest.raises(ShapeError, match=re.escape(text)):
        layer.output_shape(inputs)


@pytest.mark.parametrize(
    ("name", "parameters", "text"),
    [
        ("vgg17", {}, "unknown network 'vgg17'; expected one of 28: vgg19, vgg16, "),
        ("", {}, "unknown network ''"),
        ("vgg16", {"depth": 3}, "unknown parameter of vgg16 'depth'; expected one of classes,"),
        ("alexnet", {"width": "wide"}, "width 'wide' for alexnet; expected a number"),
        ("resnet50", {"stem_stride": 1.5}, "stem_stride 1.5 for resnet50; expected a whole numb"),
        ("resnet20", {"classes": 5.0}, "classes 5.0 for resnet20; expected a whole number"),
        ("resnet20", {"input_size": True}, "input_size True for resnet20; expected a whole"),
        ("resnet20", {"centred": "no"}, "centred 'no' for resnet20; expected true or false"),
        ("resnet20", {"input_size": 10**6}, "resnet20: data with 3,000,000,000,000 values; exp"),
        ("resnet20", {"width": 1e200}, "width 1e+200; expected above 0 and up to 64"),
        ("resnet20", {"width": float("nan")}, "width nan; expected above 0 and up to 64"),
        ("vgg16", {"input_size": 31}, "vgg16: layer 'pool5': MaxPool (2, 2) over 1x1"),
        ("alexnet", {"input_size": 9}, "alexnet: layer 'conv1': Conv (11, 11) over 9x9"),
        ("squeezenet1_1", {"input_size": 1}, "squeezenet1_1: layer 'conv1'"),
        ("vgg16", {"classes": 0}, "vgg16: layer 'fc8': Dense with 0 outputs"),
    ],
)
def test_builds_that_fail(name: str, parameters: dict[str, Any], text: str) -> None:
    with pytest.raises(RefqError, match=re.escape(text)):
        build(name, parameters)
    with pytest.raises(OptionError, match="unknown network 'none'"):
        networks.infer("none", {})


def test_nodes_that_do_not_connect() -> None:
    for nodes in (
        [Node("a", ReLU(), ("b",)), Node("b", ReLU(), ("data",))],
        [Node("a", ReLU(), ("data",)), Node("a", ReLU(), ("data",))],
        [Node("data", ReLU(), ("data",))],
    ):
        with pytest.raises(ShapeError, match=r"toy: node .* a new name and inputs that"):
            Network("toy", (2, 3, 4), tuple(nodes))


def test_frozen() -> None:
    network = BUILT["alexnet"]
    with pytest.raises(FrozenInstanceError):
        network.name = "other"  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        network.nodes[0].inputs = ()  # type: ignore[misc]
    assert network == build("alexnet") != build("alexnet", {"classes": 999})
    # nodes and layers can be keys; a network holds a mapping and cannot
    assert len({*network.nodes, *build("alexnet").nodes}) == len(network.nodes)
    with pytest.raises(TypeError, match="unhashable"):
        hash(network)


SMALL: list[tuple[str, dict[str, Any]]] = [
    ("vgg16", {"input_size": 64, "classes": 7, "width": 3 / 16, "hidden": 11}),
    ("vgg19", {"input_size": 96, "classes": 5, "width": 1 / 64, "hidden": 3}),
    ("vgg16", {"width": 0.5, "top": False}),
    ("alexnet", {"classes": 10, "width": 0.25, "hidden": 17}),
    ("alexnet", {"input_size": 259, "classes": 3, "width": 5 / 48, "hidden": 23}),
    ("alexnet", {"width": 0.5, "top": False}),
    ("alexnet_torchvision", {"classes": 10, "width": 0.25, "hidden": 17}),
    ("alexnet_torchvision", {"input_size": 288, "classes": 7, "hidden": 9, "top": True}),
    ("caffenet", {"input_size": 259, "classes": 3, "width": 5 / 48, "hidden": 23}),
    ("alexnet_matconvnet", {"width": 0.5, "top": False}),
    ("googlenet", {"classes": 9, "width": 3 / 32}),
    ("googlenet", {"width": 0.25, "top": False}),
    ("googlenet_torchvision", {"classes": 3, "width": 0.5}),
    ("resnet50", {"classes": 9, "width": 3 / 16}),
    ("resnet101_torchvision", {"width": 1 / 16, "top": False}),
    ("resnet152", {"classes": 3, "width": 1 / 32}),
    ("resnet44", {"classes": 7, "width": 0.5}),
    ("resnet56", {"width": 0.25, "top": False}),
    ("squeezenet1_0", {"classes": 9, "width": 0.5}),
    ("squeezenet1_1", {"classes": 200, "width": 3 / 16}),
    ("squeezenet1_1", {"width": 1.25, "top": False}),
]


@pytest.mark.parametrize(("name", "parameters"), [*SMALL, *((name, {}) for name in BUILT)])
def test_infer_round_trip(name: str, parameters: dict[str, Any]) -> None:
    network = build(name, parameters)
    found = networks.infer(name, network.weight_shapes())
    assert build(name, found).weight_shapes() == network.weight_shapes()
    assert {key: found.get(key, parameters[key]) for key in parameters} == parameters
    assert network.has_classifier is found["top"]
