"""A project with a run in every state, and a way to every view of the window, for tests that look at them all."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

from PySide6.QtWidgets import QApplication, QWidget
from pytestqt.qtbot import QtBot

from app.forms import SettingsForm
from app.main_window import MainWindow
from app.models.comparison import Pick, Wanted, place_of
from app.screens import Screen
from app.screens.compare import CompareScreen
from app.screens.run import RunScreen
from app.screens.runs import RunsScreen
from app.widgets.density import PointLayers
from app.widgets.sample_grid import SampleGrid
from app.wizard.wizard import Wizard
from backend.contract import liveness
from backend.contract.project_file import ProjectFile
from backend.contract.recipe import Recipe
from backend.contract.rows import VIEWS

from .conftest import RECIPE, fill, picture_bytes
from .parts import write_pictures, write_points

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
        _other_states(project, found)
        place, plane = (place_of(project, Wanted((Pick(run),), 7, 50)).folder for run in (1, 2))
    write_pictures(place)
    write_points(plane)
    return found


def _other_states(project: ProjectFile, found: dict[str, int]) -> None:
    """Runs in the states that pass, and one of which everything is known that a run can have."""
    for state in ("starting", "paused", "stopping", "stopped", "watched"):
        found[state] = run = project.add_run(Recipe.from_values(RECIPE), name=f"a run that tries {state}")
        if state == "starting":
            project.begin_attempt(run)
            continue
        attempt = fill(project, run, steps=60, previews=2, finished=state == "watched")
        if state == "paused":
            project.acknowledge(project.issue(run, "pause"))
        elif state == "stopping":
            project.issue(run, "stop")
        elif state == "stopped":
            project.end_attempt(attempt, "stopped")
    run = found["watched"]
    for position, t in enumerate((0.2, 0.5, 0.8)):
        for kind in VIEWS:
            project.add_sample(
                run, step=60, kind=kind, position=position, image=picture_bytes(position, 32), sampler={"t": t}
            )
    for sign, level, sentence, reading in SIGNS:
        project.add_event(run, "health", sentence, step=50, data={"sign": sign, "level": level, "reading": reading})
    how = {"measured_in": "digits", "count": 1000, "seed": 1}
    for one, frechet, seconds in ((1, 0.5, 0.001), (2, 0.7, 0.0008), (run, 2.1, 0.0005)):
        figures = {"frechet": frechet, "precision": 0.8, "recall": 0.6, "seconds_per_image": seconds}
        project.add_evaluation(one, 400, how | {"nfe": 1, "of": "student"}, figures)
        teacher = {"frechet": 0.2, "precision": 0.9, "recall": 0.9, "seconds_per_image": 0.05}
        project.add_evaluation(one, 400, how | {"nfe": 50, "of": "teacher"}, teacher)


def in_sight(window: MainWindow) -> QWidget:
    """What a person looks at: the dialog that is open, or the window."""
    return QApplication.activeModalWidget() or window


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


def _close_dialog(qtbot: QtBot, window: MainWindow) -> None:
    in_sight(window).close()
    window.activateWindow()
    qtbot.waitUntil(window.isActiveWindow)


SIGNS = (
    (
        "diversity_falls",
        "bad",
        "The student loses variety: samples of one condition become alike. Go back to an earlier checkpoint, lower the "
        "student's learning rate, or use less guidance.",
        "Two of the student's samples of one condition are 41 % as far apart as the teacher's.",
    ),
    (
        "fake_score_lags",
        "warning",
        "The fake score network lags behind the student. Raise fake_score_updates or its learning rate.",
        "Over the last 100 steps the fake score network's loss went from 0.2 to 0.31.",
    ),
)
"""Of a run that is not well: sign, level, what it means, and what was read."""


def empty_views(qtbot: QtBot, window: MainWindow) -> Iterator[str]:
    """The same for a project without runs."""
    for key in ("run", "compare", "runs", "export"):
        window.show_screen(key)
        qtbot.waitUntil(lambda: window.is_settled and isinstance(window.screen_shown(), Screen))
        yield f"empty, {key}"


def waiting_views(qtbot: QtBot, window: MainWindow) -> Iterator[str]:
    """The wizard of a window whose backend has not said yet what it offers, and then that it cannot."""
    window.show_screen("wizard")
    qtbot.waitUntil(lambda: isinstance(window.screen_shown(), Wizard))
    yield "wizard, before anything is known"
    assert window.session is not None
    window.session.backend.catalogue_failed.emit(REASON)
    yield "wizard, when nothing can be known"


def views(qtbot: QtBot, window: MainWindow, ids: dict[str, int]) -> Iterator[str]:
    """Brings the window to one view after the other, and says which it is."""
    yield from _views_of_the_wizard(qtbot, window)
    yield from _views_of_runs(qtbot, window, ids)
    yield from _views_of_dialogs(qtbot, window)
    yield from _views_of_the_project(qtbot, window)


def _show(qtbot: QtBot, window: MainWindow, key: str, item: object, kind: type[Any]) -> Any:
    window.show_screen(key, item)
    qtbot.waitUntil(lambda: window.is_settled and isinstance(window.screen_shown(), kind))
    return window.screen_shown()


def _views_of_the_wizard(qtbot: QtBot, window: MainWindow) -> Iterator[str]:
    wizard = _show(qtbot, window, "wizard", None, Wizard)
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


def _views_of_runs(qtbot: QtBot, window: MainWindow, ids: dict[str, int]) -> Iterator[str]:
    for state, run in ids.items():
        screen = _show(qtbot, window, "run", run, RunScreen)
        qtbot.waitUntil(lambda s=screen, r=run: s.header.runs.currentData() == r and s.header.state.text() != "")  # type: ignore[misc]
        tabs = [(t, n) for t in (screen.side, screen.below) for n in range(t.count())]
        for tab, number in tabs if state in ("finished", "pausing") else []:
            tab.setCurrentIndex(number)
            yield f"run, {state}, {tab.tabText(number)}"
        if state in ("failed", "lost"):
            screen.header.details.click()
        yield f"run, {state}"
        if state == "watched":
            for name, part in (("triptych", screen.triptych), ("health", screen.health)):
                screen.side.setCurrentWidget(part)
                yield f"run, {state}, {name}"
    screen.show_item(1)
    screen.curves.show_table(True)
    yield "run, the curves as a table"
    screen.curves.show_table(False)
    show_band(qtbot, screen)
    yield "run, with a band"
    choose_band(screen, "No band")


def show_band(qtbot: QtBot, screen: RunScreen) -> None:
    """Hold the run that is shown against run 2, as a person would."""
    qtbot.waitUntil(screen.band.isEnabled)
    choose_band(screen, "second")
    qtbot.waitUntil(lambda: any(pane.plot.bands for pane in screen.curves.plots.shown()))


def choose_band(screen: RunScreen, words: str) -> None:
    """As a person does in the menu; in a longer language its first entry stands for none."""
    screen.band.menu().aboutToShow.emit()
    entries = screen.band.menu().actions()
    next((entry for entry in entries if entry.text() == words), entries[0]).trigger()


def _views_of_dialogs(qtbot: QtBot, window: MainWindow) -> Iterator[str]:
    screen = _show(qtbot, window, "run", 1, RunScreen)
    screen.side.setCurrentIndex(0)
    grid = screen.side.currentWidget().findChild(SampleGrid)
    qtbot.waitUntil(lambda: grid.has_picture)
    grid.opened.emit(0)
    qtbot.waitUntil(lambda: in_sight(window) is not window)
    yield "a picture"
    _close_dialog(qtbot, window)
    window.menus.show_palette()
    yield "the commands"
    _close_dialog(qtbot, window)


def _views_of_the_project(qtbot: QtBot, window: MainWindow) -> Iterator[str]:
    runs = _show(qtbot, window, "runs", None, RunsScreen)
    qtbot.waitUntil(lambda: len(runs.model.rows) > MANY)
    runs.table.select([1, 2])
    for number in range(runs.tabs.count()):
        runs.tabs.setCurrentIndex(number)
        yield f"runs, {runs.tabs.tabText(number)}"

    compare = _show(qtbot, window, "compare", 1, CompareScreen)
    qtbot.waitUntil(lambda: compare.view.layers is not None)
    for mode in ("side", "wipe", "blink", "difference"):
        compare.view.set_mode(mode)
        yield f"compare, {mode}"
    compare.show_item(2)
    qtbot.waitUntil(lambda: isinstance(compare.view.layers, PointLayers))
    compare.view.set_mode("side")
    yield "compare, points"

    export = _show(qtbot, window, "export", 1, QWidget)
    qtbot.waitUntil(lambda: export.list.rowCount() == 2)
    for row in range(2):
        export.list.selectRow(row)
        yield f"export, the one of row {row}"
