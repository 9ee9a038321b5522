"""ONNX graphs that are a network in other words, and graphs that compute something else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from benchmarks.peers.onnx_graph import to_onnx
from refq import convert, networks
from refq.networks.layers import Subsample
from refq.networks.weights import load
from tests.importers import small_weights
from tests.importers.conversions import of_known_networks

NODE = helper.make_node
SIZES: dict[str, dict[str, Any]] = {
    "resnet20": {"width": 0.25, "input_size": 16, "classes": 5},
    "vgg16": small_weights.SIZES,
    "alexnet": {"width": 1 / 16, "input_size": 67, "hidden": 7, "classes": 5},
}
HALVES = (0, 0, 1, 1, 0, 0, 1, 1)


class Graph:
    """A network's ONNX graph to be edited; with random weights."""

    def __init__(self, name: str) -> None:
        self.network = networks.build(name, SIZES[name])
        _, self.weights = small_weights._filled(self.network, 3)
        self.model = to_onnx(self.network, self.weights)
        self.graph = self.model.graph

    def node(self, name: str) -> Any:
        return next(node for node in self.graph.node if name in node.output)

    def constant(self, name: str, values: Any) -> str:
        self.graph.initializer.append(numpy_helper.from_array(np.array(values), name))
        return name

    def behind(self, tensor: str, *nodes: Any) -> None:
        """Nodes between a tensor and all that read it; the first reads it, the last is read."""
        for node in self.graph.node:
            for place, name in enumerate(node.input):
                if name == tensor:
                    node.input[place] = nodes[-1].output[0]
        made = [at for at, node in enumerate(self.graph.node) if tensor in node.output]
        for at, node in enumerate(nodes, made[0] + 1 if made else 0):
            self.graph.node.insert(at, node)

    def attribute(self, node: Any, name: str, value: Any = None) -> None:
        """Sets an attribute, or takes it away."""
        kept = [each for each in node.attribute if each.name != name]
        del node.attribute[:]
        node.attribute.extend(kept)
        if value is not None:
            node.attribute.append(helper.make_attribute(name, value))

    def attributes(self, name: str, **values: Any) -> None:
        for key, value in values.items():
            self.attribute(self.node(name), key, value)

    def every(self, kind: str, became: str, **attributes: Any) -> None:
        for node in self.graph.node:
            if node.op_type == kind:
                node.op_type = became
                for name, value in attributes.items():
                    self.attribute(node, name, value)

    def converted(self, folder: Path) -> tuple[int, Path]:
        path, out = folder / "w.onnx", folder / "out.h5"
        path.write_bytes(self.model.SerializeToString())
        with of_known_networks():
            return convert.main([str(path), "-o", str(out)]), out


def padded(graph: Graph, *value: Any) -> Graph:
    """conv1's padding as a node of its own."""
    graph.attribute(graph.node("conv1"), "pads")
    inputs = ["data", graph.constant("halves", HALVES), *(each.output[0] for each in value)]
    graph.behind("data", *value, NODE("Pad", inputs, ["wider"]))
    return graph


def same(graph: Graph) -> None:
    for name in ("conv1", "res1_1_conv1", "res3_2_conv2"):
        graph.attribute(graph.node(name), "pads")
        graph.attribute(graph.node(name), "auto_pad", "SAME_UPPER")


def viewed(graph: Graph) -> None:
    """x.view(x.size(0), -1), as PyTorch exports it with a batch of any size."""
    flat = graph.node("fc.flat")
    read = flat.input[0]
    for name, values in (("zero", 0), ("rest", [-1]), ("axis", [0])):
        graph.constant(name, values)
    nodes = [
        NODE("Shape", [read], ["sizes"]),
        NODE("Gather", ["sizes", "zero"], ["batch"]),
        NODE("Unsqueeze", ["batch", "axis"], ["one"]),
        NODE("Concat", ["one", "rest"], ["wanted"], axis=0),
        NODE("Reshape", [read, "wanted"], ["fc.flat"]),
    ]
    at = list(graph.graph.node).index(flat)
    graph.graph.node.remove(flat)
    for place, node in enumerate(nodes, at):
        graph.graph.node.insert(place, node)


def computed_pads(graph: Graph) -> None:
    """functional.pad's numbers as PyTorch exports them: last axis first, turned at the end."""
    for name in ("res2_1_shortcut", "res3_1_shortcut"):
        pad = graph.node(name)
        layer = graph.network.by_name[name].layer
        assert isinstance(layer, Subsample)
        tensors = {
            "pairs": [0, 0, 0, 0, *layer.channels],
            "count": [2],
            "form": [-1, 2],
            "start": [-1],
            "end": [-(2**63) + 1],
            "axis": [0],
            "step": [-1],
            "flat": [-1],
        }
        own = {key: graph.constant(f"{name}.pad.{key}", values) for key, values in tensors.items()}
        nodes = [
            NODE(
                "ConstantOfShape",
                [own["count"]],
                [f"{name}.more"],
                value=numpy_helper.from_array(np.zeros(1, np.int64)),
            ),
            NODE("Concat", [own["pairs"], f"{name}.more"], [f"{name}.all"], axis=0),
            NODE("Reshape", [f"{name}.all", own["form"]], [f"{name}.rows"]),
            NODE(
                "Slice",
                [f"{name}.rows", own["start"], own["end"], own["axis"], own["step"]],
                [f"{name}.turned"],
            ),
            NODE("Transpose", [f"{name}.turned"], [f"{name}.columns"], perm=[1, 0]),
            NODE("Reshape", [f"{name}.columns", own["flat"]], [f"{name}.row"]),
            NODE("Cast", [f"{name}.row"], [f"{name}.cast"], to=TensorProto.INT64),
        ]
        pad.input[1] = f"{name}.cast"
        at = list(graph.graph.node).index(pad)
        for place, node in enumerate(nodes, at):
            graph.graph.node.insert(place, node)


def transposed(graph: Graph, tensor: str, *between: Any) -> None:
    graph.behind(
        tensor,
        NODE("Transpose", [tensor], ["last"], perm=[0, 2, 3, 1]),
        *between,
        NODE(
            "Transpose",
            [between[-1].output[0] if between else "last"],
            ["first"],
            perm=[0, 3, 1, 2],
        ),
    )


RELU = "res1_1_relu"
Edit = Callable[[Graph], object]
ALIKE: dict[str, tuple[str, Edit]] = {
    "nothing": ("resnet20", lambda g: None),
    "pad and convolution": ("resnet20", padded),
    "auto_pad": ("resnet20", same),
    "flatten by view": ("resnet20", viewed),
    "computed pads": ("resnet20", computed_pads),
    "transposes in pairs": ("resnet20", lambda g: transposed(g, RELU)),
    "changed with channels last": (
        "resnet20",
        lambda g: transposed(g, RELU, NODE("Identity", ["last"], ["same"])),
    ),
    "clip at 0": ("resnet20", lambda g: g.every("Relu", "Clip", min=0.0)),
    "pools rounded by pads": (
        "alexnet",
        lambda g: g.attributes("pool5", ceil_mode=0, pads=[0, 0, 1, 1]),
    ),
}
OTHERWISE: dict[str, tuple[str, Edit, str]] = {
    "numbers rounded": (
        "resnet20",
        lambda g: g.behind(
            RELU,
            NODE("Cast", [RELU], ["whole"], to=TensorProto.INT32),
            NODE("Cast", ["whole"], ["real"], to=TensorProto.FLOAT),
        ),
        "the graph has no res1_2_conv1",
    ),
    "padded twice": (
        "resnet20",
        lambda g: padded(g).attributes("conv1", auto_pad="SAME_UPPER"),
        "a padded image under auto_pad",
    ),
    "padded by a number": (
        "resnet20",
        lambda g: padded(g, NODE("Constant", [], ["much"], value_float=100.0)),
        "no conv1",
    ),
    "padded by what is computed": (
        "resnet20",
        lambda g: padded(g, NODE("ReduceMax", ["data"], ["most"], keepdims=0)),
        "no conv1",
    ),
    "padded by reflection": (
        "resnet20",
        lambda g: padded(g).attributes("wider", mode="reflect"),
        "no conv1",
    ),
    "channels scrambled": (
        "resnet20",
        lambda g: g.behind(
            RELU,
            NODE("Reshape", [RELU, g.constant("other", [0, 16, 16, 4])], ["mixed"]),
            NODE("Transpose", ["mixed"], ["back"], perm=[0, 3, 1, 2]),
        ),
        "no res1_2_conv1",
    ),
    "never transposed back": (
        "resnet20",
        lambda g: g.behind(
            RELU,
            NODE("Transpose", [RELU], ["last"], perm=[0, 2, 3, 1]),
            NODE("Reshape", ["last", g.constant("other", [-1, 4, 16, 16])], ["mixed"]),
        ),
        "conv",
    ),
    "rows and columns exchanged": (
        "resnet20",
        lambda g: g.behind(RELU, NODE("Transpose", [RELU], ["turned"], perm=[0, 1, 3, 2])),
        "no res1_2_conv1",
    ),
    "softmax in between": (
        "resnet20",
        lambda g: g.behind(RELU, NODE("Softmax", [RELU], ["soft"], axis=1)),
        "no res1_2_conv1",
    ),
    "no ReLU": ("vgg16", lambda g: g.every("Relu", "Identity"), "no relu1_1"),
    "ReLU6": ("vgg16", lambda g: g.every("Relu", "Clip", min=0.0, max=6.0), "no relu1_1"),
    "means for maxima": ("vgg16", lambda g: g.every("MaxPool", "AveragePool"), "no pool1"),
    "larger pools": (
        "vgg16",
        lambda g: g.every("MaxPool", "MaxPool", kernel_shape=[3, 3], pads=[0, 0, 1, 1]),
        "no pool1",
    ),
    "pads on one side": (
        "vgg16",
        lambda g: g.attribute(g.node("conv1_1"), "pads", [2, 2, 0, 0]),
        "no conv1_1",
    ),
    "another alpha": ("alexnet", lambda g: g.attribute(g.node("norm1"), "alpha", 2e-4), "no "),
    "LRN over rows": (
        "alexnet",
        lambda g: transposed(
            g, "relu1", NODE("LRN", ["last"], ["rows"], size=5, alpha=1e-4, beta=0.75, bias=1.0)
        ),
        "no ",
    ),
}


@pytest.mark.parametrize("case", ALIKE)
def test_graphs_in_other_words(tmp_path: Path, case: str) -> None:
    name, edit = ALIKE[case]
    graph = Graph(name)
    edit(graph)
    code, out = graph.converted(tmp_path)
    assert code == 0
    network, weights = load(out, name)
    assert dict(network.parameters) == dict(graph.network.parameters)
    assert weights.sha256 == graph.weights.sha256


@pytest.mark.parametrize("case", OTHERWISE)
def test_graphs_that_compute_something_else(
    tmp_path: Path, case: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name, edit, text = OTHERWISE[case]
    graph = Graph(name)
    edit(graph)
    code, out = graph.converted(tmp_path)
    told = capsys.readouterr().err
    assert code == 2 and text in told and told.count("\n") == 1 and not out.exists()


@pytest.mark.parametrize("attribute", [{"training_mode": 1}, {"spatial": 0}])
def test_normalisations_by_other_means(
    tmp_path: Path, attribute: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    graph = Graph("resnet20")
    names: Sequence[str] = [
        graph.constant(f"norm{part}", np.ones(4, np.float32)) for part in "abcd"
    ]
    graph.behind(
        "conv1", NODE("BatchNormalization", ["conv1", *names], ["normalised"], **attribute)
    )
    assert graph.converted(tmp_path)[0] == 2
    assert "in training mode, or of single pixels" in capsys.readouterr().err
