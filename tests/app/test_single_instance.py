"""One window for each project, whatever way its path is written; what a killed window left is taken over."""

import subprocess
import sys
from pathlib import Path

import pytest
from PySide6.QtNetwork import QLocalServer, QLocalSocket
from pytestqt.qtbot import QtBot

from app import single_instance
from backend.contract.files import window_name


def second_start(qtbot: QtBot, path: Path) -> bool:
    """Whether a start in a process of its own finds a window of this project."""
    script = "import sys; from app import single_instance as s; sys.exit(s.hand_over(s.Path(sys.argv[1])))"
    with subprocess.Popen([sys.executable, "-c", script, str(path)], cwd=Path(__file__).parents[2]) as start:
        qtbot.waitUntil(lambda: start.poll() is not None, timeout=30_000)
    return start.returncode == 1


def test_a_second_start_asks_the_first_to_show_itself(qtbot: QtBot, tmp_path: Path) -> None:
    path = tmp_path / "lab.distill"
    path.touch()
    listener = single_instance.Listener(path)
    link = tmp_path / "link.distill"
    link.symlink_to(path)
    with qtbot.waitSignal(listener.asked):
        assert second_start(qtbot, link)
    listener.close()
    assert not single_instance.hand_over(path)


def test_other_projects_are_not_answered_for(qtbot: QtBot, tmp_path: Path) -> None:
    listener = single_instance.Listener(tmp_path / "one.distill")
    assert not single_instance.hand_over(tmp_path / "two.distill")
    listener.close()


def test_a_name_that_a_killed_window_left_is_taken_over(qtbot: QtBot, tmp_path: Path) -> None:
    path = tmp_path / "lab.distill"
    dead = QLocalServer()
    assert dead.listen(window_name(path))
    socket = Path(dead.fullServerName())
    dead.close()
    socket.touch()  # a killed process cannot remove its own
    listener = single_instance.Listener(path)
    with qtbot.waitSignal(listener.asked):
        assert second_start(qtbot, path)
    listener.close()


def test_a_window_that_stands_still_swallows_no_start(
    qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(single_instance, "PATIENCE_MILLISECONDS", 100)
    path = tmp_path / "lab.distill"
    listener = single_instance.Listener(path)  # whose event loop does not turn while this start waits
    assert not single_instance.hand_over(path)
    other = single_instance.Listener(path)
    with qtbot.waitSignal(other.asked):
        assert second_start(qtbot, path)
    for one in (listener, other):
        one.close()


def test_a_window_asks_without_waiting(qtbot: QtBot, tmp_path: Path) -> None:
    path = tmp_path / "lab.distill"
    listener = single_instance.Listener(path)
    knock = single_instance.Knock(path)
    with qtbot.waitSignals([listener.asked, knock.answered]):
        knock.start()
    listener.close()
    late = single_instance.Knock(path)
    with qtbot.waitSignal(late.silent):
        late.start()


def test_a_window_that_asks_one_that_stands_still_goes_on(
    qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(single_instance, "PATIENCE_MILLISECONDS", 100)
    path = tmp_path / "lab.distill"
    listener = single_instance.Listener(path)
    listener._server.newConnection.disconnect()  # nobody is let in
    knock = single_instance.Knock(path)
    with qtbot.waitSignal(knock.silent):
        knock.start()
    listener.close()


def test_who_only_looks_whether_there_is_a_window_moves_none(qtbot: QtBot, tmp_path: Path) -> None:
    path = tmp_path / "lab.distill"
    listener = single_instance.Listener(path)
    asked: list[None] = []
    listener.asked.connect(lambda: asked.append(None))
    socket = QLocalSocket()
    with qtbot.waitSignal(listener._server.newConnection):
        socket.connectToServer(window_name(path))
    socket.disconnectFromServer()
    knock = single_instance.Knock(path)  # which comes after, and is heard
    with qtbot.waitSignal(knock.answered):
        knock.start()
    assert len(asked) == 1
    listener.close()
