"""Signs in the scored previews: variety that is lost, and quality that is past its peak."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from backend.health.finding import Finding, mean, ratio

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


def diversity_falls(figures: Mapping[str, Sequence[float]], teacher: Mapping[str, float]) -> Finding | None:
    """Whether the student's samples become alike, or stay more alike than the teacher's; None without such figures."""
    parts = {
        name: (mean(figures[name][-2:]), max(map(mean, pairwise(figures[name]))))
        for name in VARIETY
        if len(figures.get(name, ())) >= 3
    }
    parts = {name: (now, best) for name, (now, best) in parts.items() if best >= LEAST_VARIETY or name == "class_std"}
    ratios = {name: ratio(best, now) for name, (now, best) in parts.items()}
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
    share = mean(spread[-2:]) / teacher["class_std"] if spread and teacher.get("class_std") else 1.0
    if share < TEACHERS_SHARE and mean(spread[-2:]) <= 1.05 * mean(spread[-4:-2]) and len(spread) >= 5:
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
    times = ratio(best, least)
    if times < WORSE:
        return Finding("past_its_peak", "good", "Quality is at its best, or near it.", reading)
    words = (
        f"Quality is past its peak: the last {WORSE_FOR} previews are worse than step {step}. Stop and export the best "
        "checkpoint, which is kept; a lower learning rate may reach further."
    )
    return Finding("past_its_peak", "bad" if times >= MUCH_WORSE else "warning", words, reading)
