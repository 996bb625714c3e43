"""Runs in progress, and the moment one of them ends; a notification where nobody looks."""

from typing import Any

import pytest
from PySide6.QtWidgets import QApplication, QSystemTrayIcon, QWidget
from pytestqt.qtbot import QtBot

from app import notify
from app.live_runs import LiveRuns
from app.session import Session
from backend.contract.project_file import ProjectFile
from backend.contract.recipe import Recipe

from .conftest import RECIPE


def test_a_run_is_live_from_its_start_to_its_end(qtbot: QtBot, session: Session) -> None:
    live, ends = LiveRuns(session.project), []
    live.ended.connect(lambda run, state: ends.append((run.name, state.state, state.reason)))
    with ProjectFile.open(session.project.path) as project:
        attempt = project.begin_attempt(project.add_run(Recipe.from_values(RECIPE), name="third"))
        qtbot.waitUntil(lambda: [run.name for run, _ in live.runs] == ["third"])
        project.end_attempt(attempt, "failed", "The disk is full; free some space.")
    qtbot.waitUntil(lambda: live.runs == [])
    assert ends == [("third", "failed", "The disk is full; free some space.")]
    live.close()


def test_a_notification_is_shown_where_the_desktop_has_a_place_for_it(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[tuple[Any, ...]] = []
    monkeypatch.setattr(QSystemTrayIcon, "isSystemTrayAvailable", staticmethod(lambda: True))
    monkeypatch.setattr(QSystemTrayIcon, "showMessage", lambda self, *words: shown.append(words[:2]))
    monkeypatch.setattr(
        QApplication, "alert", staticmethod(lambda window: shown.append(("alert", window.objectName())))
    )
    window = QWidget()
    window.setObjectName("the window")
    qtbot.addWidget(window)
    notify.notify(window, "Distill Studio", "first is finished.")
    assert shown == [("alert", "the window"), ("Distill Studio", "first is finished.")]
