"""Files that people have in the place of weights, by the mistakes that are made often."""

from __future__ import annotations

from pathlib import Path

from refq.errors import WeightsError

# what lies beside weights, by how its name ends
BESIDE = {
    ".solverstate": "a solver's state of Caffe, the .caffemodel of the same snapshot",
    ".prototxt": "Caffe's description of layers, the .caffemodel that belongs to it",
    ".binaryproto": "a mean image of Caffe, a .caffemodel",
}
PAGES = (b"<!doctype html", b"<html", b"<head", b"<?xml")
POINTER = b"version https://git-lfs.github.com/spec/"


def check_regular(path: Path) -> None:
    """Raises WeightsError for a path that leads to no regular file."""
    if not path.exists():
        raise WeightsError(f"no file at {path}", remedy="check the path")
    if not path.is_file():
        raise WeightsError(f"no regular file at {path}", "a weight file", "check the path")


def check_head(path: Path, head: bytes) -> None:
    """Raises WeightsError for a file that by its first bytes is no weight file at all."""
    if not head:
        raise WeightsError(f"{path} is an empty file", "a weight file", "fetch it again")
    if head.startswith(POINTER):
        raise WeightsError(f"{path} is a Git LFS pointer", "the weights", "run git lfs pull")
    if path.suffix in BESIDE:
        what, _, wanted = BESIDE[path.suffix].partition(", ")
        raise WeightsError(f"{path} is {what}", wanted)
    if head.startswith(b"\x93NUMPY") or path.suffix == ".npz":
        raise WeightsError(
            f"{path} is a file of NumPy",
            "a weight file that names its layers",
            "save them as a .safetensors file or a state dict of PyTorch",
        )
    if head.removeprefix(b"\xef\xbb\xbf").lstrip().lower().startswith(PAGES):
        raise WeightsError(
            f"{path} is a web page", "the weights", "fetch the file that it links to"
        )
