"""The command line in the background: an answer, a refusal, progress, and the end of it when nobody waits."""

from typing import Any

from pytestqt.qtbot import QtBot

from app.backend_process import Backend
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


def test_a_catalogue_in_the_cache_is_there_at_once(qtbot: QtBot, monkeypatch: Any) -> None:
    known = Catalogue(version="1")
    monkeypatch.setattr(catalogue, "load_cached", lambda key: known)
    backend = Backend()
    with qtbot.waitSignal(backend.catalogue_arrived) as arrived:
        backend.want_catalogue()
    assert arrived.args == [known]
