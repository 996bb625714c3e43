"""What was chosen on each page of the wizard, in a few words for the list of pages. No widgets."""

from __future__ import annotations

from pathlib import Path

from app.models.run_words import Words
from app.translations import said
from app.wizard import choices
from app.wizard.page import State


def step_words(state: State, tr: Words) -> dict[str, str]:
    """By the pages' keys. `tr` is how a caller translates."""
    values, training = state.values, state.values["training"]
    method = state.method
    needs_data = method is not None and "real data" in method.needs_with(values["settings"])
    pictures = Path(values["data"]).name if values["data"] is not None else tr("the teacher's own")
    prompts = Path(values.get("prompts") or "").name
    data = ", ".join(words for words in (pictures if needs_data else "", prompts) if words)
    return {
        "teacher": said(state.teacher.title) if state.teacher else Path(str(values["teacher"])).name,
        "data": data or tr("none needed"),
        "method": said(method.title) if method else str(values["method"]),
        "student": values["student"].get("start") or tr("from the teacher"),
        "training": tr("{0} steps of {1}").format(
            *(choices.TRAINING_FIELDS[name].show(training[name]) for name in ("steps", "batch_size"))
        ),
        "compute": said(str(training["device"])),
        "review": tr("cost and start"),
    }
