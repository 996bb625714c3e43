"""Teacher and students from the same noise: side by side, wiped, blinked, subtracted.

The command line draws; what it drew is kept beside the project, so that a comparison seen before is there at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from PySide6.QtCore import QEvent, Qt, QTimer, Slot
from PySide6.QtGui import QAction, QImage, QShowEvent
from PySide6.QtWidgets import (
    QApplication,
    QFileDialog,
    QHBoxLayout,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from app import look
from app.backend_process import Job
from app.models.comparison import (
    Comparison,
    Mode,
    Pick,
    Place,
    RunChoice,
    Wanted,
    choices,
    forget_old,
    place_of,
    read,
    seconds_words,
    speed_words,
)
from app.screens import Screen
from app.session import Session
from app.translations import said
from app.widgets.comparison_bar import ComparisonBar
from app.widgets.comparison_view import ComparisonView
from app.widgets.condition_line import ConditionLine
from app.widgets.density import PointLayers
from app.widgets.empty_page import EmptyPage
from app.widgets.picture_layers import PictureLayers, open_pictures
from app.widgets.side_bar import SideBar
from app.widgets.zoom_bar import ZoomBar
from backend.contract.project_file import ProjectFile

SIDE_WIDTH = 64 * look.SPACE
KEPT_IN_MEMORY = 3
REFRESH_MILLISECONDS = 1500
_PROGRESS = re.compile(r"(\d+) of (\d+): (.+)")
AnyLayers = PictureLayers | PointLayers
Found = tuple[Wanted, Place, AnyLayers | None]


def load(folder: Path) -> AnyLayers | None:
    """What can be painted of the comparison in a folder; None where there is none. For the reading thread."""
    found = read(folder)
    if found is None:
        return None
    return PointLayers(found) if found.kind == "points" else PictureLayers(found)


class CompareScreen(Screen):
    """Choose sides on the left, look at them on the right."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(session, parent)
        self._runs: list[RunChoice] | None = None
        self._shown_first: tuple[int, ...] = ()
        self._awaited: int | None = None
        self._job: Job | None = None
        self._place: Place | None = None
        self._next: Wanted | None = None
        self._kept: dict[Path, AnyLayers] = {}
        self._refreshing = QTimer(self)
        self._refreshing.setSingleShot(True)
        self._refreshing.setInterval(REFRESH_MILLISECONDS)
        self._refreshing.timeout.connect(self._ask_runs)

    def build(self) -> Iterator[None]:
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        self._whole = QWidget(self)
        outer.addWidget(self._whole)
        row = QHBoxLayout(self._whole)
        row.setContentsMargins(look.WIDE, look.MARGIN, look.WIDE, look.MARGIN)
        row.setSpacing(look.MARGIN)
        self._side = QWidget(self._whole)
        self._side.setFixedWidth(SIDE_WIDTH + 12)
        row.addWidget(self._side)
        self.stack = QStackedWidget(self._whole)
        row.addWidget(self.stack, 1)
        yield
        column = QVBoxLayout(self._side)
        column.setContentsMargins(0, 0, look.GAP, 0)
        self.side_bar = SideBar(self._side)
        self.side_bar.wanted.connect(self.draw)
        self.side_bar.cancelled.connect(self._cancel)
        column.addWidget(self.side_bar)
        yield
        self.empty = EmptyPage()
        self.stack.addWidget(self.empty)
        yield
        shown = QWidget()
        self.stack.addWidget(shown)
        right = QVBoxLayout(shown)
        right.setContentsMargins(0, 0, 0, 0)
        right.setSpacing(look.GAP)
        self.view = ComparisonView()
        self.view.sample_shown.connect(self._want_whole)
        self.bar = ComparisonBar(self.view)
        self.bar.picture_wanted.connect(self._take_picture)
        right.addWidget(self.bar)
        right.addWidget(self.view, 1)
        self.condition_line = ConditionLine(self.view)
        right.addWidget(self.condition_line)
        yield
        self.zoom_bar = ZoomBar(self.view)
        right.addWidget(self.zoom_bar)
        self._add_actions()
        self.session.project.changed.connect(self._project_changed)
        self._ask_runs()

    def _add_actions(self) -> None:
        modes: list[tuple[str, Mode]] = [
            (self.tr("Compare side by side"), "side"),
            (self.tr("Compare by wiping"), "wipe"),
            (self.tr("Compare by blinking"), "blink"),
            (self.tr("Show the difference"), "difference"),
        ]
        deeds: list[tuple[str, Callable[[], object]]] = [
            *((words, partial(self.view.set_mode, mode)) for words, mode in modes),
            (self.tr("Draw the comparison"), self.side_bar.ask),
            (self.tr("Fit the comparison"), self.view.fit),
            (self.tr("Copy the comparison as a picture"), partial(self._take_picture, "copy")),
            (self.tr("Save the comparison as a picture..."), partial(self._take_picture, "save")),
        ]
        for words, deed in deeds:
            action = QAction(words, self)
            action.setShortcutContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            action.triggered.connect(lambda _=False, deed=deed: deed())
            self.addAction(action)

    # What there is to compare

    def show_item(self, item: object) -> None:
        """Compare the best checkpoint of this run, or of each of a list of runs, with the teacher."""
        runs = item if isinstance(item, list | tuple) else [item]
        self._shown_first = tuple(dict.fromkeys(run for run in runs if isinstance(run, int)))
        if self._shown_first:
            self._ask_runs()

    @Slot()
    def _project_changed(self) -> None:
        if self.isVisible() and not self._refreshing.isActive():
            self._refreshing.start()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._ask_runs()

    @Slot()
    def _ask_runs(self) -> None:
        self.session.project.ask(choices, self._know_runs, key="compare runs")

    def _know_runs(self, runs: list[RunChoice]) -> None:
        first_time, self._runs = self._runs is None, runs
        self.side_bar.set_runs(runs)
        asked, self._shown_first = self._shown_first, ()
        finished = [run for run in runs if run.checkpoints]
        self._side.setVisible(bool(finished))
        ready = {run.run for run in finished}
        if wanted := [run for run in asked if run in ready]:
            self._choose(*wanted)
            self.side_bar.ask()
            self._say_left_out([run.name for run in runs if run.run in asked and run.run not in ready])
        elif not asked and self._awaited in ready:  # its first checkpoint has come
            self._choose(self._awaited)
            self._look_up(self.side_bar.request)
        elif asked or not finished:
            self._awaited = asked[0] if asked else None
            self.side_bar.choose([])
            self._show_empty(self._awaited)
        elif not self.side_bar.picks and (first_time or self.view.layers is None):
            self._choose(finished[0].run)
            self._look_up(self.side_bar.request)

    def _choose(self, *runs: int) -> None:
        self._awaited = None
        self.side_bar.choose([Pick(run) for run in runs])

    def _say_left_out(self, names: list[str]) -> None:
        """A word on runs that were asked for and have nothing to compare yet."""
        if names:
            self.says.emit(self.tr("Left out, because no checkpoint is saved yet: {0}.").format(", ".join(names)))

    def _show_empty(self, asked: int | None = None) -> None:
        runs = self._runs or []
        run = next((run for run in runs if run.run == asked), runs[0] if runs else None)
        if run is None:
            self._say_empty(
                self.tr("Nothing to compare yet"),
                self.tr("This project has no runs. Distil a student first; then it stands here beside its teacher."),
                self.tr("New run"),
                lambda: self.leads_to.emit("wizard", None),
            )
        else:
            self._say_empty(
                self.tr("{0} has no checkpoint yet").format(run.name),
                self.tr(
                    "A student can be compared once its first checkpoint is saved: let it train on, or press Save now."
                ),
                self.tr("Go to the run"),
                lambda: self.leads_to.emit("run", run.run),
            )

    def _say_empty(self, title: str, words: str, button: str = "", leads: Callable[[], object] = lambda: None) -> None:
        """What is shown in place of a comparison, and a button that leads on."""
        self.empty.say(title, words, button, leads)
        self.stack.setCurrentIndex(0)
        self.setFocusProxy(self.empty.button if button else self.side_bar.cancel)

    # Drawing

    @Slot(object)
    def draw(self, wanted: Wanted) -> None:
        """Show this comparison: as it was kept, or else draw it."""
        self._awaited = None
        if self._job is not None:  # what is on its way is no longer wanted
            self._next = wanted
            self._job.cancel()
        elif wanted.picks:
            self.side_bar.set_busy(True)
            self._look(wanted, self._found_or_draw)

    def _look_up(self, wanted: Wanted) -> None:
        """Show this comparison where it was kept, and offer to draw it where not."""
        self._look(wanted, self._found_or_offer)

    def _look(self, wanted: Wanted, answered: Callable[[Found], object]) -> None:
        kept = frozenset(self._kept)

        def look_for(project: ProjectFile) -> Found:
            place = place_of(project, wanted)
            return wanted, place, None if place.folder in kept else load(place.folder)

        self.session.project.ask(look_for, answered, key="compare place", failed=self._refuse)

    def _found_or_offer(self, found: Found) -> None:
        _, place, layers = found
        layers = layers or self._kept.get(place.folder)
        if layers is not None:
            self._show(layers)
        else:
            self._offer()

    def _offer(self) -> None:
        self._say_empty(
            self.tr("Teacher and student, from the same noise"),
            self.tr("Choose students and draw them beside their teacher. It takes some seconds for small teachers."),
            self.tr("Draw"),
            self.side_bar.ask,
        )

    def _found_or_draw(self, found: Found) -> None:
        wanted, place, layers = found
        layers = layers or self._kept.get(place.folder)
        if layers is not None:
            self.side_bar.set_busy(False)
            self._show(layers)
            return
        if self.view.layers is None:
            words = self.tr("Teacher and students draw the same noise now; how far they are stands beside this.")
            if self.empty.button.hasFocus():  # it goes
                self.side_bar.cancel.setFocus()
            self._say_empty(self.tr("Drawing..."), words)
        self._place = place
        path = str(self.session.project.path)
        options = ["--seed", str(wanted.seed), "--teacher-nfe", str(wanted.teacher_nfe), "--parts", str(place.folder)]
        if wanted.accelerate:
            options += ["--accelerate", wanted.accelerate]
        for name in wanted.only:
            options += ["--only", name]
        arguments = ["compare", path, *place.names, *options]
        self._job = self.session.backend.ask(arguments, self._drawn, self._refuse, self._hear)
        self._job.ended.connect(self._ended)

    @Slot(str)
    def _hear(self, words: str) -> None:
        found = _PROGRESS.fullmatch(words)
        if found:
            words = self.tr("Drawing {0}").format(said(found[3]))
            self.side_bar.show_progress(int(found[1]) - 1, int(found[2]), words)

    @Slot(object)
    def _drawn(self, answer: object) -> None:
        place = self._place
        if place is not None:

            def load_and_tidy(project: ProjectFile) -> AnyLayers | None:
                forget_old(place.folder.parent)
                return load(place.folder)

            self.session.project.ask(load_and_tidy, self._show, key="compare drawn", failed=self._refuse)

    @Slot()
    def _ended(self) -> None:
        self._job = None
        self.side_bar.set_busy(False)
        wanted, self._next = self._next, None
        if wanted is not None:
            self.draw(wanted)

    @Slot(str)
    def _refuse(self, words: str) -> None:
        self.side_bar.set_busy(False)
        self.side_bar.refuse(words)
        if self.view.layers is None:
            self._say_empty(self.tr("It could not be drawn"), words, self.tr("Draw again"), self.side_bar.ask)

    @Slot()
    def _cancel(self) -> None:
        if self._job is not None:
            self._job.cancel()
            if self.view.layers is None:
                self._offer()
            self.says.emit(self.tr("The drawing was cancelled."))

    # Showing

    def _show(self, layers: AnyLayers | None) -> None:
        if layers is None:
            self._refuse(self.tr("What was drawn is no longer there; draw it again."))
            return
        comparison = layers.comparison
        self._kept.pop(comparison.folder, None)
        self._kept[comparison.folder] = layers
        while len(self._kept) > KEPT_IN_MEMORY:
            self._kept.pop(next(iter(self._kept)))
        for other in self._kept.values():
            if isinstance(other, PictureLayers):
                other.release()
        goes_on = self.isVisible() and (self.side_bar.draw.hasFocus() or self.empty.button.hasFocus())
        self.stack.setCurrentIndex(1)
        self.setFocusProxy(self.view)
        self.view.show_layers(layers, partial(self._words, comparison))
        self.bar.set_sides([said(side.name) for side in comparison.sides])
        if goes_on:
            self.view.setFocus()

    def _words(self, comparison: Comparison, index: int) -> tuple[str, str]:
        """Name and figures of a side."""
        side = comparison.sides[index]
        points = comparison.kind == "points"
        each = self.tr("{0} per sample") if points else self.tr("{0} per picture")
        parts = [each.format(seconds_words(side.seconds))]
        last = index == len(comparison.sides) - 1
        if not last:
            faster = side.speed_up >= 1
            words = self.tr("{0} faster") if faster else self.tr("{0} slower")
            parts.append(words.format(speed_words(side.speed_up if faster else 1 / side.speed_up)))
            distance = comparison.distance(index, self.view.sample)
            if distance is None:
                parts.append(self.tr("diverged"))
            elif points:
                parts.append(self.tr("{0} from the teacher in full").format(f"{distance:.3g}"))
            else:
                full, plain = self.tr("{0} % from the teacher in full"), self.tr("{0} % from itself not accelerated")
                words = (plain if side.is_accelerated else full).replace(" %", "\u00a0%")  # no line begins with %
                parts.append(words.format(f"{100 * distance:.2g}"))
        if side.step is not None:
            parts.append(self.tr("step {0}").format(side.step).replace(" ", "\u00a0"))
        parts.append(self.tr("seed {0}").format(comparison.seed).replace(" ", "\u00a0"))
        return said(side.name), " · ".join(parts)

    @Slot(int)
    def _want_whole(self, sample: int) -> None:
        """The files of one sample, where its tile in the grid is smaller than it."""
        layers = self.view.layers
        if isinstance(layers, PictureLayers) and layers.needs_files:
            files = layers.files_of(sample)
            give = partial(self._give, layers, sample)
            self.session.project.ask(
                lambda project: open_pictures(files), give, key="compare sample", failed=self._refuse
            )

    def _give(self, layers: PictureLayers, sample: int, images: list[QImage]) -> None:
        layers.give(sample, images)
        self.view.refresh()

    @Slot(str)
    def _take_picture(self, what: str) -> None:
        if self.view.layers is None or self.stack.currentIndex() != 1:
            self.says.emit(self.tr("There is no comparison to keep yet; draw one first."))
            return
        picture = self.view.picture()
        if what == "copy":
            QApplication.clipboard().setPixmap(picture)
            self.says.emit(self.tr("The comparison was copied as a picture."))
            return
        dialog = QFileDialog(self, self.tr("Save picture"), str(self.session.project.path.parent / "comparison.png"))
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        dialog.setNameFilter(self.tr("PNG pictures (*.png)"))
        dialog.setDefaultSuffix("png")
        dialog.selectFile("comparison.png")

        def save(chosen: str) -> None:
            if picture.save(chosen, "PNG"):
                self.says.emit(self.tr("Saved {0}.").format(Path(chosen).name))
            else:
                self._refuse(self.tr("{0} cannot be written; choose another place.").format(chosen))

        dialog.fileSelected.connect(save)
        dialog.open()

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange and hasattr(self, "side_bar"):
            self.bar.refresh_icons()
            self.zoom_bar.refresh_icons()
            self.side_bar.refresh_icons()
