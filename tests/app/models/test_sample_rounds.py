"""Samples in order: by step, without what was superseded, and columns that keep equal labels below each other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.models.sample_rounds import Rounds, best_of, columns, nearest, one_of_each, period, spread
from backend.contract.rows import Attempt, Checkpoint, Sample


def sample(id_: int, step: int, position: int = 0, kind: str = "preview", attempt: int = 1, **more: object) -> Sample:
    values = {"label": "", "seed": 7, "sampler": {}, "scores": {}} | more
    return Sample(
        id_,
        1,
        attempt,
        step,
        kind,
        position,
        media="image/png",
        path=None,
        sha256="",
        **values,  # type: ignore[arg-type]
    )


def attempt(number: int, first_step: int) -> Attempt:
    return Attempt(number, 1, number, None, 0.0, 0.0, None, first_step, None, None, None, "", "", None)


def test_rounds_are_by_step_and_the_newer_picture_of_a_place_counts() -> None:
    rounds = Rounds()
    rounds.add([sample(1, 200), sample(2, 100), sample(3, 100, 1), sample(4, 200)])
    assert [one.step for one in rounds.rounds()] == [100, 200]
    assert sorted(rounds.rounds()[0].pictures) == [0, 1]
    assert rounds.rounds()[1].pictures[0].id == 4


def test_what_a_later_attempt_took_again_is_there_on_request() -> None:
    rounds = Rounds()
    rounds.add([sample(1, 100), sample(2, 200), sample(3, 200, attempt=2), sample(4, 300, attempt=2)])
    rounds.set_attempts([attempt(1, 1), attempt(2, 101)])
    assert [(one.step, one.attempt) for one in rounds.rounds()] == [(100, 1), (200, 2), (300, 2)]
    everything = rounds.rounds(superseded=True)
    assert [(one.step, one.attempt, one.superseded) for one in everything] == [
        (100, 1, False),
        (200, 1, True),
        (200, 2, False),
        (300, 2, False),
    ]


def test_the_best_is_the_checkpoint_that_is_marked_else_the_lowest_score() -> None:
    rounds = Rounds()
    for step, score in ((100, 3.0), (200, 1.0), (300, 2.0)):
        rounds.add([sample(step, step, scores={"coverage": 0.9, "frechet": score})])
    found = rounds.rounds()
    assert found[0].figure == ("frechet", 3.0)
    assert best_of(found) == 1
    marked = Checkpoint(1, 1, 1, 300, None, "", 0, True, True, {"score": 2.0})  # type: ignore[arg-type]
    assert best_of(found, [marked]) == 2
    assert best_of(found[:1]) is None


def test_views_are_found_by_step_and_noise_level() -> None:
    rounds = Rounds()
    for position, t in enumerate((0.8, 0.2)):
        rounds.add([sample(10 + position, 50, position, "student_view", sampler={"t": t})])
        rounds.add([sample(20 + position, 50, position, "teacher_view", sampler={"t": t})])
    assert rounds.views() == [(50, 1)]
    assert rounds.levels((50, 1)) == {1: 0.2, 0: 0.8}
    assert rounds.view("teacher_view", (50, 1))[1].id == 21
    assert not rounds.has("fake_score_view")


def test_the_teachers_pictures_are_the_newest() -> None:
    rounds = Rounds()
    rounds.add([sample(1, 0, kind="teacher"), sample(2, 0, kind="teacher", attempt=2)])
    rounds.set_attempts([attempt(1, 1), attempt(2, 1)])
    assert rounds.reference("teacher")[0].id == 2
    assert rounds.reference("teacher_at_student_nfe") == {}


@pytest.mark.parametrize(
    ("labels", "length"),
    [("0123401234", 5), ("012301", 4), ("aaaa", 1), ("abc", 0), ("", 0)],
)
def test_a_period_of_labels(labels: str, length: int) -> None:
    expected = 0 if labels == "012301" else length  # begun anew, but not once whole
    assert period(list(labels)) == expected


@given(st.floats(10, 4000), st.integers(1, 64), st.integers(0, 20))
def test_equal_labels_stand_below_each_other(width: float, count: int, repeats: int) -> None:
    across = columns(width, 52, count, repeats)
    assert 1 <= across <= max(1, count)
    if repeats > 1:
        assert across % repeats == 0 or repeats % across == 0


def test_the_nearest_step() -> None:
    assert nearest([0, 100, 200], 140) == 1
    assert nearest([0, 100, 200], 150) == 1
    assert nearest([], 5) == -1


@given(st.integers(0, 60), st.integers(1, 9))
def test_a_few_rounds_stand_for_all_the_first_and_last_among_them(count: int, most: int) -> None:
    rounds = Rounds()
    rounds.add([sample(step, step) for step in range(1, count + 1)])
    found = [one.step for one in spread(rounds.rounds(), most)]
    assert len(found) == len(set(found)) == min(count, most)
    assert found == sorted(found)
    assert not found or found[-1] == count
    assert len(found) < 2 or found[0] == 1


def test_one_place_stands_for_each_prompt_or_class() -> None:
    pictures = {place: sample(place, 1, place, label="ab"[place % 2]) for place in range(6)}
    assert one_of_each(pictures, 9) == [0, 1]
    assert one_of_each(pictures, 1) == [0]
    alike = {place: sample(place, 1, place, label="a") for place in (4, 2, 7)}
    assert one_of_each(alike, 2) == [2, 4]
