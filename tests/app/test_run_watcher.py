"""A run's news: everything at first, then only what is new."""

from pytestqt.qtbot import QtBot

from app.run_watcher import RunWatcher
from app.session import Session
from backend.contract.metrics import MetricRow
from backend.contract.project_file import ProjectFile

from .conftest import picture_bytes


def state(watcher: RunWatcher) -> str:
    return watcher.state.state if watcher.state else ""


def test_the_first_news_hold_all_and_the_next_only_what_is_new(qtbot: QtBot, session: Session) -> None:
    watcher = RunWatcher(session.project)
    samples: list[int] = []
    latest: list[dict[str, tuple[int, float]]] = []
    watcher.samples_arrived.connect(lambda new: samples.append(len(new)))
    watcher.metrics_arrived.connect(latest.append)
    watcher.follow(1)
    qtbot.waitUntil(lambda: bool(latest))
    assert samples == [80]
    assert state(watcher) == "finished"
    with ProjectFile.open(session.project.path) as project:
        attempt = project.begin_attempt(1)
        project.record(attempt, [MetricRow(401, {"matching": 0.25})])
        project.add_sample(1, step=401, kind="preview", position=0, image=picture_bytes(1), attempt=attempt)
    qtbot.waitUntil(lambda: samples == [80, 1] and latest[-1]["matching"] == (401, 0.25))
    assert state(watcher) == "running"
    watcher.follow(None)


def test_following_another_run_begins_from_its_first_row(qtbot: QtBot, session: Session) -> None:
    watcher = RunWatcher(session.project)
    names: list[str] = []
    watcher.run_changed.connect(lambda run: names.append(run.name))
    watcher.follow(1)
    qtbot.waitUntil(lambda: names == ["first"])
    watcher.follow(2)
    qtbot.waitUntil(lambda: names == ["first", "second"])
    watcher.follow(None)
