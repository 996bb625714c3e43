"""The plots of all groups of curves below each other, on one x axis with one margin.

It draws the answer that it is given; what is in sight, and what a person's move means, is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from PySide6.QtCore import QSettings, Qt, Signal
from PySide6.QtWidgets import QScrollArea, QVBoxLayout, QWidget

from app import look
from app.models import curve_view, plot_words, ticks
from app.models.band import Bands, placed
from app.models.curve_data import Answer, RunCurves
from app.models.curve_view import GROUPS, Axis, Columns, Group, Span, group_of, scaled
from app.models.smoothing import smoothed
from app.widgets.curve_lines import Line, Mark, Shaded, pen_of
from app.widgets.curve_plot import CurvePlot
from app.widgets.plot_pane import PlotPane

PANE_HEIGHT = 43 * look.SPACE


class PlotColumn(QScrollArea):
    """panes: by group, made when they are first needed.

    changed: a scale or smoothing is another. grew: there is one more plot. keyed: a pane, and the key event in it. The
    other signals are those of `CurvePlot`, of whichever plot.
    """

    changed = Signal()
    grew = Signal()
    pointed = Signal(object)
    moved = Signal(float)
    zoomed = Signal(float, float)
    spanned = Signal(object)
    reset_wanted = Signal()
    keyed = Signal(object, object)

    def __init__(self, settings: QSettings, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._settings = settings
        self.panes: dict[Group, PlotPane] = {}
        inside = QWidget()
        inside.setAutoFillBackground(False)
        self._column = QVBoxLayout(inside)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(0)
        self.setWidgetResizable(True)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setWidget(inside)

    def shown(self) -> list[PlotPane]:
        """The plots that have something to show."""
        return [pane for pane in self.panes.values() if not pane.isHidden()]

    def clear(self) -> None:
        """Forget what was drawn."""
        for pane in self.panes.values():
            pane.plot.show_lines([])
            pane.plot.marks = []

    def draw(
        self, answer: Answer, facts: Mapping[int, RunCurves], slots: Mapping[str, int], bands: Bands | None = None
    ) -> None:
        """Give every plot its lines. facts: by run, of the newest answer that has them. slots: the place of each
        series in its plot. bands: what lies behind the lines."""
        groups = [group for group in GROUPS if any(group_of(name) == group for name in answer.chosen)]
        groups = [g for g in groups if any(group_of(n) == g for run in answer.runs for n in run.lines)]
        for group in GROUPS:
            if group in groups:
                self._pane(group).setVisible(True)
            elif group in self.panes:
                self.panes[group].setVisible(False)
        for group in groups:
            self._draw_group(self.panes[group], answer, facts, slots, bands)
            self.panes[group].plot.shows_axis = group == groups[-1]

    def _draw_group(
        self,
        pane: PlotPane,
        answer: Answer,
        facts: Mapping[int, RunCurves],
        slots: Mapping[str, int],
        bands: Bands | None,
    ) -> None:
        lines, odd, dropped = [], 0, 0
        for order, run in enumerate(answer.runs):
            for is_superseded, found in ((True, run.superseded), (False, run.lines)):
                for name, columns in found.items():
                    if group_of(name) != pane.group or name not in answer.chosen:
                        continue
                    line = scaled(columns, pane.log.isChecked())
                    smooth = None
                    if pane.amount and not is_superseded:
                        smooth = smoothed(curve_view.typical(line.columns), pane.amount)
                    pen = pen_of(slots[name], order, len(answer.runs) > 1)
                    lines.append(Line(name, pen, order, line, smooth, is_superseded))
                    odd, dropped = odd + len(line.odd), dropped + line.dropped
        pane.plot.log, pane.plot.clip = pane.log.isChecked(), pane.clip.isChecked()
        shaded = list(_shaded(answer, {line.label for line in lines}, slots, bands, pane.log.isChecked()))
        pane.plot.show_lines(lines, shaded)
        coarse = max(
            (c.steps for run in answer.runs for n, c in run.lines.items() if group_of(n) == pane.group), default=1
        )
        words = [self.tr("raw") if coarse <= 1 else self.tr("1 column = {0} steps").format(ticks.figure(coarse, 3))]
        if pane.clip.isChecked():
            words.append(self.tr("axis fits 2-98 %"))
        if any(line.is_superseded for line in lines):
            words.append(self.tr("pale: steps done again"))
        if dropped:
            words.append(self.tr("0 and below not drawn"))
        if odd:
            words.append(self.tr("not finite at {0}").format(odd))
        if shaded and bands is not None:
            words.append(plot_words.band_words(bands, self.tr))
        pane.badge.say(" · ".join(words))
        if answer.question.facts:
            pane.plot.setAccessibleDescription(plot_words.in_words(pane.group, answer, facts, bands, self.tr))

    def _pane(self, group: Group) -> PlotPane:
        """The plot of a group; made once, then hidden and shown."""
        if group not in self.panes:
            pane = self.panes[group] = PlotPane(group, plot_words.title(group, self.tr), self._settings)
            pane.setMinimumSize(70 * look.SPACE, PANE_HEIGHT)
            pane.changed.connect(self.changed)
            plot = pane.plot
            plot.pointed.connect(self.pointed)
            plot.moved.connect(self.moved)
            plot.zoomed.connect(self.zoomed)
            plot.spanned.connect(self.spanned)
            plot.reset_wanted.connect(self.reset_wanted)
            plot.keyed.connect(lambda event, pane=pane: self.keyed.emit(pane, event))
            self._column.insertWidget(sum(GROUPS.index(g) < GROUPS.index(group) for g in self.panes), pane, 1)
            self.grew.emit()
        return self.panes[group]

    def show_span(self, span: Span, axis: Axis) -> None:
        """Have every plot show this range, with one margin and the same marks."""
        shown = self.shown()
        for pane in shown:
            pane.plot.show_span(span)
        margin = max((pane.plot.wanted_margin() for pane in shown), default=0)
        area = max((pane.plot.width() - margin for pane in shown), default=400)
        marks, title = plot_words.x_ticks(axis, span, max(area // (22 * look.SPACE), 2), self.tr)
        for pane in shown:
            plot = pane.plot
            if (plot.margin, plot.x_ticks, plot.axis_title) != (margin, marks, title):
                plot.margin, plot.x_ticks, plot.axis_title = margin, marks, title
                plot.redraw()

    def place_marks(self, marks: Sequence[tuple[float, Mark]]) -> None:
        """Show these, each at its place on the x axis."""
        for pane in self.panes.values():
            pane.plot.marks = list(marks)
            pane.plot.update()

    def show_cross(self, x: float | None) -> None:
        """The crosshair of every plot, at one place."""
        for pane in self.panes.values():
            pane.plot.show_cross(x)

    def next_column(self, plot: CurvePlot, span: Span, sign: int) -> float | None:
        """Where the crosshair goes from where it is: to the next column of a plot's first line. sign: 1 or -1."""
        line: Columns | None = next((one.columns for one in plot.lines if not one.is_superseded), None)
        at = plot.cross if plot.cross is not None else (span.low if sign > 0 else span.high)
        index = curve_view.nearest(line, at) if line is not None else None
        if line is None or index is None:
            return None
        if plot.cross is not None:
            index = min(max(index + sign, 0), len(line.first) - 1)
        return min(max(float(line.x[index]), span.low), span.high)


def _shaded(
    answer: Answer, names: set[str], slots: Mapping[str, int], bands: Bands | None, log: bool
) -> Iterator[Shaded]:
    """The bands of some series, where their steps lie for the main run."""
    if bands is None or not answer.runs:
        return
    main = answer.runs[0]
    for name in sorted(names & bands.bands.keys(), key=lambda one: slots[one]):
        shade = placed(bands.bands[name], answer.question.axis, main.steps, main.x, log)
        yield Shaded(name, pen_of(slots[name], 0, len(answer.runs) > 1), shade)
