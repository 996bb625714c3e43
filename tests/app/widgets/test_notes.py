"""Notes are saved while one types, tags when they are added; neither is lost."""

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QToolButton
from pytestqt.qtbot import QtBot

from app.session import Session
from app.widgets.notes import Notes
from tests.app.conftest import ask


@pytest.fixture
def notes(qtbot: QtBot, session: Session) -> Notes:
    made = Notes(session)
    qtbot.addWidget(made)
    made.show()
    made.show_run(ask(qtbot, session, lambda project: project.run(1)))
    return made


def test_what_is_typed_is_saved_without_being_asked(qtbot: QtBot, notes: Notes, session: Session) -> None:
    with qtbot.waitSignal(notes.saved):
        qtbot.keyClicks(notes.text, "looks well")
    qtbot.waitUntil(lambda: not notes._asked)
    assert ask(qtbot, session, lambda project: project.run(1).notes) == "looks well"


def test_the_notes_of_one_run_never_become_anothers(qtbot: QtBot, notes: Notes, session: Session) -> None:
    qtbot.keyClicks(notes.text, "of the first")
    with qtbot.waitSignal(notes.saved):
        notes.show_run(ask(qtbot, session, lambda project: project.run(2)))
    assert notes.text.toPlainText() == ""
    found = ask(qtbot, session, lambda project: [run.notes for run in project.runs()])
    assert found == ["of the first", ""]


def test_news_of_the_run_do_not_overwrite_what_is_being_typed(qtbot: QtBot, notes: Notes, session: Session) -> None:
    before = ask(qtbot, session, lambda project: project.run(1))
    qtbot.keyClicks(notes.text, "half a wo")
    notes.show_run(before)
    assert notes.text.toPlainText() == "half a wo"


def test_notes_that_another_window_wrote_are_shown(qtbot: QtBot, notes: Notes, session: Session) -> None:
    session.project.write(lambda project: project.set_notes(1, "from elsewhere"))
    qtbot.waitUntil(lambda: ask(qtbot, session, lambda project: project.run(1).notes) == "from elsewhere")
    notes.show_run(ask(qtbot, session, lambda project: project.run(1)))
    assert notes.text.toPlainText() == "from elsewhere"


def test_tags_are_added_once_and_taken_away(qtbot: QtBot, notes: Notes, session: Session) -> None:
    for tag in ("demo", "baseline", "demo"):
        qtbot.keyClicks(notes.tag, tag)
        qtbot.keyClick(notes.tag, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: ask(qtbot, session, lambda project: project.run(1).tags) == ("demo", "baseline"))
    away = next(b for b in notes.findChildren(QToolButton) if b.accessibleName() == "Take the tag demo away")
    qtbot.mouseClick(away, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: ask(qtbot, session, lambda project: project.run(1).tags) == ("baseline",))
