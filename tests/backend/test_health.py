"""Each sign on synthetic curves, both ways: seen where it is there, and not where it is not."""

import math
import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from backend import health
from backend.health import Finding, Seen, changes, findings

STEPS = 400


def noisy(curve: Callable[[float], float], scatter: float = 0.15, seed: int = 0) -> list[float]:
    """`curve` over a run (0 to 1), with the scatter that losses of small batches have."""
    chosen = random.Random(seed)
    return [curve(i / STEPS) * (1 + scatter * chosen.gauss(0, 1)) for i in range(STEPS)]


def seen(scores: Sequence[float] = (), figures: dict[str, list[float]] | None = None, **curves: list[float]) -> Seen:
    made = Seen()
    for row in zip(*curves.values(), strict=True):
        made.add_step(dict(zip(curves, row, strict=True)))
    for i, score in enumerate(scores):
        made.add_preview(100 * i, score, {})
    made.figures |= figures or {}
    return made


def found(sign: str, of: Seen, step: int = STEPS, **teacher: float) -> Finding:
    (finding,) = (f for f in findings(of, step, teacher) if f.sign == sign)
    return finding


def level(sign: str, of: Seen, step: int = STEPS, **teacher: float) -> str:
    return found(sign, of, step, **teacher).level


# The fake score network


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("fake", "student", "expected"),
    [
        (lambda u: 0.25, lambda u: 0.11, "good"),
        (lambda u: 0.25 * (1 + u), lambda u: 0.2 - 0.1 * u, "warning"),
        (lambda u: 0.1 + u**2, lambda u: 0.2 - 0.15 * u, "bad"),
        (lambda u: 0.25 * (1 + u), lambda u: 0.1 + 0.1 * u, "good"),  # the student moves, and it is followed
        (lambda u: 0.5 - 0.3 * u, lambda u: 0.2 - 0.15 * u, "good"),
    ],
)
def test_a_fake_score_lags_whose_loss_rises_while_the_students_falls(
    fake: Callable[[float], float], student: Callable[[float], float], expected: str, seed: int
) -> None:
    curves = seen(fake_score=noisy(fake, seed=seed), matching=noisy(student, seed=seed + 99))
    assert level("fake_score_lags", curves) == expected


def test_the_rise_at_the_start_of_a_sound_run_is_no_lag() -> None:
    """As the demo's: the fake score's loss rises steeply in the first 60 steps, and the student's falls."""
    curves = seen(
        fake_score=noisy(lambda u: 0.25 - 0.16 * math.exp(-u * STEPS / 20)),
        matching=noisy(lambda u: 0.11 + 0.14 * math.exp(-u * STEPS / 30)),
    )
    assert level("fake_score_lags", curves) == "good"
    assert not findings(curves, health.SETTLED)


def test_the_reading_names_both_losses() -> None:
    curves = seen(fake_score=[1.0] * 240 + [2.0] * 80, matching=[4.0] * 240 + [1.0] * 80)
    finding = found("fake_score_lags", curves)
    assert finding.reading == (
        "Over the last 240 steps the fake score network's loss went from 1 to 2, the student's from 4 to 1."
    )
    assert "Raise fake_score_updates" in finding.sentence


# The discriminator


@pytest.mark.parametrize(
    ("real", "fake", "expected"),
    [(0.52, 0.55, "good"), (0.88, 0.87, "warning"), (0.995, 0.999, "bad"), (0.05, 1.0, "good")],
)
def test_a_discriminator_is_saturated_that_knows_both_kinds(real: float, fake: float, expected: str) -> None:
    curves = seen(real_recognised=[real] * STEPS, fake_recognised=[fake] * STEPS)
    assert level("discriminator_saturated", curves) == expected


# Diversity


@pytest.mark.parametrize(
    ("recall", "expected"),
    [
        ([0.0, 0.77, 0.89, 0.9, 0.92, 0.91], "good"),
        ([0.0, 0.8, 0.9, 0.9, 0.65, 0.6], "warning"),
        ([0.0, 0.8, 0.9, 0.9, 0.3, 0.2], "bad"),
        ([0.0, 0.8, 0.9, 0.9, 0.9, 0.5], "good"),  # one preview alone
    ],
)
def test_diversity_falls_that_stays_below_its_best(recall: list[float], expected: str) -> None:
    assert level("diversity_falls", seen(figures={"recall": recall})) == expected


def test_a_figure_that_was_never_there_does_not_fall() -> None:
    assert not findings(seen(figures={"recall": [0.0, 0.04, 0.07, 0.02, 0.01]}), STEPS)


def test_the_lowest_figure_is_the_reading() -> None:
    figures = {"recall": [0.5, 0.9, 0.9, 0.8, 0.8], "class_std": [0.1, 0.2, 0.2, 0.08, 0.06]}
    finding = found("diversity_falls", seen(figures=figures))
    assert finding.reading == "Class std is 0.07 over the last two previews; the best two in this run had 0.2."


@pytest.mark.parametrize(
    ("spread", "expected"),
    [
        ([0.03, 0.1, 0.12, 0.12, 0.12, 0.12], "warning"),
        ([0.03, 0.05, 0.07, 0.09, 0.11, 0.13], "good"),  # less varied, and on its way
        ([0.03, 0.21, 0.22, 0.23, 0.23, 0.23], "good"),
    ],
)
def test_a_student_that_stays_less_varied_than_its_teacher(spread: list[float], expected: str) -> None:
    assert level("diversity_falls", seen(figures={"class_std": spread}), class_std=0.25) == expected


# Quality


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([13.0, 1.1, 0.6, 0.4, 0.38, 0.33], "good"),
        ([13.0, 1.1, 0.40, 0.42, 0.41, 0.43], "good"),
        ([13.0, 1.1, 0.40, 0.48, 0.50, 0.47], "warning"),
        ([13.0, 1.1, 0.40, 0.48, 0.42, 0.60], "good"),  # not all of the last three
        ([13.3, 5.7, 3.1, 4.9, 4.8, 5.4], "bad"),
    ],
)
def test_quality_is_past_its_peak_when_the_last_previews_are_all_worse(scores: list[float], expected: str) -> None:
    finding = found("past_its_peak", seen(scores))
    assert finding.level == expected
    if expected != "good":
        assert f"worse than step {100 * scores.index(min(scores))}" in finding.sentence


def test_a_few_previews_are_no_trend() -> None:
    assert not findings(seen([1.0, 5.0, 5.0]), STEPS)


# The whole


def test_a_collapse_seen_on_the_bundled_digits_is_told() -> None:
    """Figures of a run whose fake score network hardly learned."""
    figures = {"class_std": [0.033, 0.072, 0.09, 0.083, 0.056, 0.057, 0.055, 0.044, 0.036]}
    scores = [13.351, 5.742, 3.714, 3.063, 3.367, 3.883, 4.874, 4.773, 4.391]
    told = {f.sign: f.level for f in findings(seen(scores, figures), 240, {"class_std": 0.25})}
    assert told == {"diversity_falls": "bad", "past_its_peak": "warning"}


def test_all_is_good_in_the_demo() -> None:
    """Figures of the demo's run."""
    figures = {
        "recall": [0.0, 0.772, 0.891, 0.899, 0.901, 0.918],
        "class_std": [0.033, 0.207, 0.225, 0.228, 0.232, 0.234],
    }
    curves: dict[str, Any] = {
        "fake_score": noisy(lambda u: 0.25),
        "matching": noisy(lambda u: 0.112, 0.2, 1),
        "real_recognised": noisy(lambda u: 0.51, 0.17, 2),
        "fake_recognised": noisy(lambda u: 0.54, 0.15, 3),
    }
    told = findings(seen([13.4, 1.08, 0.61, 0.40, 0.375, 0.382], figures, **curves), STEPS, {"class_std": 0.25})
    assert {f.level for f in told} == {"good"}
    assert told[-1].sign == "overall"
    assert len(told) == 6


def test_what_is_not_finite_is_left_out_of_means() -> None:
    curves = seen(fake_score=[0.2, math.nan] * 200, matching=[0.1, math.inf] * 200)
    assert level("fake_score_lags", curves) == "good"


def sign(name: str, level: health.Level) -> Finding:
    return Finding(name, level, "words", "reading")


def test_only_a_changed_level_is_news() -> None:
    before: dict[str, health.Level] = {}
    good, overall = sign("a", "good"), sign("overall", "good")

    def news(*found: Finding) -> list[tuple[str, str]]:
        return [(f.sign, f.level) for f in changes(before, found)]

    assert news(good, overall) == [("overall", "good")]
    assert news(good, overall) == []
    assert news(sign("a", "warning")) == [("a", "warning")]
    assert news(sign("a", "warning")) == []
    assert news(sign("a", "bad")) == [("a", "bad")]
    assert news(good, overall) == [("a", "good"), ("overall", "good")]
    assert news(good, overall) == []
