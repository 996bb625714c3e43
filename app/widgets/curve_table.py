"""The figures of the plots as a table, read as far as a person scrolls; the way to them without seeing a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, Qt
from PySide6.QtGui import QAction, QGuiApplication, QKeySequence
from PySide6.QtWidgets import QHBoxLayout, QHeaderView, QPushButton, QTableView, QVBoxLayout, QWidget

from app import look
from app.models import ticks
from app.models.curve_rows import COPIED, PAGE, Column, Page, as_csv, read_page
from app.open_project import OpenProject
from app.translations import said

Index = QModelIndex | QPersistentModelIndex
_ROOT = QModelIndex()


class CurveRows(QAbstractTableModel):
    """Steps x series; asks for the next rows when the view comes near the end of those it has."""

    def __init__(self, project: OpenProject, parent: QWidget) -> None:
        super().__init__(parent)
        self._project = project
        self._key = f"curve-rows-{id(self)}"
        self.columns: tuple[Column, ...] = ()
        self.rows: list[tuple[int, tuple[float | None, ...]]] = []
        self._next: int | None = None
        self._last = 0
        self._asking = False
        self._number = 0

    def show(self, columns: Sequence[Column], first: int, last: int) -> None:
        """Begin anew with these series and steps."""
        self.beginResetModel()
        self.columns, self.rows = tuple(columns), []
        self._next, self._last, self._asking = (first if columns else None), last, False
        self._number += 1
        self.endResetModel()
        if self.canFetchMore():
            self.fetchMore()

    def extend(self, last: int) -> None:
        """More steps were recorded: go on to this one, and keep what was read."""
        if self._next is None and not self._asking:
            self._next = self._last + 1
        self._last = last
        if len(self.rows) < PAGE and self.canFetchMore():
            self.fetchMore()

    def rowCount(self, parent: Index = _ROOT) -> int:
        return 0 if parent.isValid() else len(self.rows)

    def columnCount(self, parent: Index = _ROOT) -> int:
        return 0 if parent.isValid() else len(self.columns) + 1

    def canFetchMore(self, parent: Index = _ROOT) -> bool:
        return self._next is not None and not self._asking

    def fetchMore(self, parent: Index = _ROOT) -> None:
        if self._next is None or self._asking:
            return
        self._asking = True
        columns, first, last, number = self.columns, self._next, self._last, self._number
        self._project.ask(lambda p: (number, last, read_page(p, columns, first, last)), self._take, key=self._key)

    def _take(self, answer: tuple[int, int, Page]) -> None:
        number, last, page = answer
        if number != self._number:
            return
        # More may have been recorded since it was asked.
        self._asking, self._next = False, last + 1 if page.next is None and last < self._last else page.next
        if page.rows:
            self.beginInsertRows(QModelIndex(), len(self.rows), len(self.rows) + len(page.rows) - 1)
            self.rows += page.rows
            self.endInsertRows()

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if orientation == Qt.Orientation.Horizontal and role in (Qt.ItemDataRole.DisplayRole, _TOOL_TIP):
            if section == 0:
                return self.tr("Step")
            column = self.columns[section - 1]
            return column.title.replace(column.name, said(column.name.replace("_", " ")), 1)
        return None

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        if role not in (Qt.ItemDataRole.DisplayRole, _TOOL_TIP):
            return None
        step, values = self.rows[index.row()]
        if index.column() == 0:
            return f"{step:,}"
        value = values[index.column() - 1]
        if value is None:
            return ""
        return ticks.figure(value, 6) if role == Qt.ItemDataRole.DisplayRole else repr(value)


_TOOL_TIP = Qt.ItemDataRole.ToolTipRole


class CurveTable(QWidget):
    """Shows the steps in sight of the plots. Copies what is selected, or all of them."""

    def __init__(self, project: OpenProject, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._project = project
        self._range = (0, -1)
        self.model = CurveRows(project, self)
        self.view = QTableView()
        self.view.setModel(self.model)
        self.view.setFont(look.figures("body"))
        self.view.setAccessibleName(self.tr("Figures of the curves by step"))
        self.view.setSelectionBehavior(QTableView.SelectionBehavior.SelectRows)
        self.view.setAlternatingRowColors(True)
        self.view.setShowGrid(False)
        self.view.setWordWrap(False)
        self.view.verticalHeader().hide()
        self.view.setTabKeyNavigation(False)
        head = self.view.horizontalHeader()
        head.setDefaultAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        head.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        head.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        head.setDefaultSectionSize(self.fontMetrics().horizontalAdvance("student_gradient_norm") + look.WIDE)
        self.words = look.label("", "caption", "muted", wraps=True)
        self.copy_button = QPushButton(self.tr("Copy as CSV"))
        self.copy_button.clicked.connect(self.copy)
        copy = QAction(self.tr("Copy as CSV"), self)
        copy.setShortcut(QKeySequence(QKeySequence.StandardKey.Copy))
        copy.setShortcutContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
        copy.triggered.connect(self.copy)
        self.addAction(copy)
        below = QHBoxLayout()
        below.setContentsMargins(look.MARGIN, 0, look.GAP, look.GAP)
        below.addWidget(self.words, 1)
        below.addWidget(self.copy_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(look.GAP)
        layout.addWidget(self.view, 1)
        layout.addLayout(below)
        self.setFocusProxy(self.view)

    def show_steps(self, columns: Sequence[Column], first: int, last: int) -> None:
        """Show these series from one step to another; what is shown already stays, also while steps are added."""
        if (tuple(columns), (first, last)) == (self.model.columns, self._range):
            return
        begin, end = self._range
        is_same = tuple(columns) == self.model.columns
        if is_same and last > end and (first == begin or (begin < first <= end and self.isVisible())):
            first = begin
            self.model.extend(last)
        else:
            self.model.show(columns, first, last)
        self._range = (first, last)
        if columns:
            self.words.setText(self.tr("Steps {0} to {1}, as the plots show them").format(f"{first:,}", f"{last:,}"))
        else:
            self.words.setText(self.tr("Choose a series to see its figures."))

    def copy(self) -> None:
        """Copy the selected rows, or every row in sight, to the clipboard."""
        picked = sorted(index.row() for index in self.view.selectionModel().selectedRows())
        if picked:
            self._copied((as_csv(self.model.columns, [self.model.rows[row] for row in picked]), len(picked), True))
            return
        columns, (first, last) = self.model.columns, self._range

        def read(project: Any) -> tuple[str, int, bool]:
            page = read_page(project, columns, first, last, COPIED)
            rows = page.rows[:COPIED]
            return as_csv(columns, rows), len(rows), page.next is None and len(page.rows) <= COPIED

        self._project.ask(read, self._copied, key=f"curve-copy-{id(self)}")

    def _copied(self, answer: tuple[str, int, bool]) -> None:
        text, rows, is_all = answer
        QGuiApplication.clipboard().setText(text)
        if is_all:
            self.words.setText(self.tr("{0} rows copied.").format(f"{rows:,}"))
        else:
            words = self.tr("The first {0} rows copied; zoom in for others, or use distill metrics.")
            self.words.setText(words.format(f"{rows:,}"))
