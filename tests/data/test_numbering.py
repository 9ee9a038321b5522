"""Classes of data and of a network: as many as these, or numbered by a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from refq.data import Dataset, check_labels, labelling, open_dataset, renumbered
from refq.data.numbering import load
from refq.errors import DataError, OptionError
from tests.data.pictures import INPUT, class_folders, error_of, labels_of, noise, save_image


def test_the_number_of_classes_is_the_networks(tmp_path: Path) -> None:
    data = open_dataset(class_folders(tmp_path, "ant", "bee"), INPUT)
    check_labels(data, 2)
    with error_of(DataError, "(2 class folders): 2 classes; expected 1,000, as the network has"):
        check_labels(data, 1000)
    with error_of(DataError, "2 classes; expected 1, as the network has; give data of all its"):
        check_labels(data, 1)


def numbered_by(tmp_path: Path, content: str, *names: str) -> Dataset:
    data = open_dataset(class_folders(tmp_path / "set", *names), INPUT)
    (tmp_path / "classes").write_text(content, "utf-8")
    return renumbered(data, str(tmp_path / "classes"))


SYNSETS = ["n01440764", "n01443537", "n01484850", "n02123045"]
WORDS = "\n".join(f"{name} fish, number {index}, say" for index, name in enumerate(SYNSETS))


@pytest.mark.parametrize(
    "content",
    [
        "\n".join(SYNSETS),
        f"\ufeff{WORDS}\n",
        "n02123045 3\r\nn01443537\t1\r\n",
        "n02123045,3\nn01443537, 1\n",
        json.dumps(SYNSETS),
        json.dumps({"n02123045": 3, "n01443537": 1}),
        json.dumps({str(index): [name, "fish"] for index, name in enumerate(SYNSETS)}),
        json.dumps(dict(enumerate(SYNSETS))),
    ],
)
def test_files_of_classes(tmp_path: Path, content: str) -> None:
    data = numbered_by(tmp_path, content, "n01443537", "n02123045")
    assert labels_of(data) == [1, 3] and data.order == ""
    assert data.notes == (f"2 classes numbered by {tmp_path / 'classes'}",)
    check_labels(data, 4)
    if data.classes is not None:
        assert len(data.classes) == 4 and data.classes[3].startswith("n02123045")
        with error_of(DataError, "4 classes; expected 1,000"):
            check_labels(data, 1000)
    with error_of(DataError, "expected"):
        check_labels(data, 3)


def test_names_with_spaces_and_digits(tmp_path: Path) -> None:
    assert labels_of(numbered_by(tmp_path, "hot dog\ncat\n10\n", "10", "hot dog")) == [2, 0]
    assert load(tmp_path / "classes").indices["hot"] == 0
    (tmp_path / "classes").write_text("hot dog 7\n10 4\n")
    assert load(tmp_path / "classes").indices == {"hot dog": 7, "10": 4}
    (tmp_path / "classes").write_text("hot dog\nhot water\n")
    assert load(tmp_path / "classes").indices == {"hot dog": 0, "hot water": 1}
    (tmp_path / "classes").write_text("cat, tom\ndog, pug\n")
    assert load(tmp_path / "classes").indices == {"cat, tom": 0, "cat": 0, "dog, pug": 1, "dog": 1}
    (tmp_path / "classes").write_text("hot dog, a meal\nhot water, a drink\n")
    assert load(tmp_path / "classes").indices["hot water"] == 1


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        ("n01443537\nn02123046\n", "no class n02123045, as set (2 class folders) has; expected"),
        ("n02123046 1\nn01443537 2", "the nearest is n02123046"),
        ("cat 1\ncat 2", "line 2: cat again; expected lines of names"),
        ("cat\n\ncat", "class 1: cat again"),
        ("cat 0\nn02123045\ndog 2", "line 2: 'n02123045', where others are 'name index'"),
        ("cat 0\ndog -1\nant 2", "line 2: 'dog -1', where others are 'name index'"),
        ("cat 1.0\ndog 2.0", "line 1: 'cat 1.0', where others are 'name index'"),
        (f"cat 0\ndog {'9' * 5000}", "line 2: 'dog 9"),
        ('{"cat": 1, "cat": 2}', "'cat' twice in an object"),
        ('{"cat": 1.5}', "an object with something else than indices"),
        ('{"cat": true}', "an object with something else than indices"),
        ('{"cat": -1}', "an object with something else than indices"),
        ("[1, 2]", "a list with something else than names"),
        ("[" * 100_000, "classes: "),
        ("[", "classes: "),
        (" \n", "names no classes"),
        ("{}", "names no classes"),
        ("[]", "names no classes"),
    ],
)
def test_wrong_files_of_classes(tmp_path: Path, content: str, wanted: str) -> None:
    with error_of(DataError, wanted):
        numbered_by(tmp_path, content, "n01443537", "n02123045")


def test_files_of_classes_that_are_none(tmp_path: Path) -> None:
    data = open_dataset(class_folders(tmp_path / "set", "ant", "bee"), INPUT)
    with error_of(DataError, "cannot read /no/such (No such file or directory); expected lines"):
        renumbered(data, "/no/such")
    with error_of(DataError, f"cannot read {tmp_path} (a folder)"):
        renumbered(data, str(tmp_path))
    with error_of(OptionError, "--classes with random noise (seed 0); expected data whose classes"):
        renumbered(open_dataset("random:2", INPUT), "/no/such")


def test_an_empty_class_needs_no_number(tmp_path: Path) -> None:
    (tmp_path / "set" / "void").mkdir(parents=True)
    data = numbered_by(tmp_path, "ant 3\nbee 5", "ant", "bee")
    assert labels_of(data) == [3, 5]
    assert data.notes[0] == "no images in void"


def test_what_a_report_tells_of_labels(tmp_path: Path) -> None:
    spec = class_folders(tmp_path, "ant", "bee", "cat")
    save_image(tmp_path / "bee" / "b.png", noise(4, 5, 3))
    told = labelling(open_dataset(spec, INPUT), 1, 4)
    assert told == {
        "classes": 2,
        "first": 1,
        "last": 2,
        "fewest": 1,
        "most": 2,
        "images": [
            {"image": str(tmp_path / "bee" / "a.png"), "label": 1, "class": "bee"},
            {"image": str(tmp_path / "cat" / "a.png"), "label": 2, "class": "cat"},
            {"image": str(tmp_path / "bee" / "b.png"), "label": 1, "class": "bee"},
        ],
        "order": "natural order",
    }
    assert labelling(open_dataset("random:2", INPUT), 0, 2) is None
