"""The wizard as a person uses it: three clicks to a run, what is wrong beside its field, nothing lost."""

import gc
import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from PIL import Image
from PySide6.QtCore import QEvent, Qt
from PySide6.QtWidgets import QApplication, QPushButton, QWidget
from pytestqt.qtbot import QtBot

from app import look
from app.widgets.grouped_list import KEY, REFUSAL
from app.widgets.step_list import MARK, WORDS
from app.wizard.choices import recipe_of
from app.wizard.data import DataPage
from app.wizard.dropped import contents
from app.wizard.method import MethodPage
from app.wizard.student import StudentPage
from app.wizard.teacher import TeacherPage
from app.wizard.training import TrainingPage
from app.wizard.wizard import Wizard
from backend.contract.catalogue import BrokenMethod, Lacking
from backend.contract.project_file import ProjectFile

from .. import looking
from ..conftest import RECIPE
from ..scripted import CATALOGUE, FITS, ScriptedBackend

LEFT = Qt.MouseButton.LeftButton
Make = Callable[[Path], Wizard]
SMALLEST, RAIL = 1024, 90
"""Widths of a small window, and of what stands beside the wizard in it."""


P = TypeVar("P", bound=QWidget)


def page(wizard: Wizard, key: str, kind: type[P]) -> P:
    found = wizard.pages[key]
    assert isinstance(found, kind)
    return found


def test_a_fresh_project_is_one_click_from_a_run(
    qtbot: QtBot, make: Make, empty: Path, backend: ScriptedBackend, started: list[tuple[str, int]]
) -> None:
    wizard = make(empty)
    with qtbot.waitSignal(wizard.leads_to) as led:
        qtbot.mouseClick(wizard.frame.start, LEFT)
    assert led.args == ["run", 1]
    assert started == [("start", 1)]
    with ProjectFile.open(empty, readonly=True) as project:
        run, recipe = project.run(1), project.recipe(1)
    card = CATALOGUE.method("dmd2")
    assert card is not None
    assert run.declaration == card.settings
    assert set(recipe.settings) == set(card.settings["properties"])
    assert json.loads(backend.recipes[0]) == recipe.model_dump(mode="json")


def test_a_start_waits_for_the_check_and_says_so(
    qtbot: QtBot, make: Make, empty: Path, backend: ScriptedBackend, started: list[tuple[str, int]]
) -> None:
    del backend.answers["preflight"]
    wizard = make(empty)
    qtbot.mouseClick(wizard.frame.start, LEFT)
    assert wizard.frame.start.text() == "Checking..."
    assert not wizard.frame.start.isEnabled()
    gc.collect()
    assert Path(backend.jobs[0].arguments[-1]).is_file()  # for as long as it is asked about
    qtbot.mouseClick(wizard.frame.cancel, LEFT)
    assert backend.jobs[0].is_cancelled
    assert wizard.frame.start.isEnabled()
    assert not Path(backend.jobs[0].arguments[-1]).exists()
    qtbot.mouseClick(wizard.frame.start, LEFT)
    with qtbot.waitSignal(wizard.leads_to):
        backend.jobs[1].end(FITS)
    assert started == [("start", 1)]


def test_a_recipe_that_was_found_fit_is_not_checked_again(
    qtbot: QtBot, make: Make, empty: Path, backend: ScriptedBackend, started: list[tuple[str, int]]
) -> None:
    wizard = make(empty)
    wizard.go_to("review")
    qtbot.waitUntil(lambda: wizard.check.answer is not None and not wizard.check.is_running)
    assert "about 7 min, without previews" in wizard.review.costs.words()
    qtbot.keyClicks(wizard.review.name, "my run")
    with qtbot.waitSignal(wizard.leads_to):
        qtbot.mouseClick(wizard.frame.start, LEFT)
    assert len(backend.jobs) == 1
    with ProjectFile.open(empty, readonly=True) as project:
        assert project.run(1).name == "my run"
    page(wizard, "training", TrainingPage).form.changed.emit("steps", 5)  # another recipe
    with qtbot.waitSignal(wizard.leads_to):
        qtbot.mouseClick(wizard.frame.start, LEFT)
    assert len(backend.jobs) == 2


def test_a_problem_that_the_check_finds_blocks_and_leads_to_its_page(
    qtbot: QtBot, make: Make, empty: Path, backend: ScriptedBackend, started: list[tuple[str, int]]
) -> None:
    words = "The device is out of memory; what would help, the most first: lower the batch size, and no real data."
    change = {"training.batch_size": 12}
    more: dict[str, object] = {
        "training.batch_size": 6,
        "training.accumulation": 2,
        "training.gradient_checkpointing": True,
    }
    more |= {"student.kind": "lora", "student.fake_score": "lora", "training.optimizer": "adafactor"}
    backend.answers["preflight"] = lambda _: {
        **FITS,
        "ok": False,
        "problems": [words],
        "findings": [{"kind": "problem", "field": "training.batch_size", "words": words}],
        "suggestions": [
            {"words": "Lower the batch size from 48 to 12", "change": change, "left": 0.25, "memory": 0},
            {"words": "Change everything", "change": more, "left": 0.5, "memory": 3 * 2**30},
        ],
    }
    wizard = make(empty)
    qtbot.mouseClick(wizard.frame.start, LEFT)
    qtbot.waitUntil(lambda: words in wizard.review.problems.words())
    assert wizard.frame.steps.currentRow() == 6
    assert started == []
    assert wizard.frame.status.text() == words
    link = next(b for b in wizard.review.problems.findChildren(QPushButton) if b.text() == "Go to Training")
    qtbot.mouseClick(link, LEFT)
    assert wizard.frame.steps.currentRow() == 4
    row = page(wizard, "training", TrainingPage).form.rows["batch_size"]
    line = row.editor.focusProxy()
    assert line is not None
    qtbot.waitUntil(line.hasFocus)
    assert (row.wrong.text(), row.wrong.isVisible()) == (words, True)
    wizard.go_to("review")
    apply = next(b for b in wizard.review.suggestions.findChildren(QPushButton) if b.text() == "Apply")
    qtbot.mouseClick(apply, LEFT)
    assert wizard.draft.values["training"]["batch_size"] == 12
    assert words not in wizard.review.problems.words()
    qtbot.waitUntil(lambda: len(backend.jobs) == 2)  # whether it fits now
    qtbot.waitUntil(lambda: len(wizard.review.suggestions.words()) > 1)
    assert "Lower the batch size from 48 to 12." in wizard.review.suggestions.words()
    assert "Change everything: about 3.0 GiB of memory." in wizard.review.suggestions.words()
    backend.answers["preflight"] = lambda _: FITS
    apply = [b for b in wizard.review.suggestions.findChildren(QPushButton) if b.text() == "Apply"][-1]
    qtbot.mouseClick(apply, LEFT)
    for name, value in more.items():
        part, key = name.split(".")
        assert wizard.draft.values[part][key] == value
    qtbot.waitUntil(lambda: wizard.is_settled)
    assert row.wrong.isHidden()


@pytest.mark.parametrize(
    ("field", "key", "label"),
    [
        ("teacher", "teacher", "wrong"),
        ("data", "data", "wrong"),
        ("prompts", "data", "wrong_prompts"),
        ("method", "method", "wrong"),
        ("settings", "method", "wrong"),
        ("settings.guidance_scale", "method", "guidance_scale"),
        ("student.start", "student", "wrong"),
        ("student.rank", "student", "rank"),
        ("training.keep_checkpoints", "training", "keep_checkpoints"),
        ("training.precision", "compute", "precision"),
    ],
)
@pytest.mark.parametrize("kind", ["problem", "warning"])
def test_what_the_check_finds_stands_beside_its_field_however_it_is_worded(
    qtbot: QtBot, make: Make, empty: Path, backend: ScriptedBackend, field: str, key: str, label: str, kind: str
) -> None:
    words = "Teacher, data, class, checkpoint, memory: none of these words says where this belongs."
    findings = [{"kind": kind, "field": field, "words": words}]
    backend.answers["preflight"] = lambda _: {**FITS, "ok": kind == "warning", "findings": findings}
    digits = CATALOGUE.teacher("digits")
    assert digits is not None
    asked = digits.model_copy(update={"key": "words", "condition": "text", "labels": (), "classes": 0})
    backend.catalogue = CATALOGUE.model_copy(update={"teachers": (*CATALOGUE.teachers, asked)})
    wizard = make(empty)
    change = {"settings.gan_weight": 0.1} | ({"teacher": "words"} if field == "prompts" else {})
    wizard.draft.edit(change, "so that each field is shown")
    wizard.go_to("review")
    qtbot.waitUntil(lambda: words in wizard.review.problems.words())
    qtbot.waitUntil(lambda: wizard.is_settled)
    assert wizard.frame.status.text() == words if kind == "problem" else wizard.frame.start.isEnabled()
    wizard.go_to(key, field)
    shown = wizard.pages[key]
    beside = getattr(shown, label, None) or shown.form.rows[label].wrong  # type: ignore[attr-defined]
    assert beside.text() == words
    assert beside.isVisible()
    assert beside.property("tone") == ("bad" if kind == "problem" else "warning")
    marks = [wizard.frame.steps.item(row).data(MARK) for row in range(len(wizard.pages))]
    assert marks.count("wrong") == (kind == "problem")


def test_a_check_that_fails_says_so_and_can_be_tried_again(
    qtbot: QtBot, make: Make, empty: Path, backend: ScriptedBackend, started: list[tuple[str, int]]
) -> None:
    words = "`distill preflight` ended with status -9: it said nothing"
    backend.answers["preflight"] = lambda _: words
    wizard = make(empty)
    qtbot.mouseClick(wizard.frame.start, LEFT)
    qtbot.waitUntil(lambda: wizard.frame.status.text() == words)
    assert wizard.review.said.text() == words
    backend.answers["preflight"] = lambda _: FITS
    with qtbot.waitSignal(wizard.leads_to):
        qtbot.mouseClick(wizard.frame.start, LEFT)
    assert started == [("start", 1)]


def test_the_warning_of_an_epsilon_start_is_read_in_the_review(
    qtbot: QtBot, make: Make, empty: Path, backend: ScriptedBackend
) -> None:
    words = "The teacher predicts epsilon and the student starts where alpha is 0.0064; set first_level to 0."
    backend.answers["preflight"] = lambda _: {
        **FITS,
        "warnings": [words],
        "findings": [{"kind": "warning", "field": "settings.first_level", "words": words}],
    }
    wizard = make(empty)
    wizard.go_to("review")
    qtbot.waitUntil(lambda: words in wizard.review.problems.words())
    assert "Go to Method" in wizard.review.problems.words()
    assert wizard.frame.start.isEnabled()


def test_a_value_out_of_range_is_said_beside_its_field_and_blocks(qtbot: QtBot, make: Make, empty: Path) -> None:
    wizard = make(empty)
    wizard.go_to("training")
    row = page(wizard, "training", TrainingPage).form.rows["batch_size"]
    line = row.editor.focusProxy()
    assert line is not None
    line.setFocus()
    qtbot.keyClick(line, Qt.Key.Key_A, Qt.KeyboardModifier.ControlModifier)
    qtbot.keyClicks(line, "0")
    sentence = "Batch size is 0, below its lowest value 1; choose 1 or more samples."
    assert row.wrong.text() == sentence
    assert row.wrong.isVisible()
    assert not wizard.frame.start.isEnabled()
    assert wizard.frame.status.text() == sentence
    qtbot.keyClicks(line, "8")  # 08
    assert not row.wrong.isVisible()
    assert wizard.draft.values["training"]["batch_size"] == 8
    assert wizard.frame.start.isEnabled()
    qtbot.mouseClick(row.reset, LEFT)
    assert wizard.draft.values["training"]["batch_size"] == 48
    assert not row.reset.isVisible()


@pytest.mark.parametrize(
    "refusal",
    [
        "stuff holds no model: model_index.json and unet/config.json are missing; choose a diffusers folder.",
        "stuff is a FluxTransformer2DModel, which this version does not know; choose a U-Net.",
        "stuff has weights that are pickles, which can run any code; convert them to safetensors.",
    ],
)
def test_a_folder_that_is_no_teacher_is_refused_beside_its_field(
    qtbot: QtBot, make: Make, empty: Path, backend: ScriptedBackend, refusal: str
) -> None:
    backend.answers["teachers"] = lambda _: refusal
    wizard = make(empty)
    shown = page(wizard, "teacher", TeacherPage)
    qtbot.mouseClick(shown.folder_card.radio, LEFT)
    assert wizard.frame.status.text() == "No teacher is chosen; choose one, or name a folder."
    qtbot.keyClicks(shown.folder.line, "/models/stuff")
    assert shown.found.text() == "Looking at it..."
    qtbot.waitUntil(lambda: shown.found.text() == refusal)
    assert [job.arguments for job in backend.jobs] == [["teachers", "/models/stuff"]]  # asked once, not per letter
    assert not wizard.frame.start.isEnabled()
    qtbot.mouseClick(shown.cards["digits"].radio, LEFT)
    assert wizard.frame.start.isEnabled()


def test_a_teacher_without_data_asks_for_some_where_the_method_needs_it(
    qtbot: QtBot, make: Make, empty: Path, backend: ScriptedBackend, tmp_path: Path
) -> None:
    digits = CATALOGUE.teacher("digits")
    assert digits is not None
    card = digits.model_copy(update={"title": "Mine", "data": ""}).model_dump(mode="json")
    backend.answers["teachers"] = lambda arguments: {
        **card,
        "key": arguments[1],
        "methods": [],
        "methods_with_data": [],
    }
    wizard = make(empty)
    wizard.show_item(model_folder(tmp_path / "model"))
    qtbot.waitUntil(lambda: wizard.state is not None and wizard.state.teacher is not None)
    shown = page(wizard, "teacher", TeacherPage)
    qtbot.waitUntil(lambda: not shown.folder.visibleRegion().isEmpty())  # though it is the last card of a small window
    assert shown.found.text().startswith("Mine: 16×16, 620,401 parameters, 10 classes.")
    assert wizard.frame.start.isEnabled()
    wizard.go_to("method")
    choose_method(qtbot, wizard, "gdd")
    assert "Adversarial alone (GDD) needs real data" in wizard.frame.status.text()
    wizard.go_to("data")
    data = page(wizard, "data", DataPage)
    assert data.wrong.isVisible()
    assert not data.own.radio.isEnabled()
    (tmp_path / "pictures" / "0").mkdir(parents=True)
    Image.new("L", (4, 4)).save(tmp_path / "pictures" / "0" / "a.png")
    wizard.show_item(tmp_path / "pictures")
    assert wizard.draft.values["data"] == str(tmp_path / "pictures")
    assert data.folder_card.radio.isChecked()
    assert wizard.frame.start.isEnabled()


def refusals(wizard: Wizard) -> dict[str, str]:
    """The methods that are shown as refused, and what is said of each."""
    items = page(wizard, "method", MethodPage).methods.list
    rows = (items.item(row) for row in range(items.count()))
    return {item.data(KEY): item.data(REFUSAL) for item in rows if item.data(REFUSAL)}


def test_a_method_that_refuses_the_teacher_says_why_before_and_after_it_is_chosen(
    qtbot: QtBot, make: Make, empty: Path, backend: ScriptedBackend, tmp_path: Path
) -> None:
    needs: tuple[Lacking, ...] = ("classes or prompts",)
    methods = tuple(
        card.model_copy(update={"refuses": needs if card.key == "consistency" else ()}) for card in CATALOGUE.methods
    )
    backend.catalogue = CATALOGUE.model_copy(update={"methods": methods})
    digits = CATALOGUE.teacher("digits")
    assert digits is not None
    mine = digits.model_copy(update={"title": "Mine", "condition": "none", "classes": 0}).model_dump(mode="json")
    backend.answers["teachers"] = lambda arguments: {**mine, "key": arguments[1]}
    wizard = make(empty)
    wizard.go_to("method")
    assert refusals(wizard) == {}  # digits has classes
    wizard.show_item(model_folder(tmp_path / "model"))
    qtbot.waitUntil(lambda: wizard.state is not None and wizard.state.teacher is not None)
    wizard.go_to("method")
    sentence = (
        "Mine has no classes or prompts, which Consistency distillation needs with its defaults; "
        "choose another method, another teacher, or other settings."
    )
    assert refusals(wizard) == {"consistency": sentence}
    assert wizard.frame.start.isEnabled()
    choose_method(qtbot, wizard, "consistency")
    shown = page(wizard, "method", MethodPage)
    assert shown.wrong.isVisible()
    assert shown.wrong.text() == sentence
    assert wizard.frame.status.text() == sentence
    assert not wizard.frame.start.isEnabled()
    assert shown.form is not None  # other settings may do, and only the check knows
    wizard.draft.edit({"settings.student_steps": 2}, "setting student steps")
    assert not shown.wrong.isVisible()
    wizard.draft.edit({"teacher": "digits"}, "teacher")
    assert refusals(wizard) == {}


def test_a_method_that_does_not_load_is_listed_with_its_sentence(
    qtbot: QtBot, make: Make, empty: Path, backend: ScriptedBackend
) -> None:
    fault = BrokenMethod(key="mine", error="SyntaxError: invalid syntax (mine.py, line 3)")
    backend.catalogue = CATALOGUE.model_copy(update={"broken_methods": (fault,)})
    wizard = make(empty)
    wizard.go_to("method")
    shown = page(wizard, "method", MethodPage)
    sentence = "The method mine does not load (SyntaxError: invalid syntax (mine.py, line 3)); choose another."
    assert refusals(wizard) == {"mine": sentence}
    assert shown.methods.keys()[-1] == "mine"
    assert not shown.wrong.isVisible()
    choose_method(qtbot, wizard, "mine")
    assert shown.wrong.isVisible()
    assert shown.wrong.text() == sentence
    assert shown.methods.list.currentItem().data(KEY) == "mine"
    assert not wizard.frame.start.isEnabled()
    choose_method(qtbot, wizard, "dmd2")
    assert not shown.wrong.isVisible()
    assert wizard.frame.start.isEnabled()


def choose_method(qtbot: QtBot, wizard: Wizard, key: str) -> None:
    methods = page(wizard, "method", MethodPage).methods.list
    (item,) = (methods.item(row) for row in range(methods.count()) if methods.item(row).data(KEY) == key)
    methods.scrollToItem(item)
    qtbot.mouseClick(methods.viewport(), LEFT, pos=methods.visualItemRect(item).center())


def model_folder(path: Path) -> Path:
    (path / "unet").mkdir(parents=True)
    (path / "unet" / "config.json").write_text("{}")
    return path


def test_what_is_dropped_is_known_by_what_it_holds(tmp_path: Path) -> None:
    assert contents(model_folder(tmp_path / "model")) == "teacher"
    (tmp_path / "flat").mkdir()
    Image.new("L", (4, 4)).save(tmp_path / "flat" / "a.PNG", "PNG")
    assert contents(tmp_path / "flat") == "data"
    (tmp_path / "empty").mkdir()
    assert contents(tmp_path / "empty") == ""
    (tmp_path / "recipe.json").write_text("{}")
    assert contents(tmp_path / "recipe.json") == "recipe"
    (tmp_path / "pictures.ZIP").write_bytes(b"")
    assert contents(tmp_path / "pictures.ZIP") == "data"
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert contents(tmp_path / "model.safetensors") == "teacher"
    (tmp_path / "prompts.txt").write_bytes(b"")
    assert contents(tmp_path / "prompts.txt") == "prompts"
    (tmp_path / "notes.md").write_bytes(b"")
    assert contents(tmp_path / "notes.md") == ""


def test_the_data_page_says_why(qtbot: QtBot, make: Make, empty: Path) -> None:
    wizard = make(empty)
    data = page(wizard, "data", DataPage)
    wizard.go_to("data")
    assert data.words.text().startswith("No pictures are needed. Distribution matching (DMD2) learns from")
    assert not data.own.isVisible()
    method = page(wizard, "method", MethodPage)
    wizard.go_to("method")
    qtbot.mouseClick(method.presets["gan"], LEFT)
    wizard.go_to("data")
    assert "looks at real pictures because GAN weight is more than 0" in data.words.text()
    assert data.own.radio.isChecked()
    assert data.own.words.text() == "Digits: 1,400 handwritten digits, 16x16, with labels."


def test_prompts_are_dropped_written_and_refused_beside_their_field(
    qtbot: QtBot, make: Make, empty: Path, backend: ScriptedBackend, tmp_path: Path
) -> None:
    digits = CATALOGUE.teacher("digits")
    assert digits is not None
    card = digits.model_copy(update={"title": "Mine", "condition": "text"}).model_dump(mode="json")
    backend.answers["teachers"] = lambda arguments: {**card, "key": arguments[1]}
    wizard = make(empty)
    data = page(wizard, "data", DataPage)
    wizard.go_to("data")
    assert not data.prompts.isVisible()  # digits takes none
    wizard.show_item(model_folder(tmp_path / "model"))
    qtbot.waitUntil(lambda: wizard.state is not None and wizard.state.teacher is not None)
    (tmp_path / "names.txt").write_text("a red ball")
    wizard.show_item(tmp_path / "names.txt")
    qtbot.waitUntil(data.prompt_file.line.isVisible)
    assert data.prompt_file.line.text() == wizard.draft.values["prompts"] == str(tmp_path / "names.txt")
    assert wizard.frame.start.isEnabled()
    assert wizard.state is not None
    assert recipe_of(wizard.draft.values, wizard.state.catalogue).prompts == str(tmp_path / "names.txt")
    assert wizard.frame.steps.item(1).data(WORDS) == "names.txt"
    qtbot.keyClicks(data.prompt_file.line, "x")
    assert (
        data.wrong_prompts.text() == f"{tmp_path / 'names.txtx'} is no file; choose a text file with one prompt a line."
    )
    assert not wizard.frame.start.isEnabled()


def test_undo_takes_back_presets_and_typing(qtbot: QtBot, make: Make, empty: Path) -> None:
    wizard = make(empty)
    before = wizard.draft.values
    wizard.go_to("method")
    method = page(wizard, "method", MethodPage)
    qtbot.mouseClick(method.presets["four-steps"], LEFT)
    assert wizard.draft.values["settings"]["student_steps"] == 4
    assert method.presets["four-steps"].isChecked()
    assert method.form is not None
    line = method.form.rows["learning_rate"].editor.focusProxy()
    assert line is not None
    line.setFocus()
    qtbot.keyClick(line, Qt.Key.Key_A, Qt.KeyboardModifier.ControlModifier)
    qtbot.keyClicks(line, "5e-5")
    assert wizard.draft.values["settings"]["learning_rate"] == 5e-5
    assert not any(button.isChecked() for button in method.presets.values())
    assert wizard.undo_stack is not None
    assert wizard.undo_stack.count() == 2
    wizard.undo_stack.undo()
    assert line.text() == "0.0002"  # type: ignore[attr-defined]
    wizard.undo_stack.undo()
    assert wizard.draft.values == before
    assert method.presets["one-step"].isChecked()


def test_the_next_wizard_of_the_project_goes_on_where_this_one_was(qtbot: QtBot, make: Make, empty: Path) -> None:
    first = make(empty)
    first.draft.edit({"training.steps": 123}, "steps")
    written: list[bool] = []
    first.session.project.write(lambda _: True, written.append)
    qtbot.waitUntil(lambda: bool(written))
    second = make(empty)
    assert second.draft.values["training"]["steps"] == 123
    assert second.undo_stack is not None
    assert second.undo_stack.canUndo()


def test_a_run_is_duplicated_with_all_it_was_asked_to_be(qtbot: QtBot, make: Make, project_path: Path) -> None:
    wizard = make(project_path)
    wizard.show_item(RECIPE)
    assert wizard.draft.values["training"]["steps"] == 400
    assert wizard.draft.values["training"]["batch_size"] == 16
    assert wizard.frame.steps.currentRow() == 6
    assert "400 steps of 16 samples" in wizard.review.recipe.words()
    wizard.go_to("student")
    student = page(wizard, "student", StudentPage)
    qtbot.waitUntil(lambda: student.runs.count() == 2)
    qtbot.mouseClick(student.run.radio, LEFT)
    assert wizard.draft.values["student"]["start"] == "run:2@best"


def test_while_a_run_lives_the_next_can_wait_in_the_queue(
    qtbot: QtBot, make: Make, project_path: Path, started: list[tuple[str, int]]
) -> None:
    wizard = make(project_path)
    assert not wizard.frame.queue.isVisible()
    with ProjectFile.open(project_path) as project:
        project.begin_attempt(1)
    qtbot.waitUntil(wizard.frame.queue.isVisible)
    with qtbot.waitSignal(wizard.leads_to) as led:
        qtbot.mouseClick(wizard.frame.queue, LEFT)
    assert started == [("enqueue", 3)]
    assert led.args == ["run", 3]


def test_the_search_finds_settings_that_are_out_of_sight(qtbot: QtBot, make: Make, empty: Path) -> None:
    wizard = make(empty)
    wizard.go_to("method")
    form = page(wizard, "method", MethodPage).form
    assert form is not None
    assert not form.rows["lowest_time"].isVisible()
    qtbot.keyClicks(form.search, "noise scores")
    assert form.rows["lowest_time"].isVisible()
    assert not form.rows["learning_rate"].isVisible()
    form.search.clear()
    assert not form.rows["lowest_time"].isVisible()
    qtbot.mouseClick(form.more, LEFT)
    assert form.rows["lowest_time"].isVisible()


def test_the_recipe_can_be_copied_and_saved(qtbot: QtBot, make: Make, empty: Path, tmp_path: Path) -> None:
    wizard = make(empty)
    wizard.go_to("review")
    review = wizard.review
    qtbot.mouseClick(review.show_json, LEFT)
    assert json.loads(review.json.toPlainText())["teacher"] == "digits"
    qtbot.mouseClick(review.copy_json, LEFT)
    assert QApplication.clipboard().text() == review.json.toPlainText()
    review.save_to(str(tmp_path / "mine.json"))
    wizard.draft.edit({"training.steps": 5}, "steps")
    wizard.show_item(tmp_path / "mine.json")
    assert wizard.draft.values["training"]["steps"] == 900
    review.save_to(str(tmp_path / "missing" / "mine.json"))
    assert review.json_said.text().startswith("It could not be saved: No such file or directory")


def test_every_page_is_named_reached_and_not_cut(qtbot: QtBot, qapp: QApplication, make: Make, empty: Path) -> None:
    wizard = make(empty)
    faults: list[str] = []
    for scheme in (look.LIGHT, look.DARK):
        look.use(qapp, scheme)
        for size in ((1196, 740), (940, 560)):
            wizard.resize(*size)
            for key in wizard.pages:
                wizard.go_to(key)
                QApplication.sendPostedEvents()
                qtbot.waitUntil(lambda: not wizard.check.is_running)
                for look_for in (looking.nameless, looking.unreachable, looking.clipped, looking.overlapping):
                    faults += [f"{key} {size} {look_for.__name__}: {words}" for words in look_for(wizard)]
    assert not faults, "\n".join(dict.fromkeys(faults))


def test_all_settings_of_every_method_fit_a_small_window(
    qtbot: QtBot, qapp: QApplication, make: Make, empty: Path
) -> None:
    look.use(qapp, look.LIGHT)
    wizard = make(empty)
    wizard.resize(SMALLEST - RAIL, 560)
    wizard.go_to("method")
    faults: list[str] = []
    for card in CATALOGUE.methods:
        choose_method(qtbot, wizard, card.key)
        form = page(wizard, "method", MethodPage).form
        assert form is not None
        form.more.setChecked(True)
        qtbot.waitUntil(lambda: wizard.is_settled)
        QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
        QApplication.processEvents()
        faults += [f"{card.key}: {words}" for words in looking.sideways(wizard)]
    assert not faults, "\n".join(faults)


def test_tab_goes_through_the_page_before_the_buttons_below(qtbot: QtBot, make: Make, empty: Path) -> None:
    wizard = make(empty)
    wizard.activateWindow()
    wizard.go_to("method")
    wizard.frame.steps.setFocus()
    qtbot.waitUntil(wizard.frame.steps.hasFocus)
    order: list[QWidget | None] = []
    for _ in range(60):
        now = QApplication.focusWidget()
        assert now is not None
        order.append(now)
        if now is wizard.frame.start:
            break
        qtbot.keyClick(now, Qt.Key.Key_Tab)
    method = page(wizard, "method", MethodPage)
    assert order[1:3] == [method.methods.search_field, method.methods.list]
    assert method.form is not None
    assert order.index(method.form.rows["learning_rate"].editor.focusProxy()) < order.index(wizard.frame.next)


def test_who_has_gone_on_is_not_taken_from_it(
    qtbot: QtBot, make: Make, empty: Path, backend: ScriptedBackend, started: list[tuple[str, int]]
) -> None:
    wizard = make(empty)
    led: list[object] = []
    wizard.leads_to.connect(lambda *where: led.append(where))
    wizard.start()
    wizard.hide()
    with qtbot.waitSignal(wizard.says):
        qtbot.waitUntil(lambda: started == [("start", 1)])
    assert led == []


def test_adapters_and_pairs_are_edited_like_any_setting(qtbot: QtBot, make: Make, empty: Path) -> None:
    wizard = make(empty)
    wizard.go_to("student", "student.rank")
    student = page(wizard, "student", StudentPage)
    rank = student.form.rows["rank"].editor.focusProxy()
    assert rank is not None
    qtbot.keyClick(rank, Qt.Key.Key_A, Qt.KeyboardModifier.ControlModifier)
    qtbot.keyClicks(rank, "8")
    assert wizard.draft.values["student"]["rank"] == 8
    wizard.go_to("data")
    assert not page(wizard, "data", DataPage).pairs.isVisible()  # this method learns from none
    assert wizard.state is not None
    assert recipe_of(wizard.draft.values, wizard.state.catalogue).student.rank == 8
