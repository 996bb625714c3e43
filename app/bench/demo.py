"""From an empty home to a running distillation with the mouse alone, for `app.bench`: clicks, and what is shown when.

The window is the real one and so is the run; HOME should be an empty folder, as `app.bench` gives it.
"""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path
from typing import Any

from PySide6.QtCore import QSettings, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QAbstractButton, QApplication, QWidget

from app.bench.heartbeat import spin
from app.bench.window import settle
from app.main_window import MainWindow, new_window
from app.run_watcher import RunWatcher
from app.screens.run import RunScreen
from app.screens.welcome import WelcomeScreen
from app.widgets.sample_grid import SampleGrid
from backend.contract import launch
from backend.contract.project_file import ProjectFile

PATIENCE = 300.0
WINDOWS = 20
"""That find the run again, one after the other."""


class Hand:
    """A mouse at a window; counts what it does. It has no keys."""

    def __init__(self) -> None:
        self.clicks = 0

    def press(self, button: QAbstractButton) -> float:
        """Click on a button that is in sight and can be pressed; when."""
        if not (button.isVisible() and button.isEnabled()):
            raise RuntimeError(f"{button.text()!r} cannot be pressed")
        self.clicks += 1
        at = time.perf_counter()
        QTest.mouseClick(button, Qt.MouseButton.LeftButton)
        return at


def first_run(settings: QSettings) -> tuple[dict[str, Any], Path]:
    """Press what a newcomer presses; seconds from that click, and the project that it made."""
    hand = Hand()
    window = _shown(settings)
    clicked = hand.press(_the(window, WelcomeScreen).demo)
    found: dict[str, Any] = {}
    for name, is_there in (
        ("running", _is_running),
        ("first_curve_point", _has_curve),
        ("first_sample", _has_sample),
    ):
        if not spin(lambda is_there=is_there: is_there(window), PATIENCE):  # type: ignore[misc]  # no lambda has types
            raise RuntimeError(f"{name} was not shown within {PATIENCE:g} s")
        found[f"{name}_seconds"] = time.perf_counter() - clicked
    assert window.session is not None
    path = window.session.project.path
    _away(window)
    return {"clicks": hand.clicks, "keys": 0, **found}, path


def found_again(settings: QSettings, path: Path) -> dict[str, Any]:
    """How long new windows take, each after the one before is gone, to show the run as running with its curve."""
    seconds = []
    for _ in range(WINDOWS):
        begun = time.perf_counter()
        window = _shown(settings, path)
        if not spin(lambda window=window: _is_running(window) and _has_curve(window), PATIENCE):  # type: ignore[misc]
            raise RuntimeError("a window did not find the run again")
        seconds.append(time.perf_counter() - begun)
        _away(window)
    return {
        "found_again_median_seconds": statistics.median(seconds),
        "found_again_worst_seconds": max(seconds),
        "windows": WINDOWS,
    }


def _shown(settings: QSettings, path: Path | None = None) -> MainWindow:
    window = new_window(settings)
    window.resize(1280, 800)
    if path is None:
        window.show()
        settle(window)
    else:
        window.open_project(path)
        window.show()
    return window


def _away(window: MainWindow) -> None:
    settle(window)
    window.close()
    QApplication.sendPostedEvents()


def _the(window: MainWindow, kind: type[Any]) -> Any:
    found = window.findChildren(kind)
    if not found:
        raise RuntimeError(f"there is no {kind.__name__}")
    return found[0]


def _screen(window: MainWindow) -> RunScreen | None:
    shown: QWidget | None = window.screen_shown()
    return shown if isinstance(shown, RunScreen) else None


def _is_running(window: MainWindow) -> bool:
    screen = _screen(window)
    watcher = screen.findChild(RunWatcher) if screen is not None else None
    return watcher is not None and watcher.state is not None and watcher.state.state == "running"


def _has_curve(window: MainWindow) -> bool:
    screen = _screen(window)
    return screen is not None and any(pane.plot.lines for pane in screen.curves.plots.shown())


def _has_sample(window: MainWindow) -> bool:
    screen = _screen(window)
    return screen is not None and any(grid.has_picture for grid in screen.findChildren(SampleGrid))


def measure(settings: QSettings) -> dict[str, Any]:
    """All of it; the run is ended afterwards."""
    found, path = first_run(settings)
    try:
        found |= found_again(settings, path)
    finally:
        with ProjectFile.open(path, readonly=True) as project:
            live = [run.id for run, _ in project.live_runs()]
        for run in live:
            launch.end(path, run)
    return found


def main() -> None:
    """Measure in this process, for `app.bench`."""
    from app.__main__ import make_application  # noqa: PLC0415

    app = make_application(["bench"])
    app.setQuitOnLastWindowClosed(False)
    settings = QSettings(str(Path.home() / "settings.ini"), QSettings.Format.IniFormat)
    settings.setValue("window/closes_quietly", True)
    print(json.dumps(measure(settings)))


if __name__ == "__main__":
    main()
