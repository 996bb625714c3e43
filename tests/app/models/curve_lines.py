"""A line as the window gets it from a project: recorded, asked for, joined."""

import uuid
from pathlib import Path

from app.models.curve_data import Question, look_up
from app.models.curve_view import Columns, Span
from backend.contract.metrics import MetricRow
from backend.contract.project_file import ProjectFile
from backend.contract.recipe import Recipe


def line_of(folder: Path, values: list[float], span: Span, pixels: int) -> Columns:
    """The columns of a series with a value at each of the steps 0, 1, 2, ..."""
    path = folder / f"{uuid.uuid4().hex}.distill"
    recipe = Recipe.from_values({"teacher": "digits", "method": "dmd2", "training": {"steps": 400}})
    with ProjectFile.create(path) as project:
        run = project.add_run(recipe)
        attempt = project.begin_attempt(run)
        project.record(attempt, [MetricRow(step, {"loss": value}) for step, value in enumerate(values)])
        answer = look_up(project, Question((run,), "step", frozenset(), frozenset(), span, pixels))
    return answer.runs[0].lines["loss"]
