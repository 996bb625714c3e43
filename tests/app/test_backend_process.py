"""The command line in the background: an answer, a refusal, progress, and the end of it when nobody waits."""

from collections.abc import Callable
from typing import Any

from pytestqt.qtbot import QtBot

from app import backend_process
from app.backend_process import Backend, Job
from backend.contract import catalogue
from backend.contract.catalogue import Catalogue


def test_an_answer_comes_as_json(qtbot: QtBot, project_path: Any) -> None:
    backend, answers, words = Backend(), [], []  # type: ignore[var-annotated]
    backend.ask(["runs", str(project_path)], answers.append, words.append)
    qtbot.waitUntil(lambda: bool(answers or words), timeout=20_000)
    assert words == []
    assert [run["name"] for run in answers[0]["runs"]] == ["first", "second"]


def test_a_refusal_is_the_command_lines_sentence(qtbot: QtBot, tmp_path: Any) -> None:
    backend, answers, words = Backend(), [], []  # type: ignore[var-annotated]
    backend.ask(["runs", str(tmp_path / "none.distill")], answers.append, words.append)
    qtbot.waitUntil(lambda: bool(answers or words), timeout=20_000)
    assert answers == []
    assert "is missing" in words[0]


def test_a_cancelled_job_says_nothing(qtbot: QtBot, project_path: Any) -> None:
    backend, heard = Backend(), []  # type: ignore[var-annotated]
    job = backend.ask(["describe"], heard.append, heard.append)
    with qtbot.waitSignal(job.ended, timeout=20_000):
        job.cancel()
    assert heard == []
    assert not job.is_running


def _asking(asked: list[str]) -> Callable[..., Job]:
    """Stands in for `Backend.ask`: starts nothing and answers nothing."""

    def ask(arguments: list[str], *_: object) -> Job:
        asked.extend(arguments)
        return Job(arguments)

    return ask


def test_a_catalogue_that_nobody_waits_for_is_asked_for_later(qtbot: QtBot, monkeypatch: Any) -> None:
    """A run that is just starting has the processor to itself."""
    monkeypatch.setattr(catalogue, "load_cached", lambda key: None)
    monkeypatch.setattr(backend_process, "AHEAD_MILLISECONDS", 50)
    asked: list[str] = []
    backend = Backend()
    monkeypatch.setattr(backend, "ask", _asking(asked))
    backend.want_catalogue(ahead=True)
    assert asked == []
    qtbot.waitUntil(lambda: asked == ["describe"])
    backend.want_catalogue()
    assert asked == ["describe"]


def test_a_catalogue_that_is_wanted_after_all_is_asked_for_at_once(monkeypatch: Any) -> None:
    monkeypatch.setattr(catalogue, "load_cached", lambda key: None)
    asked: list[str] = []
    backend = Backend()
    monkeypatch.setattr(backend, "ask", _asking(asked))
    backend.want_catalogue(ahead=True)
    backend.want_catalogue()
    assert asked == ["describe"]


def test_a_catalogue_in_the_cache_is_there_at_once(qtbot: QtBot, monkeypatch: Any) -> None:
    known = Catalogue(version="1")
    monkeypatch.setattr(catalogue, "load_cached", lambda key: known)
    backend = Backend()
    with qtbot.waitSignal(backend.catalogue_arrived) as arrived:
        backend.want_catalogue()
    assert arrived.args == [known]
