"""How a pane of a comparison is painted: what it shows is painted once and kept, so that a flip only copies it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QPainter, QPen, QPixmap

from app import look
from app.models.comparison import Camera, Comparison
from app.widgets.picture_layers import PictureLayers

if TYPE_CHECKING:
    from app.widgets.comparison_view import ComparisonView
    from app.widgets.pane import Canvas

FRAMES_KEPT = 4


class Layers(Protocol):
    """What can be painted of a comparison."""

    comparison: Comparison

    @property
    def size(self) -> tuple[float, float]: ...

    def paint(self, painter: QPainter, side: int, camera: Camera, pane: tuple[float, float]) -> None: ...

    def paint_difference(
        self, painter: QPainter, a: int, b: int, camera: Camera, pane: tuple[float, float], gain: float
    ) -> None: ...

    def difference(self, a: int, b: int) -> float | None: ...


@dataclass(frozen=True)
class _Key:
    """What a painted frame depends on."""

    what: tuple[object, ...]
    sample: int | None
    camera: Camera
    width: int
    height: int
    ratio: float
    scheme: str


class PanePainter:
    """Paints the panes of a view as the view stands."""

    def __init__(self, view: ComparisonView) -> None:
        self._view = view
        self._frames: dict[_Key, QPixmap] = {}

    def forget(self) -> None:
        """Paint everything anew: what is behind it has changed."""
        self._frames.clear()

    def paint(self, canvas: Canvas) -> None:
        """Paint one pane."""
        view = self._view
        painter = QPainter(canvas)
        painter.fillRect(canvas.rect(), look.colour("surface"))
        if view.layers is None:
            return
        if view.mode == "side":
            painter.drawPixmap(0, 0, self._frame(canvas, canvas.slot))
        elif view.mode == "blink":
            painter.drawPixmap(0, 0, self._frame(canvas, view.b if view.flipped else view.a))
        elif view.mode == "wipe":
            self._paint_wipe(painter, canvas)
        else:
            painter.drawPixmap(0, 0, self._frame(canvas, view.a, view.b))
        self._paint_current(painter, canvas)
        edge = look.colour("accent" if view.hasFocus() else "line")
        painter.setPen(QPen(edge, 1.0))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawRect(QRectF(0.5, 0.5, canvas.width() - 1, canvas.height() - 1))
        if view.hasFocus():
            painter.drawRect(QRectF(1.5, 1.5, canvas.width() - 3, canvas.height() - 3))

    def _paint_wipe(self, painter: QPainter, canvas: Canvas) -> None:
        view = self._view
        edge = round(view.wipe * canvas.width())
        ratio = canvas.devicePixelRatioF()
        left, right = self._frame(canvas, view.a), self._frame(canvas, view.b)
        height = canvas.height()
        painter.drawPixmap(QRectF(0, 0, edge, height), left, QRectF(0, 0, edge * ratio, height * ratio))
        rest = canvas.width() - edge
        painter.drawPixmap(QRectF(edge, 0, rest, height), right, QRectF(edge * ratio, 0, rest * ratio, height * ratio))
        painter.fillRect(QRectF(edge - 1, 0, 2, height), look.colour("accent"))
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setBrush(look.colour("accent"))
        painter.setPen(QPen(look.colour("on_accent"), 1.5))
        painter.drawEllipse(QPointF(edge, height / 2), 9, 9)
        for way in (-1, 1):
            tip = QPointF(edge + way * 5.5, height / 2)
            painter.drawLine(tip, tip + QPointF(-way * 3, -3))
            painter.drawLine(tip, tip + QPointF(-way * 3, 3))
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)

    def _paint_current(self, painter: QPainter, canvas: Canvas) -> None:
        """A frame about the sample that Enter shows large."""
        view = self._view
        if not isinstance(view.layers, PictureLayers) or view.sample is not None or not view.hasFocus():
            return
        place = view.layers.place_of(view.current, view.camera, canvas.pane).adjusted(-2, -2, 2, 2)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(look.colour("accent"), 2.0))
        painter.drawRect(place)

    def _frame(self, canvas: Canvas, *what: int) -> QPixmap:
        """A side, or the difference of two, as it looks in that pane now: painted once, then only copied."""
        view = self._view
        assert view.layers is not None
        ratio = canvas.devicePixelRatioF()
        about = (*what, view.gain) if len(what) > 1 else what
        key = _Key(about, view.sample, view.camera, canvas.width(), canvas.height(), ratio, look.scheme().name)
        found = self._frames.get(key)
        if found is None:
            found = QPixmap(round(canvas.width() * ratio), round(canvas.height() * ratio))
            found.setDevicePixelRatio(ratio)
            found.fill(look.colour("surface"))
            painter = QPainter(found)
            if len(what) > 1:
                view.layers.paint_difference(painter, what[0], what[1], view.camera, canvas.pane, view.gain)
            else:
                view.layers.paint(painter, what[0], view.camera, canvas.pane)
            painter.end()
            while len(self._frames) >= max(FRAMES_KEPT, len(view.canvases)):
                self._frames.pop(next(iter(self._frames)))
            self._frames[key] = found
        return found
