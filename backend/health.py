"""What a run's recent numbers mean: findings in plain sentences, each with the reading behind it.

It knows no files and no networks: curves go in, findings come out. A sign that cannot be judged (the method has no such
metric, the run is too young) gives no finding, and silence is no praise.
"""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

Level = Literal["good", "warning", "bad"]

RECENT = 240
"""Steps that are looked at. The losses of one batch of 48 scatter by 13 to 30 % on the bundled digits, so that a mean
over a third of these is known to 2 to 4 %."""
SETTLED = 100
"""Steps before which no loss is judged: in a sound run of the demo the fake score's rises from 0.09 to 0.23 in the
first 60, because the student's pictures become richer, and stays there."""
LAGS, LAGS_BADLY = 1.15, 1.4
"""Rise of the fake score's loss, from the first to the last third of the recent steps: five times the scatter."""
STUDENT_FALLS = 0.95
"""The student's own loss over the same steps; a rise of both is a student that moves, not a fake score that lags."""
SATURATED, SATURATED_BADLY = 0.8, 0.95
"""Share that the discriminator recognises. Sound runs of the demo and of gdd stay between 0.46 and 0.65, and gdd with a
student that hardly learns comes to 0.88 within 200 steps."""
NARROWER, NARROW = 0.75, 0.5
"""A figure of variety, compared with its best in the run. 500 samples know recall and coverage to about 0.02."""
LEAST_VARIETY = 0.1
"""Below this a figure of variety is mostly scatter."""
TEACHERS_SHARE = 0.6
"""Spread within a class, compared with the teacher's; the demo's student reaches 0.9."""
WORSE, MUCH_WORSE = 1.15, 1.5
"""A preview's score, compared with the best; scores of 500 samples of one student scatter by 5 to 10 %."""
WORSE_FOR = 3
"""Previews in a row that must be so: one or two happen by chance."""
VARIETY = ("recall", "coverage", "class_std", "width")
"""Figures of variety that a preview may have, larger being more varied."""


@dataclass(frozen=True)
class Finding:
    """sign: which of the signs, as a key. sentence: what it means and what to do. reading: the numbers behind it."""

    sign: str
    level: Level
    sentence: str
    reading: str


@dataclass
class Seen:
    """What is known of a run: its newest metrics by name, and every preview that may be compared.

    scores: (step, figure by which the best is found, smaller being better). figures: name -> a value for each preview.
    """

    recent: dict[str, deque[float]] = field(default_factory=dict)
    scores: list[tuple[int, float]] = field(default_factory=list)
    figures: dict[str, list[float]] = field(default_factory=dict)

    def add_step(self, metrics: Mapping[str, float]) -> None:
        """One step's metrics."""
        for name, value in metrics.items():
            self.recent.setdefault(name, deque(maxlen=RECENT)).append(value)

    def add_preview(self, step: int, score: float | None, figures: Mapping[str, float]) -> None:
        """One preview of the student as it will be used."""
        if score is not None:
            self.scores.append((step, score))
        for name, value in figures.items():
            self.figures.setdefault(name, []).append(value)


def findings(seen: Seen, step: int, teacher: Mapping[str, float] | None = None) -> list[Finding]:
    """Every sign that can be judged after `step`; "overall" comes last, where something could be and all is good.

    teacher: the figures of the teacher in full, where they are known.
    """
    judged = [
        fake_score_lags(seen.recent, step),
        discriminator_saturated(seen.recent, step),
        diversity_falls(seen.figures, teacher or {}),
        past_its_peak(seen.scores),
    ]
    found = [finding for finding in judged if finding is not None]
    if found and all(finding.level == "good" for finding in found):
        words = "Nothing points to trouble; the run can be left alone."
        found.append(Finding("overall", "good", words, " ".join(finding.reading for finding in found)))
    return found


def changes(before: dict[str, Level], found: Sequence[Finding]) -> list[Finding]:
    """The findings that are news, and `before` (sign -> level) brought up to date.

    A sign that was never anything but good is no news, except the overall one.
    """
    news = [f for f in found if f.level != before.get(f.sign, "good" if f.sign != "overall" else None)]
    if any(f.level != "good" for f in found):
        before.pop("overall", None)  # so that it is said again once all is good
    before.update({f.sign: f.level for f in found})
    return news


def fake_score_lags(recent: Mapping[str, Sequence[float]], step: int) -> Finding | None:
    """Whether the fake score network's loss rises while the student's falls; None without one, or too early."""
    fake, student = _trend(recent, "fake_score", step), _trend(recent, "matching", step)
    if fake is None or student is None:
        return None
    reading = f"Over the last {len(recent['fake_score'])} steps its loss went from {fake[0]:.3g} to {fake[1]:.3g}"
    reading += f", the student's from {student[0]:.3g} to {student[1]:.3g}."
    rise = _ratio(*fake)
    if rise < LAGS or _ratio(*student) > STUDENT_FALLS:
        return Finding("fake_score_lags", "good", "The fake score network keeps up with the student.", reading)
    words = (
        "The fake score network lags: its loss rises while the student's falls, so the student follows a wrong "
        "direction. Raise fake_score_updates or fake_score_learning_rate, or lower the student's learning_rate."
    )
    return Finding("fake_score_lags", "bad" if rise >= LAGS_BADLY else "warning", words, reading)


def discriminator_saturated(recent: Mapping[str, Sequence[float]], step: int) -> Finding | None:
    """Whether the discriminator tells nearly everything apart; None without one, or too early."""
    parts = [_trend(recent, name, step) for name in ("real_recognised", "fake_recognised")]
    if parts[0] is None or parts[1] is None:
        return None
    real, fake = parts[0][1], parts[1][1]
    reading = (
        f"It recognises {real:.0%} of the real samples and {fake:.0%} of the student's; half is no better than chance."
    )
    share = min(real, fake)  # one that calls everything fake recognises no real sample, and is not strong but weak
    if share < SATURATED:
        return Finding("discriminator_saturated", "good", "The discriminator still teaches the student.", reading)
    words = (
        "The discriminator is saturated: it tells nearly every sample apart, so the student learns little from it. "
        "Lower the discriminator's learning rate or weight, or let it look at more noise."
    )
    return Finding("discriminator_saturated", "bad" if share >= SATURATED_BADLY else "warning", words, reading)


def diversity_falls(figures: Mapping[str, Sequence[float]], teacher: Mapping[str, float]) -> Finding | None:
    """Whether the student's samples become alike, or stay more alike than the teacher's; None without such figures."""
    parts = {
        name: (_mean(figures[name][-2:]), max(map(_mean, pairwise(figures[name]))))
        for name in VARIETY
        if len(figures.get(name, ())) >= 3
    }
    parts = {name: (now, best) for name, (now, best) in parts.items() if best >= LEAST_VARIETY or name == "class_std"}
    ratios = {name: _ratio(best, now) for name, (now, best) in parts.items()}
    if not ratios:
        return None
    lowest = min(ratios, key=lambda name: ratios[name])
    now, best = parts[lowest]
    name = lowest.replace("_", " ").capitalize()
    reading = f"{name} is {now:.3g} over the last two previews; the best two in this run had {best:.3g}."
    words = (
        "The student loses variety: its samples become alike. Go back to an earlier checkpoint, lower the student's "
        "learning rate, or use less guidance."
    )
    if ratios[lowest] < NARROWER:
        return Finding("diversity_falls", "bad" if ratios[lowest] < NARROW else "warning", words, reading)
    spread = figures.get("class_std", ())
    share = _mean(spread[-2:]) / teacher["class_std"] if spread and teacher.get("class_std") else 1.0
    if share < TEACHERS_SHARE and _mean(spread[-2:]) <= 1.05 * _mean(spread[-4:-2]) and len(spread) >= 5:
        words = (
            "The student is less varied than its teacher and no longer gains: pictures of one class look alike. Use "
            "less guidance or more fake score updates, or add the adversarial term on real data."
        )
        return Finding(
            "diversity_falls", "warning", words, f"Its spread within a class is {share:.0%} of the teacher's."
        )
    return Finding("diversity_falls", "good", "The student keeps its variety.", reading)


def past_its_peak(scores: Sequence[tuple[int, float]]) -> Finding | None:
    """Whether the last previews are all clearly worse than the best; None before there are enough."""
    if len(scores) <= WORSE_FOR:
        return None
    step, best = min(scores, key=lambda scored: scored[1])
    least = min(score for _, score in scores[-WORSE_FOR:])
    reading = f"The best score is {best:.3g} at step {step}, the last is {scores[-1][1]:.3g} (smaller is better)."
    ratio = _ratio(best, least)
    if ratio < WORSE:
        return Finding("past_its_peak", "good", "Quality is at its best, or near it.", reading)
    words = (
        f"Quality is past its peak: the last {WORSE_FOR} previews are worse than step {step}. Stop and export the best "
        "checkpoint, which is kept; a lower learning rate may reach further."
    )
    return Finding("past_its_peak", "bad" if ratio >= MUCH_WORSE else "warning", words, reading)


def not_finite(error: str, last_good: str) -> Finding:
    """A loss was infinite or not a number, and the run has ended by it."""
    words = f"The run broke down: {error} Lower the learning rate and start again; {last_good}."
    return Finding("not_finite", "bad", words, error)


def finite_again(step: int) -> Finding:
    """An earlier attempt broke down, and this one has come to a preview."""
    return Finding("not_finite", "good", "Losses are finite again.", f"No loss up to step {step} was otherwise.")


def _trend(recent: Mapping[str, Sequence[float]], name: str, step: int) -> tuple[float, float] | None:
    """Means of the first and of the last third of what is known of a metric, None where that is too little."""
    values = [value for value in recent.get(name, ()) if math.isfinite(value)][-max(0, step - SETTLED) :]
    third = len(values) // 3
    if step <= SETTLED or third < RECENT // 12:
        return None
    return _mean(values[:third]), _mean(values[-third:])


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def _ratio(before: float, after: float) -> float:
    """after / before, of figures that are not negative; 1 where both are nothing."""
    if before == after:
        return 1.0
    return after / before if before > 0 else math.inf
