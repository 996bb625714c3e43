"""A reading asks again when the project changes: one question at a time, and none while nobody would see it."""

from pathlib import Path

import pytest
from PySide6.QtCore import QObject
from pytestqt.qtbot import QtBot

from app.reading import Question, Reading
from app.session import Session
from backend.contract.errors import UserError
from backend.contract.project_file import ProjectFile


class Reader(QObject):
    """Counts its questions; asks nothing while it is hidden."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.hidden, self.fails, self.asked = False, False, 0
        self.found: list[int] = []
        self.missed: list[str] = []
        self.reading = Reading(session.project, self._question, 20, self)
        self.reading.found.connect(self.found.append)
        self.reading.missed.connect(self.missed.append)

    def _question(self) -> Question | None:
        if self.hidden:
            return None
        self.asked += 1
        return self._refuse if self.fails else lambda project: len(project.runs())

    def _refuse(self, _: ProjectFile) -> int:
        raise UserError("The disk is gone.")


@pytest.fixture
def reader(session: Session) -> Reader:
    return Reader(session)


def add_run(path: Path) -> None:
    with ProjectFile.open(path) as project:
        project.add_run(project.recipe(1))


def test_what_others_write_is_read_again(qtbot: QtBot, reader: Reader, project_path: Path) -> None:
    reader.reading.look()
    qtbot.waitUntil(lambda: reader.found == [2])
    add_run(project_path)
    qtbot.waitUntil(lambda: reader.found[-1] == 3)


def test_many_wishes_are_one_question(qtbot: QtBot, reader: Reader) -> None:
    for _ in range(10):
        reader.reading.look()
    assert reader.asked == 1
    qtbot.waitUntil(lambda: len(reader.found) == 2)  # the second for the nine
    assert reader.asked == 2


def test_what_changed_unseen_is_read_when_it_is_seen(qtbot: QtBot, reader: Reader, project_path: Path) -> None:
    reader.reading.look()
    qtbot.waitUntil(lambda: reader.found == [2])
    reader.hidden = True
    with qtbot.waitSignal(reader.reading._project.changed):
        add_run(project_path)
    assert reader.found == [2]
    reader.hidden = False
    reader.reading.look_if_due()
    qtbot.waitUntil(lambda: reader.found == [2, 3])


def test_another_question_does_not_wait_for_the_last_one(qtbot: QtBot, reader: Reader) -> None:
    reader.reading.look()
    reader.reading.look_at_another()
    assert reader.asked == 2
    qtbot.waitUntil(lambda: bool(reader.found))


def test_a_question_that_fails_is_told_and_the_next_one_asked(qtbot: QtBot, reader: Reader) -> None:
    reader.fails = True
    reader.reading.look()
    qtbot.waitUntil(lambda: reader.missed == ["The disk is gone."])
    reader.fails = False
    reader.reading.look()
    qtbot.waitUntil(lambda: reader.found == [2])
