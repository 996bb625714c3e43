"""The series of a plot: which to show, in what colour, their newest and lowest values; and those under the crosshair.

It is the plots' legend as well. It knows no project and no plot.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle

from PySide6.QtCore import QEvent, QModelIndex, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QFontMetrics, QIcon, QPainter, QPixmap, QResizeEvent, QStandardItem, QStandardItemModel
from PySide6.QtWidgets import QHeaderView, QTreeView, QVBoxLayout, QWidget

from app import look
from app.translations import curve_words
from app.widgets.curve_lines import Pen

NAME, VALUE, LOWEST = range(3)
CELL = 5 * look.SPACE
"""What a cell leaves free about its words."""
LEAST_WIDTH = 51 * look.SPACE
EDGES = 4 * look.SPACE
"""Of the view: its frame, and the bar that scrolls it."""
OF_ITS_GROUP = "_gradient_norm"
"""What the names of a whole group end with, which its title says."""
SWATCH, LONG_SWATCH = 14, 28
"""How wide a sample of a line is, and where its dashes are to be told apart."""


@dataclass(frozen=True)
class Entry:
    """A series of one run. order: 0 for the main run. last, low: in words."""

    name: str
    group: str
    pen: Pen
    run: str
    order: int
    last: str
    low: str


class SeriesList(QWidget):
    """chosen_changed: a frozenset of the names that are to be shown."""

    chosen_changed = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._model = QStandardItemModel(0, 3, self)
        self._shape: list[tuple[str, str, int, str, Pen]] = []
        self._entries: list[Entry] = []
        self._rows: dict[tuple[str, int], tuple[QStandardItem, QStandardItem, QStandardItem]] = {}
        self._filling = False
        self._names = 0
        """As wide as the longest name of a series."""
        self._wide: dict[int, int] = {}
        """Of the columns of figures, by number."""
        self.view = QTreeView()
        self.view.setModel(self._model)
        self.view.setAccessibleName(self.tr("Series to show"))
        self.view.setRootIsDecorated(False)
        self.view.setItemsExpandable(False)
        self.view.setIndentation(0)
        self.view.setIconSize(QSize(SWATCH, SWATCH))
        self.view.setUniformRowHeights(True)
        self.view.setEditTriggers(QTreeView.EditTrigger.NoEditTriggers)
        self.view.setTextElideMode(Qt.TextElideMode.ElideRight)
        self.view.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        head = self.view.header()
        head.setStretchLastSection(False)
        head.setMinimumSectionSize(12 * look.SPACE)
        self._head(self.tr("Last"))
        head.setSectionResizeMode(NAME, QHeaderView.ResizeMode.Stretch)
        for column in (VALUE, LOWEST):
            head.setSectionResizeMode(column, QHeaderView.ResizeMode.Fixed)
        self._model.itemChanged.connect(self._changed)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.view)
        self.setFocusProxy(self.view)
        self._least_widths()
        self._names = self.view.header().sectionSizeHint(NAME)
        self._make_room()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._make_room()

    def show_entries(self, entries: Sequence[Entry], chosen: frozenset[str]) -> None:
        """Show these; a series of several runs has a row for each below its own."""
        self._filling = True
        shape = [(e.name, e.group, e.order, e.run, e.pen) for e in entries]
        self._entries = list(entries)
        if shape != self._shape:
            self._shape = shape
            self._build(entries)
        for entry in entries:
            name, value, low = self._rows[entry.name, entry.order]
            value.setText(entry.last)
            low.setText(entry.low)
            box = self._rows.get((entry.name, -1), (name,))[NAME]
            if box.isCheckable():
                box.setCheckState(Qt.CheckState.Checked if entry.name in chosen else Qt.CheckState.Unchecked)
        self._grow(VALUE, (entry.last for entry in entries))
        self._grow(LOWEST, (entry.low for entry in entries))
        self._make_room()
        self._filling = False

    def show_values(self, heading: str, values: Mapping[tuple[str, int], str] | None) -> None:
        """What each series is at the crosshair, by (name, order); None for the newest values again."""
        self._filling = True
        self._head(heading if values is not None else self.tr("Last"))
        for entry in self._entries:
            row = self._rows.get((entry.name, entry.order))
            if row is not None:
                row[VALUE].setText(entry.last if values is None else values.get((entry.name, entry.order), ""))
        self._grow(VALUE, (values or {}).values())
        self._make_room()
        self._filling = False

    def chosen(self) -> frozenset[str]:
        """The names that are checked."""
        return frozenset(
            name for (name, _), row in self._rows.items() if row[NAME].checkState() == Qt.CheckState.Checked
        )

    def index_of(self, name: str) -> QModelIndex:
        """Where a series is in the view."""
        return next(
            (row[NAME].index() for (found, _), row in self._rows.items() if found == name and row[NAME].isCheckable()),
            QModelIndex(),
        )

    def _head(self, value: str) -> None:
        self._model.setHorizontalHeaderLabels([self.tr("Series"), value, self.tr("Lowest")])
        for column in (VALUE, LOWEST):
            self._model.horizontalHeaderItem(column).setTextAlignment(
                Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
            )

    def _build(self, entries: Sequence[Entry]) -> None:
        self._model.removeRows(0, self._model.rowCount())
        self._rows.clear()
        several = len({entry.order for entry in entries}) > 1
        self.view.setIconSize(QSize(LONG_SWATCH if several else SWATCH, SWATCH))
        group = ""
        for entry in entries:
            if entry.group != group:
                group = entry.group
                title = _fixed(group)
                title.setFont(look.font("strong"))
                title.setEnabled(False)
                title.setForeground(look.colour("text"))
                self._model.appendRow([title, _fixed(""), _fixed("")])
                self.view.setFirstColumnSpanned(self._model.rowCount() - 1, QModelIndex(), True)
            if several and (entry.name, -1) not in self._rows:
                self._add(entry, -1, _short(entry), curve_words(entry.name))
            words, tip = (f"    {entry.run}", entry.run) if several else (_short(entry), curve_words(entry.name))
            self._add(entry, entry.order, words, tip)
        named = [row[NAME].index() for (_, order), row in self._rows.items() if order == -1 or not several]
        self._names = max((self.view.sizeHintForIndex(index).width() for index in named), default=self._names)

    def _add(self, entry: Entry, order: int, words: str, tip: str) -> None:
        name, value, low = _fixed(words), _fixed(""), _fixed("")
        name.setToolTip(tip)
        name.setData(tip, Qt.ItemDataRole.AccessibleTextRole)
        name.setFont(look.font("caption"))
        name.setCheckable((entry.name, -1) not in self._rows)
        if order != -1:
            name.setIcon(swatch(entry.pen, self.view.iconSize().width()))
        for item in (value, low):
            item.setFont(look.figures("caption"))
            item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self._model.appendRow([name, value, low])
        self._rows[entry.name, order] = (name, value, low)

    def _changed(self, item: QStandardItem) -> None:
        if not self._filling and item.isCheckable():
            self.chosen_changed.emit(self.chosen())

    def _least_widths(self) -> None:
        """What the columns of figures need before there are any."""
        heads = QFontMetrics(look.font("strong"))
        for column, title in ((VALUE, self.tr("At {0}").format("0.00k")), (LOWEST, self.tr("Lowest"))):
            self._wide[column] = heads.horizontalAdvance(title) + CELL
            self._grow(column, ("0.00–0.00" if column == VALUE else "-0.00000",))

    def _grow(self, column: int, figures: Iterable[str]) -> None:
        """Let a column be as wide as these need; it stays so, as a width that comes and goes would be seen."""
        metrics = QFontMetrics(look.figures("caption"))
        needed = max((metrics.horizontalAdvance(words) for words in figures), default=0) + CELL
        self._wide[column] = max(self._wide[column], needed)

    def _make_room(self) -> None:
        """Names and newest values are whole at any width; the lowest values are there where they fit beside them."""
        least = self._names + self._wide[VALUE] + EDGES
        self.setMinimumWidth(max(LEAST_WIDTH, least))
        self.view.setColumnHidden(LOWEST, self.width() < least + self._wide[LOWEST])
        for column, wide in self._wide.items():
            if not self.view.isColumnHidden(column):
                self.view.header().resizeSection(column, wide)

    def changeEvent(self, event: QEvent) -> None:
        if event.type() == QEvent.Type.PaletteChange:
            self._filling = True
            for entry in self._entries:
                self._rows[entry.name, entry.order][NAME].setIcon(swatch(entry.pen, self.view.iconSize().width()))
            self._shape = []  # the titles have the old colour
            self.show_entries(self._entries, self.chosen())
            self._filling = False
        super().changeEvent(event)


def _short(entry: Entry) -> str:
    """Its name without what the title above it says."""
    return curve_words(entry.name.removesuffix(OF_ITS_GROUP))


def _fixed(words: str) -> QStandardItem:
    item = QStandardItem(words)
    item.setEditable(False)
    return item


def swatch(pen: Pen, width: int) -> QIcon:
    """How a line of that pen looks."""
    ratio = 2.0
    pixmap = QPixmap(round(width * ratio), round(SWATCH * ratio))
    pixmap.fill(Qt.GlobalColor.transparent)
    pixmap.setDevicePixelRatio(ratio)
    painter = QPainter(pixmap)
    colour = look.series_colour(pen.slot)
    left = 0
    for number, part in enumerate(cycle(pen.dash or (width,))):
        if left >= width:
            break
        if number % 2 == 0:
            painter.fillRect(QRectF(left, 5, min(part, width - left), 4), colour)
        left += part
    painter.end()
    return QIcon(pixmap)
