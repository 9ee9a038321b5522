"""Folders of images: plain ones, classes, lists; images of every mode; no Pillow."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from refq.data import batches, check_labels, open_dataset
from refq.data.folders import natural_key
from refq.data.presets import caffe
from refq.errors import DataError
from tests.data.pictures import (
    INPUT,
    PLAIN,
    cifar_records,
    error_of,
    labels_of,
    listed,
    noise,
    save_image,
    write_binary,
    write_packed,
)
from tests.shared_data import shared


def test_natural_order() -> None:
    names = ["img10", "img2", "b", "img02", "img2a", "2", "10", "img", ""]
    wanted = ["", "2", "10", "b", "img", "img02", "img2", "img2a", "img10"]
    assert sorted(names, key=natural_key) == wanted
    assert sorted(reversed(names), key=natural_key) == wanted


def test_plain_folder(tmp_path: Path) -> None:
    images = {f"img{n}.png": noise(4, 5, 3) for n in (10, 2, 1)}
    for name, image in images.items():
        save_image(tmp_path / name, image)
    save_image(tmp_path / "upper.PNG", images["img1.png"])
    (tmp_path / ".hidden.png").write_text("x")
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "empty folder").mkdir()
    data = open_dataset(str(tmp_path), INPUT)
    assert data.labels is None and data.classes is None
    assert data.name == f"{tmp_path.name} (image folder)"
    order = [Path(data.where(index)).name for index in range(len(data))]
    assert order == ["img1.png", "img2.png", "img10.png", "upper.PNG"]
    assert (data.image(2) == images["img10.png"]).all()


def test_class_folders(tmp_path: Path) -> None:
    images = {}
    for name in ("n02/b.png", "n02/a.png", "n10/c.png", "n10/d.png", "n10/e.png", "n1/f.png"):
        images[name] = noise(4, 5, 3)
        save_image(tmp_path / name, images[name])
    (tmp_path / "n03").mkdir()
    (tmp_path / ".git").mkdir()
    (tmp_path / "readme.md").write_text("x")
    data = open_dataset(str(tmp_path), INPUT)
    assert data.classes == ("n1", "n02", "n03", "n10")
    assert data.name == f"{tmp_path.name} (4 class folders)"
    order = ["n1/f.png", "n02/a.png", "n10/c.png", "n02/b.png", "n10/d.png", "n10/e.png"]
    assert [data.where(index) for index in range(6)] == [str(tmp_path / name) for name in order]
    assert labels_of(data) == [0, 1, 3, 1, 3, 3]
    for index, name in enumerate(order):
        assert (data.image(index) == images[name]).all()


def test_listed_folder(tmp_path: Path) -> None:
    spec = listed(tmp_path, "sub/d.png 999\n\na.png\t0\r\nb c.png 5  \n")
    data = open_dataset(spec, INPUT)
    assert data.name == f"{tmp_path.name} (Caffe val.txt)"
    assert labels_of(data) == [999, 0, 5] and data.classes is None
    check_labels(data, 1000)
    with error_of(DataError, f"{tmp_path / 'val.txt'}:1 (d.png): label 999; expected 0..9 for a"):
        check_labels(data, 10)
    with error_of(DataError, f"{tmp_path / 'val.txt'}:3 (b c.png): label -4"):
        check_labels(open_dataset(listed(tmp_path, "a.png 0\n\nb c.png -4"), INPUT), 10)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a.png 1\na.png\n", "val.txt:2: 'a.png'; expected an image's name and its label"),
        ("a.png one\n", "val.txt:1: label 'one'; expected a whole number; write 'name label'"),
        ("a.png 1.0\n", "val.txt:1: label '1.0'"),
        ("a.png 1_0\n", "val.txt:1: label '1_0'"),
        (f"a.png {'9' * 40}\n", "val.txt:1: label '999"),
        ("a.png 1\n\nmissing.png 1\n", "val.txt:3: no image "),
        ("\n \n", "val.txt names no images; expected lines of 'name label'"),
    ],
)
def test_wrong_val_txt(tmp_path: Path, text: str, wanted: str) -> None:
    with error_of(DataError, wanted):
        open_dataset(listed(tmp_path, text), INPUT)


def test_val_txt_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "val.txt").write_bytes(b"\xff\xfe\x00")
    with error_of(DataError, "cannot read"):
        open_dataset(str(tmp_path), INPUT)


def test_nothing_to_open(tmp_path: Path) -> None:
    with error_of(DataError, "no data at '/no/such'; expected bundled, random:N, a folder or"):
        open_dataset("/no/such", INPUT)
    with error_of(DataError, f"no images in {tmp_path}, which is empty; expected val.txt, CIF"):
        open_dataset(str(tmp_path), INPUT)


def test_images_beside_class_folders_are_ambiguous(tmp_path: Path) -> None:
    save_image(tmp_path / "a.png", noise(4, 5, 3))
    save_image(tmp_path / "cat" / "a.png", noise(4, 5, 3))
    with error_of(DataError, "holds 1 images beside 1 class folders; expected one or the other"):
        open_dataset(str(tmp_path), INPUT)


def test_other_colour_modes_become_rgb(tmp_path: Path) -> None:
    pil = pytest.importorskip("PIL.Image", reason="image files need Pillow")
    flat = np.empty((6, 5, 3), np.uint8)
    flat[:] = (200, 100, 50)
    save_image(tmp_path / "1rgba.png", np.dstack([flat, np.full((6, 5), 9, np.uint8)]))
    save_image(tmp_path / "2palette.png", flat, "P")
    save_image(tmp_path / "3cmyk.jpg", flat, "CMYK")
    save_image(tmp_path / "4grey.png", flat[:, :, 1])
    save_image(tmp_path / "5greyalpha.png", flat[:, :, 1], "LA")
    save_image(tmp_path / "6bits.png", flat[:, :, 1] > 50)
    transparent = pil.fromarray(flat).convert("P")
    transparent.save(tmp_path / "7clear.png", transparency=bytes(range(200)))
    data = open_dataset(str(tmp_path), INPUT)
    wanted = [(200, 100, 50)] * 3 + [(100, 100, 100)] * 2 + [(255, 255, 255), (200, 100, 50)]
    assert len(data) == len(wanted)
    for index, pixel in enumerate(wanted):
        image = data.image(index)
        assert image.shape == (6, 5, 3) and image.dtype == np.uint8
        tolerance = 30 if "palette" in data.where(index) or "clear" in data.where(index) else 3
        assert np.abs(image.astype(int) - pixel).max() <= tolerance


def test_images_that_cannot_be_decoded_are_named(tmp_path: Path) -> None:
    save_image(tmp_path / "deep.png", np.full((6, 5), 40_000, np.uint16))
    save_image(tmp_path / "short.png", noise(40, 50, 3))
    save_image(tmp_path / "short.jpg", noise(40, 50, 3))
    (tmp_path / "text.jpg").write_text("not an image")
    for name in ("short.png", "short.jpg"):
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    data = open_dataset(str(tmp_path), INPUT)
    names = [Path(data.where(index)).name for index in range(4)]
    assert names == ["deep.png", "short.jpg", "short.png", "text.jpg"]
    with error_of(DataError, f"{tmp_path / 'deep.png'}: pixels of 16 bits a channel; expected 8"):
        data.image(0)
    for index in range(1, 4):
        with error_of(DataError, f"cannot decode {tmp_path / names[index]} ("):
            data.image(index)
    with error_of(DataError, "cannot decode"):
        list(batches(data, PLAIN, 1, start=1))


def test_without_pillow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_image(tmp_path / "plain" / "a.png", noise(4, 5, 3))
    save_image(tmp_path / "classes" / "cat" / "a.png", noise(4, 5, 3))
    listed(tmp_path / "listed", "a.png 1")
    write_packed(tmp_path / "tiny.h5")
    (tmp_path / "cifar").mkdir()
    write_binary(tmp_path / "cifar" / "test_batch.bin", *cifar_records(2))
    monkeypatch.setitem(sys.modules, "PIL", None)
    for name in ("plain", "classes", "listed"):
        with error_of(DataError, "needs it; pip install 'refq[images]'"):
            open_dataset(str(tmp_path / name), INPUT)
    for name, side in (("tiny.h5", 4), ("cifar", 32)):
        stream = batches(open_dataset(str(tmp_path / name), INPUT), caffe((3, side, side)), 2)
        assert next(stream)[0].shape == (2, 3, side, side)
        stream.close()
    with error_of(DataError, "Pillow is not installed; scaling an image of 6x4 to be scaled"):
        next(batches(open_dataset(str(tmp_path / "tiny.h5"), INPUT), caffe((3, 5, 5)), 2))


def test_real_ilsvrc_images() -> None:
    data = open_dataset(str(shared("ilsvrc2012_val")), (3, 227, 227))
    assert data.name == "ilsvrc2012_val (Caffe val.txt)" and len(data) == 400
    check_labels(data, 1000)
    rule = caffe((3, 227, 227))
    images, labels = next(batches(data, rule, 3, start=1))
    assert (
        images.shape == (3, 3, 227, 227)
        and labels is not None
        and labels.tolist() == labels_of(data)[1:4]
    )
    blue = data.image(1)[5, 7, 2]
    assert images[0, 0, 5, 7] == float(blue) - 104
    small = next(batches(data, caffe((3, 224, 224)), 1, start=1))[0]
    assert (small[0] == images[0, :, 1:225, 1:225]).all()


def test_real_cifar_class_folders() -> None:
    data = open_dataset(str(shared("cifar10_test")), (3, 224, 224))
    assert len(data) == 1000 and data.classes is not None
    assert data.classes[0] == "airplane" and data.classes[9] == "truck"
    assert labels_of(data)[:20] == [*range(10), *range(10)]
    check_labels(data, 10)
    assert next(batches(data, caffe((3, 224, 224)), 2))[0].shape == (2, 3, 224, 224)
