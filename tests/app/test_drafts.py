"""Edits, undo and redo of a draft, and that the project has them at once."""

from typing import Any

import pytest
from pytestqt.qtbot import QtBot

from app.drafts import LEVELS, Draft, value_at, with_change
from app.session import Session
from backend.contract.project_file import ProjectFile

from .conftest import ask

FRESH: dict[str, Any] = {"teacher": "digits", "settings": {"gan_weight": 0.0}, "training": {"steps": 900, "seed": 0}}


@pytest.fixture
def draft(qtbot: QtBot, session: Session) -> Draft:
    return loaded(qtbot, session)


def loaded(qtbot: QtBot, session: Session, fresh: dict[str, Any] = FRESH) -> Draft:
    made = Draft(session.project)
    with qtbot.waitSignal(made.loaded):
        made.load(fresh)
    return made


def last_change(kept: tuple[list[Any], int] | None) -> Any:
    return kept[0][-1]["change"] if kept else None


def test_a_change_leaves_the_values_before_alone() -> None:
    changed = with_change(FRESH, {"training.steps": 5, "settings": {"other": 1}})
    assert (changed["training"], changed["settings"]) == ({"steps": 5, "seed": 0}, {"other": 1})
    assert FRESH["training"]["steps"] == 900
    assert value_at(changed, "training.steps") == 5
    assert value_at(changed, "teacher.name") is None


def test_undo_and_redo_go_through_every_edit(draft: Draft) -> None:
    draft.edit({"teacher": "mine"}, "teacher")
    draft.edit({"training.steps": 5}, "steps")
    assert draft.undo_stack.undoText() == "steps"
    draft.undo_stack.undo()
    assert draft.values == {**FRESH, "teacher": "mine"}
    draft.undo_stack.undo()
    assert draft.values == FRESH
    draft.undo_stack.redo()
    draft.edit({"training.seed": 3}, "seed")  # what was undone is given up
    assert draft.values["training"] == {"steps": 900, "seed": 3}
    assert not draft.undo_stack.canRedo()


def test_letters_of_one_word_are_one_step(draft: Draft) -> None:
    for text in ("1", "12", 120):
        draft.edit({"training.steps": text}, "steps", typing="training.steps")
    assert draft.undo_stack.count() == 1
    draft.end_typing()
    draft.edit({"training.steps": 1200}, "steps", typing="training.steps")
    draft.edit({"training.seed": 1}, "seed", typing="training.seed")
    assert draft.undo_stack.count() == 3
    draft.undo_stack.undo()
    draft.undo_stack.undo()
    assert draft.values["training"]["steps"] == 120
    draft.undo_stack.undo()
    assert draft.values == FRESH


def test_an_edit_that_changes_nothing_is_none(draft: Draft) -> None:
    draft.edit({"teacher": "digits"}, "teacher")
    assert draft.undo_stack.count() == 0


def test_a_window_that_is_killed_finds_recipe_and_undo_again(qtbot: QtBot, session: Session, draft: Draft) -> None:
    draft.edit({"teacher": "mine"}, "teacher")
    draft.edit({"training.steps": "x"}, "steps", typing="training.steps")
    draft.edit({"training.steps": 5}, "steps", typing="training.steps")
    draft.edit({"training.seed": 9}, "seed")
    draft.undo_stack.undo()
    # nothing of the draft is told that it ends: what counts is what the project has
    qtbot.waitUntil(lambda: (ask(qtbot, session, ProjectFile.draft) or (0, 0))[1] == 2)
    again = loaded(qtbot, session, {**FRESH, "teacher": "other"})
    assert again.values == {**FRESH, "teacher": "mine", "training": {"steps": 5, "seed": 0}}
    assert (again.undo_stack.undoText(), again.undo_stack.redoText()) == ("steps", "seed")
    again.undo_stack.redo()
    assert again.values["training"] == {"steps": 5, "seed": 9}
    for _ in range(3):
        again.undo_stack.undo()
    assert again.values == FRESH


def test_the_oldest_of_very_many_edits_are_forgotten(qtbot: QtBot, session: Session, draft: Draft) -> None:
    for number in range(LEVELS + 20):
        draft.edit({"training.steps": number + 1}, "steps")
    qtbot.waitUntil(lambda: last_change(ask(qtbot, session, ProjectFile.draft)) == {
        "training.steps": LEVELS + 20
    })  # fmt: skip
    for each in (draft, loaded(qtbot, session)):
        assert each.undo_stack.count() == LEVELS
        each.undo_stack.setIndex(0)
        assert each.values["training"]["steps"] == 20
        each.undo_stack.setIndex(LEVELS)
        assert each.values["training"]["steps"] == LEVELS + 20
