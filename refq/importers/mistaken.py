"""Files that people have in the place of weights, by the mistakes that are made often."""

from __future__ import annotations

from pathlib import Path

from refq.errors import WeightsError

OF_KERAS = "a file that Keras writes, by model.save('w.h5')"
# what lies beside weights, by how its name ends
BESIDE = {
    ".solverstate": "a solver's state of Caffe, the .caffemodel of the same snapshot",
    ".prototxt": "Caffe's description of layers, the .caffemodel that belongs to it",
    ".binaryproto": "a mean image of Caffe, a .caffemodel",
    ".json": "a description of layers, the weights that belong to it",
    ".yaml": "a description of layers, the weights that belong to it",
    ".pb": f"a graph of TensorFlow, {OF_KERAS}",
    ".index": f"a part of a checkpoint of TensorFlow, {OF_KERAS}",
    ".meta": f"a part of a checkpoint of TensorFlow, {OF_KERAS}",
    ".tflite": f"a model of TensorFlow Lite, {OF_KERAS}",
}
PAGES = (b"<!doctype html", b"<html", b"<head", b"<?xml")
# by the first bytes: what it is, and what to do
ARCHIVES = {
    b"\x1f\x8b": ("compressed by gzip", "unpack it"),
    b"7z\xbc\xaf\x27\x1c": ("an archive of 7-Zip", "unpack it"),
    b"BZh": ("compressed by bzip2", "unpack it"),
    b"\xfd7zXZ\x00": ("compressed by xz", "unpack it"),
    b"\x28\xb5\x2f\xfd": ("compressed by zstd", "unpack it"),
    b"Rar!": ("a RAR archive", "unpack it"),
    b"GGUF": ("a GGUF model", "save it as a state dict of PyTorch"),
}
POINTER = b"version https://git-lfs.github.com/spec/"


def check_regular(path: Path) -> None:
    """Raises WeightsError for a path that leads to no regular file."""
    if not path.exists():
        raise WeightsError(f"no file at {path}", remedy="check the path")
    if path.is_dir() and (path / "saved_model.pb").exists():
        raise WeightsError(f"{path} is a SavedModel of TensorFlow", OF_KERAS)
    if not path.is_file():
        raise WeightsError(f"no regular file at {path}", "a weight file", "check the path")


def check_head(path: Path, head: bytes) -> None:
    """Raises WeightsError for a file that by its first bytes is no weight file at all."""
    if not head:
        raise WeightsError(f"{path} is an empty file", "a weight file", "fetch it again")
    if head.startswith(POINTER):
        raise WeightsError(f"{path} is a Git LFS pointer", "the weights", "run git lfs pull")
    for begin, (what, remedy) in ARCHIVES.items():
        if head.startswith(begin):
            raise WeightsError(f"{path} is {what}", "a weight file", remedy)
    ending = ".index" if path.suffix.startswith(".data-") else path.suffix
    if ending in BESIDE:
        what, _, wanted = BESIDE[ending].partition(", ")
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
