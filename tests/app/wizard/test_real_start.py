"""One click from a fresh project to a training process, with the real command line and worker."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from app.session import Session
from app.wizard.wizard import Wizard
from backend.contract import launch
from backend.contract.project_file import ProjectFile
from tests.app.conftest import built


@pytest.mark.long
def test_the_defaults_are_checked_and_train(qtbot: QtBot, open_session: Callable[[Path], Session], empty: Path) -> None:
    wizard = built(Wizard, open_session(empty))
    qtbot.addWidget(wizard)
    wizard.show()
    qtbot.waitUntil(wizard.frame.start.isEnabled, timeout=60_000)
    with qtbot.waitSignal(wizard.leads_to, timeout=120_000):
        qtbot.mouseClick(wizard.frame.start, Qt.MouseButton.LeftButton)

    def steps() -> int:
        with ProjectFile.open(empty, readonly=True) as project:
            return project.run_state(1).step or 0

    try:
        qtbot.waitUntil(lambda: steps() > 0, timeout=120_000)
    finally:
        launch.end(empty, 1)
