"""Long work says what it does, since when and how long yet; the next time it knows that from the start."""

import time
from typing import Any

import pytest
from PySide6.QtCore import QSettings
from pytestqt.qtbot import QtBot

from app.widgets.work_line import WorkLine
from tests.app.scripted import ScriptedBackend


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the clock shows, as the only number in a list."""
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    return clock


def begun(qtbot: QtBot, settings: QSettings) -> tuple[WorkLine, Any]:
    backend = ScriptedBackend()
    line = WorkLine(backend, settings)
    qtbot.addWidget(line)
    line.begin("Exporting", ["export"], lambda _: None, "export-diffusers")
    return line, backend.jobs[0]


def test_the_first_time_the_work_itself_says_when_it_ends(qtbot: QtBot, settings: QSettings, now: list[float]) -> None:
    line, job = begun(qtbot, settings)
    assert line.words.text() == "Exporting · 0 s"
    assert line.bar.maximum() == 0  # busy, with no end known
    now[0] = 110.0
    job.said.emit("writing the files, about 30 s left")
    assert line.words.text() == "Exporting · writing the files · 10 s, about 30 s left"
    assert line.bar.value() / line.bar.maximum() == 0.25
    now[0] = 130.0
    line._show()
    assert line.words.text() == "Exporting · writing the files · 30 s, about 10 s left"
    line.stop()


def test_the_second_time_the_end_is_known_from_the_start(qtbot: QtBot, settings: QSettings, now: list[float]) -> None:
    _, job = begun(qtbot, settings)
    now[0] = 140.0
    job.end({})
    line, _ = begun(qtbot, settings)
    assert line.words.text() == "Exporting · 0 s, about 40 s left"
    now[0] = 190.0  # it takes longer this time, and nobody knows how long
    line._show()
    assert line.words.text() == "Exporting · 50 s"
    assert line.bar.maximum() == 0
    line.stop()


def test_what_was_cancelled_says_nothing_of_the_next(qtbot: QtBot, settings: QSettings, now: list[float]) -> None:
    line, _ = begun(qtbot, settings)
    now[0] = 105.0
    line.stop()
    line, _ = begun(qtbot, settings)
    assert line.words.text() == "Exporting · 0 s"
    line.stop()
