import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backend.datasets import DataError, captions_of, load_data
from backend.picture_files import files

GREY = (1, 4, 4)


def png(value: int, size: tuple[int, int] = (4, 4)) -> bytes:
    content = io.BytesIO()
    Image.new("L", size, value).save(content, "PNG")
    return content.getvalue()


def pack(path: Path, content: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return path


def greys(path: Path, captioned: bool = False) -> dict[int, str]:
    data = load_data(path, GREY, captioned)
    names = data.names or ("",)
    return {int(image[0, 0, 0]): names[label] for image, label in zip(data.stored, data.labels.tolist(), strict=True)}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_is_read_as_the_folder_in_it(tmp_path: Path, method: int) -> None:
    content = {"cat/1.png": png(1), "dog/1.png": png(2), "dog/deeper/2.png": png(3)}
    for name, data in content.items():
        (tmp_path / "folder" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "folder" / name).write_bytes(data)
    packed = load_data(pack(tmp_path / "mine.zip", content, method), GREY)
    folder = load_data(tmp_path / "folder", GREY)
    assert packed.digest == folder.digest
    assert greys(tmp_path / "mine.zip") == {1: "cat", 2: "dog", 3: "dog"}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"all/cat/1.png": png(1), "all/dog/2.png": png(2)}, {1: "cat", 2: "dog"}),
        ({"cat/1.png": png(1), "cat/2.png": png(2)}, {1: "cat", 2: "cat"}),
        ({"all/cat/1.png": png(1), "dog/2.png": png(2)}, {1: "all", 2: "dog"}),
        ({"1.png": png(1)}, {1: ""}),
        ({"all\\cat\\1.png": png(1), "all\\dog\\2.png": png(2)}, {1: "cat", 2: "dog"}),
    ],
)
def test_one_folder_around_class_folders_is_taken_off(
    tmp_path: Path, content: dict[str, bytes], expected: dict[int, str]
) -> None:
    assert greys(pack(tmp_path / "mine.zip", content)) == expected


def test_captions_in_a_zip(tmp_path: Path) -> None:
    beside = {"a.png": png(1), "a.txt": b"a bee", "__MACOSX/._a.png": b"\0", ".DS_Store": b"\0", "deeper/": b""}
    assert greys(pack(tmp_path / "beside.zip", beside), captioned=True) == {1: "a bee"}
    named = {"all/a.png": png(1), "all/metadata.jsonl": b'{"file_name": "a.png", "text": "an ant"}'}
    assert greys(pack(tmp_path / "NAMED.ZIP", named), captioned=True) == {1: "an ant"}
    assert captions_of(tmp_path / "NAMED.ZIP") == ("an ant",)


def test_names_that_lead_outside_are_never_read(tmp_path: Path) -> None:
    (tmp_path / "outside.png").write_bytes(png(7))
    (tmp_path / "in").mkdir()
    strange = ["../outside.png", "a/../../outside.png", str(tmp_path / "outside.png"), "C:\\outside.png"]
    content = {**{name: png(number) for number, name in enumerate(strange, 10)}, "good.png": png(1)}
    data = load_data(pack(tmp_path / "in" / "mine.zip", content), GREY)
    assert len(data) == 1
    ((reason, names),) = data.skipped.items()
    assert reason == "with names that lead outside"
    assert set(names) == {name.replace("\\", "/") for name in strange}
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["in", "mine.zip", "outside.png"]


def encrypted(path: Path, content: dict[str, bytes]) -> Path:
    """A zip whose entries say that they are encrypted, in the directory and before each."""
    packed = bytearray(pack(path, content).read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = packed.find(signature)
        while at >= 0:
            packed[at + offset] |= 1
            at = packed.find(signature, at + 1)
    path.write_bytes(packed)
    return path


def test_encrypted_pictures_are_counted(tmp_path: Path) -> None:
    path = encrypted(tmp_path / "mine.zip", {"a.png": png(1), "b.png": png(2)})
    with pytest.raises(DataError, match=r"No picture in .*mine\.zip can be used \(2 encrypted\); choose another zip"):
        load_data(path, GREY)


def test_an_encrypted_caption_is_counted(tmp_path: Path) -> None:
    path = encrypted(tmp_path / "mine.zip", {"a.png": png(1), "a.txt": b"a bee"})
    with pytest.raises(DataError, match="1 with a caption that cannot be read"):
        load_data(path, GREY, captioned=True)


def test_a_huge_entry_is_left_out_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LARGEST_FILE", 1000)
    content = {"good.png": png(1), "huge.png": png(2) + bytes(10_000)}
    path = pack(tmp_path / "mine.zip", content)
    assert load_data(path, GREY).skipped == {"too large": ("huge.png",)}
    # One that claims to be small: no more than it claims is unpacked, and that is not what was packed.
    packed = path.read_bytes().replace((len(content["huge.png"])).to_bytes(4, "little"), (500).to_bytes(4, "little"))
    path.write_bytes(packed)
    assert load_data(path, GREY).skipped == {"broken": ("huge.png",)}


def test_what_is_no_zip_is_refused(tmp_path: Path) -> None:
    whole = pack(tmp_path / "whole.zip", {"a.png": png(1)}).read_bytes()
    refusals = {
        "words.zip": (b"not a zip", "is no whole zip; copy or pack it again"),
        "empty.zip": (b"", "is no whole zip; copy or pack it again"),
        "cut.zip": (whole[: len(whole) // 2], "is no whole zip; copy or pack it again"),
        "hollow.zip": (zipped_nothing(tmp_path), r"No picture in .* can be used \(it is empty\)"),
        "pictures.rar": (whole, "is not a folder and not a zip"),
    }
    for name, (content, said) in refusals.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=said):
            load_data(tmp_path / name, GREY)


def zipped_nothing(folder: Path) -> bytes:
    return pack(folder / "nothing.zip", {}).read_bytes()


def test_any_flipped_byte_of_a_zip_is_survived(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    content = {f"{name}/{value}.png": png(value, (16, 16)) for value, name in enumerate("aabb")}
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA):
        whole = pack(tmp_path / "whole.zip", content, method).read_bytes()
        for _ in range(120):
            broken = bytearray(whole)
            for at in rng.integers(len(broken), size=3):
                broken[at] ^= 1 << rng.integers(8)
            kept = len(broken) if rng.random() < 0.5 else int(rng.integers(len(broken)))
            (tmp_path / "broken.zip").write_bytes(broken[:kept])
            try:
                data = load_data(tmp_path / "broken.zip", GREY)
            except DataError:
                continue
            assert len(data) <= len(content)


def test_too_many_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MOST_FILES", 2)
    content = {f"{value}.png": png(value) for value in range(3)}
    with pytest.raises(DataError, match="holds more than 2 files; choose one with fewer"):
        load_data(pack(tmp_path / "mine.zip", content), GREY)
    for name, data in content.items():
        (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match="holds more than 2 files; choose one with fewer"):
        load_data(tmp_path, GREY)
