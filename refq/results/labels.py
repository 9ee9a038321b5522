"""What a report says of images and their labels, so that one can see whether these fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from refq.errors import listed

NAMED = 3  # images that are named


def label_lines(data: Mapping[str, Any]) -> list[str]:
    """Lines of what JSON's `data` holds: labels, notes and skipped images; none without any."""
    lines = [f"labels   {_labels(data['labels'])}"] if data.get("labels") else []
    lines += [f"         {note}" for note in data.get("notes") or ()]
    return lines + _skipped(data.get("skipped") or ())


def _skipped(skipped: Sequence[Mapping[str, str]]) -> list[str]:
    if not skipped:
        return []
    images = "image that cannot be read" if len(skipped) == 1 else "images that cannot be read"
    names = listed((_place(image["image"]) for image in skipped), NAMED)
    return [f"skipped  {len(skipped):,} {images}: {names}"]


def _labels(labels: Mapping[str, Any]) -> str:
    """`10 classes (0..9) of 100 images each: dog/1.png is 3 (dog), ...`."""
    fewest, most = labels["fewest"], labels["most"]
    count = f"{most} image{'s' if most > 1 else ''} each"
    if fewest < most:
        count = f"{fewest} to {most} images"
    shown = []
    for image in labels["images"]:
        name = f" ({image['class']})" if image["class"] else ""
        shown.append(f"{_place(image['image'])} is {image['label']}{name}")
    order = f", folders in {labels['order']}" if labels["order"] else ""
    classes = f"{labels['classes']} class{'es' if labels['classes'] > 1 else ''}"
    span = f"({labels['first']}..{labels['last']})"
    return f"{classes} {span} of {count}{order}: {', '.join(shown)}"


def _place(image: str) -> str:
    """The end of where an image is: a file in its folder, or its number in a file of many."""
    for word in ("image", "row"):
        _, comma, number = image.rpartition(f", {word} ")
        if comma:
            return f"{word} {number}"
    return "/".join(image.split("/")[-2:])
