"""A slider over the steps at which something was recorded, with the best of them marked on its track."""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QPainter, QPaintEvent, QPolygonF
from PySide6.QtWidgets import QSlider, QStyle

from app import look

HANDLE = 4 * look.SPACE
"""Its width in the style sheet, border included."""
MARK = 1.4 * look.SPACE


class HistorySlider(QSlider):
    """Its value is an index, not a step. Arrow keys go one on or back."""

    def __init__(self, words: str) -> None:
        super().__init__(Qt.Orientation.Horizontal)
        self._best: int | None = None
        self.setAccessibleName(words)
        self.setPageStep(10)
        self.setMinimumHeight(7 * look.SPACE)

    def show_range(self, count: int, best: int | None = None) -> None:
        """So many there are; which is the best."""
        self._best = best
        self.setEnabled(count > 1)
        self.setRange(0, max(0, count - 1))
        self.update()

    @property
    def is_at_end(self) -> bool:
        """Whether it shows the newest."""
        return self.value() == self.maximum()

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        if self._best is None or self.maximum() == 0:
            return
        room = self.width() - HANDLE - look.SPACE
        x = look.SPACE / 2 + HANDLE / 2 + QStyle.sliderPositionFromValue(0, self.maximum(), self._best, room)
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(look.colour("warning"))
        box = QRectF(x - MARK, 0, 2 * MARK, 2 * MARK)
        painter.drawPolygon(
            QPolygonF([QPointF(box.left(), box.top()), QPointF(box.right(), box.top()), QPointF(x, box.bottom())])
        )
