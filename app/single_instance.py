"""One window for each project: a second start with the same file brings the first one's window to the front.

Each window that has a project listens under a name made of the project's path. A name that nobody answers is free:
what a killed program left behind, or one that stands still, is taken over.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from PySide6.QtCore import QObject, Signal
from PySide6.QtNetwork import QLocalServer, QLocalSocket

ANSWER_MILLISECONDS = 300
PATIENCE_MILLISECONDS = 3000
"""For a window's own answer: the system takes a greeting for a process that stands still, and it is never read."""
ANSWER = b"here\n"
GREETING = b"show yourself\n"


def name_of(path: Path) -> str:
    """What the window of that project listens under; the same for every way to write its path."""
    return "distill-studio-" + hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:24]


def hand_over(path: Path) -> bool:
    """Whether another process shows this project already; it was asked to come to the front."""
    socket = QLocalSocket()
    socket.connectToServer(name_of(path))
    if not socket.waitForConnected(ANSWER_MILLISECONDS):
        return False
    socket.write(GREETING)
    is_answered = socket.waitForReadyRead(PATIENCE_MILLISECONDS)
    socket.disconnectFromServer()
    return is_answered


class Listener(QObject):
    """Answers for one project. asked: someone wants to see it."""

    asked = Signal()

    def __init__(self, path: Path, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._server = QLocalServer(self)
        self._server.setSocketOptions(QLocalServer.SocketOption.UserAccessOption)
        self._server.newConnection.connect(self._answer)
        name = name_of(path)
        if not self._server.listen(name):
            QLocalServer.removeServer(name)  # left behind by a program that was killed
            self._server.listen(name)

    def close(self) -> None:
        """Answer no more."""
        self._server.close()

    def _answer(self) -> None:
        while (socket := self._server.nextPendingConnection()) is not None:
            socket.disconnected.connect(socket.deleteLater)
            socket.write(ANSWER)
            self.asked.emit()
