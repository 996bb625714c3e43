"""The table of runs: sorted, filtered, its columns chosen by a person and remembered."""

from __future__ import annotations

from PySide6.QtCore import QItemSelectionModel, QPoint, QSettings, Qt, Signal
from PySide6.QtGui import QContextMenuEvent, QKeyEvent, QResizeEvent
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QMenu, QTableView, QWidget

from app import look
from app.models.runs_table import ROW_ROLE, RunsModel, ShownRuns
from backend.contract.rows import RunRow

MEASURED_ROWS = 24
"""How many decide the width of a column; to measure hundreds would be felt."""
PADDING = 2 * look.GAP + 2 * look.SPACE
"""Of a cell, which the words do not fill; an icon beside them has its place in it."""
LEAST_ROWS = 2
LEAST_WIDTH, MOST_WIDTH = 16 * look.SPACE, 60 * look.SPACE


class RunsTable(QTableView):
    """opened: a run was double-clicked or Return was pressed on it. chosen: the selection is another one.
    menu_wanted: where a menu for the selection should appear.
    """

    opened = Signal(int)
    chosen = Signal()
    menu_wanted = Signal(QPoint)

    def __init__(self, model: RunsModel, settings: QSettings, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.runs, self._settings = model, settings
        self.proxy = ShownRuns(model, self)
        self.setModel(self.proxy)
        self.setAccessibleName(self.tr("Runs"))
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.EditKeyPressed)
        self.setAlternatingRowColors(False)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.setTabKeyNavigation(False)  # Tab leads on to the next control
        self.setTextElideMode(Qt.TextElideMode.ElideRight)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(look.FIELD_HEIGHT)
        header = self.horizontalHeader()
        header.setSectionsMovable(True)
        header.setHighlightSections(False)
        header.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        header.customContextMenuRequested.connect(lambda at: self.column_menu().popup(header.mapToGlobal(at)))
        self.setSortingEnabled(True)
        self.doubleClicked.connect(lambda index: self.opened.emit(index.data(ROW_ROLE).id))
        self.selectionModel().selectionChanged.connect(lambda *_: self.chosen.emit())
        self.proxy.modelReset.connect(self._dress)
        self._sized = False
        self._states: set[str] = set()
        self._name_width = LEAST_WIDTH
        self._dress()
        header.sortIndicatorChanged.connect(self._keep_order)

    def selected(self) -> list[RunRow]:
        """The runs that are selected, from top to bottom."""
        proxy, rows = self.proxy, self.runs.rows
        selection = self.selectionModel().selection()
        parts = [selection.at(number) for number in range(selection.count())]
        numbers = sorted({number for part in parts for number in range(part.top(), part.bottom() + 1)})
        return [rows[proxy.mapToSource(proxy.index(number, 0)).row()] for number in numbers]

    def select(self, runs: list[int]) -> None:
        """Select these runs and show the first of them."""
        model, flags = self.selectionModel(), QItemSelectionModel.SelectionFlag
        model.clearSelection()
        first = True
        for number in range(self.proxy.rowCount()):
            index = self.proxy.index(number, self.runs.place("name"))
            if index.data(ROW_ROLE).id in runs:
                if first:
                    model.setCurrentIndex(index, flags.NoUpdate)
                    self.scrollTo(index)
                    first = False
                model.select(index, flags.Select | flags.Rows)

    def rename(self) -> None:
        """Let a person type another name where the name stands."""
        current = self.currentIndex()
        if current.isValid():
            self.setColumnHidden(self.runs.place("name"), False)
            self.edit(self.proxy.index(current.row(), self.runs.place("name")))

    def fit(self) -> None:
        """Give each column the width that its words need, the first time there are any."""
        if self._sized:
            self._fit_states()
        if self._sized or not self.runs.rows:
            return
        self._sized = True
        for number in range(len(self.runs.columns)):
            if not self.isColumnHidden(number):
                self.setColumnWidth(number, self._wanted_width(number))
        self._states = self._words_of_states()
        self._name_width = self.columnWidth(self.runs.place("name"))
        self._fill_width()

    def _fit_states(self) -> None:
        """A state that no run had before may need more room; all other words may be cut."""
        found = self._words_of_states()
        if not found <= self._states:
            number = self.runs.place("state")
            self.setColumnWidth(number, max(self.columnWidth(number), self._wanted_width(number)))
            self._fill_width()
        self._states |= found

    def _words_of_states(self) -> set[str]:
        text = self.runs.columns[self.runs.place("state")].text
        return {text(row) for row in self.runs.rows}

    def _wanted_width(self, number: int) -> int:
        """What the words of a column need. Qt's own measure asks each cell for all that could be drawn in it."""
        metrics, proxy = self.fontMetrics(), self.proxy
        measured = range(min(MEASURED_ROWS, proxy.rowCount()))
        words = {str(proxy.index(row, number).data() or "") for row in measured}
        if number == self.runs.place("state"):  # the longest may be far below
            words |= self._words_of_states()
        widest = max((metrics.horizontalAdvance(text) for text in words), default=0) + PADDING
        head = self.horizontalHeader().sectionSizeHint(number)
        return max(LEAST_WIDTH, min(MOST_WIDTH, max(widest, head) + 2 * look.GAP))

    def fit_height(self) -> None:
        """End below the last row, where the rows are fewer than there is room for."""
        rows = max(self.proxy.rowCount(), LEAST_ROWS) * self.verticalHeader().defaultSectionSize()
        bar = self.horizontalScrollBar().sizeHint().height()
        self.setMaximumHeight(self.horizontalHeader().sizeHint().height() + rows + bar + 2 * self.frameWidth())

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fill_width()

    def _fill_width(self) -> None:
        """The name takes what the other columns leave, so that a chosen line ends where the table does."""
        name, header = self.runs.place("name"), self.horizontalHeader()
        others = header.length() - self.columnWidth(name)
        if self._sized:
            self.setColumnWidth(name, max(self._name_width, self.viewport().width() - others))

    def column_menu(self) -> QMenu:
        """The columns, to show or hide each."""
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        for number, column in enumerate(self.runs.columns):
            action = menu.addAction(column.title)
            action.setCheckable(True)
            action.setChecked(not self.isColumnHidden(number))
            action.setEnabled(column.key != "name")
            action.toggled.connect(lambda on, at=number: self._show_column(at, on))
        return menu

    def sort_by(self, key: str) -> None:
        """Sort by a column, from its lowest; by the one that is sorted by already, the other way round."""
        number, header = self.runs.place(key), self.horizontalHeader()
        falls = self.sorted_by == key and header.sortIndicatorOrder() == Qt.SortOrder.AscendingOrder
        self.sortByColumn(number, Qt.SortOrder.DescendingOrder if falls else Qt.SortOrder.AscendingOrder)

    @property
    def sorted_by(self) -> str:
        """The key of the column by which the runs are sorted."""
        return self.runs.columns[self.horizontalHeader().sortIndicatorSection()].key

    def shown_columns(self) -> list[int]:
        """The columns that are shown, from left to right."""
        header = self.horizontalHeader()
        order = [header.logicalIndex(visual) for visual in range(header.count())]
        return [number for number in order if not self.isColumnHidden(number)]

    def keyPressEvent(self, event: QKeyEvent) -> None:
        current = self.currentIndex()
        edits = self.state() == QAbstractItemView.State.EditingState
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and current.isValid() and not edits:
            self.opened.emit(current.data(ROW_ROLE).id)
            return
        super().keyPressEvent(event)

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        at = event.globalPos()
        if event.reason() == QContextMenuEvent.Reason.Keyboard:
            at = self.viewport().mapToGlobal(self.visualRect(self.currentIndex()).bottomLeft())
        self.menu_wanted.emit(at)

    def _show_column(self, number: int, on: bool) -> None:
        self.setColumnHidden(number, not on)
        if on:
            self.setColumnWidth(number, self._wanted_width(number))
        self._fill_width()
        keys = [self.runs.columns[at].key for at in self.shown_columns()]
        self._settings.setValue("runs/columns", keys)

    def _keep_order(self, number: int, order: Qt.SortOrder) -> None:
        self._settings.setValue("runs/sorted_by", self.runs.columns[number].key)
        self._settings.setValue("runs/falling", order == Qt.SortOrder.DescendingOrder)

    def _dress(self) -> None:
        """Show the columns that were chosen, in the order that was chosen."""
        found = self._settings.value("runs/columns")
        kept = found if isinstance(found, list) else ([found] if isinstance(found, str) else None)
        for number, column in enumerate(self.runs.columns):
            shown = column.shown if kept is None else column.key in kept or column.key == "name"
            self.setColumnHidden(number, not shown)
        by = str(self._settings.value("runs/sorted_by", "created"))
        keys = [column.key for column in self.runs.columns]
        falling = self._settings.value("runs/falling", True, bool)
        order = Qt.SortOrder.DescendingOrder if falling else Qt.SortOrder.AscendingOrder
        self.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        self.sortByColumn(keys.index(by) if by in keys else keys.index("created"), order)
        self._sized = False
        self.fit()
