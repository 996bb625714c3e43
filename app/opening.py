"""How a window comes to its project: nobody else may show it, and from then on this window answers for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QObject, Signal

from app import single_instance
from app.open_project import OpenProject


class Opening(QObject):
    """The way of one window to one project. path: the one that it shows or is about to show.

    opened: here it is. refused: why it could not be opened; the window is free for another one. wanted: someone else
    was about to open it, and wants to see this window. said: a sentence for the status bar.
    """

    opened = Signal(OpenProject)
    refused = Signal(str)
    wanted = Signal()
    said = Signal(str)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.path: Path | None = None
        self._is_opening = False
        self._knock: single_instance.Knock | None = None
        self._listener: single_instance.Listener | None = None

    @property
    def is_on_its_way(self) -> bool:
        """Whether something is being asked or opened."""
        return self._knock is not None or self._is_opening

    def ask(self, path: Path, free: Callable[[], object]) -> None:
        """Have the process that shows this project bring it to the front; do `free` where none does."""

        def answered() -> None:
            self._knock = None
            self.said.emit(self.tr("{0} is open in another window, which was asked to show itself.").format(path.name))

        def silent() -> None:
            self._knock = None
            free()

        self._knock = single_instance.Knock(path, self)
        self._knock.answered.connect(answered)
        self._knock.silent.connect(silent)
        self._knock.start()

    def take(self, path: Path) -> None:
        """Open a project that no window shows."""
        self.path, self._is_opening = path, True
        self._listener = single_instance.Listener(path, self)  # before it is opened: the next who asks is answered
        self._listener.asked.connect(self.wanted)
        project = OpenProject(path, self.parent())
        project.opened.connect(lambda: self._is_open(project))
        project.refused.connect(lambda words: self._is_refused(project, words))
        project.troubled.connect(self.said)
        project.open()

    def _is_open(self, project: OpenProject) -> None:
        self._is_opening = False
        self.opened.emit(project)

    def _is_refused(self, project: OpenProject, words: str) -> None:
        project.close()
        project.deleteLater()
        self._is_opening = False
        self.let_go()
        self.refused.emit(words)

    def let_go(self) -> None:
        """The window no longer answers for a project."""
        self.path = None
        if self._listener is not None:
            self._listener.close()
            self._listener = None
