"""Signs in the curves of every step: a fake score network that lags, a discriminator that is too strong or dead."""

import math
from collections.abc import Mapping, Sequence

from backend.health.finding import Finding, mean, ratio

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
KNOWS = 0.9
"""The fake score's loss beside the teacher's, on the student's samples: that of one which does not learn stays at 1."""
SATURATED, SATURATED_BADLY = 0.8, 0.95
"""Share that the discriminator recognises. Sound runs of the demo and of gdd stay between 0.46 and 0.65, and gdd with a
student that hardly learns comes to 0.88 within 200 steps."""
DEAD_AFTER = 40
"""Steps over which a discriminator that gives everything the same answer is dead; a sound one has left it by then."""
SAME_ANSWER = 0.99
"""Share of real samples, or of made ones, that gets the one answer, while the other is hardly ever given."""


def fake_score_lags(
    recent: Mapping[str, Sequence[float]], step: int, beside_teacher: float | None = None
) -> Finding | None:
    """Whether the fake score network's loss rises while the student's falls; None without one, or too early.

    beside_teacher: its loss on the student's samples over the teacher's, where that is known. One that knows them far
    better keeps up, and what its loss rises by is what the samples have become richer by.
    """
    fake, student = trend(recent, "fake_score", step), trend(recent, "matching", step)
    if fake is None or student is None:
        return None
    steps = len(recent["fake_score"])
    reading = f"Over the last {steps} steps the fake score network's loss went from {fake[0]:.3g} to {fake[1]:.3g}"
    reading += f", the student's from {student[0]:.3g} to {student[1]:.3g}."
    rise = ratio(*fake)
    knows = beside_teacher is not None and beside_teacher < KNOWS
    if knows or rise < LAGS or ratio(*student) > STUDENT_FALLS:
        return Finding("fake_score_lags", "good", "The fake score network keeps up with the student.", reading)
    words = (
        "The fake score network lags: its loss rises while the student's falls, so the student follows a wrong "
        "direction. Raise fake_score_updates or fake_score_learning_rate, or lower the student's learning_rate."
    )
    return Finding("fake_score_lags", "bad" if rise >= LAGS_BADLY else "warning", words, reading)


def discriminator_saturated(recent: Mapping[str, Sequence[float]], step: int) -> Finding | None:
    """Whether the discriminator tells nearly everything apart; None without one, or too early."""
    parts = [trend(recent, name, step) for name in ("real_recognised", "fake_recognised")]
    if parts[0] is None or parts[1] is None:
        return None
    real, fake = parts[0][1], parts[1][1]
    reading = (
        f"The discriminator recognises {real:.0%} of the real samples and {fake:.0%} of the student's; half is no "
        "better than chance."
    )
    share = min(real, fake)  # one that calls everything fake recognises no real sample, and is not strong but weak
    if share < SATURATED:
        return Finding("discriminator_saturated", "good", "The discriminator still teaches the student.", reading)
    words = (
        "The discriminator is saturated: it tells nearly every sample apart, so the student learns little from it. "
        "Lower the discriminator's learning rate or weight, or let it look at more noise."
    )
    return Finding("discriminator_saturated", "bad" if share >= SATURATED_BADLY else "warning", words, reading)


def discriminator_dead(recent: Mapping[str, Sequence[float]]) -> Finding | None:
    """Whether the discriminator gives real and made samples one and the same answer; None without one, or too early."""
    real, fake = (list(recent.get(name, ()))[-DEAD_AFTER:] for name in ("real_recognised", "fake_recognised"))
    if min(len(real), len(fake)) < DEAD_AFTER:
        return None
    shares = mean(real), mean(fake)
    reading = (
        f"Over the last {DEAD_AFTER} steps the discriminator took {shares[0]:.1%} of the real samples for real and "
    )
    reading += f"{1 - shares[1]:.1%} of the student's."
    if max(shares) < SAME_ANSWER or min(shares) > 1 - SAME_ANSWER:
        return Finding("discriminator_dead", "good", "The discriminator tells samples apart.", reading)
    words = (
        "The discriminator is dead: it gives every sample the same answer, so its term teaches the student nothing. "
        "Lower its learning rate, raise its weight if that is tiny, and start again."
    )
    return Finding("discriminator_dead", "bad", words, reading)


def trend(recent: Mapping[str, Sequence[float]], name: str, step: int) -> tuple[float, float] | None:
    """Means of the first and of the last third of what is known of a metric, None where that is too little."""
    values = [value for value in recent.get(name, ()) if math.isfinite(value)][-max(0, step - SETTLED) :]
    third = len(values) // 3
    if step <= SETTLED or third < RECENT // 12:
        return None
    return mean(values[:third]), mean(values[-third:])
