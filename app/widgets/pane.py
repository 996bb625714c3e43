"""One pane of a comparison and the words below it. The pane knows where the mouse is; its view knows what it shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from PySide6.QtCore import QEvent, QPoint, QPointF, Qt
from PySide6.QtGui import QHelpEvent, QMouseEvent, QPaintEvent, QResizeEvent, QWheelEvent
from PySide6.QtWidgets import QApplication, QToolTip, QVBoxLayout, QWidget

from app import look

if TYPE_CHECKING:
    from app.widgets.comparison_view import ComparisonView

LEAST_PANE = 64
ZOOM_STEP = 1.25
GRAB_WIDTH = 10


class Canvas(QWidget):
    """One pane; the view paints it and hears its mouse."""

    def __init__(self, view: ComparisonView, slot: int) -> None:
        super().__init__(view)
        self._view, self.slot = view, slot
        self._pressed: QPointF | None = None
        self._dragging: Literal["", "divider", "pan"] = ""
        self.setMouseTracking(True)
        self.setMinimumSize(LEAST_PANE, LEAST_PANE)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)

    @property
    def pane(self) -> tuple[float, float]:
        """Its size."""
        return float(self.width()), float(self.height())

    def paintEvent(self, event: QPaintEvent) -> None:
        self._view.paint(self)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._view.fit_again()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self._view.setFocus(Qt.FocusReason.MouseFocusReason)
        if event.button() == Qt.MouseButton.LeftButton:
            self._pressed = event.position()
            self._dragging = "divider" if self._at_divider(event.position()) else ""

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        at = event.position()
        self._view.point(self, at)
        if self._pressed is None:
            self.setCursor(Qt.CursorShape.SplitHCursor if self._at_divider(at) else Qt.CursorShape.ArrowCursor)
        elif self._dragging == "divider":
            self._view.set_wipe(at.x() / max(self.width(), 1))
        elif self._dragging or (at - self._pressed).manhattanLength() >= QApplication.startDragDistance():
            way, self._pressed, self._dragging = at - self._pressed, at, "pan"
            self.setCursor(Qt.CursorShape.ClosedHandCursor)
            self._view.pan(way.x(), way.y())

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        clicked = self._pressed is not None and not self._dragging
        self._pressed, self._dragging = None, ""
        self.setCursor(Qt.CursorShape.ArrowCursor)
        if clicked:  # without a drag
            self._view.open_sample(event.position(), self)

    def leaveEvent(self, event: QEvent) -> None:
        super().leaveEvent(event)
        self._view.point(None)

    def event(self, event: QEvent) -> bool:
        if isinstance(event, QHelpEvent) and event.type() == QEvent.Type.ToolTip:
            words, place = self._view.tip(self, QPointF(event.pos()))
            # Below the pane, not at the pointer, where it would hide the picture that it speaks of and those beside it.
            # It hides where there are no words.
            QToolTip.showText(self.mapToGlobal(QPoint(place.left(), self.height())), look.tip(words), self, place)
            return True
        return super().event(event)

    def _at_divider(self, at: QPointF) -> bool:
        view = self._view
        return view.mode == "wipe" and abs(at.x() - view.wipe * self.width()) <= GRAB_WIDTH

    def wheelEvent(self, event: QWheelEvent) -> None:
        turned = event.angleDelta().y() or event.pixelDelta().y()
        if turned:
            at = event.position()
            self._view.zoom(ZOOM_STEP ** (turned / 120), (at.x(), at.y()), self)
        event.accept()


class Caption(QWidget):
    """Name and figures of a side, as text below its pane."""

    def __init__(self) -> None:
        super().__init__()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, look.SPACE, 0, 0)
        column.setSpacing(0)
        self.name = look.label("", "strong", wraps=True)
        self.figures = look.label("", "caption", "muted", wraps=True)
        self.figures.setFont(look.figures("caption"))
        column.addWidget(self.name)
        column.addWidget(self.figures)
        column.addStretch(1)

    def say(self, name: str, figures: str, tone: str = "text") -> None:
        """Show these words."""
        self.name.setText(name)
        self.figures.setText(figures)
        look.set_tone(self.name, tone)

    def align(self, side: Qt.AlignmentFlag) -> None:
        """Where its lines stand."""
        for label in (self.name, self.figures):
            label.setAlignment(side | Qt.AlignmentFlag.AlignTop)
