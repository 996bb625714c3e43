"""Quality against time or network evaluations, for all runs that were evaluated: as a plot and as the same numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pyqtgraph as pg
from PySide6.QtCore import QEvent, QRectF, Qt, Signal
from PySide6.QtGui import QBrush, QFontMetricsF
from PySide6.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QSplitter,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from app import look
from app.models import quality
from app.models.quality import SECONDS, Axis, Measure, Point
from app.models.run_words import figure as figure_words
from app.models.runs_table import milliseconds
from app.translations import said
from app.widgets.elided_combo import ElidedCombo
from backend.contract.rows import Evaluation, RunRow

POINT_PIXELS = 11
MOST_LABELS = 24
STEEP = 12.0


class Pareto(QWidget):
    """chosen: a run was picked, in the plot or in the table."""

    chosen = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._evaluations: list[Evaluation] = []
        self._names: dict[int, tuple[str, str]] = {}
        self.points: list[Point] = []
        self.front: list[Point] = []
        self._selected: list[int] = []
        self._filling = False
        self._make_controls()
        self._make_plot()
        self._make_table()
        self.empty = look.label("", "body", "muted", wraps=True)
        self.empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._parts = QSplitter(Qt.Orientation.Vertical)
        self._parts.setChildrenCollapsible(False)
        self._parts.addWidget(self.plot)
        self._parts.addWidget(self.table)
        self._parts.setSizes([300, 160])
        self._parts.setStretchFactor(0, 2)
        self._parts.setStretchFactor(1, 1)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(look.GAP)
        whole.addWidget(self.choices)
        whole.addWidget(self._parts, 1)
        whole.addWidget(self.empty, 1)
        self._show()

    def show_evaluations(self, evaluations: Sequence[Evaluation], rows: Sequence[RunRow]) -> None:
        """Show these evaluations of these runs."""
        names = {row.id: (row.name, row.teacher) for row in rows}
        if list(evaluations) == self._evaluations and names == self._names:
            return
        self._evaluations, self._names = list(evaluations), names
        self._fill_choices()

    def select(self, runs: list[int]) -> None:
        """Mark these runs."""
        self._selected = runs
        self._draw()

    # Parts

    def _make_controls(self) -> None:
        self.measure, self.figure, self.axis = (look.tell_whole(ElidedCombo()) for _ in range(3))
        self.axis.addItem(self.tr("Time per picture"), SECONDS)
        self.axis.addItem(self.tr("Network evaluations (NFE)"), "nfe")
        self.choices = QWidget()
        row = QHBoxLayout(self.choices)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(look.GAP)
        for words, box in (
            (self.tr("&Quality"), self.figure),
            (self.tr("a&gainst"), self.axis),
            (self.tr("&measured by"), self.measure),
        ):
            label = QLabel(words)
            label.setBuddy(box)
            box.setAccessibleName(words.replace("&", ""))
            box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            box.setMinimumContentsLength(14)
            row.addWidget(label)
            row.addWidget(box, 3 if box is self.measure else 2)
        self.measure.setMinimumContentsLength(10)
        self.measure.activated.connect(lambda _: self._fill_figures())
        self.figure.activated.connect(lambda _: self._show())
        self.axis.activated.connect(lambda _: self._show())

    def _make_plot(self) -> None:
        self.plot = pg.PlotWidget()
        self.plot.setAccessibleName(self.tr("Quality against speed; the table below has the same numbers"))
        self.plot.setMinimumHeight(40 * look.SPACE)
        self.plot.setMenuEnabled(False)
        self.plot.hideButtons()
        self.plot.setMouseEnabled(False, False)
        for side in ("left", "bottom"):
            self.plot.getAxis(side).enableAutoSIPrefix(False)  # which writes 500 for 0.5, and says so where it is cut
        # The titles of the axes hang over their edge by some pixels, and the view is smaller than its scene.
        self.plot.plotItem.layout.setContentsMargins(2 * look.SPACE, look.SPACE, look.SPACE, 2 * look.SPACE)
        self._line = pg.PlotDataItem([], [])
        self._dots = pg.ScatterPlotItem(size=POINT_PIXELS, hoverable=True, tip=None)
        self._dots.sigClicked.connect(self._clicked)
        self.plot.addItem(self._line)
        self.plot.addItem(self._dots)
        self._labels: list[pg.TextItem] = []
        self.plot.getViewBox().sigResized.connect(self._resized)

    def _make_table(self) -> None:
        self.table = QTableWidget(0, 5)
        self.table.setWordWrap(False)
        self.table.setAccessibleName(self.tr("Quality and speed of the evaluated runs"))
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.table.setTabKeyNavigation(False)
        self.table.setShowGrid(False)
        self.table.setMinimumHeight(24 * look.SPACE)
        self.table.verticalHeader().hide()
        self.table.verticalHeader().setDefaultSectionSize(look.FIELD_HEIGHT)
        self.table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        self.table.horizontalHeader().setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        self.table.itemSelectionChanged.connect(self._row_chosen)

    # What is chosen

    def _fill_choices(self) -> None:
        found = quality.measures(self._evaluations)
        before = self.measure.currentData()
        self.measure.clear()
        for measure in found:
            words = self.tr("{0}, {1} samples, seed {2}").format(measure.measured_in, measure.count, measure.seed)
            self.measure.addItem(words, measure)
            self.measure.setItemData(self.measure.count() - 1, words, Qt.ItemDataRole.ToolTipRole)
        if before in found:
            self.measure.setCurrentIndex(found.index(before))
        self.measure.setToolTip(self.measure.currentText())
        self.measure.setEnabled(len(found) > 1)
        self._fill_figures()

    def _fill_figures(self) -> None:
        measure, before = self.measure.currentData(), self.figure.currentData()
        names = quality.figures(self._evaluations, measure) if isinstance(measure, Measure) else []
        self.figure.clear()
        for name in names:
            self.figure.addItem(figure_title(name), name)
        if before in names:
            self.figure.setCurrentIndex(names.index(before))
        self._show()

    def _show(self) -> None:
        measure, name = self.measure.currentData(), self.figure.currentData()
        axis: Axis = self.axis.currentData()
        self.points = (
            quality.points(self._evaluations, measure, name, axis, self._names) if isinstance(measure, Measure) else []
        )
        higher = name in quality.HIGHER_IS_BETTER
        self.front = quality.front([point for point in self.points if point.is_student], higher)
        shown = bool(self.points)
        self._parts.setVisible(shown)
        self.choices.setVisible(bool(self._evaluations))  # nothing can be chosen before the first
        self.empty.setVisible(not shown)
        if self._evaluations:
            self.empty.setText(
                self.tr("These evaluations did not measure the time; evaluate a run again, or choose NFE.")
            )
        else:
            self.empty.setText(
                self.tr("Nothing has been measured yet. Select a finished run in the table and press Evaluate.")
            )
        self._fill_table()
        self._draw()

    # Drawing

    def _draw(self) -> None:
        surface, text, muted = look.colour("surface"), look.colour("text"), look.colour("muted")
        student, strong = look.series_colour(0), look.colour("accent")
        self.plot.setBackground(surface)
        if not self.points:
            self._draw_labels(text, muted)
            self._dots.setData([])
            self._line.setData([], [])
            return
        spots = []
        for point in self.points:
            colour = strong if point.run in self._selected and point.is_student else student
            brush = QBrush(colour) if point.is_student else QBrush(surface)
            edge = pg.mkPen(colour if point.is_student else muted, width=1)
            place = (_log(point.x), self._y(point.y))
            symbol = "o" if point.is_student else "s"
            grown = 4 if point.run in self._selected and point.is_student else 0
            spots.append(
                {
                    "pos": place,
                    "data": point,
                    "brush": brush,
                    "pen": edge,
                    "symbol": symbol,
                    "size": POINT_PIXELS + grown,
                }
            )
        self._dots.setData(spots)
        self._line.setData([_log(p.x) for p in self.front], [self._y(p.y) for p in self.front])
        self._line.setPen(pg.mkPen(strong, width=1))
        self._draw_axes(text, muted)
        self._draw_labels(text, muted)

    @property
    def _is_steep(self) -> bool:
        """Whether the figures span so much that only a logarithmic axis tells the good ones apart."""
        ys = [p.y for p in self.points]
        return bool(ys) and min(ys) > 0 and max(ys) > STEEP * min(ys)

    def _y(self, value: float) -> float:
        return _log(value) if self._is_steep else value

    def _draw_axes(self, text: object, muted: object) -> None:
        name = self.figure.currentData() or ""
        seconds = self.axis.currentData() == SECONDS
        titles = {
            "left": f"{figure_title(name)} {'↑' if name in quality.HIGHER_IS_BETTER else '↓'}",
            "bottom": self.tr("Time per picture") if seconds else self.tr("Network evaluations per picture"),
        }
        low, high = min(p.x for p in self.points), max(p.x for p in self.points)
        ticks = [(_log(value), milliseconds(value) if seconds else f"{value:g}") for value in decade_ticks(low, high)]
        for side, title in titles.items():
            axis = self.plot.getAxis(side)
            axis.setPen(pg.mkPen(look.colour("line")))
            axis.setTextPen(pg.mkPen(muted))
            axis.setStyle(tickFont=look.figures("caption"))
            axis.label.setFont(look.font("caption"))
            axis.setLabel(title)
        self.plot.getAxis("bottom").setTicks([ticks])
        ys = [self._y(p.y) for p in self.points]
        margin = 0.15 * (max(ys) - min(ys) or abs(ys[0]) or 1.0)
        room = 0.08 * (_log(high) - _log(low)) or 0.2
        upright = None
        if self._is_steep:
            values = decade_ticks(min(p.y for p in self.points), max(p.y for p in self.points))
            upright = [[(_log(value), figure_words(value)) for value in values]]
        self.plot.getAxis("left").setTicks(upright)
        self.plot.setXRange(_log(low) - room, _log(high) + 3 * room, padding=0)
        self.plot.setYRange(min(ys) - margin, max(ys) + margin, padding=0)

    def _draw_labels(self, text: object, muted: object) -> None:
        """Names beside the points, where they cover neither a point nor another name; the table has all of them."""
        for label in self._labels:
            self.plot.removeItem(label)
        self._labels = []
        box = self.plot.getViewBox()
        (left, right), (bottom, top) = box.viewRange()
        metrics = QFontMetricsF(look.font("caption"))
        across, down = box.width() / (right - left or 1), box.height() / (top - bottom or 1)
        at = {p: ((_log(p.x) - left) * across, (top - self._y(p.y)) * down) for p in self.points}
        half = POINT_PIXELS / 2 + 1
        taken = [QRectF(x - half, y - half, 2 * half, 2 * half) for x, y in at.values()]
        shown = QRectF(0, 0, box.width(), box.height())
        wanted = sorted(self.points, key=lambda p: (p.run not in self._selected, p not in self.front, p.is_student))
        for point in wanted[:MOST_LABELS]:
            words = self.tr("{0}, {1} NFE").format(short(point.name), point.nfe)
            width, height, (x, y) = metrics.horizontalAdvance(words) + 12, metrics.height() + 2, at[point]
            places = (  # right, above, below, left of its point, then beside the corners
                QRectF(x + half, y - height / 2, width, height),
                QRectF(x - width / 2, y - half - height, width, height),
                QRectF(x - width / 2, y + half, width, height),
                QRectF(x - half - width, y - height / 2, width, height),
                QRectF(x + half, y + half, width, height),
                QRectF(x + half, y - half - height, width, height),
                QRectF(x - half - width, y + half, width, height),
                QRectF(x - half - width, y - half - height, width, height),
            )
            free = [r for r in places if shown.contains(r) and not any(r.intersects(other) for other in taken)]
            if not free:
                continue
            taken.append(free[0])
            label = pg.TextItem(words, color=text if point.is_student else muted, anchor=(0.5, 0.5))
            label.setFont(look.font("caption"))
            middle = free[0].center()
            label.setPos(left + middle.x() / across, top - middle.y() / down)
            self.plot.addItem(label, ignoreBounds=True)
            self._labels.append(label)

    def _fill_table(self) -> None:
        seconds = self.axis.currentData() == SECONDS
        x_title = self.tr("Time per picture") if seconds else self.tr("NFE on the axis")
        heads = [
            self.tr("Run"),
            self.tr("NFE"),
            x_title,
            figure_title(self.figure.currentData() or ""),
            self.tr("Front"),
        ]
        self._filling = True
        self.table.setHorizontalHeaderLabels(heads)
        self.table.setRowCount(len(self.points))
        for number, point in enumerate(sorted(self.points, key=lambda point: (point.x, point.y))):
            who = point.name if point.is_student else self.tr("Teacher {0}").format(short(point.name))
            front = self.tr("not beaten") if point in self.front else ""
            x = milliseconds(point.x) if seconds else f"{point.x:g}"
            for column, words in enumerate((who, str(point.nfe), x, figure_words(point.y), front)):
                item = QTableWidgetItem(words)
                item.setToolTip(words)
                item.setData(Qt.ItemDataRole.UserRole, point.run)
                if column in (1, 2, 3):
                    item.setFont(look.figures())
                self.table.setItem(number, column, item)
        self._filling = False

    def _row_chosen(self) -> None:
        items = self.table.selectedItems()
        if items and not self._filling:
            self.chosen.emit(items[0].data(Qt.ItemDataRole.UserRole))

    def _clicked(self, _: object, spots: Sequence[pg.SpotItem]) -> None:
        if len(spots):
            self.chosen.emit(spots[0].data().run)

    def _resized(self, _: object) -> None:
        if self.points:
            self._draw_labels(look.colour("text"), look.colour("muted"))

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange and hasattr(self, "_parts"):
            self._draw()


def figure_title(name: str) -> str:
    """A figure's name for a person."""
    known: Mapping[str, str] = {
        "frechet": said("Frechet distance"),
        "sliced_wasserstein": said("Sliced Wasserstein distance"),
        "teacher_rms": said("Distance to the teacher's pictures"),
        "class_accuracy": said("Class accuracy"),
    }
    return known.get(name) or said(name.replace("_", " ").capitalize())


def decade_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten from below `low` to above `high`; powers alone where the range is wide."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    steps = (1, 2, 5) if last - first <= 3 else (1,)
    return [step * 10.0**power for power in range(first, last + 1) for step in steps]


def short(name: str) -> str:
    """The last part of a path."""
    return name.replace("\\", "/").rstrip("/").rpartition("/")[2] or name


def _log(value: float) -> float:
    return math.log10(max(value, 1e-9))
