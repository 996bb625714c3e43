"""What a person may ask of the selected runs, as actions: to show, tag, steer and queue them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtWidgets import QInputDialog, QWidget

from app.screens import Overlaid
from app.session import Session
from app.widgets.icon_button import action
from backend.contract import launch
from backend.contract.project_file import ProjectFile
from backend.contract.rows import RunRow


class RunsCommands(QObject):
    """selected: the runs that are asked, as they stand when an action is triggered. window: what dialogs belong to.

    leads_to, says: as of a screen.
    """

    leads_to = Signal(str, object)
    says = Signal(str)

    def __init__(self, session: Session, selected: Callable[[], list[RunRow]], window: QWidget) -> None:
        super().__init__(window)
        self._session, self._selected, self._window = session, selected, window
        tr = self.tr
        self.open = action(
            tr("Open"),
            lambda: self._with_one(lambda run: self.leads_to.emit("run", run.id)),
            in_full=tr("Open the selected run"),
        )
        self.edit_tags = action(tr("Tags..."), self._ask_tags, "Ctrl+T", tr("Set the tags of the selected runs"))
        self.duplicate = action(
            tr("Duplicate"), lambda: self._with_one(self._duplicate), "Ctrl+D", tr("Duplicate the selected run")
        )
        self.duplicate.setToolTip(tr("A new recipe that begins as this run's"))
        self.compare = action(tr("Compare"), self._compare, "Ctrl+Shift+C", tr("Compare the selected runs"))
        self.overlay = action(
            tr("Overlay curves"), self._overlay, "Ctrl+Shift+O", tr("Overlay the curves of the selected runs")
        )
        self.export = action(
            tr("Export..."),
            lambda: self._with_one(lambda run: self.leads_to.emit("export", run.id)),
            "Ctrl+E",
            tr("Export the student of the selected run"),
        )
        self.pause = action(tr("Pause"), lambda: self._ask_runs(launch.pause), "Ctrl+P", tr("Pause the selected runs"))
        self.resume = action(
            tr("Resume"), lambda: self._ask_runs(launch.resume), "Ctrl+R", tr("Resume the selected runs")
        )
        self.stop = action(tr("Stop"), lambda: self._ask_runs(launch.stop), "Ctrl+.", tr("Stop the selected runs"))
        self.enqueue = action(tr("Add to queue"), self._enqueue, "Ctrl+Shift+Q")
        self.up = action(tr("Earlier in the queue"), lambda: self._move(-1), "Ctrl+Shift+Up")
        self.down = action(tr("Later in the queue"), lambda: self._move(1), "Ctrl+Shift+Down")
        self.dequeue = action(tr("Take out of the queue"), self._dequeue)

    def show(self, chosen: Sequence[RunRow]) -> None:
        """These are selected now: what they are doing decides what can be asked."""
        one, some = len(chosen) == 1, bool(chosen)
        states = {row.state.state for row in chosen}
        live = any(row.state.is_live for row in chosen)
        queued = one and chosen[0].queue_position is not None
        may_wait = some and not live and states <= {"queued", "stopped", "failed", "lost"}
        for of, can in (
            *((of, one) for of in (self.open, self.duplicate, self.export)),
            *((of, some) for of in (self.edit_tags, self.compare, self.overlay)),
            (self.pause, "running" in states),
            (self.resume, bool(states & {"paused", "stopped", "failed", "lost", "queued"})),
            (self.stop, bool(states & {"starting", "running", "paused"})),
            (self.enqueue, may_wait and any(row.queue_position is None for row in chosen)),
            *((of, queued) for of in (self.up, self.down)),
            (self.dequeue, any(row.queue_position is not None for row in chosen)),
        ):
            of.setEnabled(can)

    def _with_one(self, deed: Callable[[RunRow], object]) -> None:
        chosen = self._selected()
        if len(chosen) == 1:
            deed(chosen[0])

    def _write(self, deed: Callable[[ProjectFile], Any]) -> None:
        self._session.project.write(deed, failed=self.says.emit)

    def rename(self, run: int, name: str) -> None:
        """Give a run the name that was typed."""
        if not name or name.isdecimal():
            self.says.emit(
                self.tr("A run cannot be named '{0}', because a number alone means a run; add a word.").format(name)
            )
            return
        self._write(lambda project: project.rename_run(run, name))

    def _ask_tags(self) -> None:
        chosen = self._selected()
        if not chosen:
            return
        common = [tag for tag in chosen[0].tags if all(tag in row.tags for row in chosen)]
        dialog = QInputDialog(self._window)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.setWindowTitle(self.tr("Tags"))
        whose = chosen[0].name if len(chosen) == 1 else self.tr("{0} runs").format(len(chosen))
        dialog.setLabelText(self.tr("Tags of {0}, with commas between them:").format(whose))
        dialog.setTextValue(", ".join(common))
        dialog.setOkButtonText(self.tr("Set tags"))
        dialog.textValueSelected.connect(lambda text: self._set_tags(chosen, common, text))
        dialog.open()

    def _set_tags(self, chosen: list[RunRow], common: list[str], text: str) -> None:
        """Tags that all had and that were struck out go; those that only some have stay."""
        typed = list(dict.fromkeys(tag.strip() for tag in text.split(",") if tag.strip()))
        wanted = {row.id: [*(t for t in row.tags if t not in common and t not in typed), *typed] for row in chosen}

        def write(project: ProjectFile) -> None:
            with project.transaction():
                for run, tags in wanted.items():
                    project.set_tags(run, tags)

        self._write(write)

    def _duplicate(self, row: RunRow) -> None:
        run = row.id
        self._session.project.ask(lambda project: project.run(run).recipe, self._show_recipe)

    def _show_recipe(self, recipe: dict[str, Any]) -> None:
        self.leads_to.emit("wizard", recipe)

    def _compare(self) -> None:
        runs = [row.id for row in self._selected()]
        self.leads_to.emit("compare", runs[0] if len(runs) == 1 else runs)

    def _overlay(self) -> None:
        runs = [row.id for row in self._selected()]
        if runs:
            self.leads_to.emit("run", Overlaid(runs[0], tuple(runs[1:])))

    def _ask_runs(self, verb: Callable[..., int]) -> None:
        """Ask each selected run; those that cannot do it say why."""
        runs = [row.id for row in self._selected()]
        for run in runs:
            self._write(lambda project, run=run: verb(project.path, run))  # type: ignore[misc]

    def _enqueue(self) -> None:
        runs = [row.id for row in reversed(self._selected()) if row.queue_position is None]
        for run in runs:  # the first is started at once where nothing else runs
            self._write(lambda project, run=run: launch.enqueue(project.path, run))  # type: ignore[misc]

    def _move(self, by: int) -> None:
        self._with_one(lambda row: self._write(lambda project: _move(project, row.id, by)))

    def _dequeue(self) -> None:
        runs = [row.id for row in self._selected() if row.queue_position is not None]

        def write(project: ProjectFile) -> None:
            with project.transaction():
                for run in runs:
                    project.set_queue_position(run, None)

        self._write(write)


def _move(project: ProjectFile, run: int, by: int) -> None:
    """Change places with the neighbour in the queue. by: 1 for later, -1 for earlier."""
    with project.transaction():
        queue = sorted(
            (row for row in project.run_rows([]) if row.queue_position is not None),
            key=lambda row: (row.queue_position, row.id),
        )
        order = [row.id for row in queue]
        if run not in order:
            return
        place = order.index(run)
        order.insert(max(0, min(len(order) - 1, place + by)), order.pop(place))
        for number, each in enumerate(order, 1):
            project.set_queue_position(each, number)
