"""How quickly the curves follow a hand: pans and zooms over a project of eight series of a million points each.

Run as `python -m app.bench.curves PROJECT`; makes the project first where there is none.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PySide6.QtCore import QEvent, QPoint, QPointF, QSettings, Qt, QTimer
from PySide6.QtGui import QMouseEvent, QWheelEvent
from PySide6.QtWidgets import QApplication

from app.open_project import OpenProject
from app.widgets.curves import Curves
from backend.contract.metrics import MetricRow
from backend.contract.project_file import ProjectFile
from backend.contract.recipe import Recipe

SERIES, POINTS, BATCH = 8, 1_000_000, 20_000
MOVES = 200
REST_AFTER = 20
"""Moves, after which the hand waits for the exact columns of what is in sight."""
PAUSE_MILLISECONDS = 4
"""Between two moves of the hand; the reader's answers arrive meanwhile."""


def make_project(path: Path, points: int = POINTS, series: int = SERIES) -> None:
    """A project with one run of noisy, spiky curves."""
    rng = np.random.default_rng(0)
    recipe = Recipe.from_values({"teacher": "digits", "method": "dmd2", "training": {"steps": points}})
    with ProjectFile.create(path) as project:
        attempt = project.begin_attempt(project.add_run(recipe, name="long"))
        project.set_first_step(attempt, 1)
        names = [f"loss_{index}" for index in range(series)]
        for start in range(0, points, BATCH):
            steps = np.arange(start, min(start + BATCH, points))
            trend = np.exp(-steps / points * 3)[:, None] + np.arange(series) / 4
            values = trend + rng.normal(0, 0.05, (len(steps), series))
            values[rng.integers(0, len(steps), 3), rng.integers(0, series, 3)] *= 4
            rows = [
                MetricRow(int(step) + 1, dict(zip(names, row, strict=True)), wall=step / 100, images=int(step) * 16)
                for step, row in zip(steps, values.tolist(), strict=True)
            ]
            project.record(attempt, rows)
        project.end_attempt(attempt, "finished")


def measure(project_path: Path, moves: int = MOVES) -> dict[str, Any]:
    """Milliseconds from a wheel turn or a drag to the painted widget, and the longest gap of the event loop.

    Needs a `QApplication` whose loop is not running. The first run of the project is shown.
    """
    application = QApplication.instance()
    assert isinstance(application, QApplication)
    with tempfile.TemporaryDirectory() as folder:
        project = OpenProject(project_path)
        curves = Curves(project, QSettings(str(Path(folder) / "view.ini"), QSettings.Format.IniFormat))
        curves.resize(1240, 760)
        curves.show()
        project.opened.connect(lambda: curves.show_runs([1]))
        hand = _Hand(curves, moves, application.quit)
        project.open()
        QTimer.singleShot(0, curves, hand.wait)
        application.exec()
        curves.hide()
        project.close()
        curves.deleteLater()
    frames = np.array(hand.frames) * 1000
    return {
        "moves": len(frames),
        "series": hand.lines,
        "first_curve_ms": round(hand.first * 1000, 1),
        "frame_ms_median": round(float(np.median(frames)), 2),
        "frame_ms_p95": round(float(np.percentile(frames, 95)), 2),
        "frame_ms_max": round(float(frames.max()), 2),
        "frame_cpu_ms_p95": round(float(np.percentile(hand.busy, 95)) * 1000, 2),
        "longest_gap_ms": round(hand.longest * 1000, 1),
    }


class _Hand:
    """Turns the wheel and drags, one move at a time, and times each until it is painted."""

    def __init__(self, curves: Curves, moves: int, done: Callable[[], object]) -> None:
        self._curves, self._moves, self._done = curves, moves, done
        self.frames: list[float] = []
        self.busy: list[float] = []
        self.lines = 0
        self.first = self.longest = 0.0
        self._began = self._beat = time.perf_counter()
        self._clock = QTimer(curves)
        self._clock.setInterval(PAUSE_MILLISECONDS)
        self._clock.timeout.connect(self._move)
        self._heart = QTimer(curves)
        self._heart.setInterval(0)
        self._heart.timeout.connect(self._count)

    def wait(self) -> None:
        """Begin as soon as the curves are there."""
        if not self._curves.is_settled:
            QTimer.singleShot(10, self._curves, self.wait)
            return
        self.first = time.perf_counter() - self._began
        self._beat = time.perf_counter()
        self._heart.start()
        self._clock.start()

    def _count(self) -> None:
        now = time.perf_counter()
        self.longest, self._beat = max(self.longest, now - self._beat), now

    def _move(self) -> None:
        number = len(self.frames)
        if number % REST_AFTER == 0 and not self._curves.is_settled:
            return
        plot = next(pane.plot for pane in self._curves.panes.values() if pane.isVisible())
        self.lines = len(plot.lines)
        if number >= self._moves:
            self._clock.stop()
            self._heart.stop()
            self._done()
            return
        began, busy = time.perf_counter(), time.thread_time()
        turning, middle = number % 20 < 10, QPointF(plot.width() * 0.6, plot.height() / 2)
        if turning:
            _turn(plot, middle, 120 if number % 40 < 20 else -120)
        else:
            for kind, x in ((QEvent.Type.MouseButtonPress, 0), (QEvent.Type.MouseMove, 25), (_RELEASE, 25)):
                _drag(plot, kind, middle + QPointF(x if number % 40 < 20 else -x, 0))
        # What the event loop would do next: paint whatever this has changed, and nothing else.
        QApplication.sendPostedEvents(self._curves.window(), QEvent.Type.UpdateRequest.value)
        self.frames.append(time.perf_counter() - began)
        self.busy.append(time.thread_time() - busy)


_RELEASE = QEvent.Type.MouseButtonRelease


def _turn(plot: Any, at: QPointF, angle: int) -> None:
    event = QWheelEvent(
        at,
        QPointF(plot.mapToGlobal(at.toPoint())),
        QPoint(),
        QPoint(0, angle),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(plot, event)


def _drag(plot: Any, kind: QEvent.Type, at: QPointF) -> None:
    button = Qt.MouseButton.LeftButton
    buttons = Qt.MouseButton.NoButton if kind == _RELEASE else button
    glob = QPointF(plot.mapToGlobal(at.toPoint()))
    QApplication.sendEvent(plot, QMouseEvent(kind, at, glob, button, buttons, Qt.KeyboardModifier.NoModifier))


def main() -> int:
    """Measure the project named on the command line and print the table as JSON."""
    from app.__main__ import make_application  # noqa: PLC0415  (imports its widgets when called)

    application = make_application(sys.argv[:1])
    path = Path(sys.argv[1])
    if not path.exists():
        make_project(path)
    print(json.dumps(measure(path), indent=1))
    del application
    return 0


if __name__ == "__main__":
    sys.exit(main())
