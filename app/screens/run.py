"""A run, live: what it is doing, its curves, its pictures, what they mean, and what can be asked of it.

A finished run is shown by the same queries as a live one. The screen connects widgets to the news of one run; each of
them shows one thing and knows nothing of the others.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Literal

from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QAction, QCloseEvent, QShowEvent
from PySide6.QtWidgets import (
    QApplication,
    QHBoxLayout,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QSplitter,
    QStackedLayout,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from app import look, remembered
from app.models import band, run_report, run_words
from app.models.band import Offers
from app.models.sample_rounds import Rounds
from app.picture_store import PictureStore
from app.run_commands import RunCommands
from app.run_watcher import RunWatcher
from app.screens import Overlaid, Screen
from app.session import Session
from app.widgets.band_button import BandButton
from app.widgets.curves import Curves, Mark
from app.widgets.go_back import FACTOR, GoBack
from app.widgets.health_panel import HealthPanel
from app.widgets.icon_button import action
from app.widgets.live_settings import LiveSettings
from app.widgets.log_view import LogView
from app.widgets.notes import Notes
from app.widgets.overlay_button import OverlayButton
from app.widgets.run_header import RunHeader
from app.widgets.sample_history import SampleHistory
from app.widgets.triptych import Triptych
from backend.contract.metrics import Pace
from backend.contract.project_file import ProjectFile
from backend.contract.rows import Attempt, Checkpoint, Command, LogEvent, Run, RunState, Sample

LIST_MILLISECONDS = 2000
"""No more often than this are the names of the project's runs read again."""
SIDE_WIDTH = 70 * look.SPACE
TOP_HEIGHT, BOTTOM_HEIGHT = 60 * look.SPACE, 36 * look.SPACE


class RunScreen(Screen):
    """Follows one run; without one it says how to begin."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(session, parent)
        self._run: Run | None = None
        self._state: RunState | None = None
        self._attempts: list[Attempt] = []
        self._checkpoints: list[Checkpoint] = []
        self._events: list[LogEvent] = []
        self._latest: dict[str, tuple[int, float]] = {}
        self._pace = Pace()
        self._samples = Rounds()
        self._names: list[tuple[int, str]] = []

        self._pages = QStackedLayout(self)

    # What it is made of

    def build(self) -> Iterator[None]:
        session = self.session
        self.watcher = RunWatcher(session.project, self)
        self.pictures = PictureStore(session.project, self)
        self.commands = RunCommands(session, self)
        self._pages.addWidget(self._empty())
        yield
        # From the outside to the inside: what is put into a larger whole is styled once more with all that it holds.
        column = self._frame()
        yield
        self.header = RunHeader(self.commands)
        column.insertWidget(0, self.header)
        yield
        self.curves = Curves(session.project, session.settings)
        yield
        self._across.addWidget(self._curves())
        yield
        self.samples, self.health = SampleHistory(self.pictures), HealthPanel()
        yield
        self.triptych = Triptych(self.pictures)
        yield
        _fill(
            self.side,
            (self.tr("Samples"), self.samples),
            (self.tr("Triptych"), self.triptych),
            (self.tr("Health"), self.health),
        )
        self._across.addWidget(self.side)
        yield
        self.log, self.notes = LogView(session), Notes(session)
        yield
        self.live_settings, self.checkpoints = LiveSettings(), GoBack()
        yield
        _fill(
            self.below,
            (self.tr("Log"), self.log),
            (self.tr("Notes and tags"), self.notes),
            (self.tr("Settings"), self.live_settings),
            (self.tr("Checkpoints"), self.checkpoints),
        )
        self._down.addWidget(self.below)
        self._share_room()
        yield
        self._connect()
        self._add_actions()
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.setInterval(LIST_MILLISECONDS)
        self._later.timeout.connect(self._ask_names)
        session.project.changed.connect(self._names_may_differ)

    def _empty(self) -> QWidget:
        page = QWidget()
        column = QVBoxLayout(page)
        column.addStretch(2)
        column.addWidget(look.label(self.tr("No runs yet"), "heading"), 0, Qt.AlignmentFlag.AlignHCenter)
        words = self.tr("A run trains a student. Choose a teacher and a method, and it begins.")
        column.addWidget(look.label(words, "body", "muted"), 0, Qt.AlignmentFlag.AlignHCenter)
        column.addSpacing(look.GAP)
        self.begin = QPushButton(self.tr("New run..."))
        self.begin.setProperty("primary", True)
        self.begin.clicked.connect(lambda: self.leads_to.emit("wizard", None))
        column.addWidget(self.begin, 0, Qt.AlignmentFlag.AlignHCenter)
        column.addStretch(3)
        return page

    def _frame(self) -> QVBoxLayout:
        """The empty page of a run; the column that its header is put on top of."""
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._pages.addWidget(area)
        content = QWidget()
        area.setWidget(content)
        column = QVBoxLayout(content)
        column.setContentsMargins(look.MARGIN, look.MARGIN, look.MARGIN, look.GAP)
        column.setSpacing(look.GAP)
        self._down = QSplitter(Qt.Orientation.Vertical)
        # The rest of the height, however little: what it would like to have is no reason to scroll.
        self._down.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Ignored)
        self._down.setMinimumHeight(TOP_HEIGHT + BOTTOM_HEIGHT + look.GAP)  # below that its parts would overlap
        column.addWidget(self._down, 1)
        self._across = QSplitter(Qt.Orientation.Horizontal)
        self._across.setMinimumHeight(TOP_HEIGHT)
        self._down.addWidget(self._across)
        self.side, self.below = _tabs(self.tr("Pictures and health")), _tabs(self.tr("Log, notes and settings"))
        self.side.setMinimumWidth(SIDE_WIDTH)
        self.below.setMinimumHeight(BOTTOM_HEIGHT)
        return column

    def _share_room(self) -> None:
        """What each part gets, as a person left it."""
        for name, splitter, sizes in (("across", self._across, (600, 400)), ("down", self._down, (600, 240))):
            splitter.setSizes(sizes)
            for index, share in enumerate((3, 2) if name == "across" else (3, 1)):
                splitter.setStretchFactor(index, share)
            splitter.setChildrenCollapsible(False)
            splitter.setHandleWidth(look.GAP)
            remembered.shares(self.session.settings, f"run/{name}", splitter)

    def _curves(self) -> QWidget:
        place = QWidget()
        column = QVBoxLayout(place)
        column.setContentsMargins(0, 0, look.GAP, 0)
        column.setSpacing(look.SPACE)
        row = QHBoxLayout()
        row.addWidget(look.label(self.tr("Curves"), "strong"))
        row.addStretch(1)
        self.overlay = OverlayButton()
        self.overlay.changed.connect(self._show_curves)
        row.addWidget(self.overlay)
        self.band = BandButton()
        self.band.changed.connect(self._show_band)
        row.addWidget(self.band)
        column.addLayout(row)
        column.addWidget(self.curves, 1)
        return place

    def _connect(self) -> None:
        remembered.tab(self.session.settings, "run/side", self.side)
        remembered.tab(self.session.settings, "run/below", self.below)
        watcher, header = self.watcher, self.header
        watcher.run_changed.connect(self._show_run)
        watcher.state_changed.connect(self._show_state)
        watcher.attempts_changed.connect(self._show_attempts)
        watcher.checkpoints_changed.connect(self._show_checkpoints)
        watcher.commands_changed.connect(self._show_commands)
        watcher.samples_arrived.connect(self._show_samples)
        watcher.events_arrived.connect(self._show_events)
        watcher.metrics_arrived.connect(self._show_metrics)
        watcher.pace_changed.connect(self._show_pace)
        header.run_chosen.connect(self.show_item)
        header.renamed.connect(self._rename)
        header.compare_wanted.connect(lambda: self._lead_to("compare"))
        header.export_wanted.connect(lambda: self._lead_to("export"))
        header.duplicate_wanted.connect(self.duplicate)
        header.details_wanted.connect(lambda: self._read_report(header.show_report))
        header.report_wanted.connect(lambda: self._read_report(self._copy_report))
        self.health.export_wanted.connect(lambda: self._lead_to("export"))
        self.live_settings.wanted.connect(lambda values: self.commands.ask("set", values))
        self.checkpoints.wanted.connect(self.commands.go_back)
        header.back_wanted.connect(self._propose_to_go_back)

    def _add_actions(self) -> None:
        self.addActions(self.commands.actions())
        self._own_actions = [
            action(self.tr("Rename run"), self.header.begin_renaming, "F2"),
            action(self.tr("Compare this run"), lambda: self._lead_to("compare")),
            action(self.tr("Export the student of this run"), lambda: self._lead_to("export"), "Ctrl+E"),
            action(self.tr("Duplicate as new recipe"), self.duplicate, "Ctrl+D"),
            action(self.tr("Show samples"), lambda: self.side.setCurrentWidget(self.samples)),
            action(self.tr("Show triptych"), lambda: self.side.setCurrentWidget(self.triptych)),
            action(self.tr("Show health"), lambda: self.side.setCurrentWidget(self.health)),
            action(self.tr("Show log"), lambda: self.below.setCurrentWidget(self.log)),
            action(self.tr("Show notes and tags"), lambda: self.below.setCurrentWidget(self.notes)),
            action(self.tr("Show settings that can be changed"), self._show_settings),
            action(self.tr("Go back to a checkpoint"), self._show_way_back),
        ]
        self.addActions(self._own_actions)

    def offered(self) -> list[QAction]:
        return [*self.actions(), *self.curves.commands()]

    # Which run

    def show_item(self, item: object) -> None:
        """Follow a run, by its id, or with the curves of others over its own."""
        wanted = Overlaid(item) if isinstance(item, int) else item
        if not isinstance(wanted, Overlaid):
            return
        run = wanted.run
        if run == self.watcher.run:
            if wanted is item:  # the run alone leaves what a person laid over it
                self.overlay.lie_over(run, wanted.others)
                self._show_curves()
            return
        self.notes.save()
        self._run, self._state, self._attempts, self._checkpoints, self._events = None, None, [], [], []
        self._latest, self._pace, self._samples = {}, Pace(), Rounds()
        self.overlay.lie_over(run, wanted.others)
        self.band.show_run(run)
        self.commands.follow(run)
        self.log.follow()
        self.live_settings.follow()
        self.checkpoints.follow()
        self._pages.setCurrentIndex(1)
        self.setFocusProxy(self.header.runs)
        self.watcher.follow(run)
        self._ask_names()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._ask_names()

    def closeEvent(self, event: QCloseEvent) -> None:
        self.notes.save()
        self.watcher.follow(None)
        self.commands.follow(None)
        super().closeEvent(event)

    def _names_may_differ(self) -> None:
        if not self._later.isActive() and self.isVisible():
            self._later.start()

    def _ask_names(self) -> None:
        run = self.watcher.run
        self.session.project.ask(lambda project: _names(project, run), self._show_names, key=f"run-names-{id(self)}")

    def _show_names(self, found: tuple[list[tuple[int, str]], int | None, Offers | None]) -> None:
        self._names, first, offers = found
        self.band.show_offers(offers)
        if self.watcher.run is None and first is not None:
            self.show_item(first)
        if self.watcher.run is None:
            self._pages.setCurrentIndex(0)
            self.setFocusProxy(self.begin)
        self.header.show_runs(list(reversed(self._names)), self.watcher.run)
        self.overlay.show_runs(self._names)

    def _show_curves(self) -> None:
        if self.watcher.run is not None:
            self._show_band()
            self.curves.show_runs([self.watcher.run, *self.overlay.runs])

    def _show_band(self) -> None:
        self.curves.show_reference(self.band.reference)

    # The news

    def _show_run(self, run: Run) -> None:
        is_new = self._run is None
        self._run = run
        self.notes.show_run(run)
        self._show_training()
        if is_new:
            self._show_curves()
        if (run.id, run.name) not in self._names:
            self._ask_names()

    @property
    def _steps(self) -> int:
        steps = self._training().get("steps", 0)
        return steps if isinstance(steps, int) else 0

    def _training(self) -> dict[str, object]:
        """How the run trains, as its recipe asks and as it was changed since."""
        asked = self._run.recipe.get("training", {}) if self._run is not None else {}
        return run_words.settings_in_force(asked, self._events)

    def _show_training(self) -> None:
        training = self._training()
        self.live_settings.show_training(training)
        self.checkpoints.show_factor(training.get(FACTOR, 1.0))
        if self._state is not None:
            self._tell(self._state)

    def _tell(self, state: RunState) -> None:
        self.header.show_state(state, self._steps)
        if self._run is not None:
            self.tells_of_run.emit(self._run.id, state, self._steps)

    def _show_state(self, state: RunState) -> None:
        is_other = self._state is None or state.state != self._state.state
        self._state = state
        self._tell(state)
        self.commands.show_state(state)
        self.live_settings.show_state(state)
        self.checkpoints.show_state(state)
        if is_other:
            self.samples.show_state(state)
        self._offer_to_go_back()
        self._show_vitals()

    def _show_attempts(self, attempts: list[Attempt]) -> None:
        begins = [(attempt.id, attempt.first_step) for attempt in attempts]
        changed = begins != [(attempt.id, attempt.first_step) for attempt in self._attempts]
        self._attempts = attempts
        newest = attempts[-1] if attempts else None
        self.header.show_attempt(newest)
        self._offer_to_go_back()
        self.log.show_log_of(newest.log if newest else None)
        if changed:
            self._samples.set_attempts(attempts)
            self._show_pictures()
            self._mark()
        self._show_vitals()

    def _show_checkpoints(self, checkpoints: list[Checkpoint]) -> None:
        self._checkpoints = checkpoints
        self.health.show_checkpoints(checkpoints)
        self.checkpoints.show_checkpoints(checkpoints)
        self._offer_to_go_back()
        self._show_pictures()
        self._mark()

    def _show_commands(self, commands: list[Command]) -> None:
        self.commands.show_commands(commands)
        self.live_settings.show_commands(commands)

    def _show_samples(self, samples: list[Sample]) -> None:
        self._samples.add(samples)
        self._show_pictures()

    def _show_pictures(self) -> None:
        self.samples.show_rounds(self._samples, self._checkpoints)
        self.triptych.show_rounds(self._samples)

    def _show_events(self, events: list[LogEvent]) -> None:
        self._events += events
        self.log.add_events(events)
        if any(event.kind == "set" for event in events):
            self._show_training()
        self.health.show_events(self._events)
        self._offer_to_go_back()
        wrong = len(self.health.words())
        self.side.setTabText(
            self.side.indexOf(self.health), self.tr("Health ({0})").format(wrong) if wrong else self.tr("Health")
        )

    def _offer_to_go_back(self) -> None:
        """Where the newest attempt broke down and the checkpoint that it names is still there."""
        ended = self._state is not None and self._state.state in ("stopped", "failed")
        step = run_words.way_back(self._events, self._attempts[-1] if self._attempts else None) if ended else None
        kept = any(checkpoint.step == step for checkpoint in self._checkpoints)
        self.header.show_way_back(step if kept else None)

    def _show_metrics(self, latest: Mapping[str, tuple[int, float]]) -> None:
        self._latest.update(latest)
        self.curves.refresh()
        self._show_vitals()

    def _show_pace(self, pace: Pace) -> None:
        self._pace = pace
        self._show_vitals()

    def _show_vitals(self) -> None:
        if self._state is not None:
            state, attempts = self._state, self._attempts
            found = run_words.vitals(state, self._steps, self._pace, self._latest, attempts, time.time(), self.tr)
            self.header.vitals.show_vitals(found)

    def _mark(self) -> None:
        """What the curves show on their axis: checkpoints, the best of them, and where later attempts began."""
        marks = [
            Mark(one.step, self.tr("Best checkpoint") if one.is_best else self.tr("Checkpoint"), _kind_of(one))
            for one in self._checkpoints
        ]
        for attempt in self._attempts[1:]:
            if attempt.first_step is not None:
                marks.append(Mark(attempt.first_step, self.tr("Attempt {0}").format(attempt.number), "attempt"))
        self.curves.set_marks(marks)

    # What a person does

    def _rename(self, name: str) -> None:
        run = self.watcher.run
        if run is not None:
            self.session.project.write(lambda project: project.rename_run(run, name), lambda _: self._ask_names())

    def _lead_to(self, screen: str) -> None:
        if self.watcher.run is not None:
            self.leads_to.emit(screen, self.watcher.run)

    def duplicate(self) -> None:
        """Begin a new recipe from this run's."""
        if self._run is not None:
            self.leads_to.emit("wizard", self._run.recipe)

    def _show_settings(self) -> None:
        self.below.setCurrentWidget(self.live_settings)
        next(iter(self.live_settings.fields.values())).setFocus()

    def _show_way_back(self) -> None:
        self.below.setCurrentWidget(self.checkpoints)
        self.checkpoints.steps.setFocus()

    def _propose_to_go_back(self, step: int) -> None:
        self._show_way_back()
        self.checkpoints.propose(step)

    def _read_report(self, then: Callable[[str], object]) -> None:
        run = self.watcher.run
        if run is not None:
            self.session.project.ask(lambda project: run_report.read(project, run), then)

    def _copy_report(self, text: str) -> None:
        """With the window's own versions, which need not be those that the run was trained with."""
        from app.fault_report import diagnostics  # noqa: PLC0415

        QApplication.clipboard().setText(f"{text}\n\nShown by:\n{diagnostics(self.session)}\n")
        self.says.emit(self.tr("Copied the report. It names the recipe's folders; look it over before you send it."))


def _names(project: ProjectFile, shown: int | None) -> tuple[list[tuple[int, str]], int | None, Offers | None]:
    """The project's runs by id and name, the one to look at first (what runs, else the newest), and what there is to
    hold the run against that is shown."""
    runs = project.runs()
    names = [(run.id, run.name) for run in runs]
    live = project.live_runs()
    first = live[-1][0].id if live else names[-1][0] if names else None
    return names, first, band.offers(project, runs, shown) if shown is not None else None


def _kind_of(checkpoint: Checkpoint) -> Literal["best", "checkpoint"]:
    return "best" if checkpoint.is_best else "checkpoint"


def _tabs(name: str) -> QTabWidget:
    tabs = QTabWidget()
    tabs.setAccessibleName(name)
    tabs.setDocumentMode(True)
    tabs.setUsesScrollButtons(True)
    return tabs


def _fill(tabs: QTabWidget, *pages: tuple[str, QWidget]) -> None:
    for words, page in pages:
        tabs.addTab(page, words)
