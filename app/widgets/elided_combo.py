"""A choice among names that may be longer than it is wide: what is left out is said by three dots."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QPaintEvent
from PySide6.QtWidgets import QComboBox, QStyle, QStyleOptionComboBox, QStylePainter

INSET = 2
"""Pixels that the style leaves free before the words, beside the field that it says they have."""


class ElidedCombo(QComboBox):
    """Qt's own cuts the words in the middle of a letter."""

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QStylePainter(self)
        option = QStyleOptionComboBox()
        self.initStyleOption(option)
        painter.drawComplexControl(QStyle.ComplexControl.CC_ComboBox, option)
        option.currentText = self.elided()
        painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, option)
        painter.end()

    def elided(self) -> str:
        """The chosen name, as far as there is room for it."""
        option = QStyleOptionComboBox()
        self.initStyleOption(option)
        kind, part = QStyle.ComplexControl.CC_ComboBox, QStyle.SubControl.SC_ComboBoxEditField
        room = self.style().subControlRect(kind, option, part, self).width() - INSET
        return self.fontMetrics().elidedText(self.currentText(), Qt.TextElideMode.ElideRight, room)
