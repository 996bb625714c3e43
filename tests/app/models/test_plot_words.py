"""What plots of curves are called and have along their axis."""

import pytest

from app.models import plot_words
from app.models.curve_view import GROUPS, Span


@pytest.mark.parametrize(
    ("end", "called", "marks"),
    [
        (170.0, "Seconds of training", [(0.0, "0"), (50.0, "50"), (100.0, "100"), (150.0, "150")]),
        (180.0, "Minutes of training", [(0.0, "0"), (60.0, "1"), (120.0, "2"), (180.0, "3")]),
        (10_800.0, "Hours of training", [(0.0, "0"), (3600.0, "1"), (7200.0, "2"), (10_800.0, "3")]),
    ],
)
def test_time_is_counted_in_the_unit_that_suits_it(end: float, called: str, marks: list[tuple[float, str]]) -> None:
    found, title = plot_words.x_ticks("wall", Span(0, end), 4, str)
    assert title == called
    assert [(mark.at, mark.words) for mark in found] == marks


def test_every_plot_and_every_axis_has_a_name_of_its_own() -> None:
    assert len({plot_words.title(group, str) for group in GROUPS}) == len(GROUPS)
    axes = plot_words.axes(str)
    assert [axis for axis, _ in axes] == ["step", "images", "wall", "nfe"]
    assert len({plot_words.x_ticks(axis, Span(0, 10), 4, str)[1] for axis, _ in axes}) == len(axes)
