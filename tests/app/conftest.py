"""What tests of the window share: Qt without a screen, a project without torch, and nothing left behind.

A test fails that leaves a thread, a process or a timer that ticks behind, or that meets a dialog it did not ask for.
"""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from PIL import Image
from PySide6.QtCore import QSettings
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from app import look
from app.backend_process import Backend
from app.main_window import MainWindow
from app.open_project import OpenProject
from app.screens import Screen
from app.session import Session
from backend.contract.metrics import MetricRow
from backend.contract.project_file import ProjectFile
from backend.contract.recipe import Recipe

from . import leaks

S = TypeVar("S", bound=Screen)
RECIPE = {"teacher": "digits", "method": "dmd2", "training": {"steps": 400, "batch_size": 16}}


@pytest.fixture(autouse=True)
def _light(qapp: QApplication) -> None:
    if look.scheme() is not look.LIGHT:
        look.use(qapp, look.LIGHT)


@pytest.fixture(autouse=True)
def _nothing_is_left(qapp: QApplication, qtbot: QtBot) -> Iterator[None]:
    with leaks.nothing_left():
        yield


def picture_bytes(seed: int, size: int = 16) -> bytes:
    """A small PNG that looks like something and is the same for the same seed."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:size, 0:size]
    cx, cy, r = rng.uniform(5, 11, 3)
    ring = 255 * np.exp(-((np.hypot(x - cx, y - cy) - r / 2) ** 2) / 3)
    out = io.BytesIO()
    Image.fromarray(ring.astype(np.uint8)).save(out, "PNG")
    return out.getvalue()


def built(kind: type[S], session: Session) -> S:
    """A screen that is whole, as the window makes it in parts."""
    made = kind(session)
    list(made.build())
    return made


def fill(project: ProjectFile, run: int, steps: int = 400, previews: int = 4, finished: bool = True) -> int:
    """Give a run an attempt with curves, previews, checkpoints and events, as a worker would; the attempt."""
    rng = np.random.default_rng(run)
    attempt = project.begin_attempt(run)
    project.set_first_step(attempt, 1)
    rows = [
        MetricRow(
            step,
            {
                "matching": float(2 * np.exp(-step / 150) + 0.3 + rng.normal(0, 0.1)),
                "fake_score": float(0.5 + rng.normal(0, 0.05)),
                "student_gradient_norm": float(rng.lognormal()),
            },
            wall=step * 0.2,
            images=step * 16,
            nfe=step * 16 * 8,
        )
        for step in range(1, steps + 1)
    ]
    for start in range(0, steps, 50):
        project.record(attempt, rows[start : start + 50])
    for number in range(previews):
        step = number * steps // max(previews - 1, 1)
        score = 13.0 / (1 + number)
        if step:
            project.record(attempt, [MetricRow(step, {"preview_frechet": score}, wall=step * 0.2)])
        for position in range(20):
            project.add_sample(
                run,
                step=step,
                kind="preview",
                position=position,
                image=picture_bytes(position + 100 * number),
                attempt=attempt,
                label=str(position % 10),
                seed=7,
                sampler={"kind": "renoise", "levels": [1.0]},
                scores={"frechet": score},
            )
    project.add_event(run, "info", "Set-up is done.", attempt=attempt, step=0)
    place = project.files / f"checkpoints/run-{run}/step-{steps:08d}.safetensors"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(b"weights")
    project.add_checkpoint(attempt, steps, place, is_best=True, meta={"score": 13.0 / max(previews, 1)})
    if finished:
        project.end_attempt(attempt, "finished")
    return attempt


@pytest.fixture
def window(qtbot: QtBot, settings: QSettings) -> Iterator[MainWindow]:
    """A window that shows no project yet."""
    made = MainWindow(settings, Backend())
    made.show()
    yield made
    made._may_close = True
    made.backend.close()
    made.close()
    made.deleteLater()


@pytest.fixture
def project_path(tmp_path: Path) -> Path:
    """A project with two finished runs, "first" and "second"."""
    path = tmp_path / "lab.distill"
    with ProjectFile.create(path) as project:
        for name in ("first", "second"):
            fill(project, project.add_run(Recipe.from_values(RECIPE), name=name))
    return path


@pytest.fixture
def settings(tmp_path: Path) -> QSettings:
    return QSettings(str(tmp_path / "settings.ini"), QSettings.Format.IniFormat)


@pytest.fixture
def open_session(qtbot: QtBot, settings: QSettings) -> Iterator[Callable[[Path], Session]]:
    """open_session(path): what a screen is given, with the project open; closed after the test."""
    made: list[Session] = []

    def open_it(path: Path) -> Session:
        project, backend = OpenProject(path), Backend()
        with qtbot.waitSignal(project.opened):
            project.open()
        made.append(Session(project, backend, settings))
        return made[-1]

    yield open_it
    for session in made:
        session.backend.close()
        session.project.close()


@pytest.fixture
def session(open_session: Callable[[Path], Session], project_path: Path) -> Session:
    """A session with the project of two finished runs."""
    return open_session(project_path)


def ask(qtbot: QtBot, session: Session, question: Callable[[ProjectFile], Any]) -> Any:
    """The answer to a question to a session's project, waited for."""
    answers: list[Any] = []
    session.project.ask(question, answers.append)
    qtbot.waitUntil(lambda: bool(answers))
    return answers[0]
