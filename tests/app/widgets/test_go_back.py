"""Going back to a checkpoint: when it can be asked for, and what is asked."""

from pathlib import PurePosixPath

import pytest
from pytestqt.qtbot import QtBot

from app.widgets.go_back import GoBack
from backend.contract.rows import Checkpoint, RunState

STOPPED = RunState("stopped", "", 1, 300)


def checkpoint(step: int, score: float | None = None, is_best: bool = False) -> Checkpoint:
    return Checkpoint(step, 1, 1, step, PurePosixPath(f"{step}"), "abc", 10, is_best, True, {"score": score})


@pytest.fixture
def form(qtbot: QtBot) -> GoBack:
    made = GoBack()
    qtbot.addWidget(made)
    made.show_checkpoints([checkpoint(100), checkpoint(200, 0.25, True), checkpoint(1300, 0.5)])
    return made


def test_the_newest_checkpoint_comes_first_and_each_says_what_it_is(form: GoBack) -> None:
    words = [form.steps.itemText(i) for i in range(form.steps.count())]
    assert words == ["Step 1,300 · score 0.5", "Step 200 · score 0.25 · best", "Step 100"]


def test_only_a_run_that_has_stopped_goes_back(form: GoBack) -> None:
    form.show_state(RunState("running", "", 1, 300))
    assert not form.button.isEnabled()
    assert form.words.text() == "A run goes back once it has stopped. Stop it first; its state is kept."
    form.show_state(STOPPED)
    assert form.button.isEnabled()
    form.show_checkpoints([])
    assert not form.button.isEnabled()
    assert form.words.text() == "The run has kept no checkpoint yet."


def test_what_is_proposed_halves_the_learning_rate_in_force(qtbot: QtBot, form: GoBack) -> None:
    form.show_state(STOPPED)
    form.show_factor(0.5)
    form.propose(200)
    with qtbot.waitSignal(form.wanted) as asked:
        form.button.click()
    assert asked.args == [200, {"learning_rate_factor": 0.25}]


def test_a_learning_rate_that_stays_is_not_set_again(qtbot: QtBot, form: GoBack) -> None:
    form.show_state(STOPPED)
    form.steps.setCurrentIndex(2)
    form.show_checkpoints([checkpoint(100), checkpoint(200, 0.25, True)])  # one was given up; the choice stays
    with qtbot.waitSignal(form.wanted) as asked:
        form.button.click()
    assert asked.args == [100, {}]
