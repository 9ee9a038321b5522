"""Where activations are kept: names, widths, tensors, makers, readers and signs."""

from __future__ import annotations

from typing import Any

from refq.networks import Network, Node, build, chain
from refq.networks.layers import Add, AvgPool, Conv, GlobalAvgPool, ReLU
from refq.networks.points import Point, storage_points, stored_counts

VGG16 = build("vgg16")


def points_of(network: Network) -> dict[str, Point]:
    points = storage_points(network)
    held = [name for point in points for name in point.tensors]
    assert len(held) == len(set(held))
    return {point.name: point for point in points}


def test_points_of_vgg16_and_alexnet() -> None:
    points = points_of(VGG16)
    assert list(points) == [node.name for node in VGG16.weighted]
    assert all(point.width_of == name for name, point in points.items())
    assert [name for name, point in points.items() if point.signed] == ["conv1_1"]
    assert points["conv1_2"].tensors == ("relu1_1",)
    assert points["fc6"].tensors == ("relu5_3", "pool5") and points["fc6"].makers == ("relu5_3",)
    counts = stored_counts(VGG16, tuple(points.values()))
    assert counts["conv1_1"] == 0 and counts["conv1_2"] == counts["conv2_1"] == 64 * 224 * 224

    points = points_of(build("alexnet"))
    assert list(points) == [
        "conv1",
        "norm1",
        "conv2",
        "norm2",
        "conv3",
        "conv4",
        "conv5",
        "fc6",
        "fc7",
        "fc8",
    ]
    assert points["norm1"].width_of == "conv2" and points["norm1"].producers == ("conv1",)
    assert points["conv2"].tensors == ("norm1", "pool1") and points["conv2"].producers == ()
    assert points["norm2"].width_of == "conv3"


def test_points_of_squeezenet() -> None:
    points = points_of(build("squeezenet1_1"))
    fire4 = points["fire4/squeeze1x1"]
    sides = ("fire3/relu_expand1x1", "fire3/relu_expand3x3")
    assert fire4.tensors == (*sides, "fire3/concat", "pool3") and fire4.makers == sides
    assert fire4.producers == ("fire3/expand1x1", "fire3/expand3x3")
    assert points["fire4/expand1x1"].readers == ("fire4/expand1x1", "fire4/expand3x3")
    assert points["pool10"].tensors == ("relu_conv10",) and points["pool10"].width_of == "pool10"
    assert points["output"].tensors == ("pool10",) and points["output"].is_output
    assert [name for name, point in points.items() if point.signed] == ["conv1"]


def test_points_of_a_residual_network() -> None:
    wide: Any = {"pads": (1, 1, 1, 1)}
    nodes = [
        *chain(
            "data",
            ("stem", Conv(6, (3, 3), **wide)),
            ("relu0", ReLU()),
            ("conv_a", Conv(4, (3, 3), **wide)),
            ("relu_a", ReLU()),
            ("conv_b", Conv(6, (3, 3), **wide)),
        ),
        Node("add", Add(), ("conv_b", "relu0")),
        *chain(
            "add",
            ("relu1", ReLU()),
            ("mean", AvgPool((3, 2), (2, 3))),
            ("conv_c", Conv(3, (2, 1))),
            ("out", GlobalAvgPool()),
        ),
    ]
    points = points_of(Network("toy", (3, 9, 11), tuple(nodes)))
    found = {
        name: (point.width_of, point.tensors, point.producers, point.readers, point.signed)
        for name, point in points.items()
    }
    assert found == {
        "stem": ("stem", ("data",), (), ("stem",), True),
        "conv_a": ("conv_a", ("relu0",), ("stem",), ("conv_a", "add"), False),
        "conv_b": ("conv_b", ("relu_a",), ("conv_a",), ("conv_b",), False),
        # the branch that is added without a ReLU of its own keeps its sign
        "add.conv_b": ("conv_c", ("conv_b",), ("conv_b",), ("add",), True),
        # the sum itself is wide: only its ReLU is stored
        "mean": ("conv_c", ("relu1",), (), ("mean",), False),
        "conv_c": ("conv_c", ("mean",), (), ("conv_c",), False),
        "out": ("out", ("conv_c",), ("conv_c",), ("out",), True),
        "output": ("output", ("out",), (), (), True),
    }


def test_a_sum_that_two_layers_read_is_stored() -> None:
    """Before its ReLU, that is, which then only moves signed codes."""
    nodes = [
        *chain("data", ("stem", Conv(5, (3, 2))), ("relu0", ReLU()), ("conv_a", Conv(5, (1, 1)))),
        Node("add", Add(), ("conv_a", "stem")),
        *chain("add", ("out", Conv(2, (2, 1)))),
    ]
    points = storage_points(Network("toy", (3, 9, 11), tuple(nodes)))
    assert [point.tensors for point in points] == [
        ("data",),
        ("stem", "relu0"),
        ("conv_a",),
        ("add",),
    ]
    assert points[1].makers == points[1].producers == ("stem",)
    assert set(points[1].readers) == {"conv_a", "add"}
    assert all(point.signed for point in points)


def test_points_have_names_of_their_own() -> None:
    """A residual block whose shortcut has a convolution (ResNet's first in each stage)."""
    nodes = [
        *chain("data", ("conv_a", Conv(4, (3, 2))), ("relu_a", ReLU())),
        *chain("relu_a", ("conv_b", Conv(7, (1, 1)))),
        *chain("relu_a", ("project", Conv(7, (1, 1)))),
        Node("add", Add(), ("conv_b", "project")),
        *chain("add", ("relu1", ReLU()), ("out", Conv(2, (2, 1)))),
    ]
    network = Network("toy", (3, 9, 11), tuple(nodes))
    points = storage_points(network)
    assert len({point.name for point in points}) == len(points)
    stored = sum(stored_counts(network, points).values())
    assert stored == sum(network.activation_counts().values()) - 2 * 6 * 10
