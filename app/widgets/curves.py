"""The curves of one run with others laid over it: plots on one x axis, the list of series, and a table.

Draws what it has at once and asks the project for what is in sight as soon as a person rests; a question never waits in
the window's thread. It does not follow a run by itself: whoever does calls `refresh`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise

import numpy as np
from PySide6.QtCore import QSettings, Qt, Signal
from PySide6.QtGui import QAction, QKeyEvent
from PySide6.QtWidgets import (
    QComboBox,
    QHBoxLayout,
    QLabel,
    QSplitter,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from app import look
from app.curve_reader import CurveReader
from app.models import curve_view, plot_words, ticks
from app.models.band import Bands, Reference
from app.models.curve_data import Answer, Question, RunCurves
from app.models.curve_rows import Column
from app.models.curve_view import GROUPS, Axis, Group, Span, group_of
from app.open_project import OpenProject
from app.widgets.curve_lines import Mark, pen_of
from app.widgets.curve_plot import ZOOM_IN, ZOOM_OUT, CurvePlot
from app.widgets.curve_table import CurveTable
from app.widgets.elided_label import ElidedLabel
from app.widgets.icon_button import IconButton, action
from app.widgets.plot_column import PlotColumn
from app.widgets.plot_pane import PlotPane
from app.widgets.series_list import Entry, SeriesList

__all__ = ["Curves", "Mark"]

LEAST_STEPS = 8
PANE_WIDTH = 78 * look.SPACE
"""What a plot needs for its name, its smoothing and its boxes; a narrow list leaves its lowest values out first."""
AXIS_KEY = "run/axis"


class Curves(QWidget):
    """step_pointed: the step under the crosshair, or None."""

    step_pointed = Signal(object)

    def __init__(self, project: OpenProject, settings: QSettings, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._settings = settings
        self._runs: tuple[int, ...] = ()
        self._axis: Axis = "step"
        self._chosen: frozenset[str] = frozenset()
        self._known: frozenset[str] = frozenset()
        self._span: Span | None = None
        self._follows = True
        self._answer: Answer | None = None
        self._facts: dict[int, RunCurves] = {}
        self._slots: dict[str, int] = {}
        self._marks: list[Mark] = []
        self._reference: Reference | None = None
        self._bands: Bands | None = None
        self._reader = CurveReader(project, self._question, self)
        self._reader.found.connect(self._take)
        self._reader.missed.connect(self._say_empty)
        self.axis_box = QComboBox()
        self.axis_box.setAccessibleName(self.tr("What the curves are drawn over"))
        self.axis_box.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        for axis, words in plot_words.axes(self.tr):
            self.axis_box.addItem(words, axis)
        self.axis_box.setCurrentIndex(max(0, self.axis_box.findData(str(settings.value(AXIS_KEY, "step")))))
        self._axis = self.axis_box.currentData()
        self.axis_box.currentIndexChanged.connect(lambda: self._change_axis(self.axis_box.currentData()))
        self.list = SeriesList()
        self.list.chosen_changed.connect(self._choose)
        self._project = project
        self._table: CurveTable | None = None
        self.empty = QLabel()
        self.empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.empty.setWordWrap(True)
        look.set_tone(self.empty, "muted")
        self._stack = QStackedWidget()
        self.plots = self._plots()
        self._build()
        self._commands = self._make_commands()
        self._say_empty(self.tr("Choose a run to see its curves."))

    def _plots(self) -> PlotColumn:
        plots = PlotColumn(self._settings)
        plots.changed.connect(self._draw)
        plots.grew.connect(self._order_tabs)
        plots.pointed.connect(self._point)
        plots.moved.connect(self.pan)
        plots.zoomed.connect(lambda at, factor: self.zoom(factor, at))
        plots.spanned.connect(self._go)
        plots.reset_wanted.connect(self.reset)
        plots.keyed.connect(self._keyed)
        return plots

    def _build(self) -> None:
        # From the outside to the inside: what is put into a larger whole is styled once more with all that it holds.
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(look.GAP)
        bar = QHBoxLayout()
        layout.addLayout(bar)
        bar.setSpacing(look.GAP)
        over = look.label(self.tr("Over"), "body", "muted")
        over.setBuddy(self.axis_box)
        bar.addWidget(over)
        bar.addWidget(self.axis_box)
        for icon, words, deed in (
            ("zoom-in", self.tr("Zoom in (+, the height with Ctrl)"), lambda: self.zoom(0.5)),
            ("zoom-out", self.tr("Zoom out (-, the height with Ctrl)"), lambda: self.zoom(2.0)),
            ("maximize", self.tr("Show everything (0)"), self.reset),
        ):
            button = IconButton(icon, words, alone=True, quiet=True)
            button.clicked.connect(lambda _=False, deed=deed: deed())
            bar.addWidget(button)
        self.status = ElidedLabel("caption", "muted")
        bar.addWidget(self.status, 1)
        self.table_button = IconButton("table", self.tr("Table"))
        self.table_button.setCheckable(True)
        self.table_button.setToolTip(self.tr("The same figures as a table, to read or to copy"))
        self.table_button.toggled.connect(self.show_table)
        bar.addWidget(self.table_button)
        self.splitter = QSplitter(Qt.Orientation.Horizontal)
        self.splitter.setChildrenCollapsible(False)
        layout.addWidget(self.splitter, 1)
        frame, surface = look.card()
        frame.setMinimumWidth(PANE_WIDTH)
        self.splitter.addWidget(frame)
        surface.setContentsMargins(1, 1, 1, 1)
        surface.addWidget(self._stack)
        for page in (self.empty, self.plots):
            self._stack.addWidget(page)
        self.splitter.addWidget(self.list)
        self.splitter.setStretchFactor(0, 1)
        self.splitter.setStretchFactor(1, 0)
        self.splitter.setSizes([174 * look.SPACE, 78 * look.SPACE])

    def _make_commands(self) -> list[QAction]:
        axes = [
            action(self.tr("Draw the curves over {0}").format(words), partial(self.axis_box.setCurrentIndex, number))
            for number, (_, words) in enumerate(plot_words.axes(self.tr))
        ]
        return [
            action(self.tr("Zoom in on the curves"), lambda: self.zoom(0.5)),
            action(self.tr("Zoom out of the curves"), lambda: self.zoom(2.0)),
            action(self.tr("Zoom in on the height of the curves"), lambda: self.zoom_height(0.5)),
            action(self.tr("Zoom out of the height of the curves"), lambda: self.zoom_height(2.0)),
            action(self.tr("Show all of the curves"), self.reset),
            action(self.tr("Curves as a table or as plots"), self.table_button.toggle),
            *axes,
        ]

    # What others ask of it

    def commands(self) -> list[QAction]:
        """What can be done with the curves and with each plot that is shown, by name."""
        return [*self._commands, *(one for pane in self.plots.shown() for one in pane.commands)]

    def show_runs(self, runs: Sequence[int]) -> None:
        """Show these runs from the start: the first is the main one, the others lie over it."""
        self._runs = tuple(dict.fromkeys(runs))
        self._span, self._follows, self._answer, self._facts = None, True, None, {}
        self._slots = {}
        self._marks = []
        self._point(None)
        self.plots.clear()
        if not self._runs:
            self.list.show_entries([], frozenset())
            self._say_empty(self.tr("Choose a run to see its curves."))
            return
        self._say_empty(self.tr("Reading the curves..."))
        self._reader.ask(facts=True)

    def show_reference(self, reference: Reference | None) -> None:
        """Shade where the curves of another run lay; None for no band."""
        if reference != self._reference:
            self._reference, self._bands = reference, None
            self._reader.ask(facts=True)  # which the plots in words are made with

    def refresh(self) -> None:
        """Rows were recorded: ask again soon."""
        self._reader.refresh()

    def set_marks(self, marks: Sequence[Mark]) -> None:
        """Show what happened at some steps of the main run."""
        self._marks = list(marks)
        self._place_marks()

    @property
    def table(self) -> CurveTable:
        """The same figures in rows; made when they are first asked for."""
        if self._table is None:
            self._table = CurveTable(self._project)
            self._stack.addWidget(self._table)
            self._order_tabs()
        return self._table

    @property
    def panes(self) -> dict[Group, PlotPane]:
        """The plots by their groups; those that were never needed are not there."""
        return self.plots.panes

    @property
    def span(self) -> Span | None:
        """The range of the x axis in sight; None before anything is known."""
        return self._span or (self._answer.whole if self._answer else None)

    @property
    def is_settled(self) -> bool:
        """Whether what is drawn is exact for what is in sight."""
        return self._answer is not None and not self._reader.is_busy

    def reset(self) -> None:
        """Show everything."""
        for pane in self.panes.values():
            pane.plot.reset_height()
        self._go(self._answer.whole if self._answer else None)

    def zoom(self, factor: float, at: float | None = None) -> None:
        """Show `factor` times as much of the x axis, around a place or the middle."""
        if (span := self.span) is not None:
            self._go(span.zoomed((span.low + span.high) / 2 if at is None else at, factor))

    def zoom_height(self, factor: float) -> None:
        """Show `factor` times as much of every plot's y axis, around its middle."""
        for pane in self.plots.shown():
            pane.plot.zoom_height(factor)

    def pan(self, by: float) -> None:
        """Move along the x axis."""
        if (span := self.span) is not None:
            self._go(span.moved(by))

    def show_span(self, span: Span) -> None:
        """Show this range of the x axis."""
        self._go(span)

    def show_table(self, wanted: bool) -> None:
        """Show the figures as rows, or the plots."""
        self.table_button.setChecked(wanted)
        self._show_page()

    # Asking

    def _question(self, facts: bool) -> Question | None:
        if not self._runs:
            return None
        return Question(
            *(self._runs, self._axis, self._chosen, self._known, self._span, self._pixels(), facts, self._follows),
            reference=self._reference,
            held=frozenset(self._bands.bands if self._bands is not None else ()),
        )

    def _pixels(self) -> int:
        shown = [pane.plot.pixels() for pane in self.plots.shown()]
        # Twice as many, so that no pixel falls between two columns.
        return 2 * max(shown, default=round(max(self._stack.width(), 400) * self.devicePixelRatioF()))

    def _take(self, answer: Answer) -> None:
        question = answer.question
        if (question.runs, question.axis, question.reference) != (self._runs, self._axis, self._reference):
            self._reader.ask()
            return
        self._answer = answer
        self._bands = _with(self._bands, answer.bands)
        self._chosen |= answer.chosen - question.chosen
        lacks_rows = not question.facts and bool(set(answer.names) - self._known)  # in the list
        self._known |= set(answer.names)
        self._slots = curve_view.slots(answer.names)
        if self._span is not None and self._follows and question.follows and answer.span is not None:
            self._span = answer.span
        if question.facts:
            self._facts = {run.run: run for run in answer.runs}
            self._list_series()
        self._draw()
        self._show_page()
        if lacks_rows:
            self._reader.ask(facts=True)

    # Showing

    def _names(self) -> Iterator[str]:
        return iter(dict.fromkeys(name for run in self._runs if run in self._facts for name in self._facts[run].facts))

    def _list_series(self) -> None:
        entries = []
        for name in sorted(self._names(), key=lambda one: (GROUPS.index(group_of(one)), self._slots[one])):
            for order, run in enumerate(self._runs):
                fact = self._facts[run].facts.get(name) if run in self._facts else None
                if fact is not None:
                    entries.append(
                        Entry(
                            name,
                            plot_words.title(group_of(name), self.tr),
                            pen_of(self._slots[name], order, len(self._runs) > 1),
                            self._facts[run].name,
                            order,
                            ticks.figure(fact.last[1], 3),
                            ticks.figure(fact.low, 3),
                        )
                    )
        self.list.show_entries(entries, self._chosen)

    def _draw(self) -> None:
        """Give every plot its lines."""
        answer = self._answer
        if answer is None:
            return
        self.plots.draw(answer, self._facts, self._slots, self._bands)
        self._place_marks()
        self._show_span()

    def _order_tabs(self) -> None:
        """As they stand on the screen, though plots are made when they are first needed."""
        chain: list[QWidget] = [self.table_button]
        for pane in sorted(self.panes.values(), key=lambda one: GROUPS.index(one.group)):
            chain += [pane.smoothing, pane.log, pane.clip, pane.plot]
        if self._table is not None:
            chain += [self._table.view, self._table.copy_button]
        chain.append(self.list.view)
        for before, after in pairwise(chain):
            QWidget.setTabOrder(before, after)

    def _show_span(self) -> None:
        span = self.span
        if span is None:
            return
        self.plots.show_span(span, self._axis)
        self._say_status(span)

    def _say_status(self, span: Span) -> None:
        words = []
        if self._answer is not None and len(self._answer.runs) > 1:
            words.append(self.tr("{0} runs, each in a colour of its own").format(len(self._answer.runs)))
        if self._span is not None and self._follows:
            words.append(self.tr("following the newest step"))
        self.status.setText(" · ".join(words))
        if self.table_button.isChecked():
            self._show_rows(span)

    def _place_marks(self) -> None:
        if self._answer is None or not self._answer.runs or not len(self._answer.runs[0].x):
            return
        main = self._answer.runs[0]
        placed = [(float(np.interp(mark.step, main.steps, main.x)), mark) for mark in self._marks]
        self.plots.place_marks(placed)

    def _show_page(self) -> None:
        if self._answer is None:
            return
        if not any(run.facts for run in (self._facts.values() or self._answer.runs)):
            self._say_empty(self.tr("No figures yet. They appear here with the first step that is recorded."))
        elif not self.plots.shown():
            self._say_empty(self.tr("Choose a series in the list to see its curve."))
        elif self.table_button.isChecked():
            self._stack.setCurrentWidget(self.table)
            if (span := self.span) is not None:
                self._show_rows(span)
        else:
            self._stack.setCurrentWidget(self.plots)

    def _show_rows(self, span: Span) -> None:
        assert self._answer is not None
        runs = self._answer.runs
        first = min((run.step_at(span.low) for run in runs if len(run.x)), default=0.0)
        last = max((run.step_at(span.high) for run in runs if len(run.x)), default=-1.0)
        several = len(runs) > 1
        columns = [
            Column(run.run, name, f"{name} ({run.name})" if several else name)
            for name in self._names()
            if name in self._answer.chosen
            for run in runs
            if name in run.lines
        ]
        self.table.show_steps(columns, int(np.ceil(first)), int(np.floor(last)))

    def _say_empty(self, words: str) -> None:
        self.empty.setText(words)
        self._stack.setCurrentWidget(self.empty)

    # What a person does

    def _choose(self, chosen: frozenset[str]) -> None:
        # What is not in the list keeps its choice for the runs that have it.
        listed = frozenset(self._names())
        self._chosen = chosen | (self._chosen - listed)
        if not chosen:
            for pane in self.panes.values():
                pane.hide()
            self._show_page()
        self._reader.ask()

    def _change_axis(self, axis: Axis) -> None:
        self._settings.setValue(AXIS_KEY, axis)
        if axis != self._axis:
            self._axis, self._span, self._follows = axis, None, True
            self._point(None)
            self._reader.ask()

    def _go(self, span: Span | None) -> None:
        whole = self._answer.whole if self._answer else None
        if whole is None or span is None:
            return
        main = self._answer.runs[0] if self._answer else None
        steps = float(main.steps[-1] - main.steps[0]) if main is not None and len(main.steps) else 1.0
        span = span.within(whole, whole.width * min(LEAST_STEPS / max(steps, LEAST_STEPS), 1.0))
        self._span = None if span.width >= whole.width else span
        end = self._answer.end if self._answer else whole.high
        self._follows = self._span is None or abs(span.high - end) <= 0.01 * span.width
        self._show_span()
        self._reader.ask_at_rest(sooner=self._answer is None or not self._answer.suffices(span))

    def _point(self, x: float | None) -> None:
        self.plots.show_cross(x)
        if x is None or self._answer is None or not self._answer.runs:
            self.list.show_values("", None)
            self.step_pointed.emit(None)
            return
        step = round(self._answer.runs[0].step_at(x))
        values = {}
        for order, run in enumerate(self._answer.runs):
            for name, columns in run.lines.items():
                index = curve_view.nearest(columns, x)
                if index is not None:
                    low, high = float(columns.low[index]), float(columns.high[index])
                    values[name, order] = curve_view.value_words(low, high)
        self.list.show_values(self.tr("At {0}").format(ticks.count_words(step)), values)
        self.step_pointed.emit(step)

    def _keyed(self, pane: PlotPane, event: QKeyEvent) -> None:
        span = self.span
        if span is None:
            return
        key, held = event.key(), event.modifiers()
        if held & (Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.AltModifier):
            return
        sign = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}.get(Qt.Key(key), 0)
        if sign and held & Qt.KeyboardModifier.ShiftModifier:
            self._step_cross(pane.plot, span, sign)
        elif sign:
            self.pan(sign * 0.1 * span.width)
        elif key in ZOOM_IN:
            self.zoom(0.5, pane.plot.cross)
        elif key in ZOOM_OUT:
            self.zoom(2.0, pane.plot.cross)
        elif key == Qt.Key.Key_0:
            self.reset()
        elif key == Qt.Key.Key_L:
            pane.log.toggle()
        elif key == Qt.Key.Key_Home and self._answer and self._answer.whole:
            self.pan(self._answer.whole.low - span.low)
        elif key == Qt.Key.Key_End and self._answer:
            self.pan(self._answer.end - span.high)
        elif key == Qt.Key.Key_Escape and pane.plot.cross is not None:
            self._point(None)
        else:
            return
        event.accept()

    def _step_cross(self, plot: CurvePlot, span: Span, sign: int) -> None:
        at = self.plots.next_column(plot, span, sign)
        if at is not None:
            self._point(at)


def _with(held: Bands | None, new: Bands | None) -> Bands | None:
    """Bands with those that were made since, which count where both have one."""
    if held is None or new is None:
        return new
    return replace(new, bands={**held.bands, **new.bands})
