"""The run screen, over rows that a worker would write: from the first row of a run to its end."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QWidget
from pytestqt.qtbot import QtBot

from app.main_window import MainWindow
from app.models import run_words
from app.screens.run import RunScreen
from app.session import Session
from backend.contract import bands, launch
from backend.contract.launch import LaunchError
from backend.contract.metrics import MetricRow
from backend.contract.project_file import ProjectFile
from backend.contract.recipe import Recipe
from tests.app.conftest import RECIPE, ask, built, picture_bytes


@pytest.fixture
def screen(qtbot: QtBot, session: Session) -> RunScreen:
    """The screen with the finished run 1 in it."""
    return shown(qtbot, session)


def shown(qtbot: QtBot, session: Session, run: int = 1) -> RunScreen:
    made = built(RunScreen, session)
    qtbot.addWidget(made)
    made.resize(1180, 740)
    made.show()
    made.show_item(run)
    qtbot.waitUntil(lambda: made._state is not None and made.header.runs.currentData() == run)
    return made


@pytest.fixture
def live(qtbot: QtBot, session: Session) -> tuple[RunScreen, int]:
    """The screen with a run in it that this process works on, at step 100 of 400; and its attempt."""
    with ProjectFile.open(session.project.path) as project:
        run = project.add_run(Recipe.from_values(RECIPE), name="live one")
        attempt = project.begin_attempt(run)
        project.set_first_step(attempt, 1)
        for first in (1, 51):
            steps = range(first, first + 50)
            project.record(attempt, [MetricRow(step, {"matching": 1 / step}, wall=step * 0.1) for step in steps])
    made = shown(qtbot, session, run)
    qtbot.waitUntil(lambda: "Time left" in made.header.vitals.words())
    return made, attempt


def visible_words(widget: QWidget) -> str:
    return widget.text() if widget.isVisible() else ""  # type: ignore[attr-defined]


def test_a_finished_run_shows_how_far_it_came_and_its_pictures(qtbot: QtBot, screen: RunScreen) -> None:
    qtbot.waitUntil(lambda: len(screen.samples._rounds) == 4)
    assert screen.header.state.text() == "Finished"
    assert screen.header.steps.text() == "Step 400 of 400"
    assert "best so far" in screen.samples.words.text()
    assert "Step 400" in screen.health.best.text()
    assert not screen.commands.stop.isEnabled()
    assert not screen.commands.sample.isEnabled()


def test_a_live_run_moves(qtbot: QtBot, live: tuple[RunScreen, int], session: Session) -> None:
    screen, attempt = live
    assert screen.header.state.text() == "Running"
    assert screen.header.steps.text() == "Step 100 of 400"
    qtbot.waitUntil(lambda: "Pace 10 steps/s" in screen.header.vitals.words())
    assert "Time left 30 s" in screen.header.vitals.words()
    with ProjectFile.open(session.project.path) as project:
        project.record(attempt, [MetricRow(200, {"matching": 0.1, "memory_mib": 812.0}, wall=20.0)])
        project.add_event(project.attempt(attempt).run, "warning", "The disk is nearly full.", attempt=attempt)
        for position in range(3):
            image = picture_bytes(position)
            project.add_sample(
                screen.watcher.run or 0, step=200, kind="preview", position=position, image=image, attempt=attempt
            )
    qtbot.waitUntil(lambda: screen.header.steps.text() == "Step 200 of 400")
    qtbot.waitUntil(lambda: "Memory 812 MiB" in screen.header.vitals.words())
    qtbot.waitUntil(lambda: "The disk is nearly full." in screen.log.text.toPlainText())
    qtbot.waitUntil(lambda: "Step 200" in screen.samples.words.text())


def test_a_pause_is_asked_for_acknowledged_and_undone(
    qtbot: QtBot, live: tuple[RunScreen, int], session: Session
) -> None:
    screen, _ = live
    run = screen.watcher.run or 0
    with qtbot.waitSignal(screen.commands.changed):
        screen.commands.pause.trigger()
    qtbot.waitUntil(lambda: "Pause: asked." in screen.header._asked.text())
    with ProjectFile.open(session.project.path) as project:
        pause = project.open_commands(run)[0]
        assert pause.verb == "pause"
        project.acknowledge(pause.id)
    qtbot.waitUntil(lambda: screen.header.state.text() == "Paused")
    assert "acknowledged" in screen.header._asked.text()
    screen.commands.resume.trigger()
    qtbot.waitUntil(lambda: "Resume: asked." in screen.header._asked.text())
    with ProjectFile.open(session.project.path) as project:
        for command in project.open_commands(run):
            project.finish(command.id)
    qtbot.waitUntil(lambda: screen.header.state.text() == "Running")
    assert "Resume: done." in screen.header._asked.text()


def test_a_button_asks_for_a_sample(qtbot: QtBot, live: tuple[RunScreen, int], session: Session) -> None:
    screen, _ = live
    button = next(b for b in screen.header.findChildren(QWidget) if b.accessibleName() == "Sample now")
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: "Sample now: asked." in screen.header._asked.text())
    assert [c.verb for c in ask(qtbot, session, lambda p: p.open_commands(screen.watcher.run or 0))] == ["sample"]


def test_what_cannot_be_asked_is_said(qtbot: QtBot, screen: RunScreen) -> None:
    screen.commands.ask("save")
    qtbot.waitUntil(screen.header._refused.isVisible)
    assert screen.header._refused.text() == "Run 1 is finished, so there is nothing to save."


def test_what_can_be_asked_has_a_key(qtbot: QtBot, live: tuple[RunScreen, int], session: Session) -> None:
    screen, _ = live
    screen.activateWindow()
    screen.header.runs.setFocus()
    qtbot.waitUntil(screen.header.runs.hasFocus)
    qtbot.keyClick(screen.header.runs, Qt.Key.Key_Period, Qt.KeyboardModifier.ControlModifier)
    qtbot.waitUntil(lambda: screen.header.state.text() == "Stopping")
    assert [c.verb for c in ask(qtbot, session, lambda p: p.open_commands(screen.watcher.run or 0))] == ["stop"]
    assert not screen.header.end.isVisible()


def test_a_stop_that_is_ignored_can_be_made_stronger(
    qtbot: QtBot, live: tuple[RunScreen, int], session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen, attempt = live
    ended: list[tuple[Path, int, float]] = []

    def end(path: Path, run: int, stop_seconds: float) -> None:
        ended.append((path, run, stop_seconds))
        with ProjectFile.open(path) as project:
            project.end_attempt(attempt, "stopped", "It did not stop when asked and was killed.")

    monkeypatch.setattr("backend.contract.launch.end", end)  # the process of this run is that of the test
    monkeypatch.setattr(run_words, "PATIENCE_SECONDS", 0.0)
    screen.commands.stop.trigger()
    qtbot.waitUntil(screen.header.end.isVisible)
    qtbot.mouseClick(screen.header.end, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: screen.header.state.text() == "Stopped")
    assert ended == [(session.project.path, screen.watcher.run, 0.0)]
    assert screen.header.reason.text() == "It did not stop when asked and was killed."
    qtbot.waitUntil(lambda: not screen.commands.is_ending)


def test_a_process_that_cannot_be_ended_says_why(
    qtbot: QtBot, live: tuple[RunScreen, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    screen, _ = live

    def end(path: Path, run: int, stop_seconds: float) -> None:
        raise LaunchError(f"Run {run} works on another machine; end it there.")

    monkeypatch.setattr("backend.contract.launch.end", end)
    monkeypatch.setattr(run_words, "PATIENCE_SECONDS", 0.0)
    screen.commands.stop.trigger()
    qtbot.waitUntil(screen.header.end.isVisible)
    screen.commands.end.trigger()
    qtbot.waitUntil(lambda: "end it there" in screen.header._refused.text())


def test_a_failure_says_why_and_can_be_reported(qtbot: QtBot, live: tuple[RunScreen, int], session: Session) -> None:
    screen, attempt = live
    with ProjectFile.open(session.project.path) as project:
        project.end_attempt(attempt, "failed", "The loss is not finite; lower the learning rate.", "Traceback: boom")
    qtbot.waitUntil(lambda: screen.header.state.text() == "Failed")
    assert visible_words(screen.header.reason) == "The loss is not finite; lower the learning rate."
    assert not screen.header.story.isVisible()
    qtbot.mouseClick(screen.header.details, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: "Traceback: boom" in screen.header.story.toPlainText())
    QApplication.clipboard().clear()
    qtbot.mouseClick(screen.header.copy, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: "live one" in QApplication.clipboard().text())
    report = QApplication.clipboard().text()
    assert "Traceback: boom" in report
    assert "Shown by:\nDistill Studio " in report


def test_a_new_name_is_typed_in_place(qtbot: QtBot, screen: RunScreen, session: Session) -> None:
    qtbot.mouseClick(screen.header.rename, Qt.MouseButton.LeftButton)
    qtbot.keyClicks(screen.header.name, "a better name")
    qtbot.keyClick(screen.header.name, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: screen.header.runs.currentText() == "a better name")
    assert ask(qtbot, session, lambda p: p.run(1).name) == "a better name"
    qtbot.mouseClick(screen.header.rename, Qt.MouseButton.LeftButton)
    qtbot.keyClicks(screen.header.name, "no")
    qtbot.keyClick(screen.header.name, Qt.Key.Key_Escape)
    assert screen.header.runs.isVisible()
    assert ask(qtbot, session, lambda p: p.run(1).name) == "a better name"


def test_another_run_is_chosen(qtbot: QtBot, screen: RunScreen) -> None:
    runs = screen.header.runs
    assert [runs.itemText(i) for i in range(runs.count())] == ["second", "first"]
    qtbot.keyClick(runs, Qt.Key.Key_Up)
    qtbot.waitUntil(lambda: screen._run is not None and screen._run.name == "second")


def test_other_runs_are_laid_over_its_curves(qtbot: QtBot, screen: RunScreen, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[list[int]] = []
    monkeypatch.setattr(screen.curves, "show_runs", shown.append)
    screen.overlay.menu().aboutToShow.emit()
    assert [entry.text() for entry in screen.overlay.menu().actions()] == ["second"]
    screen.overlay.menu().actions()[0].trigger()
    screen.overlay.menu().aboutToShow.emit()
    assert screen.overlay.menu().actions()[0].isChecked()
    screen.overlay.menu().actions()[0].trigger()
    assert shown == [[1, 2], [1]]


def test_a_run_is_held_against_another_and_the_choice_is_kept_for_it(qtbot: QtBot, screen: RunScreen) -> None:
    band = screen.band
    qtbot.waitUntil(band.isEnabled)
    band.setFocus()
    band.menu().aboutToShow.emit()
    assert [entry.text() for entry in band.menu().actions() if entry.text()] == ["No band", "second"]
    band.menu().actions()[-1].trigger()
    losses = screen.curves.panes["losses"]
    qtbot.waitUntil(lambda: "band: 90 % of run 2 'second'" in losses.badge.text())
    screen.show_item(2)
    qtbot.waitUntil(lambda: screen._run is not None and screen._run.id == 2 and screen.curves.is_settled)
    assert "band" not in losses.badge.text()
    screen.show_item(1)
    qtbot.waitUntil(lambda: "band: 90 % of run 2 'second'" in losses.badge.text())


def test_a_band_that_ships_is_there_by_itself_for_a_run_of_its_preset(
    qtbot: QtBot, session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bands, "FOLDER", tmp_path)
    recipe = Recipe.from_values(RECIPE)
    shipped = bands.Shipped(
        *("dmd2", "one", "digits", "abc", {}, recipe.student.model_dump(), recipe.training.model_dump()),
        *(("preview_frechet", 0.4), "def", ask(qtbot, session, lambda project: bands.bands_of(project, 2))),
    )
    (tmp_path / "dmd2.json").write_text(shipped.to_json())
    screen = shown(qtbot, session)
    qtbot.waitUntil(lambda: bool(screen.curves.panes))
    badge = screen.curves.panes["losses"].badge
    qtbot.waitUntil(lambda: "band: 90 % of a sound run of this preset" in badge.text())


def test_checkpoints_and_attempts_are_marked(
    qtbot: QtBot, screen: RunScreen, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    marks: list[list[tuple[int, str]]] = []
    monkeypatch.setattr(screen.curves, "set_marks", lambda new: marks.append([(m.step, m.kind) for m in new]))
    with ProjectFile.open(session.project.path) as project:
        attempt = project.begin_attempt(1)
        project.set_first_step(attempt, 301)
        project.end_attempt(attempt, "stopped")
    qtbot.waitUntil(lambda: marks[-1:] == [[(400, "best"), (301, "attempt")]])


def test_a_splitter_stays_where_it_was_put(qtbot: QtBot, screen: RunScreen, session: Session) -> None:
    screen._down.moveSplitter(300, 1)
    place = screen._down.sizes()
    again = shown(qtbot, session)
    assert again._down.sizes() == place


def test_it_leads_to_other_screens(qtbot: QtBot, screen: RunScreen) -> None:
    led: list[tuple[str, object]] = []
    screen.leads_to.connect(lambda key, item: led.append((key, item)))
    for words in ("Compare", "Export", "Duplicate as new recipe"):
        button = next(b for b in screen.header.findChildren(QWidget) if b.accessibleName() == words)
        qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    qtbot.mouseClick(screen.health.export, Qt.MouseButton.LeftButton)
    assert [key for key, _ in led] == ["compare", "export", "wizard", "export"]
    assert led[0][1] == 1
    assert led[2][1] == Recipe.from_values(RECIPE).model_dump(mode="json")


def test_without_runs_it_says_how_to_begin(
    qtbot: QtBot, open_session: Callable[[Path], Session], tmp_path: Path
) -> None:
    ProjectFile.create(tmp_path / "empty.distill").close()
    screen = built(RunScreen, open_session(tmp_path / "empty.distill"))
    qtbot.addWidget(screen)
    screen.show()
    with qtbot.waitSignal(screen.leads_to) as led:
        qtbot.mouseClick(screen.begin, Qt.MouseButton.LeftButton)
    assert led.args == ["wizard", None]


def test_without_being_told_it_shows_the_newest_run(qtbot: QtBot, session: Session) -> None:
    screen = built(RunScreen, session)
    qtbot.addWidget(screen)
    screen.show()
    qtbot.waitUntil(lambda: screen._run is not None)
    assert screen._run is not None
    assert screen._run.name == "second"


def test_what_was_typed_is_kept_when_the_window_closes(qtbot: QtBot, screen: RunScreen, session: Session) -> None:
    screen.below.setCurrentWidget(screen.notes)
    qtbot.keyClicks(screen.notes.text, "half a wo")
    screen.close()
    session.project.close()
    with ProjectFile.open(session.project.path) as project:
        assert project.run(1).notes == "half a wo"


def test_a_setting_is_changed_while_the_run_goes_on(
    qtbot: QtBot, live: tuple[RunScreen, int], session: Session
) -> None:
    screen, attempt = live
    run = screen.watcher.run or 0
    form = screen.live_settings
    screen.below.setCurrentWidget(form)
    assert form.values()["steps"] == 400
    assert not form.change.isEnabled()
    field = form.fields["steps"]
    field.selectAll()
    qtbot.keyClicks(field, "900")
    qtbot.mouseClick(form.change, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: "steps 900: asked" in form.result.text())
    with ProjectFile.open(session.project.path) as project:
        command = project.open_commands(run)[0]
        assert (command.verb, command.arguments) == ("set", {"steps": 900})
        project.add_event(run, "set", "Set steps to 900.", attempt=attempt, step=100, data={"steps": 900})
        project.finish(command.id)
    qtbot.waitUntil(lambda: form.result.text() == "steps 900: Done.")
    qtbot.waitUntil(lambda: screen.header.steps.text() == "Step 100 of 900")
    assert form.values()["steps"] == 900
    assert not form.change.isEnabled()
    assert form.values()["keep_checkpoints"] == 3
    form.fields["keep_checkpoints"].selectAll()
    qtbot.keyClicks(form.fields["keep_checkpoints"], "1")
    qtbot.mouseClick(form.change, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: "keep_checkpoints 1: asked" in form.result.text())
    with ProjectFile.open(session.project.path) as project:
        (command,) = project.open_commands(run)
        assert (command.verb, command.arguments) == ("set", {"keep_checkpoints": 1})


def test_a_run_that_broke_down_goes_back_with_half_the_learning_rate(
    qtbot: QtBot, live: tuple[RunScreen, int], session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen, attempt = live
    run, started = screen.watcher.run or 0, list[int]()

    def start_worker(_path: Path, run: int, **_: object) -> int:
        started.append(run)
        return 0

    monkeypatch.setattr(launch, "start_worker", start_worker)
    with ProjectFile.open(session.project.path) as project:
        folder = project.files / "checkpoints" / f"run-{run}"
        folder.mkdir(parents=True)
        for step in (40, 80):
            (folder / f"{step}.safetensors").write_bytes(b"weights")
            project.add_checkpoint(attempt, step, folder / f"{step}.safetensors")
        words = "It stopped itself after step 100: the student's samples saturate."
        project.add_event(run, "warning", words, attempt=attempt, step=100, data={"go_back": 40})
    assert not screen.header.back.isVisible()
    with ProjectFile.open(session.project.path) as project:
        project.end_attempt(attempt, "stopped", words)
    qtbot.waitUntil(screen.header.back.isVisible)
    assert screen.header.back.text().strip() == "Go back to step 40..."
    qtbot.mouseClick(screen.header.back, Qt.MouseButton.LeftButton)
    form = screen.checkpoints
    assert screen.below.currentWidget() is form
    assert (form.steps.currentText(), form.factor.value()) == ("Step 40", 0.5)
    qtbot.mouseClick(form.button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: started == [run])
    with ProjectFile.open(session.project.path) as project:
        assert project.find_checkpoint(run).step == 40
        assert project.training(run).learning_rate_factor == 0.5


def test_a_pause_does_not_leave_the_focus_to_stop(qtbot: QtBot, live: tuple[RunScreen, int], session: Session) -> None:
    screen, _ = live
    screen.activateWindow()
    pause, resume = screen.header.asks["pause"], screen.header.asks["play"]
    qtbot.waitUntil(pause.isEnabled)
    pause.setFocus()
    qtbot.waitUntil(pause.hasFocus)
    qtbot.keyClick(pause, Qt.Key.Key_Space)
    qtbot.waitUntil(resume.isVisible)
    qtbot.waitUntil(resume.hasFocus)


def test_tabs_and_the_axis_of_the_curves_are_found_again(qtbot: QtBot, screen: RunScreen, session: Session) -> None:
    screen.side.setCurrentIndex(2)
    screen.below.setCurrentIndex(1)
    screen.curves.axis_box.setCurrentIndex(screen.curves.axis_box.findData("wall"))
    again = shown(qtbot, session)
    assert (again.side.currentIndex(), again.below.currentIndex()) == (2, 1)
    assert again.curves.axis_box.currentData() == "wall"
    qtbot.waitUntil(lambda: again.curves.span is not None and again.curves.is_settled)
    assert again.curves.span is not None
    assert again.curves.span.high == pytest.approx(80, rel=0.05)  # seconds, of 400 steps


def test_what_a_plot_leaves_out_is_said_in_full_in_a_window_of_1280(
    qtbot: QtBot, window: MainWindow, project_path: Path
) -> None:
    with ProjectFile.open(project_path) as project:
        attempt = project.begin_attempt(1)
        project.set_first_step(attempt, 300)
        rows = [
            MetricRow(300 + i, {"matching": float("nan") if i == 9 else 1.0, "fake_score": -1.0}) for i in range(50)
        ]
        project.record(attempt, rows)
        project.end_attempt(attempt, "finished")
    window.resize(1280, 800)
    window.open_project(project_path, lambda opened: opened.show_screen("run", 1))
    qtbot.waitUntil(lambda: window.is_settled and isinstance(window.screen_shown(), RunScreen))
    screen = window.screen_shown()
    assert isinstance(screen, RunScreen)
    qtbot.waitUntil(lambda: "losses" in screen.curves.panes and screen.curves.is_settled)
    pane = screen.curves.panes["losses"]
    pane.log.setChecked(True)
    pane.clip.setChecked(True)
    words = ["raw", "axis fits 2-98 %", "pale: steps done again", "0 and below not drawn", "not finite at 1"]
    for width in (1280, 1600):
        window.resize(width, 800)
        qtbot.waitUntil(lambda: pane.badge.height() == pane.badge.heightForWidth(pane.badge.width()))
        qtbot.waitUntil(lambda: pane.plot.y() > pane.badge.geometry().bottom())
        assert pane.badge.text() == " · ".join(words)
        assert pane.badge.isVisible()
        assert pane.plot.height() >= 80
