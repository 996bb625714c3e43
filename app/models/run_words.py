"""What a run's rows mean, in words for a person. No widgets; `tr` is how a caller translates.

A figure is left out rather than guessed: no time is promised before the pace is known.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from app.translations import said
from backend.contract.metrics import Pace
from backend.contract.rows import Attempt, Command, LogEvent, RunState

Words = Callable[[str], str]

PATIENCE_SECONDS = 60.0
"""How long a stop may stay unanswered before ending the process is offered."""
STEADY_SECONDS = 5.0
"""Of training in an attempt, before its pace says anything about its end."""
TONES = {
    "queued": "muted",
    "starting": "accent",
    "running": "good",
    "paused": "warning",
    "stopping": "warning",
    "stopped": "muted",
    "finished": "good",
    "failed": "bad",
    "lost": "bad",
}
LEVELS = ("bad", "warning", "notice")
"""Of health, worst first; what is called otherwise and is not "good" comes after."""


def state_in_words(state: str, tr: Words) -> str:
    """The name of a state for a person."""
    return {
        "queued": tr("Queued"),
        "starting": tr("Starting"),
        "running": tr("Running"),
        "paused": tr("Paused"),
        "stopping": tr("Stopping"),
        "stopped": tr("Stopped"),
        "finished": tr("Finished"),
        "failed": tr("Failed"),
        "lost": tr("Lost"),
    }[state]


def steps_done(step: int | None, steps: int) -> tuple[str, str]:
    """How many steps are done, and of how many, as they are written everywhere."""
    return f"{min(step or 0, steps):,}", f"{steps:,}"


def duration(seconds: float, tr: Words) -> str:
    """As coarse as a person would say it."""
    whole = max(0, round(seconds))
    if whole < 60:
        return tr("{0} s").format(whole)
    minutes, seconds_left = divmod(whole, 60)
    if minutes < 10:
        return tr("{0} min {1} s").format(minutes, seconds_left)
    hours, minutes_left = divmod(minutes, 60)
    if hours < 1:
        return tr("{0} min").format(minutes)
    if hours < 48:
        return tr("{0} h {1} min").format(hours, minutes_left)
    return tr("{0} days {1} h").format(*divmod(hours, 24))


def figure(value: float) -> str:
    """Three digits, however large or small."""
    if not math.isfinite(value):
        return "not finite"
    if value and not 1e-3 <= abs(value) < 1e5:
        return f"{value:.2e}"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


@dataclass(frozen=True)
class Vital:
    """One figure of a run: its name, its value in words, and more of it where there is more."""

    name: str
    value: str
    more: str = ""


def vitals(
    state: RunState,
    steps: int,
    pace: Pace,
    latest: Mapping[str, tuple[int, float]],
    attempts: Sequence[Attempt],
    now: float,
    tr: Words,
) -> list[Vital]:
    """The figures that are known now. steps: how many the recipe asks for. now: Unix time."""
    found: list[Vital] = []
    newest = attempts[-1] if attempts else None
    if newest is not None:
        until = newest.ended or (now if state.is_live else newest.heartbeat or newest.launched)
        found.append(Vital(tr("Elapsed"), duration(until - newest.launched, tr), tr("Of the newest attempt")))
    running = state.state in ("running", "stopping")
    if pace.steps_per_second and running:
        found.append(
            Vital(tr("Pace"), tr("{0} steps/s").format(figure(pace.steps_per_second)), tr("Over the last half minute"))
        )
    if state.state == "running":
        left = time_left(state.step, steps, pace)
        found.append(Vital(tr("Time left"), tr("settling...") if left is None else duration(left, tr)))
    for name, words, unit in (
        ("memory_mib", tr("Memory"), "MiB"),
        ("gpu_memory_mib", tr("GPU memory"), "MiB"),
        ("gpu_utilisation", tr("GPU load"), "%"),
        ("gpu_temperature", tr("GPU"), "°C"),
    ):
        if name in latest and math.isfinite(latest[name][1]):
            found.append(Vital(words, f"{latest[name][1]:,.0f} {unit}"))
    if newest is not None and newest.number > 1:
        found.append(Vital(tr("Attempt"), str(newest.number), tr("How often its process was started")))
    return found


def time_left(step: int | None, steps: int, pace: Pace) -> float | None:
    """Seconds until the last step; None until the pace is steady."""
    if step is None or pace.steps_per_second <= 0 or pace.seconds < STEADY_SECONDS:
        return None
    return max(0, steps - step) / pace.steps_per_second


def verb_in_words(verb: str, tr: Words) -> str:
    """What was asked, as a person would name it."""
    return {
        "stop": tr("Stop"),
        "pause": tr("Pause"),
        "resume": tr("Resume"),
        "sample": tr("Sample now"),
        "save": tr("Save now"),
        "set": tr("Change"),
    }.get(verb, verb)


def command_in_words(command: Command, now: float, tr: Words) -> str:
    """How far a request has come: asked, acknowledged, done."""
    verb = verb_in_words(command.verb, tr)
    if command.finished is not None:
        result = said(command.result or "")
        return (
            tr("{0}: done.").format(verb)
            if (command.result or "Done.") == "Done."
            else tr("{0}: {1}").format(verb, result)
        )
    if command.acknowledged is not None:
        if command.verb == "pause":  # it stays open for as long as the run rests
            return tr("{0}: acknowledged.").format(verb)
        return tr("{0}: acknowledged, under way.").format(verb)
    waited = now - command.issued
    if waited >= 2:
        return tr("{0}: asked {1} ago, not acknowledged yet; the run answers after its step.").format(
            verb, duration(waited, tr)
        )
    return tr("{0}: asked.").format(verb)


def ignored_stop(commands: Sequence[Command], now: float) -> Command | None:
    """A stop that was asked for long ago and that nothing came of."""
    for command in commands:
        if command.verb == "stop" and command.finished is None and now - command.issued >= PATIENCE_SECONDS:
            return command
    return None


def way_back(events: Sequence[LogEvent], attempt: Attempt | None) -> int | None:
    """The step to which the run can go back, where its newest attempt broke down and said so."""
    said_of_it = [event.data["go_back"] for event in events if "go_back" in event.data and _is_of(event, attempt)]
    return said_of_it[-1] if said_of_it else None


def _is_of(event: LogEvent, attempt: Attempt | None) -> bool:
    return attempt is not None and event.attempt == attempt.id


def settings_in_force(training: Mapping[str, object], events: Sequence[LogEvent]) -> dict[str, object]:
    """The settings of training with what was changed while the run went on."""
    found = dict(training)
    for event in events:
        if event.kind == "set":
            found.update(event.data)
    return found


def signs(events: Sequence[LogEvent]) -> list[LogEvent]:
    """The newest word on each sign of health that is not good, worst first."""
    newest: dict[str, LogEvent] = {}
    for event in events:
        if event.kind == "health":
            newest[str(event.data.get("sign", event.text))] = event
    bad = [event for event in newest.values() if event.data.get("level", "warning") != "good"]
    return sorted(bad, key=lambda event: (_rank(event), -(event.step or 0)))


def overall(events: Sequence[LogEvent]) -> LogEvent | None:
    """The newest word that all is well, if it is well."""
    found = [event for event in events if event.kind == "health" and event.data.get("sign") == "overall"]
    return found[-1] if found and not signs(events) else None


def _rank(event: LogEvent) -> int:
    level = str(event.data.get("level", "warning"))
    return LEVELS.index(level) if level in LEVELS else len(LEVELS)


def reading(event: LogEvent) -> str:
    """What was measured, as "name value" parts."""
    found = event.data.get("reading")
    if isinstance(found, Mapping):
        return ", ".join(f"{said(str(name).replace('_', ' '))} {_short(value)}" for name, value in found.items())
    return "" if found is None else said(_short(found))


def _short(value: object) -> str:
    return figure(float(value)) if isinstance(value, int | float) and not isinstance(value, bool) else str(value)
