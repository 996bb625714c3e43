"""Students of the text-to-image teacher: what they are told, how long they train, and their row."""

import pytest

from backend import prompted_students
from backend.bench_tables import prompts_table
from backend.contract.recipe import Recipe
from backend.methods import load_method
from backend.prompted_students import CASES, Case, measure, row, settings_of, steps_of, teacher_rows


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.method)
def test_each_is_told_the_guidance_and_has_the_same_budget(case: Case) -> None:
    method = load_method(case.method)
    settings = method.settings.model_validate(settings_of(case))
    Recipe.from_values({"teacher": "emoji", "method": case.method, "settings": settings_of(case)})
    assert any("guidance" in name for name in case.guidance)
    assert "pairs" not in method.needs(settings)  # which the budget would have to pay
    step = method.cost(settings) * prompted_students.BATCH
    assert 0 <= prompted_students.BUDGET - steps_of(case) * step < step


def test_a_student_has_figures_before_and_after_and_its_samples_are_put_down(tmp_path) -> None:
    found = measure(Case("lcm", {"guidance_low": 1.0, "guidance_high": 3.0}), tmp_path, budget=1, names=8)
    assert (found["method"], found["nfe"], found["steps"], found["problem"]) == ("lcm", 4, 1, "")
    assert found["before"].keys() == found["after"].keys() == {"agreement", "frechet"}
    assert (tmp_path / "lcm-4.png").is_file()


def test_a_finished_row_is_not_made_again(tmp_path, monkeypatch) -> None:
    made = []

    def counted(case, sheets):
        made.append(case)
        return {"nfe": case.nfe}

    monkeypatch.setattr(prompted_students, "measure", counted)
    assert row(CASES[0], tmp_path) == row(CASES[0], tmp_path) == {"nfe": 4}
    assert made == [CASES[0]]


def test_each_step_of_the_guided_teacher_is_two_evaluations(monkeypatch) -> None:
    monkeypatch.setattr(prompted_students, "TEACHER_STEPS", (1, 2))
    found = list(teacher_rows(names=8))
    assert [each["nfe"] for each in found] == [2, 4]
    assert found[0]["after"]["frechet"] > found[1]["after"]["frechet"]


def test_the_table_tells_what_was_learnt() -> None:
    figures = {"agreement": 0.9, "frechet": 5.0}
    told = {"method": "dmd2", "nfe": 4, "steps": 300, "problem": "", "before": figures, "after": figures}
    teacher = {"method": "teacher", "nfe": 8, "steps": 0, "problem": "", "before": {}, "after": figures}
    cells, heads = prompts_table([teacher, told])
    assert all(len(each) == len(heads) for each in cells)
    assert cells[0] == ["teacher", "8", "", "", "0.900", "", "5.000", ""]
    assert cells[1][3:7] == ["0.900", "0.900", "5.000", "5.000"]
