"""A window in which somebody types without rest, for `test_typing.py` to kill.

    python -m tests.end_to_end.typing_window PROJECT

Prints two kinds of JSON lines: {"typed": what the window shows} once the event loop has turned after an edit, and
{"kept": the same} once the window has nothing left to write.
"""

import itertools
import json
import os
import sys
import traceback
from pathlib import Path
from types import TracebackType

from PySide6.QtCore import QSettings, Qt, QTimer
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QLineEdit, QWidget

from app.__main__ import make_application
from app.backend_process import Backend
from app.main_window import MainWindow
from app.screens.run import RunScreen
from app.wizard.review import ReviewPage
from app.wizard.training import TrainingPage
from app.wizard.wizard import Wizard
from backend.contract.catalogue import Catalogue

LETTERS = "abcdefghijklmnopqrstuvwxyz"
EVERY_MILLISECONDS = 20
CATALOGUE = Path(__file__).parents[1] / "app" / "catalogue.json"


class Typist:
    """Types a letter into the notes, one into the name of the next run, and another batch size, in turns."""

    def __init__(self, window: MainWindow, run: RunScreen, wizard: Wizard) -> None:
        self._window, self._run, self._wizard = window, run, wizard
        review, training = wizard.pages["review"], wizard.pages["training"]
        assert isinstance(review, ReviewPage)
        assert isinstance(training, TrainingPage)
        size = training.form.rows["batch_size"].editor.focusProxy()
        assert isinstance(size, QLineEdit)
        self._name, self._size = review.name, size
        self._turns = itertools.cycle((self._type_note, self._type_name, self._type_size))
        self._unkept: dict[str, object] | None = None
        self._clock = QTimer(window, interval=EVERY_MILLISECONDS)
        self._clock.timeout.connect(self._type)
        self._clock.start()
        self._look = QTimer(window, interval=1)
        self._look.timeout.connect(self._tell_kept)
        self._look.start()

    def shown(self) -> dict[str, object]:
        """What the window shows."""
        values = self._wizard.draft.values
        notes = self._run.notes.text.toPlainText()
        return {"notes": notes, "name": values["name"], "size": values["training"]["batch_size"]}

    def _type(self) -> None:
        next(self._turns)()
        QTimer.singleShot(0, self._window, self._tell_typed)

    def _type_note(self) -> None:
        text = self._run.notes.text
        text.moveCursor(text.textCursor().MoveOperation.End)
        QTest.keyClicks(text, LETTERS[len(text.toPlainText()) % len(LETTERS)])

    def _type_name(self) -> None:
        self._name.end(False)
        QTest.keyClicks(self._name, LETTERS[len(self._name.text()) % len(LETTERS)])

    def _type_size(self) -> None:
        key = Qt.Key.Key_1 if self._wizard.draft.values["training"]["batch_size"] != 1 else Qt.Key.Key_2
        self._size.selectAll()
        QTest.keyClick(self._size, key)

    def _tell_typed(self) -> None:
        self._unkept = self.shown()
        print(json.dumps({"typed": self._unkept}), flush=True)

    def _tell_kept(self) -> None:
        if self._unkept is not None and self._window.is_settled:
            print(json.dumps({"kept": self._unkept}), flush=True)
            self._unkept = None


def die(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """A fault ends it, so that the test hears of it."""
    traceback.print_exception(kind, error, trace)
    os._exit(1)


def main() -> int:
    """Open the project, and type until the end."""
    path = Path(sys.argv[1])
    sys.excepthook = die
    application = make_application(sys.argv[:1])
    backend = Backend(application)
    backend.catalogue = Catalogue.from_json(CATALOGUE.read_bytes())
    window = MainWindow(QSettings(str(path.with_suffix(".ini")), QSettings.Format.IniFormat), backend)

    screens: list[QWidget] = []

    def type_when_ready() -> None:
        shown = window.screen_shown()
        if not window.is_settled or not isinstance(shown, Wizard | RunScreen):
            return
        if isinstance(shown, Wizard) and shown.state is not None:
            screens.append(shown)
            window.show_screen("run", 1)
        elif isinstance(shown, RunScreen) and shown.watcher.run is not None:
            waiting.stop()
            (wizard,) = screens
            assert isinstance(wizard, Wizard)
            window.typist = Typist(window, shown, wizard)  # type: ignore[attr-defined]  # lives as long as it

    window.open_project(path, lambda opened: opened.show_screen("wizard"))
    waiting = QTimer(window, interval=10)
    waiting.timeout.connect(type_when_ready)
    waiting.start()
    window.show()
    return application.exec()


if __name__ == "__main__":
    sys.exit(main())
