"""The window: opens, refuses, connects screens, closes without ending a run."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QMimeData, QPointF, QSettings, Qt, QUrl
from PySide6.QtGui import QAction, QDropEvent
from PySide6.QtWidgets import QApplication, QFileDialog, QMenu, QMessageBox, QPushButton
from pytestqt.qtbot import QtBot

from app import main_window, recent, single_instance
from app.backend_process import Backend
from app.main_window import DEMO_RECIPE, MainWindow
from app.screens.run import RunScreen
from app.screens.runs import RunsScreen
from app.widgets.command_palette import CommandPalette
from app.wizard.wizard import Wizard
from backend.contract import demo, launch
from backend.contract.project_file import ProjectFile
from backend.contract.recipe import Recipe
from backend.contract.rows import RunState

from . import looking
from .conftest import RECIPE, fill
from .scripted import ScriptedBackend, ScriptedJob


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The runs whose process would have been started."""
    runs: list[int] = []

    def start(path: Path, run: int) -> int:
        runs.append(run)
        return 1

    monkeypatch.setattr(launch, "start_worker", start)
    return runs


def boxes() -> list[QMessageBox]:
    return [w for w in QApplication.topLevelWidgets() if isinstance(w, QMessageBox) and w.isVisible()]


def button(window: MainWindow, words: str) -> QPushButton:
    return next(b for b in window.findChildren(QPushButton) if b.text() == words)


def test_one_click_starts_the_demo(
    qtbot: QtBot, window: MainWindow, settings: QSettings, tmp_path: Path, started: list[int]
) -> None:
    settings.setValue("recent/folder", str(tmp_path))
    with qtbot.waitSignal(window.project_shown):
        qtbot.mouseClick(button(window, "Try it: distil the bundled digits"), Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: bool(started))
    with ProjectFile.open(tmp_path / "digits-demo.distill", readonly=True) as project:
        (run,) = project.runs()
        assert run.name == "digits demo"
        assert project.recipe(run.id) == Recipe.from_json(DEMO_RECIPE.read_bytes())
    qtbot.waitUntil(lambda: type(window.screen_shown()).__name__ == "RunScreen")
    assert recent.projects(settings) == [tmp_path / "digits-demo.distill"]


def demo_that_was_left(path: Path, **filled: Any) -> int:
    """The run of a demo whose window was closed while it trained. filled: what `fill` is told of how far it came."""
    with ProjectFile.open(path) as project:
        run = project.add_run(Recipe.from_json(DEMO_RECIPE.read_bytes()), name="digits demo")
        demo.promise(project, run)
        fill(project, run, **filled)
    return run


def keep_figures(path: Path, run: int) -> None:
    """What measuring leaves in the project."""
    with ProjectFile.open(path) as project:
        project.add_evaluation(run, 400, {"of": "student", "nfe": 1}, {"frechet": 0.2})


def keep_export(path: Path, run: int) -> None:
    """What exporting leaves in the project."""
    with ProjectFile.open(path) as project:
        project.add_export(run, "diffusers", str(path.parent / "student"), "abc", {})


def trained_demo(qtbot: QtBot, window: MainWindow) -> int:
    """The run of a demo that was begun in this window, and has ended well."""
    window.start_demo_run()
    assert window.session is not None
    with ProjectFile.open(window.session.project.path) as project:
        qtbot.waitUntil(lambda: window.is_settled and project.newest_event(demo.KIND) is not None)
        event = project.newest_event(demo.KIND)
        assert event is not None
        fill(project, event.run)
    return event.run


@pytest.mark.usefixtures("started")
def test_the_demo_goes_on_to_a_checked_export(qtbot: QtBot, scripted: MainWindow, project_path: Path) -> None:
    run = trained_demo(qtbot, scripted)
    qtbot.waitUntil(lambda: len(jobs(scripted)) == 1)
    (measures,) = jobs(scripted)
    of = [str(project_path), str(run), "--checkpoint", "last"]
    assert measures.arguments == ["evaluate", *of]
    assert scripted.work.isVisible()
    keep_figures(project_path, run)
    measures.end({})
    qtbot.waitUntil(lambda: len(jobs(scripted)) == 2)
    exports = jobs(scripted)[1]
    place = project_path.with_suffix(".files") / "exports" / f"run-{run}"
    assert exports.arguments == ["export", *of, "--out", str(place)]
    keep_export(project_path, run)
    exports.end({"path": str(place)})
    qtbot.waitUntil(lambda: type(scripted.screen_shown()).__name__ == "ExportScreen" and scripted.is_settled)
    assert "measured, exported and checked" in scripted.statusBar().currentMessage()
    assert len(jobs(scripted)) == 2


@pytest.mark.parametrize("end", ["cancelled", "failed"])
def test_a_demo_whose_measuring_has_no_answer_ends_there(
    qtbot: QtBot, empty: MainWindow, project_path: Path, end: str
) -> None:
    demo_that_was_left(project_path)
    empty.open_project(project_path)
    qtbot.waitUntil(lambda: len(jobs(empty)) == 1)
    if end == "cancelled":
        empty.work.cancel.click()
        assert not empty.work.isVisible()
    else:
        jobs(empty)[0].end("The disk is full; free some space.")
        assert "The disk is full" in empty.work.words.text()
    qtbot.waitUntil(lambda: empty.is_settled)
    assert len(jobs(empty)) == 1
    with ProjectFile.open(project_path, readonly=True) as project:
        assert demo.left(project) is None  # nor does the next window go on


@pytest.mark.usefixtures("started")
def test_a_demo_waits_for_a_copy_that_is_being_made(qtbot: QtBot, scripted: MainWindow, project_path: Path) -> None:
    scripted.copy_to(project_path.with_name("home.distill"))
    trained_demo(qtbot, scripted)
    (copies,) = jobs(scripted)
    copies.end({})
    qtbot.waitUntil(lambda: [job.arguments[0] for job in jobs(scripted)] == ["copy", "evaluate"])


def test_a_demo_that_was_left_is_gone_on_with_when_it_is_opened(
    qtbot: QtBot, empty: MainWindow, project_path: Path
) -> None:
    run = demo_that_was_left(project_path)
    keep_figures(project_path, run)
    empty.open_project(project_path)
    qtbot.waitUntil(lambda: [job.arguments[0] for job in jobs(empty)] == ["export"])
    assert jobs(empty)[0].arguments[2] == str(run)


def test_closing_the_window_of_a_demo_takes_nothing_back(qtbot: QtBot, empty: MainWindow, project_path: Path) -> None:
    run = demo_that_was_left(project_path)
    empty.open_project(project_path)
    qtbot.waitUntil(lambda: len(jobs(empty)) == 1)
    empty.close()
    assert jobs(empty)[0].is_cancelled
    with ProjectFile.open(project_path, readonly=True) as project:
        assert demo.left(project) == demo.Left(run, "evaluate")


def test_a_demo_that_still_trains_is_followed_to_its_end(qtbot: QtBot, empty: MainWindow, project_path: Path) -> None:
    run = demo_that_was_left(project_path, finished=False)  # this process is its worker
    with qtbot.waitSignal(empty.project_shown):
        empty.open_project(project_path)
    qtbot.waitUntil(lambda: empty.is_settled)
    assert jobs(empty) == []
    with ProjectFile.open(project_path) as project:
        project.end_attempt(project.attempts(run)[-1].id, "finished")
    qtbot.waitUntil(lambda: [job.arguments[0] for job in jobs(empty)] == ["evaluate"])


def test_a_demo_that_is_done_is_left_alone(qtbot: QtBot, empty: MainWindow, project_path: Path) -> None:
    run = demo_that_was_left(project_path)
    keep_figures(project_path, run)
    keep_export(project_path, run)
    with qtbot.waitSignal(empty.project_shown):
        empty.open_project(project_path)
    qtbot.waitUntil(lambda: empty.is_settled)
    assert jobs(empty) == []
    assert "measured" not in empty.statusBar().currentMessage()


def test_what_another_has_done_of_a_demo_is_not_done_again(qtbot: QtBot, empty: MainWindow, project_path: Path) -> None:
    run = demo_that_was_left(project_path)
    empty.open_project(project_path)
    qtbot.waitUntil(lambda: len(jobs(empty)) == 1)
    keep_export(project_path, run)  # while this window measures
    keep_figures(project_path, run)
    jobs(empty)[0].end({})
    qtbot.waitUntil(lambda: "measured, exported and checked" in empty.statusBar().currentMessage())
    assert len(jobs(empty)) == 1


def test_a_project_opens_with_what_it_is_about(qtbot: QtBot, window: MainWindow, project_path: Path) -> None:
    with qtbot.waitSignal(window.project_shown):
        window.open_project(project_path)
    assert type(window.screen_shown()).__name__ == "RunsScreen"
    assert window.windowTitle() == "lab - Distill Studio"


def test_a_screen_that_is_chosen_while_the_project_opens_stays(
    qtbot: QtBot, window: MainWindow, project_path: Path
) -> None:
    window.open_project(project_path)
    qtbot.waitUntil(lambda: window.session is not None)
    window.rail.buttons["export"].click()
    window._show_first(("runs", None))  # the answer, however late
    qtbot.waitUntil(lambda: window.is_settled and type(window.screen_shown()).__name__ == "ExportScreen")
    assert window.rail.chosen == "export"


def test_a_run_in_progress_is_shown_first_and_told_of(qtbot: QtBot, window: MainWindow, project_path: Path) -> None:
    with ProjectFile.open(project_path) as project:
        run = project.add_run(Recipe.from_values(RECIPE), name="third")
        project.begin_attempt(run)  # this process is its worker
    with qtbot.waitSignal(window.project_shown):
        window.open_project(project_path)
    assert type(window.screen_shown()).__name__ == "RunScreen"
    qtbot.waitUntil(lambda: "third" in window.live_line.words.text())


@pytest.fixture
def opened(window: MainWindow, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[MainWindow]]:
    """The windows that a window opens beside itself."""
    made: list[MainWindow] = []

    def new(settings: QSettings) -> MainWindow:
        made.append(MainWindow(settings, Backend()))
        return made[-1]

    monkeypatch.setattr(main_window, "new_window", new)
    yield made
    for other in made:
        other._may_close = True
        other.close()


def test_another_project_has_a_window_of_its_own(
    qtbot: QtBot, window: MainWindow, project_path: Path, tmp_path: Path, opened: list[MainWindow]
) -> None:
    with qtbot.waitSignal(window.project_shown):
        window.open_project(project_path)
    other = tmp_path / "other.distill"
    ProjectFile.create(other).close()
    window.open_project(other)
    qtbot.waitUntil(lambda: bool(opened) and opened[0].is_settled)
    assert type(opened[0].screen_shown()).__name__ == "Wizard"
    assert window.session is not None
    assert window.session.project.path == project_path


def test_the_demo_of_a_window_with_a_project_leaves_that_project_alone(
    qtbot: QtBot,
    window: MainWindow,
    settings: QSettings,
    project_path: Path,
    started: list[int],
    opened: list[MainWindow],
) -> None:
    with qtbot.waitSignal(window.project_shown):
        window.open_project(project_path)
    window.start_demo()
    qtbot.waitUntil(lambda: bool(started))
    qtbot.waitUntil(lambda: opened[0].is_settled)
    assert opened[0].path == project_path.with_name("digits-demo.distill")
    with ProjectFile.open(project_path, readonly=True) as project:
        assert [run.name for run in project.runs()] == ["first", "second"]


def test_a_project_that_has_a_window_is_shown_there(
    qtbot: QtBot, window: MainWindow, project_path: Path, tmp_path: Path, find_new: Callable[[], MainWindow]
) -> None:
    with qtbot.waitSignal(window.project_shown):
        window.open_project(project_path)
    other, link = find_new(), tmp_path / "link.distill"
    link.symlink_to(project_path)
    window.showMinimized()
    other.open_project(link)
    assert other.path is None
    assert other.is_settled
    assert not window.isMinimized()


def test_a_project_that_is_being_opened_has_a_window(
    qtbot: QtBot, window: MainWindow, project_path: Path, find_new: Callable[[], MainWindow]
) -> None:
    window.open_project(project_path)
    other = find_new()
    other.open_project(project_path)
    assert other.path is None
    qtbot.waitUntil(lambda: window.is_settled)


def test_a_project_in_a_window_of_another_process_is_shown_there(
    qtbot: QtBot, window: MainWindow, project_path: Path
) -> None:
    elsewhere = single_instance.Listener(project_path)
    with qtbot.waitSignal(elsewhere.asked):
        window.open_project(project_path)
    qtbot.waitUntil(lambda: window.is_settled)
    assert window.path is None
    assert "lab.distill is open in another window" in window.statusBar().currentMessage()
    elsewhere.close()


def test_a_window_answers_for_its_project_until_it_is_closed(
    qtbot: QtBot, window: MainWindow, project_path: Path
) -> None:
    with qtbot.waitSignal(window.project_shown):
        window.open_project(project_path)
    for outcome, deed in (("answered", lambda: None), ("silent", window.close)):
        deed()
        knock = single_instance.Knock(project_path)
        with qtbot.waitSignal(getattr(knock, outcome)):
            knock.start()


def test_the_head_of_a_run_and_the_status_bar_say_the_same_step(
    qtbot: QtBot, window: MainWindow, project_path: Path
) -> None:
    with ProjectFile.open(project_path) as project:
        recipe = {**RECIPE, "training": {"steps": 4000, "batch_size": 16}}
        run = project.add_run(Recipe.from_values(recipe), name="third")
        fill(project, run, steps=2000, previews=0, finished=False)
    with qtbot.waitSignal(window.project_shown):
        window.open_project(project_path)
    qtbot.waitUntil(lambda: "third" in window.live_line.words.text())
    assert window.live is not None
    window.live.close()  # what it has read is old from here on
    screen = window.screen_shown()
    assert isinstance(screen, RunScreen)
    qtbot.waitUntil(lambda: screen.header.steps.text() == "Step 2,000 of 4,000")
    screen.watcher._clock.stop()
    screen.watcher.state_changed.emit(RunState("running", step=2345))
    assert screen.header.steps.text() == "Step 2,345 of 4,000"
    assert window.live_line.words.text() == "third: running, step 2,345 of 4,000"
    screen.watcher.state_changed.emit(RunState("finished", step=4000))
    assert window.live_line.words.text() == ""


def test_a_queue_that_stands_still_is_told_of_and_started_when_asked(
    qtbot: QtBot, window: MainWindow, project_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts: list[Path] = []
    monkeypatch.setattr(launch, "start_next", starts.append)
    with ProjectFile.open(project_path) as project:
        project.end_attempt(project.begin_attempt(1), "finished")
        project._db.run("UPDATE attempts SET pid = 0")  # whose process is gone
        project.enqueue(project.add_run(Recipe.from_values(RECIPE), name="third"))
    with qtbot.waitSignal(window.project_shown):
        window.open_project(project_path)
    qtbot.waitUntil(window.live_line.start.isVisible)
    assert window.live_line.words.text() == "Nothing runs, and third waits in the queue."
    assert starts == []
    window.live_line.start.click()
    qtbot.waitUntil(lambda: starts == [project_path])


def test_what_is_no_project_is_refused_in_a_sentence(qtbot: QtBot, window: MainWindow, tmp_path: Path) -> None:
    path = tmp_path / "notes.distill"
    path.write_text("these are notes")
    window.open_project(path)
    qtbot.waitUntil(lambda: bool(boxes()))
    assert "notes.distill" in boxes()[0].text()
    assert window.session is None
    boxes()[0].close()


def test_closing_asks_once_and_leaves_the_run_alone(
    qtbot: QtBot, window: MainWindow, project_path: Path, settings: QSettings
) -> None:
    with ProjectFile.open(project_path) as project:
        run = project.add_run(Recipe.from_values(RECIPE), name="third")
        project.begin_attempt(run)
    with qtbot.waitSignal(window.project_shown):
        window.open_project(project_path)
    qtbot.waitUntil(lambda: window.live is not None and bool(window.live.runs))
    assert not window.close()
    (box,) = boxes()
    assert "third goes on without the window." in box.text()
    leave = next(b for b in box.buttons() if b.text() == "Close window")
    qtbot.mouseClick(leave, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not window.isVisible())
    with ProjectFile.open(project_path, readonly=True) as project:
        assert project.run_state(run).is_live
        assert project.commands(run) == []


def test_stop_then_close_stops_every_run(qtbot: QtBot, window: MainWindow, project_path: Path) -> None:
    with ProjectFile.open(project_path) as project:
        runs = [project.add_run(Recipe.from_values(RECIPE), name=name) for name in ("third", "fourth")]
        for run in runs:
            project.begin_attempt(run)
    with qtbot.waitSignal(window.project_shown):
        window.open_project(project_path)
    qtbot.waitUntil(lambda: window.live is not None and len(window.live.runs) == 2)
    assert not window.close()
    (box,) = boxes()
    assert "third and fourth go on without the window." in box.text()
    stop = next(b for b in box.buttons() if b.text() == "Stop the runs, then close")
    qtbot.mouseClick(stop, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not window.isVisible())
    with ProjectFile.open(project_path, readonly=True) as project:
        assert [[command.verb for command in project.commands(run)] for run in runs] == [["stop"], ["stop"]]


def test_the_welcome_is_found_again_with_what_was_opened_last(
    qtbot: QtBot, window: MainWindow, project_path: Path
) -> None:
    with qtbot.waitSignal(window.project_shown):
        window.open_project(project_path)
    qtbot.waitUntil(lambda: window.is_settled)
    menus = window.menuBar().findChildren(QMenu)
    command = next(a for menu in menus for a in menu.actions() if a.text() == "Welcome")
    command.trigger()
    assert type(window.screen_shown()).__name__ == "WelcomeScreen"
    assert window.rail.chosen is None
    assert window.session is not None
    button(window, "lab").click()  # its own project: back to it
    qtbot.waitUntil(lambda: type(window.screen_shown()).__name__ == "RunsScreen")
    command.trigger()
    window.rail.buttons["export"].click()
    qtbot.waitUntil(lambda: window.is_settled and type(window.screen_shown()).__name__ == "ExportScreen")


def test_every_command_is_found_by_typing(qtbot: QtBot, window: MainWindow, project_path: Path) -> None:
    with qtbot.waitSignal(window.project_shown):
        window.open_project(project_path)
    window.menus.show_palette()
    palette = window.findChild(CommandPalette)
    assert palette is not None
    qtbot.keyClicks(palette._search, "expor")
    qtbot.keyClick(palette._search, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: type(window.screen_shown()).__name__ == "ExportScreen")


@pytest.fixture
def empty(settings: QSettings) -> Iterator[MainWindow]:
    """A window without a project, with no process behind it."""
    made = MainWindow(settings, ScriptedBackend())
    made.show()
    yield made
    made._may_close = True
    made.backend.close()
    made.close()


@pytest.fixture
def scripted(qtbot: QtBot, empty: MainWindow, project_path: Path) -> MainWindow:
    """A window of a project, with no process behind it."""
    with qtbot.waitSignal(empty.project_shown):
        empty.open_project(project_path)
    return empty


def jobs(window: MainWindow) -> list[ScriptedJob]:
    assert isinstance(window.backend, ScriptedBackend)
    return [job for job in window.backend.jobs if job.arguments[0] != "preflight"]


def test_a_copy_is_whole_and_made_in_a_process_of_its_own(scripted: MainWindow, project_path: Path) -> None:
    target = project_path.with_name("home.distill")
    scripted.copy_to(target)
    (job,) = jobs(scripted)
    assert job.arguments == ["copy", str(project_path), str(target)]
    assert scripted.work.isVisible()
    assert "Copying to home.distill" in scripted.work.words.text()
    job.end({"project": str(target)})
    assert not scripted.work.isVisible()
    assert scripted.statusBar().currentMessage() == "Saved a copy as home.distill."


def test_nothing_overlaps_while_a_copy_is_made(qtbot: QtBot, scripted: MainWindow, project_path: Path) -> None:
    with ProjectFile.open(project_path) as project:
        run = project.add_run(Recipe.from_values(RECIPE), name="third")
        project.end_attempt(project.begin_attempt(run), "failed", "The disk is full.", "Traceback: full\n" * 30)
    scripted.resize(1280, 800)
    scripted.show_screen("run", run)
    qtbot.waitUntil(lambda: scripted.is_settled and isinstance(scripted.screen_shown(), RunScreen))
    screen = scripted.screen_shown()
    assert isinstance(screen, RunScreen)
    qtbot.waitUntil(lambda: screen.header.state.text() == "Failed")
    screen.header.details.click()
    scripted.copy_to(project_path.with_name("home.distill"))
    QApplication.sendPostedEvents()
    assert screen._down.height() >= screen._across.minimumHeight() + screen.below.minimumHeight()
    assert looking.overlapping(scripted) == []
    assert looking.nameless(scripted) == []
    assert looking.unreachable(scripted) == []


def test_a_name_that_exists_is_refused_in_a_sentence(qtbot: QtBot, window: MainWindow, project_path: Path) -> None:
    with qtbot.waitSignal(window.project_shown):
        window.open_project(project_path)
    window.copy_to(project_path)
    qtbot.waitUntil(lambda: not window.work.is_busy, timeout=60_000)
    assert window.work.words.text() == "lab.distill or its files exist already; choose another name."


def test_a_copy_that_is_cancelled_leaves_nothing(qtbot: QtBot, scripted: MainWindow, project_path: Path) -> None:
    scripted.copy_to(project_path.with_name("home.distill"))
    left = project_path.with_name(".home.distill.12.part")
    left.touch()
    scripted.work.cancel.click()
    qtbot.waitUntil(lambda: not left.exists())


def ask_by_name(qtbot: QtBot, window: MainWindow, words: str) -> None:
    """Do what is found first in the palette by these words, which must be its whole name."""
    palette = open_palette(window)
    qtbot.keyClicks(palette._search, words)
    assert palette._view.currentIndex().data() == words
    qtbot.keyClick(palette._search, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: window.findChild(CommandPalette) is None)


def open_palette(window: MainWindow) -> CommandPalette:
    window.menus.show_palette()
    palette = window.findChild(CommandPalette)
    assert palette is not None
    return palette


def names(palette: CommandPalette) -> list[str]:
    model = palette._view.model()
    return [model.index(row, 0).data() for row in range(model.rowCount())]


def test_the_palette_tells_screens_from_deeds(qtbot: QtBot, window: MainWindow, project_path: Path) -> None:
    with qtbot.waitSignal(window.project_shown):
        window.open_project(project_path)
    qtbot.waitUntil(lambda: window.is_settled)
    for key, deed in (
        ("runs", "Export the student of the selected run"),
        ("run", "Export the student of this run"),
        ("export", "Export the student"),
    ):
        window.show_screen(key)
        qtbot.waitUntil(lambda: window.is_settled)
        palette = open_palette(window)
        found = names(palette)
        palette.close()
        qtbot.waitUntil(lambda: window.findChild(CommandPalette) is None)
        assert deed in found
        assert {f"Go to {place}" for place in ("New run", "Run", "Compare", "Runs", "Export")} <= set(found)
        assert not {"New run", "Run", "Compare", "Runs", "Export"} & set(found)
        assert len(set(found)) == len(found)
    assert "Export" in [action.text() for action in window.findChildren(QAction)]  # in its menu


def test_no_row_of_the_palette_is_cut(qtbot: QtBot, window: MainWindow, project_path: Path) -> None:
    with qtbot.waitSignal(window.project_shown):
        window.open_project(project_path)
    qtbot.waitUntil(lambda: window.is_settled)
    palette = open_palette(window)
    view = palette._view
    qtbot.waitUntil(palette._search.hasFocus)
    model, height = view.model(), view.viewport().height()
    for row in (0, model.rowCount() - 1):
        view.scrollTo(model.index(row, 0))
        rows = [view.visualRect(model.index(one, 0)) for one in range(model.rowCount())]
        shown = [area for area in rows if area.bottom() >= 0 and area.top() < height]
        assert all(area.top() >= 0 and area.bottom() < height for area in shown)
        assert sum(area.height() for area in shown) == height
    palette.close()


def test_runs_are_sorted_by_name_of_a_command(qtbot: QtBot, window: MainWindow, project_path: Path) -> None:
    with qtbot.waitSignal(window.project_shown):
        window.open_project(project_path)
    screen = window.screen_shown()
    assert isinstance(screen, RunsScreen)
    qtbot.waitUntil(lambda: window.is_settled and len(screen.model.rows) == 2)

    def shown() -> list[str]:
        return [row.name for row in screen.table.proxy.shown()]

    assert shown() == ["second", "first"]
    ask_by_name(qtbot, window, "Sort by Name")
    assert shown() == ["first", "second"]
    ask_by_name(qtbot, window, "Sort by Name, the other way round")
    assert shown() == ["second", "first"]


def test_curves_are_zoomed_set_and_read_as_a_table_by_name(
    qtbot: QtBot, window: MainWindow, project_path: Path
) -> None:
    window.open_project(project_path, lambda opened: opened.show_screen("run", 1))
    qtbot.waitUntil(lambda: window.is_settled and isinstance(window.screen_shown(), RunScreen))
    screen = window.screen_shown()
    assert isinstance(screen, RunScreen)
    curves = screen.curves
    qtbot.waitUntil(lambda: "losses" in curves.panes and curves.is_settled)
    pane = curves.panes["losses"]
    whole, height = curves.span, pane.plot.height_shown
    assert whole is not None
    assert height is not None
    ask_by_name(qtbot, window, "Zoom in on the curves")
    assert curves.span is not None
    assert curves.span.width == pytest.approx(whole.width / 2)
    ask_by_name(qtbot, window, "Zoom out of the curves")
    assert curves.span == whole
    ask_by_name(qtbot, window, "Zoom in on the height of the curves")
    assert pane.plot.height_shown is not None
    assert pane.plot.height_shown.width == pytest.approx(height.width / 2)
    ask_by_name(qtbot, window, "Zoom out of the height of the curves")
    assert pane.plot.height_shown.width == pytest.approx(height.width)
    qtbot.keyClick(pane.plot, Qt.Key.Key_Minus, Qt.KeyboardModifier.ControlModifier)
    assert pane.plot.height_shown.width == pytest.approx(height.width * 2)
    ask_by_name(qtbot, window, "Show all of the curves")
    qtbot.waitUntil(lambda: curves.is_settled)
    assert (curves.span, pane.plot.height_shown) == (whole, height)
    ask_by_name(qtbot, window, "Logarithmic axis for Losses")
    assert pane.log.isChecked()
    ask_by_name(qtbot, window, "Clip the axis of Losses")
    assert pane.clip.isChecked()
    ask_by_name(qtbot, window, "Smooth Losses more")
    assert pane.amount == pytest.approx(0.1)
    ask_by_name(qtbot, window, "Draw the curves over images")
    qtbot.waitUntil(lambda: curves.is_settled and pane.plot.axis_title == "Images")
    ask_by_name(qtbot, window, "Curves as a table or as plots")
    assert curves.table.isVisible()


def test_the_size_of_the_window_is_remembered(
    qtbot: QtBot, window: MainWindow, settings: QSettings, find_new: Callable[[], MainWindow]
) -> None:
    window.resize(760, 600)  # the screen without a screen is 800 wide
    window.close()
    assert find_new().size() == window.size()


def drop(window: MainWindow, *paths: Path) -> None:
    what = QMimeData()
    what.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    event = QDropEvent(
        QPointF(200, 200),
        Qt.DropAction.CopyAction,
        what,
        Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.NoModifier,
    )
    window.dropEvent(event)
    assert event.isAccepted()


def test_a_project_that_is_dropped_is_opened(qtbot: QtBot, window: MainWindow, project_path: Path) -> None:
    with qtbot.waitSignal(window.project_shown):
        drop(window, project_path)
    assert window.session is not None


def test_what_is_dropped_on_the_welcome_begins_a_project(
    qtbot: QtBot, empty: MainWindow, settings: QSettings, tmp_path: Path
) -> None:
    settings.setValue("recent/folder", str(tmp_path))
    model = tmp_path / "my-model"
    model.mkdir()
    drop(empty, model)
    qtbot.waitUntil(lambda: bool(empty.findChildren(QFileDialog)))
    (dialog,) = empty.findChildren(QFileDialog)
    assert dialog.windowTitle() == "New project for my-model"
    assert [Path(one).name for one in dialog.selectedFiles()] == ["my-model.distill"]
    dialog.accept()
    qtbot.waitUntil(lambda: type(empty.screen_shown()).__name__ == "Wizard" and empty.is_settled)
    assert empty.path == tmp_path / "my-model.distill"
    screen = empty.screen_shown()
    assert isinstance(screen, Wizard)
    qtbot.waitUntil(lambda: screen.draft.values.get("teacher") == str(model))


def test_of_several_things_that_are_dropped_the_first_of_use_is_taken(
    qtbot: QtBot, window: MainWindow, project_path: Path, tmp_path: Path
) -> None:
    (tmp_path / "notes.doc").touch()
    with qtbot.waitSignal(window.project_shown):
        drop(window, tmp_path / "notes.doc", project_path)
    assert window.path == project_path
    assert window.statusBar().currentMessage() == "Took lab.distill, one of 2 that were dropped."


def test_a_folder_that_is_dropped_begins_a_run_of_it(
    qtbot: QtBot, window: MainWindow, project_path: Path, tmp_path: Path
) -> None:
    with qtbot.waitSignal(window.project_shown):
        window.open_project(project_path)
    drop(window, tmp_path)
    qtbot.waitUntil(lambda: type(window.screen_shown()).__name__ == "Wizard")


@pytest.fixture
def find_new(settings: QSettings) -> Iterator[Callable[[], MainWindow]]:
    made: list[MainWindow] = []

    def new() -> MainWindow:
        made.append(MainWindow(settings, Backend()))
        return made[-1]

    yield new
    for window in made:
        window.close()


@pytest.mark.parametrize("size", [(1280, 800), (1024, 640)])
def test_the_welcome_is_named_reached_and_not_cut(qtbot: QtBot, window: MainWindow, size: tuple[int, int]) -> None:
    window.resize(*size)
    QApplication.sendPostedEvents()
    assert looking.nameless(window) == []
    assert looking.unreachable(window) == []
    assert looking.clipped(window) == []
    assert looking.overlapping(window) == []
