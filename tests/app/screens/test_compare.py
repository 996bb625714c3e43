"""The comparison as a person uses it: on pictures and points that are there, and on what the backend answers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QGuiApplication, QWheelEvent
from PySide6.QtWidgets import QApplication, QFileDialog, QWidget
from pytestqt.qtbot import QtBot

from app import look
from app.backend_process import Job
from app.models.comparison import Pick, Wanted, place_of
from app.screens.compare import CompareScreen
from app.session import Session
from app.widgets.pane import Canvas
from backend.contract.project_file import ProjectFile
from backend.contract.recipe import Recipe
from tests.app import looking
from tests.app.conftest import RECIPE, ask, built, fill
from tests.app.parts import write_pictures, write_points

Key = Qt.Key


def folder_of(path: Path, *picks: Pick, seed: int = 7) -> Path:
    with ProjectFile.open(path, readonly=True) as project:
        return place_of(project, Wanted(picks or (Pick(1),), seed, 50)).folder


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, session: Session) -> list[Job]:
    """What the backend was asked: jobs that never start; a test answers for them."""
    jobs: list[Job] = []

    def note(arguments: list[str], answered: Any, failed: Any, said: Any = None) -> Job:
        job = Job(arguments, session.backend)
        job.answered.connect(answered)
        job.failed.connect(failed)
        job.said.connect(said)
        jobs.append(job)
        return job

    monkeypatch.setattr(session.backend, "ask", note)
    return jobs


Shown = Callable[..., CompareScreen]


@pytest.fixture
def screen(qtbot: QtBot, session: Session, asked: list[Job]) -> CompareScreen:
    made = built(CompareScreen, session)
    qtbot.addWidget(made)
    made.resize(1000, 640)
    made.show()
    return made


@pytest.fixture
def shown(qtbot: QtBot, screen: CompareScreen, project_path: Path) -> CompareScreen:
    """The screen with a comparison of three sides, 16 pixels across."""
    write_pictures(folder_of(project_path))
    screen.show_item(1)
    qtbot.waitUntil(lambda: screen.view.layers is not None)
    screen.view.setFocus()
    return screen


@pytest.fixture
def plane(qtbot: QtBot, screen: CompareScreen, project_path: Path) -> CompareScreen:
    write_points(folder_of(project_path))
    screen.show_item(1)
    qtbot.waitUntil(lambda: screen.view.layers is not None)
    screen.view.setFocus()
    return screen


def canvases(screen: CompareScreen) -> list[Canvas]:
    return [c for c in screen.view.findChildren(Canvas) if not c.isHidden()]


def grey(screen: CompareScreen, x: float, y: float, pane: int = 0) -> int:
    """How bright a pane is at a share of its width and height."""
    canvas = canvases(screen)[pane]
    image = canvas.grab().toImage()
    return image.pixelColor(int(x * image.width()), int(y * image.height())).red()


def captions(screen: CompareScreen) -> list[tuple[str, str]]:
    return [(c.name.text(), c.figures.text()) for c in screen.view._captions]


def one_sample(qtbot: QtBot, screen: CompareScreen) -> None:
    qtbot.keyClick(screen.view, Key.Key_Return)
    assert screen.view.sample == 0


def test_what_is_accelerated_is_measured_from_itself(qtbot: QtBot, screen: CompareScreen, project_path: Path) -> None:
    write_pictures(folder_of(project_path), student="Student, 4 NFE, DeepCache every 2")
    screen.show_item(1)
    qtbot.waitUntil(lambda: screen.view.layers is not None)
    assert "16\u00a0% from itself not accelerated" in captions(screen)[1][1]
    assert "from the teacher in full" in captions(screen)[0][1]


def test_a_comparison_that_was_kept_is_there_without_the_backend(shown: CompareScreen, asked: list[Job]) -> None:
    assert asked == []
    assert len(canvases(shown)) == 3
    names, figures = zip(*captions(shown), strict=True)
    assert names == ("Teacher, 1 NFE", "Student, 1 NFE", "Teacher, 50 NFE")
    words = "1 ms per picture · 50× faster · 16~% from the teacher in full · step~400 · seed~7"
    assert figures[1] == words.replace("~", "\u00a0")
    assert figures[2] == "50 ms per picture · seed\u00a07"
    assert "Student, 1 NFE: 1 ms per picture" in shown.view.accessibleDescription()


def test_each_pane_shows_its_side(qtbot: QtBot, shown: CompareScreen) -> None:
    one_sample(qtbot, shown)
    assert [grey(shown, 0.5, 0.5, pane) for pane in range(3)] == [40, 80, 120]


def test_wipe_shows_one_left_and_one_right_of_a_divider_that_keys_and_mouse_move(
    qtbot: QtBot, shown: CompareScreen
) -> None:
    one_sample(qtbot, shown)
    qtbot.mouseClick(shown.bar.modes["wipe"], Qt.MouseButton.LeftButton)
    assert len(canvases(shown)) == 1
    assert (grey(shown, 0.45, 0.3), grey(shown, 0.55, 0.3)) == (80, 120)
    for _ in range(3):
        qtbot.keyClick(shown.view, Key.Key_Right)
    assert shown.view.wipe == pytest.approx(0.65)
    assert grey(shown, 0.55, 0.3) == 80
    canvas = canvases(shown)[0]
    middle = canvas.height() // 2
    qtbot.mousePress(canvas, Qt.MouseButton.LeftButton, pos=QPoint(round(0.65 * canvas.width()), middle))
    qtbot.mouseMove(canvas, QPoint(canvas.width() // 4, middle))
    qtbot.mouseRelease(canvas, Qt.MouseButton.LeftButton, pos=QPoint(canvas.width() // 4, middle))
    assert shown.view.wipe == pytest.approx(0.25, abs=0.01)
    assert shown.view.sample == 0  # the drag was no click


def test_space_flips_in_place(qtbot: QtBot, shown: CompareScreen) -> None:
    one_sample(qtbot, shown)
    qtbot.mouseClick(shown.bar.modes["blink"], Qt.MouseButton.LeftButton)
    shown.view.setFocus()
    assert grey(shown, 0.5, 0.5) == 80
    qtbot.keyClick(shown.view, Key.Key_Space)
    assert grey(shown, 0.5, 0.5) == 120
    assert "Teacher, 50 NFE: 50 ms per picture · seed\u00a07 (shown now)" in shown.view.accessibleDescription()
    qtbot.keyClick(shown.view, Key.Key_Space)
    assert grey(shown, 0.5, 0.5) == 80


def test_a_flip_paints_nothing_anew(qtbot: QtBot, shown: CompareScreen, monkeypatch: pytest.MonkeyPatch) -> None:
    shown.view.set_mode("blink")
    for _ in range(2):
        qtbot.keyClick(shown.view, Key.Key_Space)
        canvases(shown)[0].grab()
    monkeypatch.setattr(shown.view.layers, "paint", lambda *_: pytest.fail("painted again"))
    for _ in range(4):
        qtbot.keyClick(shown.view, Key.Key_Space)
        canvases(shown)[0].grab()


def test_b_flips_by_itself_until_it_is_pressed_again(qtbot: QtBot, shown: CompareScreen) -> None:
    shown.bar.rate.setValue(3)
    qtbot.keyClick(shown.view, Key.Key_B)
    assert shown.view.mode == "blink"
    assert shown.bar.auto.isChecked()
    qtbot.waitUntil(lambda: shown.view.flipped)
    qtbot.waitUntil(lambda: not shown.view.flipped)
    qtbot.keyClick(shown.view, Key.Key_B)
    assert not shown.view.is_blinking
    assert shown.bar.rate.maximum() <= 3  # flashes a second


def test_the_difference_is_amplified_and_has_a_number(qtbot: QtBot, shown: CompareScreen) -> None:
    one_sample(qtbot, shown)
    qtbot.mouseClick(shown.bar.modes["difference"], Qt.MouseButton.LeftButton)
    shown.bar.gain.setValue(3)
    assert grey(shown, 0.5, 0.5) == 120  # |80 - 120| times 3
    assert shown.bar.number.text() == "mean 16 %"
    shown.bar.b.setCurrentIndex(1)  # the student and itself
    assert grey(shown, 0.5, 0.5) == 0
    assert shown.bar.number.text() == "mean 0 %"


def test_panes_zoom_and_pan_as_one(qtbot: QtBot, shown: CompareScreen) -> None:
    before = shown.view.camera
    canvas = canvases(shown)[2]
    at = QPointF(40, 50)
    fixed = before.to_content(at.x(), at.y(), canvas.pane)
    event = QWheelEvent(
        at,
        canvas.mapToGlobal(at),
        QPoint(),
        QPoint(0, 120),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(canvas, event)
    assert shown.view.camera.scale == pytest.approx(1.25 * before.scale)
    assert shown.view.camera.to_content(at.x(), at.y(), canvas.pane) == pytest.approx(fixed)
    x = shown.view.camera.x
    qtbot.keyClick(shown.view, Key.Key_Right)
    assert shown.view.camera.x > x
    qtbot.mousePress(canvas, Qt.MouseButton.LeftButton, pos=QPoint(50, 50))
    qtbot.mouseMove(canvas, QPoint(90, 50))
    qtbot.mouseRelease(canvas, Qt.MouseButton.LeftButton, pos=QPoint(90, 50))
    assert shown.view.camera.x == pytest.approx(x + 48 / shown.view.camera.scale - 40 / shown.view.camera.scale)
    qtbot.keyClick(shown.view, Key.Key_0)
    assert shown.view.camera == before
    qtbot.keyClick(shown.view, Key.Key_1)
    assert shown.zoom_bar.percent.text() == "100 %"


def test_a_click_or_enter_shows_one_sample_and_arrows_the_next(qtbot: QtBot, shown: CompareScreen) -> None:
    def sample() -> int | None:
        return shown.view.sample

    layers: Any = shown.view.layers
    canvas = canvases(shown)[1]
    x, y = layers.grid.origin(13)
    place = shown.view.camera.to_view(x + 8, y + 8, canvas.pane)
    qtbot.mouseClick(canvas, Qt.MouseButton.LeftButton, pos=QPoint(*map(round, place)))
    assert sample() == 13
    assert shown.zoom_bar.place.text().startswith("Sample 14 of 20. ")
    qtbot.keyClick(shown.view, Key.Key_Right)
    assert sample() == 14
    layers = shown.view.layers
    assert layers._image(0).pixelColor(0, 0).red() == 14
    qtbot.keyClick(shown.view, Key.Key_PageUp)
    assert sample() == 13
    qtbot.keyClick(shown.view, Key.Key_Escape)
    assert sample() is None
    qtbot.keyClick(shown.view, Key.Key_Up)
    qtbot.keyClick(shown.view, Key.Key_Return)
    assert sample() == 3


def test_large_pictures_are_small_in_the_grid_and_whole_alone(
    qtbot: QtBot, screen: CompareScreen, project_path: Path
) -> None:
    write_pictures(folder_of(project_path), size=400)
    screen.show_item(1)
    qtbot.waitUntil(lambda: screen.view.layers is not None)
    layers: Any = screen.view.layers
    assert layers.grid.width == 256
    screen.view.setFocus()
    qtbot.keyClick(screen.view, Key.Key_Return)
    qtbot.waitUntil(lambda: layers._image(0).width() == 400)
    assert grey(screen, 0.5, 0.5, 2) == 120


def test_points_are_drawn_over_the_exact_density(qtbot: QtBot, plane: CompareScreen) -> None:
    points, colour = look.series_colour(1), look.series_colour(0)
    plane.view.set_mode("blink")
    canvas = canvases(plane)[0]
    layers: Any = plane.view.layers

    def at(x: float, y: float) -> QPoint:
        left, _, _, top = layers.extent
        unit = layers.size[0] / 3.2
        return QPointF(*plane.view.camera.to_view((x - left) * unit, (top - y) * unit, canvas.pane)).toPoint()

    def orange(x: float, y: float) -> int:
        image = canvas.grab().toImage()
        spot = at(x, y)
        square = [image.pixelColor(spot + QPoint(i, j)) for i in range(-8, 9) for j in range(-8, 9)]
        return sum(pixel == points for pixel in square)

    assert orange(1, 0) > 20  # the student's, moved by one
    assert orange(0, 0) == 0
    qtbot.keyClick(plane.view, Key.Key_Space)
    assert orange(0, 0) > 20
    peak = canvas.grab().toImage().pixelColor(at(1, 0))
    assert abs(peak.blue() - colour.blue()) < abs(look.colour("surface").blue() - colour.blue())
    plane.view.set_mode("difference")
    assert plane.bar.number.text() == "mean length 1"
    assert not plane.bar.gain.isVisibleTo(plane)
    assert captions(plane)[0][1].startswith("1 ms per sample · 50× faster · 1 from the teacher in full")


def test_draw_asks_for_what_was_chosen_and_shows_how_far_it_is(
    qtbot: QtBot, shown: CompareScreen, asked: list[Job], project_path: Path
) -> None:
    bar = shown.side_bar
    bar.run.setCurrentIndex(bar.run.findText("second"))
    bar.checkpoint.setCurrentIndex(bar.checkpoint.findData("400"))
    qtbot.mouseClick(bar.add, Qt.MouseButton.LeftButton)
    assert bar.picks == (Pick(1), Pick(2, "400"))
    bar.seed.setValue(9)
    qtbot.mouseClick(bar.draw, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: len(asked) == 1)
    folder = folder_of(project_path, *bar.picks, seed=9)
    assert asked[0].arguments == [
        *("compare", str(project_path), "1@400", "2@400"),
        *("--seed", "9", "--teacher-nfe", "50", "--parts", str(folder)),
    ]
    assert bar.cancel.isVisible()
    assert not bar.draw.isVisible()
    asked[0].said.emit("3 of 4: second at 400, 1 NFE")
    assert (bar.bar.value(), bar.bar.maximum(), bar.progress.text()) == (2, 4, "Drawing second at 400, 1 NFE")
    write_pictures(folder, levels=(10, 20, 30))
    before = shown.view.layers
    asked[0].answered.emit({})
    asked[0].ended.emit()
    qtbot.waitUntil(lambda: shown.view.layers is not before)
    assert bar.draw.isVisible()
    one_sample(qtbot, shown)
    assert grey(shown, 0.5, 0.5, 2) == 30


def test_a_drawing_can_be_cancelled(qtbot: QtBot, screen: CompareScreen, asked: list[Job]) -> None:
    screen.show_item(1)
    qtbot.waitUntil(lambda: len(asked) == 1)
    assert screen.empty.title.text() == "Drawing..."
    with qtbot.waitSignal(screen.says):
        qtbot.mouseClick(screen.side_bar.cancel, Qt.MouseButton.LeftButton)
    asked[0].ended.emit()
    assert screen.side_bar.draw.isVisible()
    assert screen.empty.button.text() == "Draw"


def test_another_run_takes_the_place_of_what_is_being_drawn(
    qtbot: QtBot, screen: CompareScreen, asked: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    screen.show_item(1)
    qtbot.waitUntil(lambda: len(asked) == 1)
    cancelled: list[bool] = []
    monkeypatch.setattr(asked[0], "cancel", lambda: cancelled.append(True))
    screen.show_item(2)
    qtbot.waitUntil(lambda: cancelled == [True])
    assert len(asked) == 1  # one after the other
    asked[0].ended.emit()
    qtbot.waitUntil(lambda: len(asked) == 2)
    assert asked[1].arguments[2] == "2@400"
    assert screen.side_bar.cancel.isVisible()


def test_a_refusal_is_a_sentence_beside_draw(qtbot: QtBot, screen: CompareScreen, asked: list[Job]) -> None:
    screen.show_item(1)
    qtbot.waitUntil(lambda: len(asked) == 1)
    asked[0].failed.emit("step-400.safetensors is missing or damaged; use an earlier checkpoint.")
    asked[0].ended.emit()
    assert screen.side_bar.refusal.text() == "step-400.safetensors is missing or damaged; use an earlier checkpoint."
    assert screen.side_bar.refusal.isVisible()
    assert screen.side_bar.draw.isVisible()


def test_without_being_asked_nothing_is_drawn(qtbot: QtBot, screen: CompareScreen, asked: list[Job]) -> None:
    qtbot.waitUntil(lambda: screen.empty.button.text() == "Draw")
    assert screen.side_bar.picks == (Pick(2),)
    assert asked == []
    qtbot.mouseClick(screen.empty.button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: len(asked) == 1)


def test_students_are_removed_by_the_delete_key_and_none_cannot_be_drawn(qtbot: QtBot, shown: CompareScreen) -> None:
    bar = shown.side_bar
    bar.list.setFocus()
    qtbot.keyClick(bar.list, Key.Key_Delete)
    assert bar.picks == ()
    assert not bar.draw.isEnabled()


def test_a_student_is_not_added_twice(qtbot: QtBot, shown: CompareScreen) -> None:
    qtbot.mouseClick(shown.side_bar.add, Qt.MouseButton.LeftButton)
    assert shown.side_bar.picks == (Pick(1),)
    assert shown.side_bar.refusal.text() == ("first, best is among the students already; choose another run or step.")


def test_without_runs_it_leads_to_the_wizard(
    qtbot: QtBot, open_session: Callable[[Path], Session], tmp_path: Path
) -> None:
    path = tmp_path / "empty.distill"
    ProjectFile.create(path).close()
    screen = built(CompareScreen, open_session(path))
    qtbot.addWidget(screen)
    screen.show()
    qtbot.waitUntil(lambda: screen.empty.title.text() == "Nothing to compare yet")
    with qtbot.waitSignal(screen.leads_to) as led:
        qtbot.mouseClick(screen.empty.button, Qt.MouseButton.LeftButton)
    assert led.args == ["wizard", None]


def test_a_run_without_a_checkpoint_says_what_to_do_and_is_there_once_it_has_one(
    qtbot: QtBot, session: Session, screen: CompareScreen
) -> None:
    run = ask(qtbot, session, lambda project: len(project.runs())) + 1
    added: list[int] = []
    session.project.write(lambda p: p.add_run(Recipe.from_values(RECIPE), name="young"), added.append)
    qtbot.waitUntil(lambda: added == [run])
    screen.show_item(run)
    qtbot.waitUntil(lambda: screen.empty.title.text() == "young has no checkpoint yet")
    with qtbot.waitSignal(screen.leads_to) as led:
        qtbot.mouseClick(screen.empty.button, Qt.MouseButton.LeftButton)
    assert led.args == ["run", run]
    session.project.write(lambda p: fill(p, run))
    qtbot.waitUntil(lambda: screen.empty.button.text() == "Draw", timeout=10_000)
    assert screen.side_bar.picks == (Pick(run),)


def test_the_choice_of_students_comes_with_the_first_checkpoint_of_the_first_run(
    qtbot: QtBot, open_session: Callable[[Path], Session], tmp_path: Path
) -> None:
    path = tmp_path / "young.distill"
    with ProjectFile.create(path) as project:
        run = project.add_run(Recipe.from_values(RECIPE), name="young")
    session = open_session(path)
    screen = built(CompareScreen, session)
    qtbot.addWidget(screen)
    screen.show()
    qtbot.waitUntil(lambda: screen.empty.title.text() == "young has no checkpoint yet")
    assert not screen.side_bar.isVisible()
    session.project.write(lambda p: fill(p, run))
    qtbot.waitUntil(lambda: screen.empty.button.text() == "Draw", timeout=10_000)
    assert screen.side_bar.isVisible()


def test_the_keyboard_goes_from_draw_to_cancel_and_on_to_the_comparison(
    qtbot: QtBot, screen: CompareScreen, asked: list[Job], project_path: Path
) -> None:
    qtbot.waitUntil(lambda: screen.empty.button.text() == "Draw")
    screen.activateWindow()
    screen.empty.button.setFocus()
    qtbot.keyClick(screen.empty.button, Key.Key_Space)
    qtbot.waitUntil(lambda: len(asked) == 1)
    assert screen.side_bar.cancel.hasFocus()
    asked[0].ended.emit()
    assert screen.side_bar.draw.hasFocus()
    qtbot.keyClick(screen.side_bar.draw, Key.Key_Space)
    qtbot.waitUntil(lambda: len(asked) == 2)
    assert screen.side_bar.cancel.hasFocus()
    write_pictures(folder_of(project_path, Pick(2)))
    asked[1].answered.emit({})
    asked[1].ended.emit()
    qtbot.waitUntil(lambda: screen.view.layers is not None)
    assert screen.view.hasFocus()
    screen.side_bar.draw.setFocus()
    qtbot.keyClick(screen.side_bar.draw, Key.Key_Space)  # what was kept is there at once
    qtbot.waitUntil(screen.view.hasFocus)


def test_the_picture_is_copied_and_saved(
    qtbot: QtBot, shown: CompareScreen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with qtbot.waitSignal(shown.says):
        qtbot.mouseClick(shown.bar.copy, Qt.MouseButton.LeftButton)
    copied = QGuiApplication.clipboard().image()
    assert copied.size() == shown.view.size() * shown.view.devicePixelRatioF()
    dialogs: list[QFileDialog] = []
    monkeypatch.setattr(QFileDialog, "open", lambda dialog, *_: dialogs.append(dialog))
    qtbot.mouseClick(shown.bar.save, Qt.MouseButton.LeftButton)
    with qtbot.waitSignal(shown.says):
        dialogs[0].fileSelected.emit(str(tmp_path / "kept.png"))
    with Image.open(tmp_path / "kept.png") as kept:
        assert kept.size == copied.size().toTuple()
    dialogs[0].fileSelected.emit(str(tmp_path / "missing" / "kept.png"))
    assert shown.side_bar.refusal.text().endswith("kept.png cannot be written; choose another place.")
    dialogs[0].deleteLater()


@pytest.mark.parametrize("size", [(1190, 760), (930, 600)])
@pytest.mark.parametrize("mode", ["side", "wipe", "blink", "difference"])
def test_nothing_is_nameless_or_cut(qtbot: QtBot, shown: CompareScreen, mode: Any, size: tuple[int, int]) -> None:
    shown.resize(*size)
    shown.view.set_mode(mode)
    for look_for in (looking.nameless, looking.unreachable, looking.clipped, looking.overlapping):

        def is_sound(look_for: Callable[[QWidget], list[str]] = look_for) -> None:
            assert look_for(shown) == []

        qtbot.waitUntil(is_sound)  # the layout settles


def test_a_change_of_scheme_reaches_what_is_painted(qtbot: QtBot, qapp: QApplication, shown: CompareScreen) -> None:
    light = grey(shown, 0.5, 0.02)
    look.use(qapp, look.DARK)
    assert grey(shown, 0.5, 0.02) == look.colour("surface").red() != light


@pytest.mark.long
def test_a_real_student_is_drawn_beside_its_teacher(
    qtbot: QtBot, lab: Any, open_session: Callable[[Path], Session]
) -> None:
    screen = built(CompareScreen, open_session(lab.project))
    qtbot.addWidget(screen)
    screen.show()
    screen.side_bar.teacher_nfe.setValue(3)
    screen.show_item(1)
    qtbot.waitUntil(lambda: screen.view.layers is not None, timeout=120_000)
    assert [name for name, _ in captions(screen)] == ["Teacher, 1 NFE", "Student, 1 NFE", "Teacher, 3 NFE"]
    assert screen.side_bar.refusal.text() == ""


def test_captions_stay_below_the_pane_in_every_mode(qtbot: QtBot, shown: CompareScreen) -> None:
    for mode in ("side", "wipe", "blink", "difference", "wipe", "blink"):
        shown.view.set_mode(mode)
        qtbot.waitUntil(lambda: shown.grab().height() > 0 and shown.view._captions[0].height() > 0, timeout=2000)
        for caption in shown.view._captions:
            assert caption.name.height() > 0, mode
            assert caption.y() > shown.view.canvases[0].geometry().bottom(), mode


def test_space_flips_right_after_blink_was_chosen(qtbot: QtBot, shown: CompareScreen) -> None:
    shown.activateWindow()
    qtbot.mouseClick(shown.bar.modes["blink"], Qt.MouseButton.LeftButton)
    qtbot.waitUntil(shown.view.hasFocus)
    qtbot.keyClick(shown.view, Key.Key_Space)
    assert shown.view.flipped


def test_prompts_or_classes_of_ones_own_are_drawn_alone(qtbot: QtBot, shown: CompareScreen, asked: list[Job]) -> None:
    shown.side_bar.only.setPlainText(" 4 \n\n9\n")
    qtbot.mouseClick(shown.side_bar.draw, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: bool(asked))
    assert asked[0].arguments[-4:] == ["--only", "4", "--only", "9"]
