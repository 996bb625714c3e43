"""A line of text that may be longer than there is room for: its middle gives way, and the whole is its tooltip."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QLabel, QSizePolicy, QWidget

from app import look

LEAST_LETTERS = 8


class ElidedLabel(QLabel):
    """For paths and names, whose ends say most."""

    def __init__(self, role: look.Role = "body", tone: str = "text", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFont(look.font(role))
        look.set_tone(self, tone)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setProperty("elided", True)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)

    def setText(self, text: str) -> None:
        super().setText(text)
        self.setToolTip(text)

    def minimumSizeHint(self) -> QSize:
        return QSize(self.fontMetrics().averageCharWidth() * LEAST_LETTERS, super().minimumSizeHint().height())

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setFont(self.font())
        painter.setPen(self.palette().color(self.foregroundRole()))
        area = self.contentsRect()
        shown = self.fontMetrics().elidedText(self.text(), Qt.TextElideMode.ElideMiddle, area.width())
        painter.drawText(area, int(self.alignment()), shown)
        painter.end()
