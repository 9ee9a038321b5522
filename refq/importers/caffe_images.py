"""How the images of a .caffemodel are made: their size, their mean and scale, and what else its
data layers state of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from refq.importers import caffe_schema as schema
from refq.importers import wire
from refq.importers.caffe_layer import Layer
from refq.importers.contents import refuse, stated_size
from refq.networks.layers import Pair

# what data layers state of images in, old ones by themselves
PREPARING = ("transform_param", "data_param", "image_data_param", "window_data_param")
# the size is told elsewhere; others are of where images lie, or of training alone
WITHOUT_EFFECT = {
    "crop_size",
    "mirror",
    "source",
    "batch_size",
    "rand_skip",
    "shuffle",
    "backend",
    "force_color",
    "force_encoded_color",
    "prefetch",
    "root_folder",
    "fg_threshold",
    "bg_threshold",
    "fg_fraction",
    "cache_images",
}


def size(
    data: wire.Data, layers: Sequence[Layer], net: Mapping[str, list[wire.Field]]
) -> Pair | None:
    """Rows and columns, by an input of the network, an Input layer, or a crop. layers: those that
    give images."""
    dims: list[int] = []
    for part in net.get("input_dim", []):
        wire.more_integers(dims, data, part)
    # the first input is the image
    shapes = [dims, *(schema.shape(data, part) for part in net.get("input_shape", [])[:1])]
    for layer in layers[:1]:
        for part in layer.parameters.get("input_param", []):
            inner = wire.fields(data, part.begin, part.end)
            shapes += [schema.shape(data, each) for each in inner if each.number == 1][:1]
    for layer in layers:
        memory = layer.facts(data, "memory_data_param").fields
        shapes.append([1, *(memory.get(key, [0])[-1] for key in ("channels", "height", "width"))])
        for message in PREPARING:
            crop = layer.facts(data, message).fields.get("crop_size", [0])[-1]
            shapes.append([1, 3, crop, crop])
    for shape in shapes:
        if len(shape) >= 4 and (found := stated_size(shape[1], shape[2], shape[3])):
            return found
    return None


def prepared(
    data: wire.Data, layers: Sequence[Layer]
) -> tuple[tuple[float, float, float] | None, float, tuple[str, ...]]:
    """(mean of the images, R, G, B, where a data layer states it; their scale; notes)."""
    for layer in layers:
        said = {
            name: values
            for message in PREPARING
            for name, values in layer.facts(data, message).fields.items()
            if name not in WITHOUT_EFFECT
        }
        if said.get("force_gray", [0])[-1] or not said.get("is_color", [1])[-1]:
            raise refuse(f"{layer.name}: states images without colours", "images of 3 channels")
        mean, scale = said.get("mean_value", []), said.get("scale", [1.0])[-1]
        usable = len(mean) in (1, 3)
        rest = said.keys() - {"force_gray", "is_color"}
        rest -= {"mean_value", "scale"} if usable else set()
        if scale == 1.0:
            rest -= {"scale"}
        told = ", ".join(_told(name, values) for name, values in said.items() if name in rest)
        notes = (
            (f"{layer.name} states {told}; --preprocessing has to say the same",) if told else ()
        )
        if usable:
            return (mean[-1], mean[len(mean) // 2], mean[0]), scale, notes
        if notes:
            return None, 1.0, notes
    return None, 1.0, ()


def _told(name: str, values: Sequence[float]) -> str:
    """A field with its numbers; of texts it is known that they are there."""
    if name in schema.UNREAD:
        return f"a {name}"
    return f"a {name} of {', '.join(f'{value:g}' for value in values)}"
