"""Rows of the table: every step once, sparse series beside dense ones, in full in the CSV."""

import math
from pathlib import Path

from app.models.curve_rows import Column, as_csv, read_page
from backend.contract.metrics import MetricRow
from backend.contract.project_file import ProjectFile
from backend.contract.recipe import Recipe

COLUMNS = (Column(1, "dense", "dense"), Column(1, "sparse", "sparse"), Column(1, "unknown", "unknown"))


def test_pages_hold_every_step_once(tmp_path: Path) -> None:
    recipe = Recipe.from_values({"teacher": "digits", "method": "dmd2", "training": {"steps": 400}})
    with ProjectFile.create(tmp_path / "a.distill") as project:
        attempt = project.begin_attempt(project.add_run(recipe))
        project.record(attempt, [MetricRow(step, {"dense": step / 2}) for step in range(700)])
        project.record(attempt, [MetricRow(step, {"sparse": 1.0}) for step in (100, 90_000, 200_000)])
        rows, first = [], 0
        while True:
            page = read_page(project, COLUMNS, first, 200_000)
            rows += page.rows
            if page.next is None:
                break
            assert page.next > first
            first = page.next
    assert [step for step, _ in rows] == [*range(700), 90_000, 200_000]
    assert rows[100] == (100, (50.0, 1.0, None))
    assert rows[-1] == (200_000, (None, 1.0, None))


def test_csv_keeps_every_digit() -> None:
    text = as_csv(COLUMNS[:2], [(1, (0.1 + 0.2, None)), (2, (math.nan, 5e-324))])
    assert text == "step,dense,sparse\n1,0.30000000000000004,\n2,nan,5e-324\n"
