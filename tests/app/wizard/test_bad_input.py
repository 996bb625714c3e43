"""Teachers, pictures and settings that cannot be used: what a person sees, in the words of the real command line."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel, QLineEdit
from pytestqt.qtbot import QtBot

from app.wizard.data import DataPage
from app.wizard.teacher import TeacherPage
from app.wizard.training import TrainingPage
from app.wizard.wizard import Wizard
from backend.contract.project_file import ProjectFile

from ..scripted import ScriptedBackend

Make = Callable[[Path], Wizard]
WEIGHTS = "diffusion_pytorch_model"
NET = {"_class_name": "UNet2DModel", "sample_size": 16, "in_channels": 1, "out_channels": 1}
NET |= {"block_out_channels": [8, 8], "norm_num_groups": 8, "layers_per_block": 1}
NET |= {"down_block_types": ["DownBlock2D"] * 2, "up_block_types": ["UpBlock2D"] * 2}
HEADER = json.dumps({"conv_in.weight": {"dtype": "F32", "shape": [8, 1, 3, 3], "data_offsets": [0, 288]}}).encode()


@pytest.fixture
def wizard(make: Make, empty: Path, backend: ScriptedBackend, distill: Callable[..., Any]) -> Wizard:
    """A wizard whose questions are answered by the command line itself, in this process."""

    def answer(arguments: list[str]) -> dict[str, Any] | str:
        said = distill(*arguments, "--json").json
        return str(said["error"]) if set(said) == {"error"} else dict(said)

    made = make(empty)
    backend.answers |= {"teachers": answer, "preflight": answer}
    return made


def diffusers_folder(folder: Path, **weights: bytes) -> Path:
    """A folder like that of a model. weights: suffix -> content."""
    for part, config in (("unet", NET), ("scheduler", {"_class_name": "DDPMScheduler"})):
        (folder / part).mkdir(parents=True)
        name = "config.json" if part == "unet" else "scheduler_config.json"
        (folder / part / name).write_text(json.dumps(config))
    for suffix, content in weights.items():
        (folder / "unet" / f"{WEIGHTS}.{suffix}").write_bytes(content)
    return folder


def words_in(wizard: Wizard) -> list[str]:
    return [label.text() for label in wizard.findChildren(QLabel) if label.isVisibleTo(wizard)]


def is_one_sentence(words: str) -> bool:
    return words.endswith(".") and "\n" not in words and "Traceback" not in words


def empty_folder(folder: Path) -> Path:
    folder.mkdir()
    return folder


def unknown_kind(folder: Path) -> Path:
    diffusers_folder(folder)
    (folder / "unet" / "config.json").write_text(json.dumps({"_class_name": "Fancy3DModel"}))
    return folder


MODELS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "no model": (empty_folder, "is not a diffusers model"),
    "unknown kind": (unknown_kind, "holds a Fancy3DModel, a kind of model that is not supported"),
    "pickle": (lambda at: diffusers_folder(at, bin=b"\x80\x02."), "is a pickle, which can run code when opened"),
    "old pickle": (lambda at: diffusers_folder(at, pt=b"\x80\x02."), "is a pickle, which can run code when opened"),
    "truncated": (
        lambda at: diffusers_folder(at, safetensors=struct.pack("<Q", len(HEADER)) + HEADER + bytes(9)),
        "is no whole safetensors file",
    ),
    "lying": (
        lambda at: diffusers_folder(at, safetensors=struct.pack("<Q", 2**60) + b"{}"),
        "is no whole safetensors file",
    ),
    "no weights": (diffusers_folder, "holds no weights"),
    "missing": (lambda at: at, "does not exist"),
}


@pytest.mark.parametrize("kind", MODELS)
def test_a_model_that_cannot_be_used_says_why_beside_its_folder(
    qtbot: QtBot, wizard: Wizard, tmp_path: Path, kind: str
) -> None:
    make_model, said = MODELS[kind]
    folder = make_model(tmp_path / "mine")
    page = wizard.pages["teacher"]
    assert isinstance(page, TeacherPage)
    page.folder_card.radio.click()
    qtbot.keyClicks(page.folder.line, str(folder))
    qtbot.waitUntil(lambda: said in page.found.text())
    assert is_one_sentence(page.found.text())
    assert str(folder) in page.found.text()
    assert page.found.isVisible()
    assert page.found.property("tone") == "bad"
    assert page.folder.line.property("wrong")
    assert not wizard.frame.start.isEnabled()
    assert said in wizard.frame.status.text()


@pytest.mark.parametrize("name", ["model.pt", "model.ckpt", "model.bin", "model.safetensors"])
def test_a_file_of_weights_that_is_dropped_is_refused_on_the_teachers_page(
    qtbot: QtBot, wizard: Wizard, tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    path.write_bytes(b"\x80\x02.")
    wizard.show_item(path)
    page = wizard.pages["teacher"]
    assert isinstance(page, TeacherPage)
    qtbot.waitUntil(lambda: f"{path} is " in page.found.text())
    assert is_one_sentence(page.found.text())
    assert not wizard.frame.start.isEnabled()


def test_a_folder_without_a_picture_that_can_be_used_is_refused_with_counts(
    qtbot: QtBot, wizard: Wizard, tmp_path: Path
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "broken.png").write_bytes(b"\x89PNG not really")
    frames = [Image.new("L", (8, 8), level) for level in (0, 255)]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
    wizard.draft.edit({"settings.gan_weight": 0.1, "data": str(folder)}, "a folder of pictures")
    wizard.go_to("review")
    qtbot.waitUntil(lambda: any("No picture in" in words for words in words_in(wizard)))
    (said, *_) = [words for words in words_in(wizard) if "No picture in" in words]
    assert said == (
        f"No picture in {folder} can be used (1 broken, 1 animated or of several pages); choose another folder."
    )
    assert wizard.frame.status.text() == said
    qtbot.mouseClick(wizard.frame.start, Qt.MouseButton.LeftButton)
    assert wizard.frame.steps.currentRow() == list(wizard.pages).index("review")
    with ProjectFile.open(wizard.session.project.path, readonly=True) as project:
        assert project.runs() == []


def test_a_teacher_without_data_of_its_own_is_asked_for_some(qtbot: QtBot, wizard: Wizard) -> None:
    wizard.draft.edit({"settings.gan_weight": 0.1, "data": ""}, "a folder of pictures")
    wizard.go_to("data", "data")
    page = wizard.pages["data"]
    assert isinstance(page, DataPage)
    assert is_one_sentence(page.wrong.text())
    assert "choose a folder of pictures" in page.wrong.text()
    assert page.wrong.isVisible()
    assert not wizard.frame.start.isEnabled()


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("0", "Steps is 0, below its lowest value 1; choose 1 or more steps."),
        ("many", 'Steps is "many", not a whole number; choose 1 or more steps.'),
        ("1.5", 'Steps is "1.5", not a whole number; choose 1 or more steps.'),
    ],
)
def test_a_setting_that_cannot_be_is_refused_beside_its_field(
    qtbot: QtBot, wizard: Wizard, typed: str, said: str
) -> None:
    wizard.go_to("training")
    page = wizard.pages["training"]
    assert isinstance(page, TrainingPage)
    row = page.form.rows["steps"]
    line = row.editor.focusProxy()
    assert isinstance(line, QLineEdit)
    line.selectAll()
    qtbot.keyClicks(line, typed)
    assert row.wrong.text() == said
    assert row.wrong.isVisible()
    assert not wizard.frame.start.isEnabled()


@pytest.mark.parametrize(
    "content",
    [b"{", b"[]", b"\xff\xfe{", b'{"teacher": "digits"}', b'{"version": 99}', b'{"teacher": 7, "method": []}'],
)
def test_a_recipe_that_cannot_be_read_is_refused_with_its_name(
    qtbot: QtBot, wizard: Wizard, tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "mine.json"
    path.write_bytes(content)
    before = wizard.draft.values
    with qtbot.waitSignal(wizard.says) as said:
        wizard.show_item(path)
    assert said.args[0].startswith("mine.json: ")
    assert is_one_sentence(said.args[0])
    assert wizard.draft.values == before
