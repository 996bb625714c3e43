"""A report has all that there is to know of a run that failed."""

import json
from pathlib import Path

from app.models import run_report
from backend.contract.project_file import ProjectFile
from backend.contract.recipe import Recipe

from ..conftest import RECIPE


def test_a_report_is_whole(tmp_path: Path) -> None:
    with ProjectFile.create(tmp_path / "lab.distill") as project:
        run = project.add_run(Recipe.from_values(RECIPE), name="night")
        for number, (reason, trace) in enumerate(
            (("It was asked to stop.", ""), ("The disk is full.", "Traceback: full")), 1
        ):
            prepared = project.prepare_attempt(run)
            attempt = project.begin_attempt(run)
            log = project.files / (prepared.log or "")
            log.parent.mkdir(parents=True, exist_ok=True)
            log.write_text(f"line of {number}\n")
            project.add_event(run, "info", f"Trained by version {number}.", attempt=attempt, data={"machine": {}})
            project.set_first_step(attempt, 1)
            project.end_attempt(attempt, "failed" if trace else "stopped", reason, trace)
        project.add_event(run, "set", "Set steps to 500.", data={"steps": 500})
        text = run_report.read(project, run)
        recipe = project.run(run).recipe
    head, _, after = text.partition("\nRecipe:\n")
    assert json.loads(after) == recipe
    assert head.splitlines()[:6] == [
        "Run: night (number 1)",
        "State: failed",
        "Reason: The disk is full.",
        "Step: 0 of 500",
        "Trained by version 2.",
        "Set steps to 500.",
    ]
    for words in ("stopped. It was asked to stop.", "line of 1", "failed. The disk is full.", "full", "line of 2"):
        assert words in head


def test_a_run_that_never_came_up_has_a_report_too(tmp_path: Path) -> None:
    with ProjectFile.create(tmp_path / "lab.distill") as project:
        run = project.add_run(Recipe.from_values(RECIPE))
        assert "Its process ended before it said what it was trained with." in run_report.read(project, run)
