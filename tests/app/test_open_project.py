"""Questions and writes: off the window's thread, newest first to count, errors as sentences."""

import threading
import weakref
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pysqlite3
from PySide6.QtCore import QObject
from pytestqt.qtbot import QtBot

from app.open_project import OpenProject
from app.session import Session
from backend.contract.project_file import ProjectFile


def _said(number: int, _: ProjectFile) -> int:
    return number


def _note(number: int, project: ProjectFile) -> None:
    project.set_notes(1, f"note {number}")


def test_an_answer_comes_in_the_windows_thread(qtbot: QtBot, session: Session) -> None:
    seen: list[tuple[Any, Any]] = []
    session.project.ask(
        lambda project: (threading.current_thread(), len(project.runs())),
        lambda answer: seen.append((answer, threading.current_thread())),
    )
    qtbot.waitUntil(lambda: bool(seen))
    (asked_in, count), answered_in = seen[0]
    assert count == 2
    assert asked_in is not threading.main_thread()
    assert answered_in is threading.main_thread()


def test_of_questions_with_one_key_the_newest_alone_is_answered(qtbot: QtBot, session: Session) -> None:
    gate, answers = threading.Event(), []  # type: ignore[var-annotated]
    session.project.ask(lambda _: gate.wait(10), lambda _: None)
    for number in range(5):
        session.project.ask(partial(_said, number), answers.append, key="same")
    session.project.ask(lambda _: "last", answers.append)
    gate.set()
    qtbot.waitUntil(lambda: "last" in answers)
    assert answers == [4, "last"]


def test_what_anyone_writes_is_noticed(qtbot: QtBot, session: Session) -> None:
    with qtbot.waitSignal(session.project.changed), ProjectFile.open(session.project.path) as other:
        other.set_notes(1, "seen")


def test_a_write_that_cannot_be_done_says_why(qtbot: QtBot, session: Session) -> None:
    words: list[str] = []
    session.project.write(lambda project: project.rename_run(99, "none"), failed=words.append)
    qtbot.waitUntil(lambda: bool(words))
    assert "There is no run 99" in words[0]
    with qtbot.waitSignal(session.project.troubled):
        session.project.write(lambda project: project.rename_run(99, "none"))


def test_writes_are_done_before_a_project_closes(open_session: Callable[[Path], Session], project_path: Path) -> None:
    session = open_session(project_path)
    for number in range(20):
        session.project.write(partial(_note, number))
    session.project.close()
    with ProjectFile.open(project_path, readonly=True) as project:
        assert project.run(1).notes == "note 19"


def test_a_file_that_is_no_project_is_refused_with_a_sentence(qtbot: QtBot, tmp_path: Path) -> None:
    path = tmp_path / "lab.distill"
    path.write_text("this is no database")
    project = OpenProject(path)
    with qtbot.waitSignal(project.refused) as refused:
        project.open()
    assert "lab.distill" in refused.args[0]
    project.close()


def test_what_an_order_refers_to_dies_in_the_windows_thread(qtbot: QtBot, session: Session) -> None:
    class Listener(QObject):
        def heard(self, _: object) -> None: ...

    died_in: list[threading.Thread] = []
    for _ in range(50):
        listener = Listener()
        weakref.finalize(listener, lambda: died_in.append(threading.current_thread()))
        session.project.ask(lambda _: None, listener.heard)
        del listener
    qtbot.waitUntil(lambda: len(died_in) == 50)
    assert set(died_in) == {threading.main_thread()}


def test_a_project_of_an_earlier_form_is_brought_up_to_date(qtbot: QtBot, tmp_path: Path) -> None:
    old = Path(__file__).parents[1] / "backend" / "contract" / "project_version_1.sql"
    path = tmp_path / "old.distill"
    connection = pysqlite3.connect(path)
    connection.executescript(old.read_text(encoding="utf-8"))
    connection.close()
    project = OpenProject(path)
    with qtbot.waitSignal(project.opened):
        project.open()
    project.close()
