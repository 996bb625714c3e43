"""Signs in the readings that are taken every so often (`backend.diagnostics`): networks that stand still or take too
large steps, a fake score network that is worse than none, samples that become alike."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import median

from backend.health.finding import Finding, Level, mean, ratio

Curves = Mapping[str, Sequence[float]]
"""Of the loop's metrics, the newest values by name."""
Readings = Mapping[str, Sequence[tuple[int, float]]]
"""Of `backend.diagnostics`, (step, value) by name."""
STILL_FOR = 2
"""Steps in a row that were looked at and changed no weight."""
STILL = {
    "student": (
        "The student stands still: none of its weights change. Raise its learning_rate (a step too small for the "
        "number format is rounded away), and see that its gradient norm is not 0."
    ),
    "discriminator": (
        "The discriminator is dead: none of its weights change, so its term teaches the student nothing. Raise its "
        "learning rate and start again."
    ),
}
SIGNS = {"student": "student_still", "discriminator": "discriminator_dead"}
FASTER, LARGE_STEP = 8.0, 0.01
"""The fake score network's step beside the student's, and beside its own weights. Methods set its rate at 2 to 4 times
the student's, so that ten times that is 20 and more; steps of a thousandth of the weights are usual, of a hundredth
large."""
WORSE_THAN_TEACHER = 1.1
"""Its loss on the student's samples, over that of the teacher, from which it started. A sound one that trails the
student loses 1 to 4 %."""
SETTLED = 100
"""Steps before which samples and fake scores are not judged."""
NARROWER, NARROW = 0.75, 0.5
"""Spread, compared with its best in the run."""
LEAST_SPREAD, LONG = 0.15, 500
"""Below this the best spread of a run is where one step of a teacher starts, at the mean of all samples; a slow one may
stay there for so many steps."""
OUT, FAR_OUT = 0.1, 0.25
"""Share of the values of samples that is out of the teacher's range. Of sound students it is nothing, but for those
whose first step begins ill, which come back within the first readings, and in the plane: up to 7 %, for a while."""
TEACHERS_SHARE, GAINS = 0.5, 1.05
"""Spread beside the teacher's, and what four readings must add to one below that."""


def still(recent: Curves) -> list[Finding]:
    """Of student and discriminator, whether their steps change any weight; nothing of one that is not there."""
    found = []
    for net, words in STILL.items():
        steps = [*recent.get(f"{net}_step", ()), *recent.get(f"{net}_adapters_step", ())][-STILL_FOR:]
        if len(steps) == STILL_FOR:
            moved = " and ".join(f"{step:.2g}" for step in steps)
            reading = f"The last steps that were looked at moved the {net} by {moved}"
            level: Level = "good" if max(steps) > 0 else "bad"
            sentence = f"The {net} learns." if level == "good" else words
            found.append(Finding(SIGNS[net], level, sentence, f"{reading} of its weights' size."))
    return found


def fake_score_off(recent: Curves, readings: Readings, step: int) -> Finding | None:
    """Whether the fake score network takes too large steps, or knows the student's samples less well than the teacher.

    None without one, or too early.
    """
    own, student = (list(recent.get(f"{name}_step", ()))[-3:] for name in ("fake_score", "student"))
    over = beside_teacher(readings)
    if len(own) >= STILL_FOR and len(student) >= STILL_FOR and min(student) > 0:
        large, times = median(own), median(own) / median(student)
        reading = (
            f"Each step of the fake score network is {large:.2%} of its weights' size, {times:.3g} times the student's."
        )
        if times >= FASTER and large >= LARGE_STEP:
            words = (
                "The fake score network's steps are too large, so that its score is that of the last batch. Lower "
                "fake_score_learning_rate."
            )
            return Finding("fake_score_off", "bad", words, reading)
    if over is None or step <= SETTLED:
        return None
    reading = f"The fake score network's loss on the student's samples is {over:.3g} times the teacher's."
    if over < WORSE_THAN_TEACHER:
        return Finding("fake_score_off", "good", "The fake score network knows the student's samples.", reading)
    words = (
        "The fake score network knows the student's samples less well than the teacher, from which it started. Lower "
        "fake_score_learning_rate, or raise the batch size."
    )
    return Finding("fake_score_off", "warning", words, reading)


def beside_teacher(readings: Readings) -> float | None:
    """The fake score's loss on the student's samples over the teacher's, in the last readings; None before these."""
    own, teacher = (_last(readings, f"{name}_on_student", 3) for name in ("fake_score", "teacher"))
    return ratio(mean(teacher), mean(own)) if own is not None and teacher is not None else None


def spread_falls(readings: Readings, step: int) -> Finding | None:
    """Whether samples of one condition become alike, or stay more alike than the teacher's; None too early."""
    spread = [value for _, value in readings.get("spread", ())]
    if step <= SETTLED or len(spread) < 6:
        return None
    now, best = max(spread[-2:]), max(map(min, pairwise(spread)))  # one reading alone is no sign
    reading = f"Two of the student's samples of one condition are {now:.0%} as far apart as the teacher's; "
    reading += f"the most in this run was {best:.0%}."
    words = (
        "The student loses variety: samples of one condition become alike. Go back to an earlier checkpoint, lower the "
        "student's learning rate, or use less guidance."
    )
    if best >= LEAST_SPREAD and ratio(best, now) < NARROWER:
        return Finding("diversity_falls", "bad" if ratio(best, now) < NARROW else "warning", words, reading)
    begun = best >= LEAST_SPREAD or step > LONG
    if begun and now < TEACHERS_SHARE and now <= GAINS * mean(spread[-6:-4]):
        words = (
            "The student is less varied than its teacher and no longer gains: samples of one condition look alike. Use "
            "less guidance or more fake score updates, or add an adversarial term on real data."
        )
        return Finding("diversity_falls", "warning", words, reading)
    return Finding("diversity_falls", "good", "The student keeps its variety.", reading)


def saturated(readings: Readings, step: int) -> Finding | None:
    """Whether samples leave the range of the teacher's: colours that saturate, or a student that runs away.

    None too early. A student that was never within it has not come there yet, which is at most a warning.
    """
    out = [value for _, value in readings.get("out_of_range", ())]
    if step <= SETTLED or len(out) < 3:
        return None
    now, least = min(out[-2:]), min(out[:-2])  # one reading alone is no sign
    reading = (
        f"{now:.1%} of the values of the student's samples are beyond any of the teacher's; at best {least:.1%} were."
    )
    if now < OUT:
        return Finding("saturated", "good", "The student's samples keep to the teacher's range.", reading)
    words = (
        "The student's samples saturate: their values leave the range of the teacher's. Go back to an earlier "
        "checkpoint with a lower learning_rate_factor, or use less guidance."
    )
    return Finding("saturated", "bad" if now >= FAR_OUT and least < OUT else "warning", words, reading)


def _last(readings: Readings, name: str, count: int) -> list[float] | None:
    """The last `count` values of a reading, None where there are fewer."""
    values = [value for _, value in readings.get(name, ())][-count:]
    return values if len(values) == count else None
