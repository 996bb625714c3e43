"""The recipes of some runs side by side: what differs between them, or all of it."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QAbstractItemView,
    QCheckBox,
    QHBoxLayout,
    QHeaderView,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from app import look
from app.models.recipe_diff import DiffRow, differences, words_of
from app.translations import said
from backend.contract.rows import Run


class RecipeDiff(QWidget):
    """A row for each value, a column for each run. A default is shown faint, what differs strong."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._runs: list[Run] = []
        self._rows: list[DiffRow] = []
        self.words = look.label("", "body", "muted", wraps=True)
        self.only = QCheckBox(self.tr("Only what differs"))
        self.only.setChecked(True)
        self.only.toggled.connect(self._fill)
        self.table = QTableWidget()
        self.table.setAccessibleName(self.tr("Recipes side by side"))
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setTabKeyNavigation(False)
        self.table.setShowGrid(False)
        self.table.setWordWrap(False)
        self.table.verticalHeader().hide()
        self.table.verticalHeader().setDefaultSectionSize(look.FIELD_HEIGHT)
        head = QHBoxLayout()
        head.addWidget(self.words, 1)
        head.addWidget(self.only)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, look.GAP, 0, 0)
        whole.setSpacing(look.GAP)
        whole.addLayout(head)
        whole.addWidget(self.table, 1)
        whole.addStretch(0)  # without a table the sentence stays where it is
        self.show_runs([])

    def show_runs(self, runs: Sequence[Run]) -> None:
        """Compare the recipes of these runs."""
        self._runs, self._rows = list(runs), differences(runs) if runs else []
        self._fill()

    def _fill(self) -> None:
        differing = sum(row.differs for row in self._rows)
        if len(self._runs) < 2:
            self.words.setText(self.tr("Select two or more runs in the table to see how their recipes differ."))
        elif differing:
            self.words.setText(
                self.tr("{0} of {1} values differ. Faint values are the defaults of their time.").format(
                    differing, len(self._rows)
                )
            )
        else:
            self.words.setText(self.tr("These recipes ask for the same; the runs differ in their names alone."))
        self.only.setEnabled(len(self._runs) > 1)
        shown = [row for row in self._rows if row.differs or not self.only.isChecked()]
        self.table.setVisible(bool(shown))
        self.table.setColumnCount(1 + len(self._runs))
        self.table.setHorizontalHeaderLabels([self.tr("Setting"), *(run.name for run in self._runs)])
        self.table.setRowCount(len(shown))
        for number, row in enumerate(shown):
            self._fill_row(number, row)
        header = self.table.horizontalHeader()
        header.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        header.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        header.setMinimumSectionSize(30 * look.SPACE)

    def _fill_row(self, number: int, row: DiffRow) -> None:
        name = QTableWidgetItem(row.name)
        name.setToolTip(said(row.words) or row.name)
        if row.differs:
            name.setFont(look.font("strong"))
        self.table.setItem(number, 0, name)
        for column, (value, default) in enumerate(zip(row.values, row.defaults, strict=True), 1):
            words = words_of(value) or self.tr("not in this recipe")
            item = QTableWidgetItem(words)
            item.setToolTip(self.tr("{0} (default)").format(words) if default else words)
            item.setData(
                Qt.ItemDataRole.AccessibleTextRole, self.tr("{0}, default").format(words) if default else words
            )
            item.setFont(look.figures())
            if default or not words_of(value):
                item.setForeground(look.colour("muted"))
            self.table.setItem(number, column, item)
