"""What plots of curves are called, say, and have along their axis. No widgets; `tr` is how a caller translates."""

from __future__ import annotations

from collections.abc import Mapping

from app.models import curve_view, ticks
from app.models.band import Bands, place_of
from app.models.curve_data import Answer, RunCurves
from app.models.curve_view import Axis, Group, Span, group_of
from app.models.run_words import Words
from app.translations import curve_words


def axes(tr: Words) -> list[tuple[Axis, str]]:
    """What curves can be drawn over."""
    return [
        ("step", tr("steps")),
        ("images", tr("images")),
        ("wall", tr("time")),
        ("nfe", tr("network evaluations")),
    ]


def title(group: Group, tr: Words) -> str:
    """The name of a plot."""
    return {
        "losses": tr("Losses"),
        "readings": tr("Readings of health"),
        "scores": tr("Preview score"),
        "gradients": tr("Gradient norms"),
        "memory": tr("Memory"),
        "machine": tr("Machine"),
        "other": tr("Other figures"),
    }[group]


def x_ticks(axis: Axis, span: Span, wanted: int, tr: Words) -> tuple[list[ticks.Tick], str]:
    """About as many marks as wanted along the x axis, and what the axis is called in their unit."""
    if axis != "wall":
        titles = {"step": tr("Steps"), "images": tr("Images"), "nfe": tr("Network evaluations")}
        return ticks.counts(span.low, span.high, wanted), titles[axis]
    for size, called in ((3600.0, tr("Hours of training")), (60.0, tr("Minutes of training"))):
        if span.high >= 3 * size:
            marks = ticks.linear(span.low / size, span.high / size, wanted)
            return [ticks.Tick(mark.at * size, mark.words) for mark in marks], called
    return ticks.linear(span.low, span.high, wanted), tr("Seconds of training")


def band_words(bands: Bands, tr: Words) -> str:
    """Whose band is shaded behind a plot's lines."""
    if bands.reference.run is None:
        return tr("band: 90 % of a sound run of this preset")
    return tr("band: 90 % of run {0} '{1}'").format(bands.reference.run, bands.name)


def in_words(group: Group, answer: Answer, facts: Mapping[int, RunCurves], bands: Bands | None, tr: Words) -> str:
    """The curves of a plot for those who cannot see them. facts: by run, of a fuller answer, where there is one."""
    places = {"inside": tr("Within the band."), "above": tr("Above the band."), "below": tr("Below the band.")}
    trends = {
        "rising": tr("rising"),
        "falling": tr("falling"),
        "level": tr("level"),
        "unknown": tr("too few values for a trend"),
    }
    parts = []
    for run in answer.runs:
        known = facts.get(run.run, run).facts
        for name, columns in run.lines.items():
            if group_of(name) == group and name in known:
                fact = known[name]
                parts.append(
                    tr("{0} of {1}: {2} at step {3}, lowest {4}, {5}.").format(
                        curve_words(name),
                        run.name,
                        ticks.figure(fact.last[1]),
                        f"{fact.last[0]:,}",
                        ticks.figure(fact.low),
                        trends[curve_view.trend(columns)],
                    )
                )
                band = bands.bands.get(name) if bands is not None else None
                place = place_of(band, *fact.last) if band is not None else None
                if place is not None:
                    parts.append(places[place])
    if bands is not None and any(group_of(name) == group for name in bands.bands):
        parts.append(tr("Shaded is the {0}.").format(band_words(bands, tr)))
    return " ".join(parts)
