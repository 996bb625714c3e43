"""All that somebody needs who is to find out why a run ended as it did, as text. Read in a thread of the project."""

from __future__ import annotations

import json
import time
from pathlib import Path

from backend.contract.project_file import ProjectFile
from backend.contract.rows import Attempt

LOG_BYTES = 16_384
"""Of the end of each log."""


def read(project: ProjectFile, run: int) -> str:
    """What the project knows of a run: state, versions and device, attempts with traceback and log, and the recipe."""
    found, state, attempts = project.run(run), project.run_state(run), project.attempts(run)
    events = project.events_after(run)
    machines = [event.text for event in events if "machine" in event.data]
    changes = [event.text for event in events if event.kind == "set"]
    parts = [
        f"Run: {found.name} (number {found.id})",
        f"State: {state.state}",
        f"Reason: {state.reason}",
        f"Step: {state.step or 0} of {project.training(run).steps}",
        machines[-1] if machines else "Its process ended before it said what it was trained with.",
        *changes,
    ]
    for attempt in attempts:
        is_newest = attempt is attempts[-1]
        parts += ["", _in_a_line(attempt, state.state if is_newest else attempt.outcome or "lost", state.reason)]
        if attempt.traceback:
            parts.append(attempt.traceback.rstrip())
        log = _end_of(project.files / attempt.log) if attempt.log and attempt.outcome != "finished" else ""
        if log:
            parts += [f"End of the log of attempt {attempt.number}:", log]
    return "\n".join([*parts, "", "Recipe:", json.dumps(found.recipe, indent=2, ensure_ascii=False)])


def _in_a_line(attempt: Attempt, outcome: str, reason: str) -> str:
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(attempt.launched))
    steps = f", steps {attempt.first_step} to {attempt.last_step}" if attempt.first_step is not None else ""
    why = attempt.reason or (reason if outcome == "lost" else "")
    return f"Attempt {attempt.number}, {at} UTC{steps}: {outcome}." + (f" {why}" if why else "")


def _end_of(log: Path) -> str:
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - LOG_BYTES))
            return file.read().decode("utf-8", "replace").strip()
    except OSError:
        return ""
