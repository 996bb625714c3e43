"""One window for each project, whatever way its path is written; what a killed window left is taken over."""

from pathlib import Path

from PySide6.QtNetwork import QLocalServer
from pytestqt.qtbot import QtBot

from app import single_instance


def test_a_second_start_asks_the_first_to_show_itself(qtbot: QtBot, tmp_path: Path) -> None:
    path = tmp_path / "lab.distill"
    path.touch()
    listener = single_instance.Listener(path)
    link = tmp_path / "link.distill"
    link.symlink_to(path)
    with qtbot.waitSignal(listener.asked):
        assert single_instance.hand_over(link)
    listener.close()
    assert not single_instance.hand_over(path)


def test_other_projects_are_not_answered_for(qtbot: QtBot, tmp_path: Path) -> None:
    listener = single_instance.Listener(tmp_path / "one.distill")
    assert not single_instance.hand_over(tmp_path / "two.distill")
    listener.close()


def test_a_name_that_a_killed_window_left_is_taken_over(qtbot: QtBot, tmp_path: Path) -> None:
    path = tmp_path / "lab.distill"
    dead = QLocalServer()
    assert dead.listen(single_instance.name_of(path))
    socket = Path(dead.fullServerName())
    dead.close()
    socket.touch()  # a killed process cannot remove its own
    listener = single_instance.Listener(path)
    with qtbot.waitSignal(listener.asked):
        assert single_instance.hand_over(path)
    listener.close()
