"""Labels never shift: what lies beside images, lists, orders of folders, files of classes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from refq.data import labelling, open_dataset
from refq.errors import DataError, OptionError
from tests.data.pictures import INPUT, class_folders, error_of, labels_of, listed, noise, save_image


@pytest.mark.parametrize(
    "junk",
    ["__MACOSX", "@eaDir", ".git", "lost+found", "$RECYCLE.BIN", "System Volume Information"],
)
def test_what_systems_leave_is_no_class(tmp_path: Path, junk: str) -> None:
    spec = class_folders(tmp_path, "Zebra", "ant", "bee")
    (tmp_path / junk).mkdir()
    save_image(tmp_path / junk / "a.png", noise(4, 5, 3))
    (tmp_path / "bee" / junk).mkdir()
    save_image(tmp_path / "bee" / junk / "a.png", noise(4, 5, 3))
    (tmp_path / "ant" / "notes.txt").write_text("x")
    data = open_dataset(spec, INPUT)
    assert data.classes == ("Zebra", "ant", "bee") and labels_of(data) == [0, 1, 2]
    assert data.notes == (f"left out: {junk}, ant/notes.txt, bee/{junk}",)


def test_many_that_are_left_out_are_counted(tmp_path: Path) -> None:
    save_image(tmp_path / "a.png", noise(4, 5, 3))
    for number in range(1200):
        (tmp_path / f"._{number}.png").touch()
    (tmp_path / "empty").mkdir()
    assert open_dataset(str(tmp_path), INPUT).notes == (
        "left out: ._0.png, ._1.png, ._2.png and 1198 more",
    )


@pytest.mark.skipif(os.name != "posix", reason="links are made as POSIX does")
def test_links_that_lead_nowhere(tmp_path: Path) -> None:
    spec = class_folders(tmp_path, "ant", "cat")
    (tmp_path / "bee").symlink_to(tmp_path / "away")
    with error_of(DataError, "bee is a link that leads nowhere; expected a folder; mend or rem"):
        open_dataset(spec, INPUT)
    (tmp_path / "away").mkdir()
    save_image(tmp_path / "away" / "a.png", noise(4, 5, 3))
    assert open_dataset(spec, INPUT).classes == ("ant", "away", "bee", "cat")
    (tmp_path / "cat" / "b.png").symlink_to("away.png")
    data = open_dataset(spec, INPUT)
    assert len(data) == 5
    with error_of(DataError, "b.png (a link that leads nowhere)"):
        data.image(4)


@pytest.mark.parametrize("name", ["val.txt", "test_batch", "test_batch.bin"])
@pytest.mark.skipif(os.name != "posix", reason="links are made as POSIX does")
def test_a_list_that_leads_nowhere_is_not_passed_over(tmp_path: Path, name: str) -> None:
    save_image(tmp_path / "a.png", noise(4, 5, 3))
    (tmp_path / name).symlink_to("away")
    with error_of(DataError, f"cannot read {tmp_path / name} (No such file or directory)"):
        open_dataset(str(tmp_path), INPUT)
    (tmp_path / name).unlink()
    os.mkfifo(tmp_path / name)
    with error_of(DataError, f"cannot read {tmp_path / name} (a pipe)"):
        open_dataset(str(tmp_path), INPUT)


def test_folders_of_folders_of_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class_folders(tmp_path / "train", "ant", "bee")
    monkeypatch.chdir(tmp_path.parent)  # a line has 400 characters at most
    name = tmp_path.name
    with error_of(DataError, f"no images in {name}, but in {name}/train") as told:
        open_dataset(name, INPUT)
    assert str(told.value).endswith(f"give {name}/train")
    save_image(tmp_path / "train" / "bee" / "more" / "a.png", noise(4, 5, 3))
    with error_of(DataError, f"{tmp_path / 'train' / 'bee' / 'more'} holds images beside class"):
        open_dataset(str(tmp_path / "train"), INPUT)


def test_a_folder_without_images_is_told_with_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "a.npy").touch()
    (tmp_path / "sub").mkdir()
    with error_of(DataError, f"no images in {tmp_path}, which holds sub, a.npy; expected val.txt"):
        open_dataset(str(tmp_path), INPUT)


def test_a_folder_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who runs tests may be allowed everything."""
    spec, scandir = class_folders(tmp_path, "ant", "bee"), os.scandir

    def refused(path: Path) -> object:
        if Path(path).name == "bee":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refused)
    with error_of(DataError, f"cannot list {tmp_path / 'bee'} (Permission denied); expected a"):
        open_dataset(spec, INPUT)


# orders


def test_order_of_folders(tmp_path: Path) -> None:
    spec = class_folders(tmp_path, "0", "1", "2", "10")
    natural = open_dataset(spec, INPUT)
    assert natural.classes == ("0", "1", "2", "10")
    assert natural.order == "natural order (--class-order codepoint would number them otherwise)"
    plain = open_dataset(spec, INPUT, order="codepoint")
    assert plain.classes == ("0", "1", "10", "2")
    assert plain.order == "codepoint order (--class-order natural would number them otherwise)"
    # img1, img2, img10 of a class stay as they are
    same = open_dataset(class_folders(tmp_path / "few", "n01", "n02"), INPUT)
    assert same.order == "natural order"


def test_codepoint_order_is_torchvisions(tmp_path: Path) -> None:
    folders = pytest.importorskip("torchvision.datasets.folder", reason="needs torchvision")
    spec = class_folders(tmp_path, "Zebra", "ant", "10", "9", "é", "_x")
    wanted, _ = folders.find_classes(spec)
    assert open_dataset(spec, INPUT, order="codepoint").classes == tuple(wanted)


def test_an_order_where_there_are_no_folders_is_refused(tmp_path: Path) -> None:
    save_image(tmp_path / "a.png", noise(4, 5, 3))
    for spec in ("random:2", str(tmp_path)):
        with error_of(OptionError, "--class-order with"):
            open_dataset(spec, INPUT, order="natural")


# lists


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lists_of_any_system(tmp_path: Path, encoding: str, end: str) -> None:
    listed(tmp_path, "")
    text = end.join(["a.png 3", "", "b c.png\t1 ", " sub/d.png  2", ""])
    (tmp_path / "val.txt").write_bytes(text.encode(encoding))
    data = open_dataset(str(tmp_path), INPUT)
    assert labels_of(data) == [3, 1, 2]
    assert data.where(1) == f"{tmp_path / 'val.txt'}:3 (b c.png)"


def test_marks_by_bytes(tmp_path: Path) -> None:
    listed(tmp_path, "")
    for raw in (
        b"\xff\xfea\0.\0p\0n\0g\0 \x003\0",
        b"\xfe\xff\0a\0.\0p\0n\0g\0 \x003",
        b"\xef\xbb\xbfa.png 3",
    ):
        (tmp_path / "val.txt").write_bytes(raw)
        assert labels_of(open_dataset(str(tmp_path), INPUT)) == [3]
    for raw in (b"a\0.\0p\0n\0g\0 \x003\0", b"\xff\xfea\0\0\0b\0"):
        (tmp_path / "val.txt").write_bytes(raw)
        with error_of(DataError, "(zero bytes in it: it is no text, or UTF-16 without a byte"):
            open_dataset(str(tmp_path), INPUT)


@pytest.mark.skipif(os.name != "posix", reason="names of files are bytes on POSIX")
def test_names_that_are_no_utf_8(tmp_path: Path) -> None:
    save_image(tmp_path / "a.png", noise(4, 5, 3))
    (tmp_path / "a.png").rename(tmp_path / os.fsdecode(b"caf\xe9.png"))
    (tmp_path / "val.txt").write_bytes(b"caf\xe9.png 4\n")
    data = open_dataset(str(tmp_path), INPUT)
    assert labels_of(data) == [4] and data.image(0).shape == (4, 5, 3)
    told = labelling(data, 0, 1)
    assert told and told["images"][0]["image"].endswith("(caf\\udce9.png)")


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("a.png 2", "a.png again, as in line 1; expected each image once"),
        ("./a.png 1", "./a.png again, as in line 1"),
        ("sub//../a.png 1", "again, as in line 1"),
        ("sub/../sub/d.png 1", "sub/../sub/d.png leads out of the folder; expected a path below"),
        ("../a.png 1", "../a.png leads out of the folder"),
        ("/a.png 1", "/a.png leads out of the folder"),
        ("A.PNG 1", "A.PNG; expected a file in the folder of val.txt; there is a.png: write it in"),
        ("sub\\d.png 1", "expected a file in the folder of val.txt; write / between folders"),
        ("c.png 1", "c.png; expected a file in the folder of val.txt; fetch the image or remove"),
        ("sub 1", "sub (a folder); expected a file"),
        (f"{'x' * 300}.png 1", "x.png (File name too long); expected a file"),
        (f"{'y/' * 3000}.png 1", "(File name too long); expected a file"),
        (f"{' ' * 9} 1", "'1'; expected an image's name and its label"),
        (f"a{' ' * 200_000}b", "label 'b'; expected a whole number"),
        ("b c.png 1 # cat", "label 'cat'; expected a whole number"),
    ],
)
def test_lines_that_do_not_fit(tmp_path: Path, line: str, wanted: str) -> None:
    with error_of(DataError, wanted) as told:
        open_dataset(listed(tmp_path, f"a.png 1\n{line}\n"), INPUT)
    assert f"{tmp_path / 'val.txt'}:2: " in str(told.value) and len(str(told.value)) < 2000


def test_a_list_in_other_letters_is_not_passed_over(tmp_path: Path) -> None:
    save_image(tmp_path / "a.png", noise(4, 5, 3))
    (tmp_path / "VAL.TXT").write_text("a.png 1")
    if (tmp_path / "val.txt").exists():
        pytest.skip("a file system that knows no case")
    with error_of(DataError, "VAL.TXT; expected a list named val.txt; rename it"):
        open_dataset(str(tmp_path), INPUT)


def test_images_that_no_line_names_are_counted(tmp_path: Path) -> None:
    listed(tmp_path, "")
    save_image(tmp_path / "sub" / "e.png", noise(4, 5, 3))
    (tmp_path / "val.txt").write_text("a.png 1\nsub/d.png 2\n")
    data = open_dataset(str(tmp_path), INPUT)
    assert data.notes == ("images beside them that val.txt does not name: 2",)


def test_a_list_beyond_all_bounds_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "val.txt").open("wb") as file:
        file.truncate((64 << 20) + 1)
    with error_of(DataError, "val.txt (more than 67,108,864 bytes)"):
        open_dataset(str(tmp_path), INPUT)
