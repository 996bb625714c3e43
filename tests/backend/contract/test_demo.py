"""What is left of a demo is read from its project, whoever asks and when."""

import pytest

from backend.contract import demo
from tests.backend.contract.conftest import RECIPE, weights


@pytest.fixture
def run(project):
    """A demo that is trained, and nothing more."""
    run = project.add_run(RECIPE)
    demo.promise(project, run)
    attempt = project.begin_attempt(run)
    project.add_checkpoint(attempt, 40, weights(project, "run-1"))
    project.end_attempt(attempt, "finished")
    return run


def evaluate(project, run):
    project.add_evaluation(run, 40, {"of": "student"}, {"frechet": 0.2})


def export(project, run):
    project.add_export(run, "diffusers", "/away", "abc", {})


def test_a_run_that_promised_nothing_is_left_alone(project):
    project.end_attempt(project.begin_attempt(project.add_run(RECIPE)), "finished")
    assert demo.left(project) is None


def test_nothing_is_to_be_done_before_it_is_trained(project):
    run = project.add_run(RECIPE)
    demo.promise(project, run)
    assert demo.left(project) == demo.Left(run, None)
    project.begin_attempt(run)
    assert demo.left(project) == demo.Left(run, None)


def test_it_is_measured_then_exported_and_then_done(project, run):
    assert demo.left(project) == demo.Left(run, "evaluate")
    evaluate(project, run)
    assert demo.left(project) == demo.Left(run, "export")
    export(project, run)
    assert demo.left(project) is None


@pytest.mark.parametrize("deed", ["call off", "run again", "delete its weights", "give up its weights", "lock"])
def test_whoever_takes_over_has_it(project, run, monkeypatch, deed):
    if deed == "call off":
        demo.call_off(project, run)
    elif deed == "run again":
        project.add_run(RECIPE)
    elif deed == "delete its weights":
        (project.files / "checkpoints/run-1/student.safetensors").unlink()
        (project.files / "checkpoints/run-1").rmdir()
    elif deed == "give up its weights":
        project.give_up_checkpoint(project.checkpoints(run)[0].id)
    else:
        monkeypatch.setattr(demo, "can_write", lambda path: False)
    assert demo.left(project) is None


def test_another_recipe_takes_nothing_over(project, run):
    project.add_run(RECIPE.model_copy(update={"teacher": "emoji"}))
    assert demo.left(project) == demo.Left(run, "evaluate")
