"""Projects, disks and runs that are not as they should be: one sentence in the window, and nothing half-written."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pysqlite3
import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QMessageBox
from pytestqt.qtbot import QtBot

from app.backend_process import Job
from app.main_window import MainWindow
from app.screens.compare import CompareScreen
from app.screens.export import ExportScreen
from app.screens.run import RunScreen
from app.session import Session
from app.widgets.notes import Notes
from backend.contract import launch
from backend.contract.project_file import VERSION, ProjectFile
from backend.contract.recipe import Recipe

from .conftest import RECIPE, S, ask, built

FULL = "The disk of lab.distill is full; free some space and try again."


def refusal(qtbot: QtBot) -> str:
    """The text of the one dialog that appears, which is closed."""

    def boxes() -> list[QMessageBox]:
        return [w for w in QApplication.topLevelWidgets() if isinstance(w, QMessageBox) and w.isVisible()]

    qtbot.waitUntil(lambda: len(boxes()) == 1)
    (box,) = boxes()
    text = box.text()
    box.close()
    return text


def empty_file(path: Path) -> None:
    path.write_bytes(b"")


def damaged(path: Path) -> None:
    with ProjectFile.create(path):
        pass
    content = bytearray(path.read_bytes())
    content[100:4000] = b"\xff" * 3900
    path.write_bytes(content)


def newer(path: Path) -> None:
    with ProjectFile.create(path) as project:
        project._db.pragma(f"user_version = {VERSION + 1}")


def other_database(path: Path) -> None:
    with pysqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE cats (name TEXT)")
    connection.close()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (empty_file, "mine.distill is not a project; choose a file that `distill new` has made."),
        (other_database, "mine.distill is not a project; choose a file that `distill new` has made."),
        (damaged, "mine.distill is damaged"),
        (newer, "mine.distill was written by a newer version"),
        (lambda path: path.mkdir(), "mine.distill is a folder; choose a file"),
        (lambda path: None, "mine.distill is missing; check its name"),
    ],
)
def test_what_cannot_be_opened_is_refused_in_one_dialog(
    qtbot: QtBot, window: MainWindow, tmp_path: Path, make: Callable[[Path], object], said: str
) -> None:
    path = tmp_path / "mine.distill"
    make(path)
    before = path.read_bytes() if path.is_file() else None
    window.open_project(path)
    text = refusal(qtbot)
    assert said in text
    assert text.endswith(".")
    assert window.session is None
    assert (path.read_bytes() if path.is_file() else None) == before


def test_a_project_in_a_folder_that_cannot_be_written_is_not_begun(
    qtbot: QtBot, window: MainWindow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as context:
        context.setattr(Path, "open", refuse)
        window._create(tmp_path / "lab.distill")
    assert refusal(qtbot) == f"The folder {tmp_path} is read-only; choose a folder that you can write to."
    assert list(tmp_path.glob("*.distill")) == []


def test_a_read_only_project_is_shown_and_says_so_when_it_is_written_to(
    qtbot: QtBot, window: MainWindow, project_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from backend.contract import project_file

    with qtbot.waitSignal(window.project_shown):
        window.open_project(project_path)
    monkeypatch.setattr(project_file, "can_write", lambda path: False)
    window.start_run(Recipe.from_values(RECIPE))
    said = "lab.distill or its folder is read-only; copy it to a folder that you can write to."
    qtbot.waitUntil(lambda: window.statusBar().currentMessage() == said)


@pytest.fixture
def notes(qtbot: QtBot, session: Session) -> Notes:
    made = Notes(session)
    qtbot.addWidget(made)
    made.show()
    made.show_run(ask(qtbot, session, lambda project: project.run(1)))
    made._again.setInterval(20)
    return made


def test_notes_on_a_full_disk_say_so_and_are_written_when_there_is_room(
    qtbot: QtBot, session: Session, notes: Notes
) -> None:
    def fill_disk(project: ProjectFile) -> None:
        project._db.pragma("max_page_count = 1")  # no page can be added any more: SQLite's own "disk full"

    session.project.write(fill_disk)
    notes.text.setPlainText("x" * 100_000)
    qtbot.waitUntil(lambda: notes.wrong.text() == f"Not saved yet: {FULL}")
    assert notes.wrong.isVisible()
    assert notes.text.toPlainText() == "x" * 100_000
    with qtbot.waitSignal(notes.saved):
        session.project.write(lambda project: project._db.pragma("max_page_count = 1000000"))
    assert not notes.wrong.isVisible()
    assert ask(qtbot, session, lambda project: project.run(1).notes) == "x" * 100_000


def test_notes_in_a_locked_project_are_written_when_it_is_free(
    qtbot: QtBot, session: Session, notes: Notes, project_path: Path
) -> None:
    session.project.write(lambda project: project._db.pragma("busy_timeout = 10"))
    with ProjectFile.open(project_path) as other, other.transaction():
        qtbot.keyClicks(notes.text, "seen")
        said = "Not saved yet: lab.distill is locked by another program; close it there and try again."
        qtbot.waitUntil(lambda: notes.wrong.text() == said)
    qtbot.waitUntil(lambda: ask(qtbot, session, lambda project: project.run(1).notes) == "seen")
    qtbot.waitUntil(lambda: not notes.wrong.isVisible())


def test_a_start_on_a_full_disk_starts_nothing_and_says_so(
    qtbot: QtBot, window: MainWindow, project_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "start_worker", lambda *_: pytest.fail("a process was started"))
    with qtbot.waitSignal(window.project_shown):
        window.open_project(project_path)
    assert window.session is not None
    window.session.project.write(lambda project: project._db.pragma("max_page_count = 1"))
    recipe = Recipe.from_values({**RECIPE, "teacher": "x" * 100_000})  # more than a page has room for
    window.start_run(recipe)
    qtbot.waitUntil(lambda: window.statusBar().currentMessage() == FULL)
    with ProjectFile.open(project_path, readonly=True) as project:
        assert len(project.runs()) == 2
        assert project.check() == []


@pytest.fixture
def run_screen(qtbot: QtBot, session: Session) -> RunScreen:
    made = built(RunScreen, session)
    qtbot.addWidget(made)
    made.resize(1100, 700)
    made.show()
    return made


def show(qtbot: QtBot, screen: RunScreen, run: int, state: str) -> str:
    """The reason that is shown of a run in that state."""
    screen.show_item(run)
    qtbot.waitUntil(lambda: screen.watcher.state is not None and screen.watcher.state.state == state)
    qtbot.waitUntil(screen.header.reason.isVisible)
    return screen.header.reason.text()


def test_a_worker_that_dies_at_its_start_leaves_a_sentence_and_its_log(
    qtbot: QtBot, run_screen: RunScreen, project_path: Path
) -> None:
    with ProjectFile.open(project_path) as project:
        run = project.add_run(Recipe.from_values(RECIPE), name="third")
    program = "print('a first line'); raise SystemExit('no such device')"
    launch.start_worker(project_path, run, command=[sys.executable, "-c", program])
    launch.wait_for_start(project_path, run)
    words = show(qtbot, run_screen, run, "failed")
    assert words == "The worker ended before it could start: no such device"
    assert "Traceback" not in words
    qtbot.mouseClick(run_screen.header.details, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: "a first line" in run_screen.header.story.toPlainText())


def test_a_program_that_is_not_whole_starts_nothing_and_says_so(
    qtbot: QtBot, run_screen: RunScreen, project_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "_worker_command", lambda: ["/nowhere/python"])
    with ProjectFile.open(project_path) as project:
        run = project.add_run(Recipe.from_values(RECIPE), name="third")
        with pytest.raises(launch.LaunchError):
            launch.start_worker(project_path, run)
    words = show(qtbot, run_screen, run, "failed")
    assert words.startswith("The worker could not be started: ")
    assert words.endswith("check that the program is whole.")


def test_a_project_without_its_folder_of_files_still_shows_its_runs(
    qtbot: QtBot, run_screen: RunScreen, project_path: Path, session: Session
) -> None:
    with ProjectFile.open(project_path, readonly=True) as project:
        shutil.rmtree(project.files)
    troubles: list[str] = []
    session.project.troubled.connect(troubles.append)
    run_screen.show_item(1)
    qtbot.waitUntil(lambda: run_screen.header.state.text() == "Finished" and session.project.is_idle)
    assert troubles == []


def by_the_command_line(
    session: Session, monkeypatch: pytest.MonkeyPatch, distill: Callable[..., Any], command: str
) -> None:
    """The command line answers in this process."""
    real = session.backend.ask

    def answer(arguments: list[str], answered: Any, failed: Any, said: Any = None) -> Job:
        assert arguments[0] == command
        job = real(["methods", "none"], lambda _: None, lambda _: None)  # what can be waited for and cancelled
        found = distill(*arguments, "--json")
        assert found.status == 2
        job.ended.connect(lambda: failed(found.json["error"]))
        return job

    monkeypatch.setattr(session.backend, "ask", answer)


def shown_without_weights(kind: type[S], qtbot: QtBot, session: Session, project_path: Path) -> S:
    """A screen that shows run 1, whose files are gone."""
    with ProjectFile.open(project_path, readonly=True) as project:
        shutil.rmtree(project.files)
    screen = built(kind, session)
    qtbot.addWidget(screen)
    screen.show()
    screen.show_item(1)
    return screen


@pytest.mark.long  # the command line loads torch
def test_a_comparison_without_its_weights_says_so_in_place_of_the_pictures(
    qtbot: QtBot, session: Session, project_path: Path, monkeypatch: pytest.MonkeyPatch, distill: Callable[..., Any]
) -> None:
    by_the_command_line(session, monkeypatch, distill, "compare")
    screen = shown_without_weights(CompareScreen, qtbot, session, project_path)
    qtbot.waitUntil(lambda: "missing" in screen.empty.words.text(), timeout=30_000)
    assert screen.empty.words.text().endswith(".")
    assert screen.empty.button.text() == "Draw again"


@pytest.mark.long  # the command line loads torch
def test_an_export_without_its_weights_says_so_and_writes_nothing(
    qtbot: QtBot, session: Session, project_path: Path, monkeypatch: pytest.MonkeyPatch, distill: Callable[..., Any]
) -> None:
    by_the_command_line(session, monkeypatch, distill, "export")
    screen = shown_without_weights(ExportScreen, qtbot, session, project_path)
    qtbot.waitUntil(screen.start.isEnabled)
    out = Path(screen.form.destination.text())
    qtbot.mouseClick(screen.start, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: "missing" in screen.work.words.text(), timeout=30_000)
    assert screen.work.words.text().endswith(".")
    assert not out.exists()


def test_a_place_that_cannot_be_exported_to_is_refused_beside_its_field(
    qtbot: QtBot, session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = built(ExportScreen, session)
    qtbot.addWidget(screen)
    screen.show()
    screen.show_item(1)
    qtbot.waitUntil(screen.start.isEnabled)
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "mine.txt").write_text("mine")
    screen.form.destination.selectAll()
    qtbot.keyClicks(screen.form.destination, str(taken))
    assert screen.form.wrong.text() == "taken already holds files; choose a new or an empty folder."
    assert screen.form.wrong.isVisible()
    assert not screen.start.isEnabled()
    monkeypatch.setattr("os.access", lambda *_, **__: False)
    screen.form.destination.selectAll()
    qtbot.keyClicks(screen.form.destination, str(tmp_path / "new"))
    assert screen.form.wrong.text() == f"{tmp_path} cannot be written to; choose another folder."
    assert not screen.start.isEnabled()


def test_a_loss_that_is_not_finite_is_said_with_the_last_good_checkpoint(
    qtbot: QtBot, run_screen: RunScreen, project_path: Path
) -> None:
    reason = (
        "The loss of student was not finite at step 12, first its matching. The last good checkpoint is at step 10; "
        "go back to it with a lower learning_rate_factor."
    )
    with ProjectFile.open(project_path) as project:
        run = project.add_run(Recipe.from_values(RECIPE), name="third")
        attempt = project.begin_attempt(run)
        project.end_attempt(attempt, "failed", reason, "Traceback (most recent call last):\n  in step\n")
    assert show(qtbot, run_screen, run, "failed") == reason
    assert not run_screen.header.story.isVisible()
    qtbot.mouseClick(run_screen.header.details, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: "in step" in run_screen.header.story.toPlainText())
