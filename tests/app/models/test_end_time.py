"""When work will be done: by its own words, or by how long the like took."""

import pytest

from app.models.end_time import EndTime, taken_apart


@pytest.mark.parametrize(
    ("line", "apart"),
    [
        ("loading the student", ("loading the student", None)),
        ("2 of 3: teacher, about 12 s left", ("2 of 3: teacher", 12.0)),
        ("measuring, about 3 min left", ("measuring", 180.0)),
    ],
)
def test_a_line_says_what_is_done_and_how_long_the_rest_takes(line: str, apart: tuple[str, float | None]) -> None:
    assert taken_apart(line) == apart


def test_without_a_word_the_like_of_it_says_when_it_ends() -> None:
    end = EndTime(began=100.0, usual=40.0)
    assert (end.left(110.0), end.share(110.0)) == (30.0, 0.25)


def test_what_the_work_says_counts_more() -> None:
    end = EndTime(began=100.0, usual=40.0)
    end.hear(left=90.0, now=110.0)
    assert (end.left(110.0), end.share(110.0)) == (90.0, 0.1)
    assert end.left(150.0) == 50.0


def test_an_end_that_is_past_or_unknown_is_not_shown() -> None:
    assert EndTime(began=100.0).left(110.0) is None
    late = EndTime(began=100.0, usual=40.0)
    assert (late.left(141.0), late.share(141.0)) == (None, None)
