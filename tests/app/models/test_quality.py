"""Quality against speed: what may be compared, and what is not beaten."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from app.models.quality import Measure, Point, figures, front, measures, points
from backend.contract.rows import Evaluation

RECIPE = {
    "measured_in": "net",
    "features_digest": "f",
    "reference_digest": "r",
    "count": 1000,
    "seed": 11,
    "version": 1,
}
NAMES = {1: ("one", "digits"), 2: ("two", "digits")}


def evaluation(
    number: int, run: int, of: str, nfe: int, frechet: float | None, seconds: float, **more: Any
) -> Evaluation:
    kept = {"frechet": frechet, "class_accuracy": 0.9, "seconds_per_image": seconds}
    return Evaluation(number, run, 100, float(number), RECIPE | {"of": of, "nfe": nfe} | more, kept)


def point(x: float, y: float) -> Point:
    return Point(1, "one", "student", 1, 1, x, y)


def test_the_front_is_what_nothing_beats():
    a, b, c, d = point(1, 5), point(2, 3), point(3, 4), point(4, 1)
    assert front([d, c, b, a]) == [a, b, d]
    assert front([a, b, c, d], higher=True) == [a]
    assert front([]) == []


def test_of_equals_one_stays():
    assert len(front([point(1, 1), point(1, 1), point(2, 1)])) == 1


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), max_size=12))
def test_each_point_is_on_the_front_or_beaten_by_one_of_it(pairs):
    everything = [point(x, y) for x, y in pairs]
    found = front(everything)
    for p in everything:
        assert any(q.x <= p.x and q.y <= p.y for q in found)
    for p in found:
        assert not any(q.x <= p.x and q.y <= p.y and (q.x, q.y) != (p.x, p.y) for q in everything)


def test_figures_of_other_counts_stand_on_another_axis():
    rows = [evaluation(1, 1, "student", 1, 0.5, 0.001), evaluation(2, 2, "student", 1, 0.9, 0.001, count=50)]
    newest, older = measures(rows)
    assert (newest.count, older.count) == (50, 1000)
    assert [p.name for p in points(rows, older, "frechet", "nfe", NAMES)] == ["one"]


def test_the_newest_figure_of_a_run_counts_and_a_teacher_is_one_point():
    rows = [
        evaluation(1, 1, "student", 1, 0.5, 0.001),
        evaluation(2, 1, "teacher", 50, 0.1, 0.05),
        evaluation(3, 2, "teacher", 50, 0.1, 0.06),
        evaluation(4, 1, "student", 1, 0.4, 0.002),
    ]
    found = points(rows, Measure.of(rows[0]), "frechet", "seconds_per_image", NAMES)
    assert [(p.name, p.is_student, p.x, p.y) for p in found] == [
        ("digits", False, 0.06, 0.1),
        ("one", True, 0.002, 0.4),
    ]


def test_what_was_not_measured_is_not_drawn():
    rows = [evaluation(1, 1, "student", 1, None, 0.001)]
    assert points(rows, Measure.of(rows[0]), "frechet", "nfe", NAMES) == []
    assert figures(rows, Measure.of(rows[0])) == ["class_accuracy"]
    rows = [evaluation(1, 1, "student", 1, 0.3, 0.001)]
    assert figures(rows, Measure.of(rows[0]))[0] == "frechet"
    assert points(rows, Measure.of(rows[0]), "frechet", "nfe", {}) == []
