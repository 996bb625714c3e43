"""What a run's recent numbers mean: findings in plain sentences, each with the reading behind it.

It knows no files and no networks: curves go in, findings come out. A sign that cannot be judged (the method has no such
metric, the run is too young) gives no finding, and silence is no praise.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from backend.health.finding import Finding, GuidanceReading, Level, TeacherReading
from backend.health.losses import RECENT, SETTLED, discriminator_dead, discriminator_saturated, fake_score_lags
from backend.health.previews import diversity_falls, past_its_peak
from backend.health.readings import beside_teacher, fake_score_off, saturated, spread_falls, still
from backend.health.teacher import guidance_off, teacher_schedule, teacher_type

__all__ = [
    "COLLAPSE",
    "RECENT",
    "SETTLED",
    "Finding",
    "GuidanceReading",
    "Level",
    "Seen",
    "TeacherReading",
    "after_break_down",
    "changes",
    "findings",
    "finite_again",
    "gone_back",
    "not_finite",
]

WORST_FIRST: tuple[Level, ...] = ("bad", "warning", "good")
COLLAPSE = frozenset(("diversity_falls", "saturated"))
"""Signs that, when they are bad, more training does not mend: the student has lost what it had learnt."""


@dataclass
class Seen:
    """What is known of a run: its newest metrics by name, and every preview that may be compared.

    scores: (step, figure by which the best is found, smaller being better). figures: name -> a value for each preview.
    readings: what is read every so often, (step, value) by name. teacher, guidance: what is read once.
    """

    recent: dict[str, deque[float]] = field(default_factory=dict)
    scores: list[tuple[int, float]] = field(default_factory=list)
    figures: dict[str, list[float]] = field(default_factory=dict)
    readings: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    teacher: TeacherReading | None = None
    guidance: GuidanceReading | None = None

    def add_step(self, metrics: Mapping[str, float]) -> None:
        """One step's metrics."""
        for name, value in metrics.items():
            self.recent.setdefault(name, deque(maxlen=RECENT)).append(value)

    def add_readings(self, step: int, readings: Mapping[str, float]) -> None:
        """What was read after a step."""
        for name, value in readings.items():
            self.readings.setdefault(name, []).append((step, value))

    def add_preview(self, step: int, score: float | None, figures: Mapping[str, float]) -> None:
        """One preview of the student as it will be used."""
        if score is not None:
            self.scores.append((step, score))
        for name, value in figures.items():
            self.figures.setdefault(name, []).append(value)


def findings(seen: Seen, step: int, teacher: Mapping[str, float] | None = None) -> list[Finding]:
    """Every sign that can be judged after `step`; "overall" comes last, where something could be and all is good.

    teacher: the figures of the teacher in full, where they are known. Of two ways to see a sign the worse counts.
    """
    stands = still(seen.recent)
    learns = all(finding.sign != "student_still" or finding.level == "good" for finding in stands)
    judged = [
        teacher_type(seen.teacher),
        teacher_schedule(seen.teacher),
        guidance_off(seen.guidance),
        *stands,
        fake_score_off(seen.recent, seen.readings, step),
        fake_score_lags(seen.recent, step, beside_teacher(seen.readings)),
        discriminator_saturated(seen.recent, step),
        discriminator_dead(seen.recent),
        diversity_falls(seen.figures, teacher or {}),
        # Samples of a student that does not learn are as alike as they were.
        spread_falls(seen.readings, step) if learns else None,
        saturated(seen.readings, step),
        past_its_peak(seen.scores),
    ]
    found = _worst_of_each([finding for finding in judged if finding is not None])
    if found and step > SETTLED and all(finding.level == "good" for finding in found):
        words = "Nothing points to trouble; the run can be left alone."
        found.append(Finding("overall", "good", words, " ".join(finding.reading for finding in found)))
    return found


def _worst_of_each(found: Sequence[Finding]) -> list[Finding]:
    """One finding for each sign, in the order of the signs."""
    worst: dict[str, Finding] = {}
    for finding in found:
        before = worst.get(finding.sign)
        if before is None or WORST_FIRST.index(finding.level) < WORST_FIRST.index(before.level):
            worst[finding.sign] = finding
    return list(worst.values())


def changes(before: dict[str, Level], found: Sequence[Finding]) -> list[Finding]:
    """The findings that are news, and `before` (sign -> level) brought up to date.

    A sign that was never anything but good is no news, except the overall one.
    """
    news = [f for f in found if f.level != before.get(f.sign, "good" if f.sign != "overall" else None)]
    if any(f.level != "good" for f in found):
        before.pop("overall", None)  # so that it is said again once all is good
    before.update({f.sign: f.level for f in found})
    return news


def not_finite(error: str, saved_step: int) -> Finding:
    """A loss was infinite or not a number, and the run has ended by it. saved_step: of the last checkpoint, or -1."""
    return Finding("not_finite", "bad", f"The run broke down: {error} {after_break_down(saved_step)}", error)


def after_break_down(saved_step: int) -> str:
    """What to do then."""
    if saved_step < 0:
        return "There is no checkpoint yet; lower the learning rate and start again."
    return f"The last good checkpoint is at step {saved_step}; go back to it with a lower learning_rate_factor."


def gone_back(sign: str, step: int) -> Finding:
    """What an earlier attempt saw at a step that this one has not come to yet."""
    words = f"The run went back to step {step}, before this was seen."
    return Finding(sign, "good", words, f"Nothing was read since step {step} yet.")


def finite_again(step: int) -> Finding:
    """An earlier attempt broke down, and this one has come to a preview."""
    return Finding("not_finite", "good", "Losses are finite again.", f"No loss up to step {step} was otherwise.")
