"""A run's end is told on the desktop where nobody has a window of it, and never otherwise."""

import shutil
import subprocess
import sys

import pytest
from PySide6.QtWidgets import QApplication

from app.single_instance import Listener
from backend import telling, worker
from backend.contract import launch
from backend.contract.project_file import ProjectFile
from backend.contract.recipe import Recipe


@pytest.fixture
def told(monkeypatch, tmp_path):
    """What was shown; a desktop of Linux that has `notify-send`."""
    shown = []
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv(telling.SWITCH, "1")
    monkeypatch.setenv("DISPLAY", ":9")
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(subprocess, "run", lambda command, **_: shown.append(command))
    return shown


@pytest.fixture
def ended(tmp_path):
    """ended(outcome, reason): a project whose run 1, "night", has ended so."""
    path = tmp_path / "lab.distill"

    def make(outcome="finished", reason=""):
        with ProjectFile.create(path) as project:
            run = project.add_run(Recipe.from_values({"teacher": "digits", "method": "dmd2"}), name="night")
            project.end_attempt(project.begin_attempt(run), outcome, reason)
        return path

    return make


def test_an_end_is_told(told, ended):
    telling.tell_of_end(ended("failed", "The disk is full."), 1)
    words = "night has failed: The disk is full."
    assert told == [["/bin/notify-send", "--app-name=Distill Studio", "--", "Distill Studio", words]]


def test_on_a_mac_the_words_are_no_part_of_the_script(told, ended, monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    telling.tell_of_end(ended(), 1)
    assert told[0][0] == "osascript"
    assert told[0][-2:] == ["night is finished.", "Distill Studio"]


@pytest.mark.parametrize("why", ["switched off", "no desktop", "no program", "stopped", "a window"])
def test_an_end_is_not_told(told, ended, monkeypatch, request, why):
    path = ended("stopped" if why == "stopped" else "finished")
    if why == "switched off":
        monkeypatch.delenv(telling.SWITCH)
    elif why == "no desktop":
        monkeypatch.delenv("DISPLAY")
        monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    elif why == "no program":
        monkeypatch.setattr(shutil, "which", lambda name: None)
    elif why == "a window":
        request.getfixturevalue("qapp")
        listener = Listener(path)
        asked: list[None] = []
        listener.asked.connect(lambda: asked.append(None))
    telling.tell_of_end(path, 1)
    assert told == []
    if why == "a window":
        QApplication.processEvents()
        assert asked == []  # and it is not raised
        listener.close()


def test_a_desktop_that_does_not_answer_is_nothing_to_a_run(told, ended, monkeypatch, tmp_path):
    def hang(command, **_):
        raise subprocess.TimeoutExpired(command, 5)

    monkeypatch.setattr(subprocess, "run", hang)
    telling.tell_of_end(ended(), 1)
    telling.tell_of_end(tmp_path / "gone.distill", 1)


def test_a_worker_tells_before_it_starts_the_next(monkeypatch, tmp_path):
    order: list[str] = []

    def work(path, run):
        order.append("worked")
        return 0

    monkeypatch.setattr(worker, "_work", work)
    monkeypatch.setattr(worker, "tell_of_end", lambda path, run: order.append("told"))
    monkeypatch.setattr(launch, "go_on_with_queue", lambda path: order.append("went on"))
    assert worker.main([str(tmp_path / "lab.distill"), "1"]) == 0
    assert order == ["worked", "told", "went on"]
