"""Each sign in readings on made-up curves, both ways."""

from typing import Any

import pytest

from backend import health
from backend.health import Finding, Seen, findings
from backend.health.readings import SETTLED

LATE = 241


def seen(**curves: list[float]) -> Seen:
    """A run whose readings are these, the last after step `LATE`."""
    made = Seen()
    for name, values in curves.items():
        for i, value in enumerate(values):
            if name.endswith("_step"):
                made.add_step({name: value})
                continue
            made.add_readings(LATE - 20 * (len(values) - 1 - i), {name: value})
    return made


def told(of: Seen, step: int = LATE) -> dict[str, Finding]:
    return {finding.sign: finding for finding in findings(of, step)}


@pytest.mark.parametrize("name", ["student_step", "student_adapters_step"])
@pytest.mark.parametrize(
    ("steps", "expected"),
    [([0.02, 0.02, 0.0, 0.0], "bad"), ([0.0, 0.0, 1e-9], "good"), ([0.02, 0.02], "good"), ([0.0], None)],
)
def test_a_student_stands_still_whose_steps_change_no_weight(
    name: str, steps: list[float], expected: str | None
) -> None:
    found = told(seen(**{name: steps})).get("student_still")
    assert (found.level if found else None) == expected


def test_a_discriminator_that_stands_still_is_dead() -> None:
    assert told(seen(discriminator_step=[0.1, 0.0, 0.0]))["discriminator_dead"].level == "bad"
    assert told(seen(discriminator_step=[0.0, 0.1, 0.1]))["discriminator_dead"].level == "good"


@pytest.mark.parametrize(
    ("fake", "student", "expected"),
    [
        (0.004, 0.002, "good"),  # twice the rate, as methods set it
        (0.04, 0.002, "bad"),  # and ten times that
        (0.009, 0.0005, "good"),  # far faster than the student, and in small steps
        (0.03, 0.02, "good"),  # large steps, and no faster than the student's
    ],
)
def test_a_fake_score_is_off_whose_steps_are_large_and_far_larger_than_the_students(
    fake: float, student: float, expected: str
) -> None:
    curves = seen(
        fake_score_step=[fake] * 3,
        student_step=[student] * 3,
        fake_score_on_student=[0.5] * 4,
        teacher_on_student=[0.6] * 4,
    )
    assert told(curves)["fake_score_off"].level == expected


@pytest.mark.parametrize(
    ("own", "teacher", "expected"),
    [([0.5, 0.5, 0.5], [1.2, 1.2, 1.2], "good"), ([0.82, 0.83, 0.84], [0.8, 0.8, 0.8], "good"),
     ([0.99, 0.95, 0.92], [0.8, 0.8, 0.8], "warning"), ([1.2, 0.8, 0.8], [0.85, 0.85, 0.85], "good")],
)  # fmt: skip
def test_a_fake_score_is_off_that_knows_the_students_samples_less_well_than_the_teacher(
    own: list[float], teacher: list[float], expected: str
) -> None:
    curves = seen(fake_score_on_student=own, teacher_on_student=teacher)
    found = told(curves)["fake_score_off"]
    assert found.level == expected
    times = f"{sum(own) / sum(teacher):.3g} times the teacher's."
    assert found.reading == f"The fake score network's loss on the student's samples is {times}"
    assert "fake_score_off" not in told(curves, step=SETTLED)


@pytest.mark.parametrize(
    ("spread", "expected"),
    [
        ([0.1, 0.3, 0.6, 0.8, 0.9, 0.95, 0.97], "good"),
        ([0.1, 0.3, 0.6, 0.8, 0.9, 0.6, 0.55], "warning"),
        ([0.1, 0.3, 0.6, 0.8, 0.9, 0.3, 0.2], "bad"),
        ([0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.4], "good"),  # one reading alone
        ([0.2, 0.25, 0.3, 0.33, 0.35, 0.38, 0.4], "good"),  # less varied, and on its way
        ([0.2, 0.3, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4], "warning"),
        ([0.07, 0.07, 0.1, 0.05, 0.07, 0.06, 0.05], "good"),  # one step of the teacher, the mean of all its samples
    ],
)
def test_variety_is_lost_when_samples_of_one_condition_come_nearer(spread: list[float], expected: str) -> None:
    assert told(seen(spread=spread))["diversity_falls"].level == expected


def test_a_student_that_never_leaves_the_mean_is_told_in_the_end() -> None:
    curves = seen(spread=[0.07, 0.07, 0.1, 0.05, 0.07, 0.06, 0.05])
    assert told(curves, step=601)["diversity_falls"].level == "warning"


@pytest.mark.parametrize(("own", "expected"), [(0.5, "good"), (0.99, "warning")])
def test_a_fake_score_that_knows_the_students_samples_far_better_than_the_teacher_does_not_lag(
    own: float, expected: str
) -> None:
    curves = seen(fake_score_on_student=[own] * 3, teacher_on_student=[1.0] * 3)
    for i in range(240):
        curves.add_step({"fake_score": 0.25 * (1 + i / 500), "matching": 0.2 - i / 2400})
    assert told(curves)["fake_score_lags"].level == expected


def test_a_student_that_stands_still_does_not_also_lose_variety() -> None:
    assert "diversity_falls" not in told(seen(spread=[0.07] * 8, student_step=[0.0] * 8))


def test_of_two_ways_to_see_a_sign_the_worse_counts() -> None:
    curves = seen(spread=[0.1, 0.3, 0.6, 0.8, 0.9, 0.3, 0.2])
    curves.figures["recall"] = [0.1, 0.9, 0.9, 0.9]
    assert told(curves)["diversity_falls"].level == "bad"
    curves = seen(spread=[0.1, 0.3, 0.6, 0.8, 0.9, 0.9, 0.9])
    curves.figures["recall"] = [0.1, 0.9, 0.9, 0.3, 0.3]
    assert told(curves)["diversity_falls"].reading.startswith("Recall")


@pytest.mark.parametrize(
    ("real", "fake", "expected"),
    [(0.0, 1.0, "bad"), (1.0, 0.0, "bad"), (0.02, 0.99, "good"), (0.5, 0.5, "good"), (1.0, 1.0, "good")],
)
def test_a_discriminator_is_dead_that_gives_everything_one_answer(real: float, fake: float, expected: str) -> None:
    made: Any = Seen()
    for step in range(50):
        made.add_step({"real_recognised": real if step else 0.5, "fake_recognised": fake})
        if step < 30:
            assert "discriminator_dead" not in told(made, step)
    assert told(made, 50)["discriminator_dead"].level == expected


def test_all_is_not_said_to_be_well_before_losses_are_judged() -> None:
    curves = seen(student_step=[0.02] * 4)
    assert "overall" not in told(curves, health.SETTLED)
    assert told(curves)["overall"].reading == told(curves)["student_still"].reading


@pytest.mark.parametrize(
    ("out", "expected"),
    [
        ([0.0, 0.08, 0.08], "good"),
        ([0.0, 0.0, 0.4], "good"),  # one reading alone is no sign
        ([0.0, 0.4, 0.15], "warning"),
        ([0.0, 0.4, 0.3], "bad"),
        ([0.5, 0.4, 0.3], "warning"),  # it was never within
        ([0.5, 0.4, 0.3, 0.04], "good"),
        ([0.4, 0.3], None),
    ],
)
def test_samples_saturate_whose_values_leave_the_teachers_range(out: list[float], expected: str | None) -> None:
    found = told(seen(out_of_range=out)).get("saturated")
    assert (found.level if found else None) == expected


def test_no_sample_is_judged_by_its_range_before_the_run_has_settled() -> None:
    assert "saturated" not in told(seen(out_of_range=[0.0, 0.4, 0.4]), step=SETTLED)
