"""A project with a run in every state, and a way to every view of the window, for tests that look at them all."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

from PySide6.QtWidgets import QWidget
from pytestqt.qtbot import QtBot

from app.forms import SettingsForm
from app.main_window import MainWindow
from app.models.comparison import Pick, Wanted, place_of
from app.screens.compare import CompareScreen
from app.screens.run import RunScreen
from app.screens.runs import RunsScreen
from app.wizard.wizard import Wizard
from backend.contract import liveness
from backend.contract.project_file import ProjectFile
from backend.contract.recipe import Recipe

from .conftest import RECIPE, fill, picture_bytes
from .parts import write_pictures

LONG_NAME = (
    "a run that tries what becomes of the student " + "when-the-learning-rate-is-halved-every-thousand-steps-" * 3
)
LONG_NAME = LONG_NAME[:120]
LONG_TEACHER = ("/data/models/" + "a-teacher-with-a-name-that-somebody-thought-would-say-everything-about-it/" * 3)[
    :120
]
REASON = (
    "The worker ended at step 312: the loss of the student was not finite for three steps in a row, and the last good "
    "checkpoint is that of step 300; lower the learning rate, or resume from there with a smaller batch."
)
MANY = 20


def every_state(path: Path) -> dict[str, int]:
    """Give a project of two finished runs more of them; the ids by what they show."""
    with ProjectFile.open(path) as project:
        project.rename_run(1, LONG_NAME)
        project.set_tags(1, ("baseline", "to show to everybody on Thursday", "x"))
        project.set_notes(1, "What was tried.\n" * 30)
        _export(project, path)
        found = {"finished": 1}
        for name in ("queued", "pausing", "failed", "lost"):
            recipe = {**RECIPE, "teacher": LONG_TEACHER} if name == "queued" else RECIPE
            found[name] = project.add_run(Recipe.from_values(recipe), name=f"{name} {LONG_NAME}"[:120])
        project.enqueue(found["queued"])
        fill(project, found["pausing"], steps=60, previews=2, finished=False)
        project.issue(found["pausing"], "pause")
        attempt = fill(project, found["failed"], steps=60, previews=2, finished=False)
        project.add_event(found["failed"], "error", "Traceback (most recent call last):\n" + "  a line\n" * 40)
        project.end_attempt(attempt, "failed", REASON, "Traceback (most recent call last):\n" + "  a line\n" * 40)
        gone = replace(liveness.this_process(), pid=2**22 - 1)
        with mock.patch.object(liveness, "this_process", return_value=gone):
            fill(project, found["lost"], steps=60, previews=2, finished=False)
        for number in range(MANY):
            project.add_run(Recipe.from_values(RECIPE), name=f"{number} of many")
        place = place_of(project, Wanted((Pick(1),), 7, 50)).folder
    write_pictures(place)
    return found


def _export(project: ProjectFile, path: Path) -> None:
    out = path.parent / LONG_NAME
    out.mkdir()
    (out / "README.md").write_text(
        "# student\n```python\n" + "print('a line of code that is rather long') # " * 3 + "\n```\n"
    )
    folder = project.files / "exports" / "first"
    folder.mkdir(parents=True)
    for name in ("preview.png", "plain.png"):
        (folder / name).write_bytes(picture_bytes(1, 64))
    sheets = {"expected": "exports/first/preview.png", "made": "exports/first/plain.png"}
    kept = {"max_abs_difference": 0.3, "tolerance": 1e-5, "sheets": sheets, "step": 400}
    project.add_export(1, "diffusers", str(out), "abc", kept)
    project.add_export(1, "safetensors", str(path.parent / "gone.safetensors"), "abc", {})


def views(qtbot: QtBot, window: MainWindow, ids: dict[str, int]) -> Iterator[str]:
    """Brings the window to one view after the other, and says which it is."""

    def show(key: str, item: object, kind: type[Any]) -> Any:
        window.show_screen(key, item)
        qtbot.waitUntil(lambda: window.is_settled and isinstance(window.screen_shown(), kind))
        return window.screen_shown()

    wizard = show("wizard", None, Wizard)
    qtbot.waitUntil(lambda: wizard.state is not None)
    for key in wizard.pages:
        wizard.go_to(key)
        for form in wizard.findChildren(SettingsForm):
            form.more.setChecked(True)
        yield f"wizard, {key}"
    wizard.draft.edit({"teacher": LONG_TEACHER, "name": LONG_NAME, "training.steps": 0}, "what is wrong")
    wizard.lookup._refusals[LONG_TEACHER] = (
        f"{LONG_TEACHER} is no model; choose a folder that holds unet/ and scheduler/."
    )
    wizard.lookup.changed.emit()
    for key in ("teacher", "training", "review"):
        wizard.go_to(key)
        yield f"wizard, {key} with what is wrong"

    for state, run in ids.items():
        screen = show("run", run, RunScreen)
        qtbot.waitUntil(lambda s=screen, r=run: s.header.runs.currentData() == r and s.header.state.text() != "")  # type: ignore[misc]
        tabs = [(t, n) for t in (screen.side, screen.below) for n in range(t.count())]
        for tab, number in tabs if state in ("finished", "pausing") else []:
            tab.setCurrentIndex(number)
            yield f"run, {state}, {tab.tabText(number)}"
        if state in ("failed", "lost"):
            screen.header.details.click()
        yield f"run, {state}"
    screen.show_item(1)
    screen.curves.show_table(True)
    yield "run, the curves as a table"
    screen.curves.show_table(False)

    runs = show("runs", None, RunsScreen)
    qtbot.waitUntil(lambda: len(runs.model.rows) > MANY)
    runs.table.select([1, 2])
    for number in range(runs.tabs.count()):
        runs.tabs.setCurrentIndex(number)
        yield f"runs, {runs.tabs.tabText(number)}"

    compare = show("compare", 1, CompareScreen)
    qtbot.waitUntil(lambda: compare.view.layers is not None)
    for mode in ("side", "wipe", "blink", "difference"):
        compare.view.set_mode(mode)
        yield f"compare, {mode}"

    export = show("export", 1, QWidget)
    qtbot.waitUntil(lambda: export.list.rowCount() == 2)
    for row in range(2):
        export.list.selectRow(row)
        yield f"export, the one of row {row}"
