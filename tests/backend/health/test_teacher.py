"""Each sign of a teacher, both ways."""

import pytest

from backend.health import GuidanceReading, TeacherReading
from backend.health.teacher import guidance_off, teacher_schedule, teacher_type


def reading(**values: float | str) -> TeacherReading:
    sound = {"declared": "flow", "error": 0.7, "likely": "flow", "likely_error": 0.7, "told": 1.0, "gain": 1.0}
    return TeacherReading(**{**sound, **values})  # type: ignore[arg-type]


def test_a_sound_teacher() -> None:
    for sign in (teacher_type, teacher_schedule):
        found = sign(reading())
        assert found is not None
        assert found.level == "good"
        assert sign(None) is None


def test_a_wrong_prediction_type_is_named_with_the_likely_one_and_the_schedule_is_not_judged() -> None:
    wrong = reading(error=40.0, likely="v_prediction", likely_error=0.6, gain=9.0)
    found = teacher_type(wrong)
    assert found is not None
    assert found.level == "bad"
    assert "read as flow, and its output fits v_prediction" in found.sentence
    assert "40 times" in found.reading
    assert "0.6 times if its output were v_prediction" in found.reading
    assert teacher_schedule(wrong) is None


def test_a_teacher_that_denoises_nothing_however_it_is_read_is_not_said_to_be_of_another_type() -> None:
    found = teacher_type(reading(error=40.0, likely="sample", likely_error=35.0))
    assert found is not None
    assert found.level == "bad"
    assert "sample" not in found.sentence.replace("samples", "")


def test_another_noise_that_makes_the_error_smaller_is_another_schedule() -> None:
    found = teacher_schedule(reading(told=2.2, gain=1.6))
    assert found is not None
    assert found.level == "bad"
    assert "told 2.2 times the noise" in found.sentence


@pytest.mark.parametrize(
    ("found", "effect", "expected", "words"),
    [
        (3.0, 0.4, "good", "as asked"),
        (1.0, 0.4, "bad", "at scale 1 and not 3"),
        (1.0, 0.0, "bad", "does nothing"),
        (2.5, 0.4, "good", "as asked"),
    ],
)
def test_guidance_is_off_that_is_not_found(found: float, effect: float, expected: str, words: str) -> None:
    finding = guidance_off(GuidanceReading(3.0, found, effect))
    assert finding is not None
    assert finding.level == expected
    assert words in finding.sentence
    assert guidance_off(None) is None
