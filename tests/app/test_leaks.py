"""What a test leaves behind is found: a thread, a process, a timer that ticks, a dialog."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QDialog
from pytestqt.qtbot import QtBot

from . import leaks


@contextmanager
def thread() -> Iterator[None]:
    ends = threading.Event()
    one = threading.Thread(target=ends.wait, name="one that waits")
    one.start()
    yield
    ends.set()
    one.join()


@contextmanager
def process() -> Iterator[None]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as one:
        yield
        one.communicate(b"\n")


@contextmanager
def timer() -> Iterator[None]:
    one = QTimer()
    one.start(60_000)
    yield
    one.stop()


@contextmanager
def dialog() -> Iterator[None]:
    one = QDialog()
    one.setWindowTitle("a question")
    one.open()
    yield
    one.close()


@pytest.mark.parametrize(
    ("leak", "words"),
    [
        (thread, "threads left behind: ['one that waits']"),
        (process, "processes left behind"),
        (timer, "timers left behind: ['QTimer, every 60000 ms']"),
        (dialog, "unexpected dialogs: ['a question']"),
    ],
)
def test_what_is_left_behind_is_found(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, leak: Callable[[], Iterator[None]], words: str
) -> None:
    monkeypatch.setattr(leaks, "PATIENCE_MILLISECONDS", 50)
    made = leak()
    with pytest.raises(AssertionError) as found, leaks.nothing_left():
        made.__enter__()  # type: ignore[attr-defined]  # a context manager, which ends after the check
    made.__exit__(None, None, None)  # type: ignore[attr-defined]
    assert words in str(found.value)


def test_what_ends_or_fires_once_is_no_leak(qtbot: QtBot) -> None:
    once = QTimer()
    once.setSingleShot(True)
    with leaks.nothing_left():
        threading.Thread(target=lambda: None).start()
        once.start(60_000)
        with subprocess.Popen([sys.executable, "-c", ""]):
            pass
    once.stop()
