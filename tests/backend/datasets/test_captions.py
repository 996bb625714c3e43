import json
from pathlib import Path

import pytest
from PIL import Image

from backend.datasets import DataError, ImageSet, captions_of, load_data

GREY = (1, 4, 4)


def picture(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (4, 4), value).save(path)


def captioned(data: ImageSet) -> dict[int, str]:
    """The caption of each flat picture, by its grey."""
    return {
        int(image[0, 0, 0]): data.captions[label]
        for image, label in zip(data.stored, data.labels.tolist(), strict=True)
    }


def test_a_text_file_beside_each_picture(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", 1)
    picture(tmp_path / "deeper" / "b.JPG.png", 2)
    picture(tmp_path / "c.png", 3)
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfa honeybee\r\nin flight\r\n")
    (tmp_path / "deeper" / "b.JPG.txt").write_text("  an   ant ")
    (tmp_path / "c.txt").write_text("an ant")
    data = load_data(tmp_path, GREY, captioned=True)
    assert captioned(data) == {1: "a honeybee in flight", 2: "an ant", 3: "an ant"}
    assert data.captions == ("a honeybee in flight", "an ant") == captions_of(tmp_path)
    assert data.skipped == {}


def test_captions_that_cannot_be_used_are_counted_with_their_pictures(tmp_path: Path) -> None:
    words = {"good": b"a bee", "empty": b" \n", "latin": "K\u00e4fer".encode("latin-1"), "wide": "bee".encode("utf-16")}
    for value, (name, content) in enumerate({**words, "long": b"a" * 10_001}.items()):
        picture(tmp_path / f"{name}.png", value)
        (tmp_path / f"{name}.txt").write_bytes(content)
    picture(tmp_path / "none.png", 9)
    (tmp_path / "other.txt").write_text("beside no picture")
    data = load_data(tmp_path, GREY, captioned=True)
    assert captioned(data) == {0: "a bee"}
    assert data.skipped == {
        "with an empty caption": ("empty.png",),
        "with a caption that is not UTF-8 text": ("latin.png", "wide.png"),
        "with a caption too long to be one": ("long.png",),
        "without a caption": ("none.png",),
        "not pictures": ("other.txt",),
    }


def test_metadata_names_each_picture_and_its_text(tmp_path: Path) -> None:
    for value, name in enumerate(("a.png", "deeper/b.png", "c.png", "d.png", "e.png")):
        picture(tmp_path / name, value)
    (tmp_path / "a.txt").write_text("not asked while there is metadata")
    rows = [
        {"file_name": "a.png", "text": "a bee", "more": 1},
        {"file_name": "./deeper\\b.png", "text": "an ant"},
        {"file_name": "a.png", "text": "again"},
        {"file_name": "c.png", "text": ""},
        {"file_name": "../outside.png", "text": "no"},
        {"file_name": "e.png", "text": "a bee"},
    ]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    data = load_data(tmp_path, GREY, captioned=True)
    assert captioned(data) == {0: "a bee", 1: "an ant", 4: "a bee"}
    assert data.skipped == {
        "named twice in metadata.jsonl": ("a.png",),
        "named in metadata.jsonl and not there": ("../outside.png",),
        "with an empty caption": ("c.png",),
        "without a caption": ("d.png",),
    }


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"file_name": "a.png", "text": "a bee"}\n{"file', "Line 2 of metadata.jsonl of .* is not readable JSON"),
        (b'["a.png"]', "Line 1 of metadata.jsonl of .* has no file_name and text; write it as {.*}"),
        (b'{"file_name": "a.png", "text": 3}', "Line 1 of metadata.jsonl of .* has no file_name and text"),
        (b"[" * 100_000, "Line 1 of metadata.jsonl of .* is not readable JSON"),
        (b"\n", "names none of the files there"),
        (b'{"file_name": "b.png", "text": "a bee"}', "names none of the files there"),
        ('{"file_name": "a.png", "text": "K\u00e4fer"}'.encode("latin-1"), r"is not UTF-8 text \(line 1\)"),
    ],
)
def test_metadata_that_cannot_be_understood_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    picture(tmp_path / "a.png", 1)
    (tmp_path / "metadata.jsonl").write_bytes(content)
    with pytest.raises(DataError, match=said):
        load_data(tmp_path, GREY, captioned=True)


def test_class_folders_are_captions_where_there_are_no_others(tmp_path: Path) -> None:
    picture(tmp_path / "a cat" / "x.png", 1)
    picture(tmp_path / "a dog" / "x.png", 2)
    data = load_data(tmp_path, GREY, captioned=True)
    assert captioned(data) == {1: "a cat", 2: "a dog"}
    assert captions_of(tmp_path) == ("a cat", "a dog")


def test_captions_are_not_asked_where_classes_are_wanted(tmp_path: Path) -> None:
    picture(tmp_path / "cat" / "x.png", 1)
    (tmp_path / "cat" / "x.txt").write_text("a cat that sleeps")
    (tmp_path / "metadata.jsonl").write_text("{}")
    data = load_data(tmp_path, GREY)
    assert data.names == ("cat",)
    assert data.skipped == {}
    assert load_data(tmp_path / "cat", GREY).names == ()


def test_no_usable_caption_is_refused(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", 1)
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(DataError, match=r"No picture in .* can be used \(1 with an empty caption\)"):
        load_data(tmp_path, GREY, captioned=True)
