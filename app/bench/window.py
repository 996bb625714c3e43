"""One window in this process, used as a person would, for `app.bench`: when what is on screen, the longest stall."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PySide6.QtCore import QSettings
from PySide6.QtWidgets import QApplication, QTableView

from app.bench.heartbeat import MEBI, Heartbeat, memory, spin
from app.main_window import MainWindow, new_window
from backend.contract.project_file import ProjectFile
from backend.contract.recipe import Recipe

PATIENCE = 60.0
QUIET_SECONDS = 0.3
"""So long nothing must be asked or answered until what is shown counts as complete."""
ROWS_PER_SECOND, FEED_SECONDS, IMAGES = 20_000, 10.0, 100


def use(settings: QSettings, path: Path, last_run: int) -> dict[str, Any]:
    """Open a project and use it; seconds and stalls by what was done. last_run: the large one, 0 where none is."""
    window = new_window(settings)
    window.resize(1280, 800)
    window.show()
    settle(window)
    beat, found = Heartbeat(), {}

    def timed(name: str, deed: Callable[[], object]) -> None:
        beat.start()
        begun = time.perf_counter()
        deed()
        done = settle(window)
        found[f"{name}_seconds"] = done - begun
        found[f"{name}_stall_ms"] = 1000 * beat.stop()

    timed("open", lambda: window.open_project(path))
    if last_run:
        timed("first_show_of_run", lambda: window.show_screen("run", last_run))
        window.show_screen("runs")
        settle(window)
        timed("run", lambda: window.show_screen("run", last_run))
        timed("runs", lambda: window.show_screen("runs"))
        timed("sort_runs", lambda: _sort(window))
    found["memory_mib"] = memory() / MEBI
    if last_run:
        return found | _fed(window, path, beat)
    _close(window)
    return found


def _close(window: MainWindow) -> None:
    window.close()
    QApplication.sendPostedEvents()


def settle(window: MainWindow) -> float:
    """Let events come until nothing is asked or answered any more; when the last of it was shown."""
    last = time.perf_counter()

    def quiet() -> bool:
        nonlocal last
        if not window.is_settled:
            last = time.perf_counter()
        return time.perf_counter() - last > QUIET_SECONDS

    spin(quiet, PATIENCE)
    return last


def _sort(window: MainWindow) -> None:
    shown = window.screen_shown()
    for view in shown.findChildren(QTableView) if shown else []:
        model = view.model()
        for column in range(model.columnCount() if model else 0):
            model.sort(column)
            QApplication.processEvents()


def _fed(window: MainWindow, path: Path, beat: Heartbeat) -> dict[str, float]:
    """The longest stall while another process records 20,000 rows a second, and then 100 pictures of 1,024 pixels.

    The window is closed as that begins; another one must find the run again, and is the one that is measured.
    """
    with ProjectFile.open(path) as project:
        run = project.add_run(Recipe.from_values({"teacher": "digits", "method": "dmd2"}), name="fed")
    command = [sys.executable, "-m", "app.bench.project", str(path), str(run), str(ROWS_PER_SECOND), str(FEED_SECONDS)]
    found: dict[str, float] = {}
    with subprocess.Popen([*command, str(IMAGES)]) as worker:
        spin(lambda: window.live is not None and bool(window.live.runs), PATIENCE)
        settings, size = window.settings, window.size()
        _close(window)
        begun = time.perf_counter()
        again = new_window(settings)
        again.resize(size)
        again.show()
        again.open_project(path)
        spin(lambda: type(again.screen_shown()).__name__ == "RunScreen" and again.is_settled, PATIENCE)
        found["found_again_seconds"] = time.perf_counter() - begun
        again.show_screen("run", run)
        spin(lambda: again.live is not None and bool(again.live.runs), PATIENCE)
        beat.start()
        spin(lambda: worker.poll() is not None, PATIENCE)
        settle(again)
        stall = beat.stop()
    _close(again)
    with ProjectFile.open(path, readonly=True) as project:
        steps = project.run_state(run).step or 0
    return {**found, "fed_stall_ms": 1000 * stall, "fed_rows_per_second": steps * 10 / FEED_SECONDS}


def main() -> int:
    """Measure in this process, for `app.bench`."""
    from app.__main__ import make_application  # noqa: PLC0415

    app = make_application(["bench"])
    app.setQuitOnLastWindowClosed(False)
    with tempfile.TemporaryDirectory() as folder:
        settings = QSettings(str(Path(folder) / "settings.ini"), QSettings.Format.IniFormat)
        settings.setValue("window/closes_quietly", True)
        print(json.dumps(use(settings, Path(sys.argv[1]), int(sys.argv[2]))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
