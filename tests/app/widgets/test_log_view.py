"""The log: what is shown of it, how it grows, and that it never grows beyond its bounds."""

from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QToolButton
from pytestqt.qtbot import QtBot

from app.session import Session
from app.widgets.log_view import MOST_LINES, TAIL_BYTES, LogView, tail
from backend.contract.project_file import files_folder
from backend.contract.rows import LogEvent


def event(number: int, kind: str = "info") -> LogEvent:
    return LogEvent(number, 1, 1, number, 0.0, kind, f"line {number}.", {})


@pytest.fixture
def log(qtbot: QtBot, session: Session) -> LogView:
    made = LogView(session)
    qtbot.addWidget(made)
    made.show()
    return made


def test_events_are_appended_and_filtered(qtbot: QtBot, log: LogView) -> None:
    log.add_events([event(1), event(2, "warning")])
    log.add_events([event(3, "health")])
    assert [line.split()[-1] for line in log.text.toPlainText().splitlines()] == ["1.", "2.", "3."]
    log.kind.setCurrentIndex(log.kind.findData("wrong"))
    assert log.text.toPlainText().endswith("step 2  warning  line 2.")
    log.add_events([event(4), event(5, "error")])
    assert len(log.text.toPlainText().splitlines()) == 2
    log.kind.setCurrentIndex(0)
    qtbot.keyClicks(log.search, "LINE 3")
    assert log.text.toPlainText().endswith("line 3.")


def test_it_is_copied(qtbot: QtBot, log: LogView) -> None:
    log.add_events([event(1)])
    copy = next(button for button in log.findChildren(QToolButton) if button.accessibleName() == "Copy")
    qtbot.mouseClick(copy, Qt.MouseButton.LeftButton)
    assert QApplication.clipboard().text().endswith("line 1.")


def test_it_keeps_the_newest_lines_and_no_more(log: LogView) -> None:
    log.add_events([event(number) for number in range(MOST_LINES + 10)])
    assert log.text.blockCount() == MOST_LINES
    assert log.text.toPlainText().endswith(f"line {MOST_LINES + 9}.")


def test_what_the_process_prints_is_read_as_it_grows(qtbot: QtBot, log: LogView, session: Session) -> None:
    file = files_folder(session.project.path) / "logs" / "x.log"
    file.parent.mkdir(parents=True)
    file.write_text("loading\n")
    log._clock.setInterval(10)
    log.show_log_of("logs/x.log")
    log.kind.setCurrentIndex(log.kind.findData("printed"))
    qtbot.waitUntil(lambda: log.text.toPlainText() == "loading")
    with file.open("a") as more:
        more.write("step 1\nhalf a")
    qtbot.waitUntil(lambda: log.text.toPlainText() == "loading\nstep 1")


def test_another_run_begins_with_an_empty_log(log: LogView) -> None:
    log.add_events([event(1)])
    log.follow()
    assert log.text.toPlainText() == ""


def test_the_tail_of_a_file_is_its_end_in_whole_lines(tmp_path: Path) -> None:
    file = tmp_path / "log"
    assert tail(file) == ("", 0)
    file.write_bytes(b"x" * TAIL_BYTES + b"\nend\n")
    text, place = tail(file)
    assert text.endswith("\nend\n")
    assert len(text) == TAIL_BYTES
    assert tail(file, place) == ("", place)
    with file.open("ab") as more:
        more.write(b"one\ntw")
    assert tail(file, place) == ("one\n", place + 4)
