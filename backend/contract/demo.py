"""What follows the training of a demo that a window has started: its student is measured, and exported.

That it is to follow stands among the events of the run, and that it has followed is read from the evaluations and
exports, so that whichever window opens the project next goes on with what is left. Who does it is not known here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from backend.contract.database import can_write
from backend.contract.project_file import ProjectFile

KIND = "demo"
"""Of the events that say whether something is to follow; the newest counts."""
Work = Literal["evaluate", "export"]


@dataclass(frozen=True)
class Left:
    """What is left of a demo. work: what can be done now; None while its run is not finished."""

    run: int
    work: Work | None


def promise(project: ProjectFile, run: int) -> None:
    """The student of this run is to be measured and exported when it is trained."""
    words = "This is the demo: when it is trained, its student is measured, exported and checked."
    project.add_event(run, KIND, words, data={"goes_on": True})


def call_off(project: ProjectFile, run: int) -> None:
    """Nothing more is to follow: somebody cancelled it, or it could not be done."""
    words = "The demo ends here; what is left can be had on the screens Runs and Export."
    project.add_event(run, KIND, words, data={"goes_on": False})


def left(project: ProjectFile) -> Left | None:
    """What is left of the newest demo of a project; None where there is none, or nothing is left of it.

    Nothing is left either of one whose last weights are gone, or whose recipe was run again since: whoever did that
    has taken over. Nor is it of a project that cannot be written to.
    """
    event = project.newest_event(KIND)
    if event is None or not event.data.get("goes_on") or not can_write(project.path):
        return None
    run = project.run(event.run)
    if any(later.id > run.id and later.recipe_hash == run.recipe_hash for later in project.runs()):
        return None
    if project.run_state(run.id).state != "finished":
        return Left(run.id, None)
    weights = project.checkpoints(run.id)
    if not weights or not (project.files / weights[-1].path).exists():
        return None
    if not project.evaluations(run.id):
        return Left(run.id, "evaluate")
    return None if project.exports(run.id) else Left(run.id, "export")
