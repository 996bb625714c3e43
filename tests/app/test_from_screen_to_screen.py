"""What one screen leads to is shown by the other: from the press of an action to what a person sees."""

from pathlib import Path
from typing import Any

import pytest
from pytestqt.qtbot import QtBot

from app.backend_process import Job
from app.main_window import MainWindow
from app.models.comparison import Pick, Wanted, place_of
from app.screens.compare import CompareScreen
from app.screens.run import RunScreen
from app.screens.runs import RunsScreen
from backend.contract.project_file import ProjectFile
from backend.contract.recipe import Recipe

from .conftest import RECIPE, S
from .parts import write_pictures


@pytest.fixture
def runs(qtbot: QtBot, window: MainWindow, project_path: Path) -> RunsScreen:
    """The Runs screen of a window with the runs 1 and 2, and 3 that was never started."""
    with ProjectFile.open(project_path) as project:
        project.add_run(Recipe.from_values(RECIPE), name="third")
    window.open_project(project_path)
    shown = screen(qtbot, window, RunsScreen)
    qtbot.waitUntil(lambda: len(shown.model.rows) == 3)
    return shown


def screen(qtbot: QtBot, window: MainWindow, kind: type[S]) -> S:
    """The screen of that kind, once it is in front."""
    qtbot.waitUntil(lambda: window.is_settled and isinstance(window.screen_shown(), kind))
    found = window.screen_shown()
    assert isinstance(found, kind)
    return found


def lines(shown: RunScreen) -> set[tuple[str, int]]:
    """(series, place of its run) of every line in the plot of losses."""
    pane = shown.curves.panes.get("losses")
    return {(line.label, line.order) for line in pane.plot.lines} if pane is not None else set()


BOTH = {(name, order) for name in ("matching", "fake_score") for order in (0, 1)}


def test_overlay_shows_the_curves_of_every_chosen_run(qtbot: QtBot, window: MainWindow, runs: RunsScreen) -> None:
    runs.table.select([1, 2])
    runs.commands.overlay.trigger()
    shown = screen(qtbot, window, RunScreen)
    qtbot.waitUntil(lambda: shown.curves.is_settled and lines(shown) == BOTH)
    assert shown.watcher.run == 2  # as they stand in the table
    assert shown.overlay.runs == [1]
    assert shown.header.runs.currentData() == 2
    assert window.rail.chosen == "run"
    shown.header.run_chosen.emit(1)  # another run by itself has nothing over it
    qtbot.waitUntil(lambda: shown.curves.is_settled and lines(shown) == {pair for pair in BOTH if not pair[1]})
    assert shown.watcher.run == 1


def test_overlay_reaches_a_run_that_is_shown_already(qtbot: QtBot, window: MainWindow, runs: RunsScreen) -> None:
    window.show_screen("run", 2)
    shown = screen(qtbot, window, RunScreen)
    qtbot.waitUntil(lambda: shown.watcher.run == 2 and shown.curves.is_settled)
    assert lines(shown) == {pair for pair in BOTH if not pair[1]}
    window.show_screen("runs")
    screen(qtbot, window, RunsScreen)
    runs.table.select([1, 2])
    runs.commands.overlay.trigger()
    screen(qtbot, window, RunScreen)
    qtbot.waitUntil(lambda: shown.curves.is_settled and lines(shown) == BOTH)
    window.show_screen("run", 2)  # the way back does not take it away
    assert shown.overlay.runs == [1]


def test_compare_draws_every_chosen_run(qtbot: QtBot, window: MainWindow, runs: RunsScreen, project_path: Path) -> None:
    picks = (Pick(2), Pick(1))
    with ProjectFile.open(project_path, readonly=True) as project:
        write_pictures(place_of(project, Wanted(picks, 7, 50)).folder)
    runs.table.select([1, 2])
    runs.commands.compare.trigger()
    shown = screen(qtbot, window, CompareScreen)
    qtbot.waitUntil(lambda: shown.view.layers is not None)
    assert shown.side_bar.picks == picks
    assert [shown.side_bar.list.item(row).text() for row in range(2)] == ["second, best", "first, best"]
    assert shown.stack.currentIndex() == 1


def test_compare_draws_what_has_a_checkpoint_and_names_what_has_none(
    qtbot: QtBot, window: MainWindow, runs: RunsScreen, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def note(arguments: list[str], *_: Any) -> Job:
        asked.append(arguments)
        return Job(arguments, window.backend)

    runs.table.select([1, 2, 3])
    monkeypatch.setattr(window.backend, "ask", note)
    runs.commands.compare.trigger()
    shown = screen(qtbot, window, CompareScreen)
    qtbot.waitUntil(lambda: any(words[0] == "compare" for words in asked))
    assert shown.side_bar.picks == (Pick(2), Pick(1))
    assert next(words for words in asked if words[0] == "compare")[2:4] == ["2@400", "1@400"]
    assert window.statusBar().currentMessage() == "Left out, because no checkpoint is saved yet: third."


def test_compare_of_runs_without_a_checkpoint_says_what_to_do(
    qtbot: QtBot, window: MainWindow, runs: RunsScreen, project_path: Path
) -> None:
    with ProjectFile.open(project_path) as project:
        project.add_run(Recipe.from_values(RECIPE), name="fourth")
    qtbot.waitUntil(lambda: len(runs.model.rows) == 4)
    runs.table.select([3, 4])
    runs.commands.compare.trigger()
    shown = screen(qtbot, window, CompareScreen)
    qtbot.waitUntil(lambda: shown.empty.title.text() == "fourth has no checkpoint yet")
    assert shown.side_bar.picks == ()
