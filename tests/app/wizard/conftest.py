"""A wizard over a project, with a backend that answers what a test has it answer."""

from collections.abc import Callable
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from app.session import Session
from app.wizard.wizard import Wizard
from backend.contract.project_file import ProjectFile
from tests.app.conftest import built
from tests.app.scripted import FITS, ScriptedBackend


@pytest.fixture
def backend() -> ScriptedBackend:
    made = ScriptedBackend()
    made.answers["preflight"] = lambda _: FITS
    return made


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """A fresh project."""
    path = tmp_path / "fresh.distill"
    ProjectFile.create(path).close()
    return path


@pytest.fixture
def make(qtbot: QtBot, open_session: Callable[[Path], Session], backend: ScriptedBackend) -> Callable[[Path], Wizard]:
    """make(project): a wizard that is ready, shown at the size of a small window."""

    def wizard(path: Path) -> Wizard:
        opened = open_session(path)
        made = built(Wizard, Session(opened.project, backend, opened.settings))
        qtbot.addWidget(made)
        made.resize(940, 560)
        with qtbot.waitExposed(made):
            made.show()
        qtbot.waitUntil(lambda: made.state is not None and made.frame.start.isEnabled() and made.is_settled)
        return made

    return wizard


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """What was asked of `launch` instead of starting a process: how, and the run."""
    from backend.contract import launch

    calls: list[tuple[str, int]] = []
    monkeypatch.setattr(launch, "start_worker", lambda path, run: calls.append(("start", run)))
    monkeypatch.setattr(launch, "enqueue", lambda path, run: calls.append(("enqueue", run)))
    return calls
