"""One window for each project: whoever opens it a second time brings the first one's window to the front.

Each window that has a project listens under a name made of the project's path. A name that nobody answers is free:
what a killed program left behind, or one that stands still, is taken over. Two windows of one project would both write
its one draft, and the edits of one of them would be lost.
"""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QObject, QTimer, Signal, SignalInstance
from PySide6.QtNetwork import QLocalServer, QLocalSocket

from backend.contract.files import window_name

ANSWER_MILLISECONDS = 300
PATIENCE_MILLISECONDS = 3000
"""For a window's own answer: the system takes a greeting for a process that stands still, and it is never read."""
ANSWER = b"here\n"
GREETING = b"show yourself\n"


def hand_over(path: Path) -> bool:
    """Whether another process shows this project already; it was asked to come to the front."""
    socket = QLocalSocket()
    socket.connectToServer(window_name(path))
    if not socket.waitForConnected(ANSWER_MILLISECONDS):
        return False
    socket.write(GREETING)
    is_answered = socket.waitForReadyRead(PATIENCE_MILLISECONDS)
    socket.disconnectFromServer()
    return is_answered


class Knock(QObject):
    """`hand_over` for a window, which may not wait. One of two follows `start`, perhaps at once.

    answered: another process shows the project, and was asked to come to the front. silent: none does.
    """

    answered = Signal()
    silent = Signal()

    def __init__(self, path: Path, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._name, self._is_over = window_name(path), False
        self._socket = QLocalSocket(self)
        self._socket.connected.connect(lambda: self._socket.write(GREETING))
        self._socket.readyRead.connect(lambda: self._end(self.answered))
        self._socket.errorOccurred.connect(lambda _: self._end(self.silent))
        self._patience = QTimer(self)
        self._patience.setSingleShot(True)
        self._patience.setInterval(PATIENCE_MILLISECONDS)
        self._patience.timeout.connect(lambda: self._end(self.silent))

    def start(self) -> None:
        """Ask."""
        self._patience.start()
        self._socket.connectToServer(self._name)

    def _end(self, outcome: SignalInstance) -> None:
        if self._is_over:
            return
        self._is_over = True
        self._patience.stop()
        self._socket.disconnectFromServer()
        outcome.emit()
        self.deleteLater()


class Listener(QObject):
    """Answers for one project. asked: someone wants to see it."""

    asked = Signal()

    def __init__(self, path: Path, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._server = QLocalServer(self)
        self._server.setSocketOptions(QLocalServer.SocketOption.UserAccessOption)
        self._server.newConnection.connect(self._answer)
        name = window_name(path)
        if not self._server.listen(name):
            QLocalServer.removeServer(name)  # left behind by a program that was killed
            self._server.listen(name)

    def close(self) -> None:
        """Answer no more."""
        self._server.close()

    def _answer(self) -> None:
        while self._server.hasPendingConnections():
            socket = self._server.nextPendingConnection()
            socket.disconnected.connect(socket.deleteLater)
            socket.readyRead.connect(self._hear)
        self._hear()  # what was written before anyone listened

    def _hear(self) -> None:
        """Who only connects learns that there is a window, and does not move it."""
        for socket in self._server.findChildren(QLocalSocket):
            if GREETING.strip() in bytes(socket.readAll().data()):
                socket.write(ANSWER)
                self.asked.emit()
