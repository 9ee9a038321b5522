"""What each framework's published models call the layers of refq's networks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from refq.importers.contents import Contents
from refq.networks import Network
from refq.networks.resnet import block_names

# for each layer of a network the file's layer, then the normalisations behind it
Names = Mapping[str, tuple[str, ...]]


def variants(contents: Contents, network: Network) -> Iterator[Names]:
    """The ways in which a file of that source may name the network's layers, the likeliest first.

    None is certain: matching.py tries which one fits.
    """
    layers = list(network.weight_shapes())
    family = re.sub(r"\d.*", "", network.name)
    special = FAMILIES.get((contents.source, family))
    if special:
        yield from special(network, layers)
    if contents.source in ("caffe", "keras", "matconvnet"):
        yield _normalised(layers, contents.source == "caffe")
    yield {layer: (layer,) for layer in layers}
    if not any(node.layer.several for node in network.nodes):
        # layers in a row need no names: Keras 3 may have left them out
        found = [name for name, unit in contents.units.items() if "weight" in unit.arrays]
        anonymous = all(re.fullmatch(r"(conv2d|dense)(_\d+)?", name) for name in found)
        if anonymous and len(found) == len(layers):
            yield {layer: (name,) for layer, name in zip(layers, found)}


def _normalised(layers: list[str], scale: bool) -> Names:
    """Caffe's and MatConvNet's names of normalisations: bn_conv1, bn2a_branch2a, bn1; and Caffe's
    Scale layers behind them. Classifiers have none."""
    found = {}
    for layer in layers:
        if layer.startswith("res"):
            tags = [layer.removeprefix("res")]
        elif re.fullmatch(r"(conv|fc)\d", layer) and not scale and layer != "conv1":
            tags = [layer[-1]]
        else:
            tags = [f"_{layer}"] if layer == "conv1" else []
        kinds = ("bn", "scale") if scale else ("bn",)
        found[layer] = (layer, *(f"{kind}{tag}" for tag in tags for kind in kinds))
    return found


def _matconvnet_alexnet(network: Network, layers: list[str]) -> Iterator[Names]:
    """imagenet-matconvnet-alex: bn1 to bn7."""
    last = layers[-1]
    yield {
        layer: (layer,) if layer == last and last == "fc8" else (layer, f"bn{layer[-1]}")
        for layer in layers
    }


def _matconvnet_googlenet(network: Network, layers: list[str]) -> Iterator[Names]:
    """imagenet-googlenet-dag: icp1 to icp9."""
    stages = ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")
    parts = {
        "1x1": "out0",
        "3x3_reduce": "reduction1",
        "3x3": "out1",
        "5x5_reduce": "reduction2",
        "5x5": "out2",
        "pool_proj": "out3",
    }
    first = {
        "conv1/7x7_s2": "conv1",
        "conv2/3x3_reduce": "reduction2",
        "conv2/3x3": "conv2",
        "loss3/classifier": "cls3_fc",
    }
    named = {}
    for layer in layers:
        stage, _, part = layer.removeprefix("inception_").partition("/")
        own = first.get(layer) or f"icp{stages.index(stage) + 1}_{parts[part]}"
        named[layer] = (own,)
    yield named


def _torch_sequence(network: Network, layers: list[str]) -> Iterator[Names]:
    """torchvision's VGG and AlexNet: features.N counts convolutions, ReLUs and pools, and
    normalisations where there are any; classifier.N also dropouts."""
    places = (0, 3, 6) if network.name.startswith("vgg") else (1, 4, 6)
    for normalised in (False, True):
        named: dict[str, tuple[str, ...]] = {}
        index, dense = 0, iter(places)
        for node in network.nodes:
            if node.layer.flat:
                named[node.name] = (f"classifier.{next(dense)}",)
            elif node.name in layers:
                norms = (f"features.{index + 1}",) if normalised else ()
                named[node.name] = (f"features.{index}", *norms)
                index += len(norms)
            index += 1
        yield named


def _torch_squeezenet(network: Network, layers: list[str]) -> Iterator[Names]:
    """features.N counts conv1, its ReLU, pools and fires."""
    index, fires, named = -1, {}, {}
    for node in network.nodes:
        stage = node.name.partition("/")[0]
        if stage.startswith("fire"):
            if stage not in fires:
                index += 1
                fires[stage] = index
            if node.name in layers:
                part = node.name.partition("/")[2].replace("squeeze1x1", "squeeze")
                named[node.name] = (f"features.{index}.{part}",)
        elif node.name == "conv10":
            named[node.name] = ("classifier.1",)
        else:
            index += 1
            if node.name == "conv1":
                named[node.name] = (f"features.{index}",)
    yield named


def _torch_googlenet(network: Network, layers: list[str]) -> Iterator[Names]:
    branches = {
        "1x1": "branch1",
        "3x3_reduce": "branch2.0",
        "3x3": "branch2.1",
        "5x5_reduce": "branch3.0",
        "5x5": "branch3.1",
        "pool_proj": "branch4.1",
    }
    first = {"conv1/7x7_s2": "conv1", "conv2/3x3_reduce": "conv2", "conv2/3x3": "conv3"}
    named: dict[str, tuple[str, ...]] = {}
    for layer in layers:
        stage, _, part = layer.partition("/")
        if layer == "loss3/classifier":
            named[layer] = ("fc",)
        else:
            own = first.get(layer) or f"{stage.replace('_', '')}.{branches[part]}"
            named[layer] = (f"{own}.conv", f"{own}.bn")
    yield named


def _blocks(network: Network, layers: list[str]) -> Iterator[tuple[str, int, int, str]]:
    """(layer, stage from 2, block from 0, branch) of the ImageNet ResNets' blocks."""
    size = int(re.sub(r"\D.*", "", network.name.removeprefix("resnet")))
    for stage in (2, 3, 4, 5):
        for index, block in enumerate(block_names(size, stage)):
            for branch in ("branch1", "branch2a", "branch2b", "branch2c"):
                if f"{block}_{branch}" in layers:
                    yield f"{block}_{branch}", stage, index, branch


def _torch_resnet(network: Network, layers: list[str]) -> Iterator[Names]:
    """torchvision's; and the CIFAR-10 ones with layer1.0.conv1, bn1 and linear or fc."""
    if "fc1000" in layers or "res2a_branch1" in layers:
        parts = {
            "branch1": ("downsample.0", "downsample.1"),
            "branch2a": ("conv1", "bn1"),
            "branch2b": ("conv2", "bn2"),
            "branch2c": ("conv3", "bn3"),
        }
        named: dict[str, tuple[str, ...]] = {"conv1": ("conv1", "bn1"), "fc1000": ("fc",)}
        for layer, stage, index, branch in _blocks(network, layers):
            prefix = f"layer{stage - 1}.{index}"
            named[layer] = tuple(f"{prefix}.{part}" for part in parts[branch])
        yield {layer: named[layer] for layer in layers}
        return
    for classifier in ("fc", "linear"):
        named = {}
        for layer in layers:
            match = re.fullmatch(r"res(\d)_(\d+)_conv(\d)", layer)
            prefix = f"layer{match[1]}.{int(match[2]) - 1}." if match else ""
            number = match[3] if match else 1
            own = (f"{prefix}conv{number}", f"{prefix}bn{number}")
            named[layer] = (classifier,) if layer == "fc" else own
        yield named


def _keras_vgg(network: Network, layers: list[str]) -> Iterator[Names]:
    tops = {"fc6": "fc1", "fc7": "fc2", "fc8": "predictions"}
    pattern = re.compile(r"conv(\d)_(\d)")
    yield {layer: (tops.get(layer) or pattern.sub(r"block\1_conv\2", layer),) for layer in layers}


def _keras_resnet(network: Network, layers: list[str]) -> Iterator[Names]:
    if "res2a_branch1" not in layers:
        return
    parts = {"branch1": 0, "branch2a": 1, "branch2b": 2, "branch2c": 3}
    named: dict[str, tuple[str, ...]] = {
        "conv1": ("conv1_conv", "conv1_bn"),
        "fc1000": ("predictions",),
    }
    for layer, stage, index, branch in _blocks(network, layers):
        own = f"conv{stage}_block{index + 1}_{parts[branch]}"
        named[layer] = (f"{own}_conv", f"{own}_bn")
    yield {layer: named[layer] for layer in layers}


Namer = Callable[[Network, list[str]], Iterator[Names]]
FAMILIES: dict[tuple[str, str], Namer] = {
    ("matconvnet", "alexnet_matconvnet"): _matconvnet_alexnet,
    ("matconvnet", "googlenet"): _matconvnet_googlenet,
    ("torch", "vgg"): _torch_sequence,
    ("torch", "alexnet_torchvision"): _torch_sequence,
    ("torch", "squeezenet"): _torch_squeezenet,
    ("torch", "googlenet_torchvision"): _torch_googlenet,
    ("torch", "resnet"): _torch_resnet,
    ("keras", "vgg"): _keras_vgg,
    ("keras", "resnet"): _keras_resnet,
}


def candidates(source: str, known: list[str]) -> list[str]:
    """Networks that a file of that source may be, as published, or all where it has a graph. Others
    have to be named: they have the same names and shapes and compute something else."""
    if source == "a graph":
        return known
    forms = {name: name.partition("_")[2] for name in known if not name.startswith("squeezenet")}
    own = {"torch": "torchvision"}.get(source, source)
    found = [name for name in known if forms.get(name, "") in ("", own)]
    if source == "keras":
        return [name for name in found if name.startswith("vgg") or forms.get(name)]
    if source == "torch":
        shadowed = {name.removesuffix("_torchvision") for name in found if forms.get(name)}
        return [name for name in found if forms.get(name) or name not in shadowed | {"caffenet"}]
    return found


def usual_sizes(contents: Contents, network: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """(parameters of published models that their weights do not tell, notes on them).

    torchvision's SqueezeNets were trained on 224x224, the authors' on 227x227. Those ResNets of
    PyTorch for CIFAR-10 whose classifier is `linear` add a half of the channels of zeros in front.
    """
    torch = contents.source == "torch"
    if torch and network.startswith("squeezenet"):
        return {"input_size": 224}, ()
    if not re.fullmatch(r"resnet(20|32|44|56)", network):
        return {}, ()
    centred = torch and "linear" in contents.units
    sides = "half in front, as where the classifier is named linear" if centred else "behind"
    other = f"--parameter centred={str(not centred).lower()}"
    note = f"weights do not tell where channels of zeros are added: {sides}; {other} changes it"
    return {"centred": True} if centred else {}, (note,)
