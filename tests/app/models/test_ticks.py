"""Places and figures of an axis."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.models.ticks import count_words, counts, figure, linear, logarithmic


@pytest.mark.parametrize(
    ("value", "words"),
    [(0, "0"), (1234.0, "1,234"), (0.012345, "0.01235"), (1.2e-5, "1.2e-5"), (2.5e9, "2.5e9"), (-0.5, "-0.5")],
)
def test_figures(value: float, words: str) -> None:
    assert figure(value) == words


def test_what_is_no_number_says_so() -> None:
    assert (figure(math.nan), figure(math.inf), figure(-math.inf)) == ("not a number", "infinite", "-infinite")


def test_ticks_are_round() -> None:
    assert [t.words for t in linear(0.02, 1.03, 6)] == ["0.2", "0.4", "0.6", "0.8", "1.0"]
    assert [t.words for t in counts(0, 100_000, 4)] == ["0", "50k", "100k"]
    assert [t.words for t in counts(100, 420, 4)] == ["100", "200", "300", "400"]
    assert [t.words for t in logarithmic(-3.2, 1.1, 6)] == ["0.001", "0.01", "0.1", "1", "10"]
    assert [t.words for t in logarithmic(0.0, 1.0, 6)] == ["1", "2", "5", "10"]
    assert [t.words for t in logarithmic(math.log10(1.1), math.log10(1.4), 3)] == ["1.1", "1.2", "1.3", "1.4"]
    assert [count_words(n) for n in (950, 12_000, 1_500_000)] == ["950", "12k", "1.5M"]


@given(st.floats(-1e12, 1e12), st.floats(1e-9, 1e12), st.integers(1, 12))
def test_ticks_are_inside_few_and_differ(low: float, width: float, wanted: int) -> None:
    high = low + width
    for marks in (linear(low, high, wanted), counts(low, high, wanted)):
        assert len(marks) <= wanted + 2
        if len(marks) > 1:
            slack = (high - low) * 1e-6
            assert all(low - slack <= mark.at <= high + slack for mark in marks)
    for log_ticks in (logarithmic(low / 1e11, low / 1e11 + min(width, 30), wanted),):
        assert [t.at for t in log_ticks] == sorted(t.at for t in log_ticks)


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_the_words_of_ticks_differ(low: float, width: float) -> None:
    words = [tick.words for tick in linear(low, low + width, 6)]
    assert len(set(words)) == len(words)
