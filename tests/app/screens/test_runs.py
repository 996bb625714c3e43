"""The runs screen over a real project: what is typed, pressed and chosen reaches the project or leads on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QItemSelectionModel, QModelIndex, Qt
from PySide6.QtWidgets import QApplication, QInputDialog, QLineEdit
from pytestqt.qtbot import QtBot

from app.screens import Overlaid
from app.screens.runs import RunsScreen
from app.session import Session
from backend.contract import launch
from backend.contract.project_file import ProjectFile
from backend.contract.recipe import Recipe
from tests.app.conftest import built

RECIPE: dict[str, Any] = {"teacher": "digits", "method": "dmd2", "training": {"steps": 400, "batch_size": 16}}


@pytest.fixture
def screen(qtbot: QtBot, session: Session) -> RunsScreen:
    made = built(RunsScreen, session)
    qtbot.addWidget(made)
    made.resize(1100, 700)
    made.show()
    qtbot.waitUntil(lambda: made.table.proxy.rowCount() == 2)
    return made


def select(screen: RunsScreen, *runs: int) -> None:
    screen.table.select(list(runs))
    assert {row.id for row in screen.table.selected()} == set(runs)


def change(path: Path, deed: Callable[[ProjectFile], Any]) -> Any:
    with ProjectFile.open(path) as project:
        return deed(project)


def led(qtbot: QtBot, screen: RunsScreen, deed: Callable[[], object]) -> list[Any]:
    with qtbot.waitSignal(screen.leads_to) as said:
        deed()
    return list(said.args or [])


def test_the_newest_run_stands_first(screen):
    assert [row.name for row in screen.table.proxy.shown()] == ["second", "first"]


def test_typing_finds_runs(qtbot, screen):
    qtbot.keyClicks(screen.search, "first")
    assert [row.name for row in screen.table.proxy.shown()] == ["first"]
    assert "1 of 2" in screen.count.text()
    qtbot.keyClicks(screen.search, "zzz")
    assert screen.none_found.isVisible()


def test_a_tag_filters_once_a_run_has_one(qtbot, screen, project_path):
    assert not screen.tags.isVisible()
    change(project_path, lambda project: project.set_tags(1, ["night"]))
    qtbot.waitUntil(lambda: "night" in screen.tags.buttons)
    qtbot.mouseClick(screen.tags.buttons["night"], Qt.MouseButton.LeftButton)
    assert [row.name for row in screen.table.proxy.shown()] == ["first"]


def test_a_click_on_a_head_sorts_and_is_remembered(qtbot, screen, session):
    header = screen.table.horizontalHeader()
    at = header.sectionViewportPosition(screen.model.place("name")) + 10
    qtbot.mouseClick(header.viewport(), Qt.MouseButton.LeftButton, pos=header.viewport().rect().topLeft() + _right(at))
    assert session.settings.value("runs/sorted_by") == "name"
    again = built(RunsScreen, session)
    qtbot.addWidget(again)
    qtbot.waitUntil(lambda: again.table.proxy.rowCount() == 2)
    assert again.table.horizontalHeader().sortIndicatorSection() == again.model.place("name")


def _right(x: int) -> Any:
    from PySide6.QtCore import QPoint

    return QPoint(x, 8)


def test_columns_are_chosen_and_remembered(qtbot, screen, session):
    menu = screen.table.column_menu()
    actions = {action.text(): action for action in menu.actions()}
    actions["Number"].trigger()
    actions["Teacher"].trigger()
    again = built(RunsScreen, session)
    qtbot.addWidget(again)
    qtbot.waitUntil(lambda: again.table.proxy.rowCount() == 2)
    shown = {again.model.columns[number].key for number in again.table.shown_columns()}
    assert "id" in shown
    assert "teacher" not in shown
    menu.close()


def test_return_opens_the_run(qtbot, screen):
    select(screen, 1)
    assert led(qtbot, screen, lambda: qtbot.keyClick(screen.table, Qt.Key.Key_Return)) == ["run", 1]


def test_a_run_is_renamed_where_its_name_stands(qtbot, screen, project_path):
    select(screen, 1)
    screen.rename.trigger()
    editor = screen.table.findChild(QLineEdit)
    assert editor is not None
    editor.selectAll()
    qtbot.keyClicks(editor, "the good one")
    qtbot.keyClick(editor, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: screen.model.rows[0].name == "the good one")
    assert change(project_path, lambda project: project.run(1).name) == "the good one"


def test_a_bare_number_is_no_name(qtbot, screen, project_path):
    with qtbot.waitSignal(screen.says) as said:
        screen.model.setData(screen.model.index(0, screen.model.place("name")), "7")
    assert "cannot be named '7'" in said.args[0]
    assert change(project_path, lambda project: project.run(1).name) == "first"


def test_tags_of_several_runs_are_set_together(qtbot, screen, project_path):
    change(project_path, lambda project: project.set_tags(1, ["both", "own"]))
    change(project_path, lambda project: project.set_tags(2, ["both"]))
    qtbot.waitUntil(lambda: screen.model.rows[1].tags == ("both",))
    select(screen, 1, 2)
    screen.commands.edit_tags.trigger()
    dialog = screen.findChild(QInputDialog)
    assert dialog.textValue() == "both"
    dialog.setTextValue("new, both")
    dialog.accept()
    qtbot.waitUntil(lambda: "new" in screen.model.rows[1].tags)
    assert change(project_path, lambda project: [set(run.tags) for run in project.runs()]) == [
        {"own", "new", "both"},
        {"new", "both"},
    ]


def test_what_leads_on_carries_what_was_chosen(qtbot, screen):
    select(screen, 1, 2)
    assert not screen.commands.open.isEnabled()
    assert led(qtbot, screen, screen.commands.compare.trigger) == ["compare", [2, 1]]
    assert led(qtbot, screen, screen.commands.overlay.trigger) == ["run", Overlaid(2, (1,))]
    select(screen, 1)
    assert led(qtbot, screen, screen.commands.compare.trigger) == ["compare", 1]
    assert led(qtbot, screen, screen.commands.export.trigger) == ["export", 1]
    place, recipe = led(qtbot, screen, screen.commands.duplicate.trigger)
    assert place == "wizard"
    assert Recipe.from_values(recipe).training.batch_size == 16


def test_recipes_of_chosen_runs_are_compared(qtbot, screen, project_path):
    other = {**RECIPE, "training": {**RECIPE["training"], "seed": 5}}
    third = change(project_path, lambda project: project.add_run(Recipe.from_values(other), name="third"))
    qtbot.waitUntil(lambda: screen.model.rowCount() == 3)
    select(screen, 1, third)
    screen.show_diff.trigger()
    qtbot.waitUntil(lambda: screen.diff.table.rowCount() == 1)
    table = screen.diff.table
    assert [table.item(0, column).text() for column in range(3)] == ["training.seed", "5", "0"]
    qtbot.mouseClick(screen.diff.only, Qt.MouseButton.LeftButton, pos=screen.diff.only.rect().center())
    assert table.rowCount() > 10


def test_the_queue_is_put_in_order(qtbot, screen, project_path):
    def add(project: ProjectFile) -> list[int]:
        runs = [project.add_run(Recipe.from_values(RECIPE), name=name) for name in ("a", "b")]
        for number, run in enumerate(runs, 1):
            project.set_queue_position(run, number)
        return runs

    a, b = change(project_path, add)
    qtbot.waitUntil(lambda: screen.model.rowCount() == 4)
    select(screen, b)
    screen.commands.up.trigger()
    qtbot.waitUntil(lambda: {row.id: row.queue_position for row in screen.model.rows[2:]} == {a: 2, b: 1})
    screen.commands.dequeue.trigger()
    qtbot.waitUntil(lambda: screen.model.rows[3].queue_position is None)
    assert change(project_path, lambda project: project.run(a).queue_position) == 2


def test_a_run_is_put_into_the_queue(qtbot, screen, project_path, monkeypatch):
    asked: list[tuple[Path, int]] = []
    monkeypatch.setattr(launch, "enqueue", lambda path, run: asked.append((path, run)))
    run = change(project_path, lambda project: project.add_run(Recipe.from_values(RECIPE), name="a"))
    qtbot.waitUntil(lambda: screen.model.rowCount() == 3)
    select(screen, 1)
    assert not screen.commands.enqueue.isEnabled()  # it is finished
    select(screen, run)
    screen.commands.enqueue.trigger()
    qtbot.waitUntil(lambda: asked == [(project_path, run)])


def test_a_refusal_is_a_sentence(qtbot, screen, project_path):
    run = change(project_path, lambda project: project.add_run(Recipe.from_values(RECIPE), name="a"))
    change(project_path, lambda project: project.begin_attempt(run))
    qtbot.waitUntil(lambda: screen.model.rowCount() == 3 and screen.model.rows[2].state.is_live)
    select(screen, run)
    change(project_path, lambda project: project.end_attempt(project.attempts(run)[-1].id, "stopped"))
    with qtbot.waitSignal(screen.says) as said:
        screen.commands.stop.trigger()
    assert "is stopped, so there is nothing to stop" in said.args[0]


def test_the_selection_stays_while_runs_change(qtbot, screen, project_path):
    select(screen, 1)
    change(project_path, lambda project: project.rename_run(2, "zz"))
    qtbot.waitUntil(lambda: screen.model.rows[1].name == "zz")
    assert [row.id for row in screen.table.selected()] == [1]


def test_the_table_is_copied(qtbot, screen):
    screen.copy_table.trigger()
    lines = QApplication.clipboard().text().splitlines()
    assert lines[0].startswith("Name,State,Method")
    assert lines[1].startswith("second,Finished,dmd2")


def test_recipes_that_are_the_same_are_said_to_be_so_at_the_top(qtbot, screen):
    select(screen, 1, 2)
    screen.show_diff.trigger()
    qtbot.waitUntil(lambda: "ask for the same" in screen.diff.words.text() and screen.diff.isVisible())
    assert screen.diff.table.isHidden()
    assert screen.diff.words.geometry().bottom() < screen.diff.height() / 4


def test_quality_and_speed_are_drawn_and_a_row_chooses_its_run(qtbot, screen, project_path):
    recipe = {"measured_in": "net", "count": 100, "seed": 1, "nfe": 1}

    def add(project: ProjectFile) -> None:
        for run, frechet in ((1, 0.5), (2, 0.7)):
            project.add_evaluation(
                run, 400, recipe | {"of": "student"}, {"frechet": frechet, "seconds_per_image": run / 1000}
            )

    change(project_path, add)
    screen.tabs.setCurrentIndex(1)
    quality = screen._make_quality()
    qtbot.waitUntil(lambda: len(quality.points) == 2)
    assert [p.run for p in quality.front] == [1]
    table = quality.table
    assert [table.item(row, 0).text() for row in range(2)] == ["first", "second"]
    assert [table.item(row, 4).text() for row in range(2)] == ["not beaten", ""]
    table.setFocus()
    table.selectionModel().select(table.model().index(1, 0), _rows())
    assert [row.id for row in screen.table.selected()] == [2]
    spot = next(spot for spot in quality._dots.points() if spot.data().run == 1)
    with qtbot.waitSignal(quality.chosen) as said:
        quality._dots.sigClicked.emit(quality._dots, [spot], None)
    assert said.args == [1]


def test_the_axes_say_the_figures_as_they_are_and_their_titles_are_not_cut(qtbot, screen, project_path):
    recipe = {"measured_in": "net", "count": 100, "seed": 1, "nfe": 1, "of": "student"}
    figures = {"frechet": 0.5, "seconds_per_image": 0.001}
    change(project_path, lambda p: [p.add_evaluation(run, 400, recipe, figures) for run in (1, 2)])
    screen.tabs.setCurrentIndex(1)
    quality = screen._make_quality()
    qtbot.waitUntil(lambda: len(quality.points) == 2)
    title = quality.plot.getAxis("bottom").label
    space = title.document().documentMargin()
    words = title.mapRectToScene(title.boundingRect().adjusted(space, space, -space, -space))
    assert words.bottom() <= quality.plot.viewport().rect().bottom()
    assert quality.plot.getAxis("left").labelString().count("0.001") == 0  # the figures are below 1, and stay so


def _rows() -> QItemSelectionModel.SelectionFlag:
    return QItemSelectionModel.SelectionFlag.ClearAndSelect | QItemSelectionModel.SelectionFlag.Rows


def test_evaluating_that_fails_says_why_and_can_be_copied(qtbot, screen, monkeypatch):
    select(screen, 1)
    screen.evaluate_button.click()
    assert screen.work.is_busy
    assert screen.work.cancel.isVisible()
    screen.work._failed("Run 1 has no such thing; do that.")  # the process itself takes seconds to say anything
    assert screen.work.words.text() == "Run 1 has no such thing; do that."
    screen.work.copy.click()
    assert QApplication.clipboard().text() == "Run 1 has no such thing; do that."
    screen.session.backend.close()


def test_evaluating_is_cancelled(qtbot, screen):
    select(screen, 1)
    screen.evaluate_button.click()
    qtbot.mouseClick(screen.work.cancel, Qt.MouseButton.LeftButton)
    assert not screen.work.is_busy
    assert not screen.work.isVisible()
    qtbot.waitUntil(screen.evaluate.isEnabled)


def test_an_empty_project_says_what_to_do(qtbot, open_session, tmp_path):
    ProjectFile.create(tmp_path / "empty.distill").close()
    screen = built(RunsScreen, open_session(tmp_path / "empty.distill"))
    qtbot.addWidget(screen)
    screen.show()
    qtbot.waitUntil(screen.begin.isVisible)
    assert led(qtbot, screen, lambda: qtbot.mouseClick(screen.begin, Qt.MouseButton.LeftButton)) == ["wizard", None]
    assert not screen.table.indexAt(screen.rect().center()).isValid()
    assert screen.table.currentIndex() == QModelIndex()
