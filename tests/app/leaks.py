"""What a test of the window may leave behind: nothing that runs, ticks or waits for an answer."""

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import shiboken6
from PySide6.QtCore import QCoreApplication, QEvent, QObject, QThreadPool, QTimer
from PySide6.QtWidgets import QApplication, QDialog, QMenu, QWidget

PATIENCE_MILLISECONDS = 5000
"""In which what was told to end must have ended."""


def threads() -> set[threading.Thread]:
    """Those that are alive, but for threads of Qt's own that have run a line of Python."""
    return {one for one in threading.enumerate() if not isinstance(one, threading._DummyThread)}


def processes() -> set[psutil.Process]:
    """Children of this process, and theirs, that have not ended."""
    found = set()
    for child in psutil.Process().children(recursive=True):
        try:
            if child.status() != psutil.STATUS_ZOMBIE:
                found.add(child)
        except psutil.NoSuchProcess:
            continue
    return found


def timers() -> set[QTimer]:
    """Those that tick, of objects that Python knows: what fires once more and is done is no leak, and the program's
    own live as long as it does.
    """
    known = [one for one in gc.get_objects() if type(one) is QTimer and shiboken6.isValid(one)]
    ticking = [one for one in known if one.isActive() and not one.isSingleShot()]
    return {one for one in ticking if not isinstance(_owners(one)[-1], QCoreApplication)}


def dialogs() -> list[QWidget]:
    """Dialogs, menus and whatever else takes the input of the window, as far as they are seen."""
    shown = [widget for widget in QApplication.topLevelWidgets() if widget.isVisible()]
    return [widget for widget in shown if isinstance(widget, QDialog | QMenu) or widget.isModal()]


def _owners(timer: QTimer) -> list[QObject]:
    """A timer and the objects that it belongs to, from the inside."""
    found: list[QObject] = [timer]
    while (owner := found[-1].parent()) is not None:
        found.append(owner)
    return found


def _words(timer: QTimer) -> str:
    names = [type(owner).__name__ for owner in reversed(_owners(timer))]
    return f"{' > '.join(names)}, every {timer.interval()} ms"


@contextmanager
def nothing_left() -> Iterator[None]:
    """Fails where a thread, a process, a ticking timer, a task of the pool or a dialog outlives what is done inside."""
    before = threads(), processes(), timers()
    yield
    found = dialogs()
    shown = [dialog.windowTitle() or type(dialog).__name__ for dialog in found]
    for dialog in found:
        dialog.close()
    assert not shown, f"unexpected dialogs: {shown}"
    ending = threads() - before[0]
    for thread in ending:
        thread.join(PATIENCE_MILLISECONDS / 1000)
    left = [thread.name for thread in ending if thread.is_alive()]
    assert not left, f"threads left behind: {left}"
    assert QThreadPool.globalInstance().waitForDone(PATIENCE_MILLISECONDS), "the pool is at work"
    _, alive = psutil.wait_procs(processes() - before[1], PATIENCE_MILLISECONDS / 1000)
    assert not alive, f"processes left behind: {[' '.join(one.cmdline()) for one in alive]}"
    QApplication.sendPostedEvents(None, int(QEvent.Type.DeferredDelete))  # widgets that the test closed
    ticking = [_words(timer) for timer in timers() - before[2]]
    assert not ticking, f"timers left behind: {ticking}"
