"""Pieces of work take turns: one in each turn of the event loop, those that are waited for first."""

import shiboken6
from PySide6.QtCore import QObject
from pytestqt.qtbot import QtBot

from app.turns import Turns


class Work(QObject):
    def __init__(self, name: str, pieces: int, done: list[str]) -> None:
        super().__init__()
        self.name, self.left, self.done = name, pieces, done

    def piece(self) -> bool:
        self.done.append(self.name)
        self.left -= 1
        return self.left > 0


def test_what_is_waited_for_comes_first_and_shares_the_turns(qtbot: QtBot) -> None:
    done: list[str] = []
    line = Turns()
    gentle, one, two = Work("gentle", 2, done), Work("one", 3, done), Work("two", 2, done)
    line.add(gentle.piece, gently=True)
    line.add(one.piece)
    line.add(two.piece)
    qtbot.waitUntil(lambda: len(done) == 7)
    assert done == ["one", "two", "one", "two", "one", "gentle", "gentle"]


def test_a_piece_that_puts_itself_elsewhere_stays_there(qtbot: QtBot) -> None:
    done: list[str] = []
    line = Turns()
    work, other = Work("work", 2, done), Work("other", 2, done)

    class Eager(Work):
        def piece(self) -> bool:
            line.add(work.piece, gently=True)
            return super().piece()

    eager = Eager("eager", 1, done)
    line.add(work.piece)
    line.add(eager.piece)
    line.add(other.piece)
    qtbot.waitUntil(lambda: len(done) == 5)
    assert done == ["work", "eager", "other", "other", "work"]


def test_what_is_dropped_or_gone_is_not_done(qtbot: QtBot) -> None:
    done: list[str] = []
    line = Turns()
    dropped, gone, last = Work("dropped", 1, done), Work("gone", 1, done), Work("last", 1, done)
    for work in (dropped, gone, last):
        line.add(work.piece)
    line.drop(dropped.piece)
    shiboken6.delete(gone)
    qtbot.waitUntil(lambda: bool(done))
    assert done == ["last"]
