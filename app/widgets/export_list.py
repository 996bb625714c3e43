"""The exports of a run as rows, of which one is chosen."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem, QWidget

from app import look
from app.models.run_words import figure
from app.models.runs_table import date_words
from backend.contract.rows import Export

LINES = 6
"""Exports in sight at once."""
DIFFERENCE, WHERE = 3, 4
LEAST_PLACE = 24 * look.SPACE
"""Of where an export went; what is narrower says nothing."""


class ExportList(QTableWidget):
    """When, in which form, of which step, how far from the preview, and where to."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(0, 5, parent)
        self.setAccessibleName(self.tr("Exports of this run"))
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setTabKeyNavigation(False)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(look.FIELD_HEIGHT)
        heads = [self.tr("Date"), self.tr("Form"), self.tr("Step"), self.tr("Difference"), self.tr("Where")]
        self.setHorizontalHeaderLabels(heads)
        header = self.horizontalHeader()
        header.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(WHERE, QHeaderView.ResizeMode.Stretch)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._make_room()

    def _make_room(self) -> None:
        """The difference, which is said below of the one that is chosen, gives way to the place."""
        sizes = [max(self.sizeHintForColumn(at), self.horizontalHeader().sectionSizeHint(at)) for at in range(WHERE)]
        self.setColumnHidden(DIFFERENCE, self.viewport().width() - sum(sizes) < LEAST_PLACE)

    def show_exports(self, exports: Sequence[Export], chosen: int) -> None:
        """Show these, from the top, and choose one by its place."""
        self.blockSignals(True)
        self.setRowCount(len(exports))
        for number, export in enumerate(exports):
            kept = export.verification
            difference = kept.get("max_abs_difference")
            cells = (
                date_words(export.time),
                export.format,
                str(kept.get("step") or ""),
                figure(difference) if isinstance(difference, int | float) else self.tr("not checked"),
                export.path,
            )
            for column, words in enumerate(cells):
                item = QTableWidgetItem(words)
                item.setToolTip(words)
                item.setFont(look.figures())
                item.setData(Qt.ItemDataRole.UserRole, export)
                self.setItem(number, column, item)
        self.blockSignals(False)
        lines = min(max(len(exports), 2), LINES) + 1
        self.setFixedHeight(lines * look.FIELD_HEIGHT + look.GAP)
        self._make_room()
        if exports:
            self.selectRow(chosen)

    @property
    def chosen(self) -> Export | None:
        """The one that is chosen."""
        items = self.selectedItems()
        return items[0].data(Qt.ItemDataRole.UserRole) if items else None
