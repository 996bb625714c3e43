"""Whoever waits is told what is done, and how long the rest takes once that is known."""

import time

import psutil
import pytest

from backend.progress import Progress, process_began, time_words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.0, ""), (2.9, ""), (7.4, ", about 7 s left"), (119.0, ", about 119 s left"), (300.0, ", about 5 min left")],
)
def test_time_is_said_where_it_is_worth_saying(seconds, words):
    assert time_words(seconds) == words


def test_the_rest_takes_as_long_as_what_was_done(monkeypatch):
    now = 100.0
    monkeypatch.setattr("backend.progress.time.monotonic", lambda: now)
    said: list[str] = []
    progress = Progress(10, said.append)
    progress.say("begin")
    now = 110.0
    progress.add(2)
    progress.say("part")
    now = 150.0
    progress.add(8)
    progress.say("end")
    assert said == ["begin", "part, about 40 s left", "end"]


def test_what_was_done_before_it_is_counted_where_its_beginning_is_given(monkeypatch):
    monkeypatch.setattr("backend.progress.time.monotonic", lambda: 130.0)
    said: list[str] = []
    progress = Progress(2, said.append, began=100.0)
    progress.add(1)
    progress.say("once more")
    assert said == ["once more, about 30 s left"]


def test_a_process_knows_when_it_began():
    assert 0 < time.monotonic() - process_began() < time.time() - psutil.Process().create_time() + 1
