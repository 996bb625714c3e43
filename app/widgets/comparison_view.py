"""Sides of a comparison beside each other, or two of them in one place: wipe, blink, difference.

All panes share one camera. It knows no project and no process: it is given layers and the words for each side.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, cast

from PySide6.QtCore import QEvent, QPoint, QPointF, QRectF, Qt, QTimer, Signal
from PySide6.QtGui import (
    QColor,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QPixmap,
    QResizeEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QApplication, QFrame, QGridLayout, QVBoxLayout, QWidget

from app import look
from app.comparison import Camera, Comparison, Mode, arrange, arrow_means, step_sample
from app.widgets.picture_layers import PictureLayers

MARGIN = 8.0
LEAST_PANE = 64
PAN_STEP = 48.0
ZOOM_STEP = 1.25
WIPE_STEP, WIPE_FINE = 0.05, 0.01
GRAB_WIDTH = 10
FRAMES_KEPT = 4
RATE = 2.0
Words = Callable[[int], tuple[str, str]]
_ARROWS = {
    Qt.Key.Key_Left: ("left", 1.0, 0.0),
    Qt.Key.Key_Right: ("right", -1.0, 0.0),
    Qt.Key.Key_Up: ("up", 0.0, 1.0),
    Qt.Key.Key_Down: ("down", 0.0, -1.0),
}


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


class Canvas(QWidget):
    """One pane; the view paints it and hears its mouse."""

    def __init__(self, view: ComparisonView, slot: int) -> None:
        super().__init__(view)
        self._view, self.slot = view, slot
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
        self._view.pressed(self, event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        self._view.moved(self, event)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        self._view.released(self, event)

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


class ComparisonView(QFrame):
    """Panes, their captions, and what keys and mouse do in them.

    changed: mode, sides, sample, zoom or what blinks has changed. sample_shown: one sample is shown large.
    """

    changed = Signal()
    sample_shown = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName(self.tr("Comparison"))
        self.layers: Layers | None = None
        self.mode: Mode = "side"
        self.a, self.b = 0, 0
        self.current = 0
        self.camera = Camera(0, 0, 1)
        self.fitted = True
        self.flipped = False
        self.wipe = 0.5
        self.gain = 4.0
        self._words: Words = lambda side: ("", "")
        self._frames: dict[_Key, QPixmap] = {}
        self._pressed: QPointF | None = None
        self._dragging: str = ""
        self._canvases: list[Canvas] = []
        self._captions: list[Caption] = []
        self._blinking = QTimer(self)
        self._blinking.setInterval(round(1000 / RATE))
        self._blinking.timeout.connect(self.flip)
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(look.SPACE, look.SPACE, look.SPACE, look.SPACE)
        self._grid.setSpacing(look.GAP)
        self._columns = 0

    # What is shown

    def show_layers(self, layers: Layers, words: Words) -> None:
        """Show another comparison; the mode stays."""
        self.layers, self._words = layers, words
        comparison = layers.comparison
        self.a, self.b = comparison.first_student, len(comparison.sides) - 1
        self.current = 0
        self.fitted = True
        self._forget()
        self._arrange()

    def set_mode(self, mode: Mode) -> None:
        """Show it in another way; zoom and sample stay."""
        if mode != "blink":
            self.blink(False)
        self.mode, self.flipped = mode, False
        self._arrange()

    def set_pair(self, a: int, b: int) -> None:
        """The two sides of wipe, blink and difference."""
        self.a, self.b = a, b
        self._say()
        self._update()

    def set_gain(self, gain: float) -> None:
        """How many times the difference is amplified."""
        self.gain = gain
        self._update()

    def flip(self) -> None:
        """The other of the two, in the same place; nothing else is laid out or painted again."""
        if self.mode != "blink":
            self.set_mode("blink")
        self.flipped = not self.flipped
        self._say()
        for canvas in self._canvases:
            canvas.update()

    def blink(self, on: bool) -> None:
        """Flip again and again."""
        if on == self.is_blinking:
            return
        if on:
            if self.mode != "blink":
                self.set_mode("blink")
            self._blinking.start()
        else:
            self._blinking.stop()
        self.changed.emit()

    @property
    def is_blinking(self) -> bool:
        """Whether it flips by itself."""
        return self._blinking.isActive()

    def set_rate(self, per_second: float) -> None:
        """How often it flips by itself."""
        self._blinking.setInterval(round(1000 / per_second))

    @property
    def sample(self) -> int | None:
        """The sample that is shown large; None for all of them, and for points."""
        return self.layers.sample if isinstance(self.layers, PictureLayers) else None

    def show_sample(self, sample: int | None) -> None:
        """Show one sample large, or all of them."""
        if not isinstance(self.layers, PictureLayers) or sample == self.layers.sample:
            return
        was_one = self.layers.sample is not None
        self.layers.sample = sample
        if sample is not None:
            self.current = sample
            self.sample_shown.emit(sample)
        if not was_one or sample is None:  # from one sample to the next, zoom and place stay
            self._arrange()
        self._say()
        self._update()

    def refresh(self) -> None:
        """Paint anew: what is behind the layers has changed."""
        self._forget()
        self._update()

    # Zoom and pan

    def fit(self) -> None:
        """All of it."""
        self.fitted = True
        self._fit()
        self._update()

    def true_size(self) -> None:
        """One pixel of a picture on one of the screen."""
        self._set_scale(1 / self.devicePixelRatioF())

    def zoom(self, factor: float, at: tuple[float, float] | None = None, canvas: Canvas | None = None) -> None:
        """Nearer or farther, about a point of a pane or its middle."""
        canvas = canvas or self._first()
        if canvas is None or self.layers is None:
            return
        pane = canvas.pane
        self.camera = self.camera.zoomed(factor, at or (pane[0] / 2, pane[1] / 2), pane).panned(0, 0, self.layers.size)
        self.fitted = False
        self._update()

    @property
    def percent(self) -> float:
        """How large a pixel of a picture is on the screen."""
        return 100 * self.camera.scale * self.devicePixelRatioF()

    def _set_scale(self, scale: float) -> None:
        self.zoom(scale / self.camera.scale)

    def pan(self, dx: float, dy: float) -> None:
        """Move what is shown by so much of the screen."""
        if self.layers is not None:
            self.camera = self.camera.panned(dx, dy, self.layers.size)
            self.fitted = False
            self._update()

    def _fit(self) -> None:
        canvas = self._first()
        if canvas is not None and self.layers is not None and self.fitted:
            self.camera = Camera.fit(self.layers.size, canvas.pane, MARGIN)

    def fit_again(self) -> None:
        """A pane has another size: what was shown whole is shown whole again."""
        self._fit()
        self._update()

    def _first(self) -> Canvas | None:
        return next(iter(self._canvases), None)

    # Panes

    def _arrange(self) -> None:
        """As many panes as the mode needs, in as many columns as show most."""
        if self.layers is None:
            return
        count = len(self.layers.comparison.sides) if self.mode == "side" else 1
        below = 4 * self.fontMetrics().lineSpacing()
        area = (float(max(self.width(), 1)), float(max(self.height(), 1)))
        columns = arrange(count, self.layers.size, area, below) if self.mode == "side" else 1
        captions = count if self.mode == "side" else 2
        if (count, captions, columns) != (len(self._canvases), len(self._captions), self._columns):
            self._rebuild(count, captions, columns)
        self._say()
        self._fit()
        self._update()

    def _rebuild(self, count: int, captions: int, columns: int) -> None:
        for old in (*self._canvases, *self._captions):
            self._grid.removeWidget(old)
            old.hide()
            old.deleteLater()
        for index in range(self._grid.rowCount()):
            self._grid.setRowStretch(index, 0)
        for index in range(self._grid.columnCount()):
            self._grid.setColumnStretch(index, 0)
        self._columns = columns
        self._canvases = [Canvas(self, slot) for slot in range(count)]
        self._captions = [Caption() for _ in range(captions)]
        wide = captions // count if count == 1 else 1
        for slot, canvas in enumerate(self._canvases):
            row, column = slot // columns * 2, slot % columns
            self._grid.addWidget(canvas, row, column, 1, wide)
            self._grid.setRowStretch(row, 1)
        for slot, caption in enumerate(self._captions):
            row, column = (slot // columns * 2 + 1, slot % columns) if count > 1 else (1, slot)
            self._grid.addWidget(caption, row, column)
            self._grid.setColumnStretch(column, 1)
            ends = count == 1 and slot == 1
            caption.align(Qt.AlignmentFlag.AlignRight if ends else Qt.AlignmentFlag.AlignLeft)
        for made in (*self._canvases, *self._captions):
            made.show()  # at once, rather than when Qt comes to it: the panes are asked for their size now
        self._grid.activate()

    def _say(self) -> None:
        """The words below the panes, and what a screen reader says of all of it."""
        if self.layers is None:
            return
        shown = range(len(self._captions)) if self.mode == "side" else (self.a, self.b)
        said = []
        for slot, (caption, side) in enumerate(zip(self._captions, shown, strict=False)):
            name, figures = self._words(side)
            seen = self.mode == "blink" and slot == int(self.flipped)
            caption.say(name, figures, "accent" if seen else "text")
            said.append(f"{name}: {figures}" + (self.tr(" (shown now)") if seen else ""))
        if isinstance(self.layers, PictureLayers):
            which = self.tr("sample {0}").format(self.current + 1)
            said.insert(0, which if self.sample is not None else self.tr("all samples, at {0}").format(which))
        self.setAccessibleDescription("; ".join(said))
        self.changed.emit()

    def _update(self) -> None:
        for canvas in self._canvases:
            canvas.update()
        self.changed.emit()

    def _forget(self) -> None:
        self._frames.clear()

    # Painting

    def paint(self, canvas: Canvas) -> None:
        """Paint one pane."""
        painter = QPainter(canvas)
        painter.fillRect(canvas.rect(), look.colour("surface"))
        if self.layers is None:
            return
        if self.mode == "side":
            painter.drawPixmap(0, 0, self._frame(canvas, canvas.slot))
        elif self.mode == "blink":
            painter.drawPixmap(0, 0, self._frame(canvas, self.b if self.flipped else self.a))
        elif self.mode == "wipe":
            self._paint_wipe(painter, canvas)
        else:
            painter.drawPixmap(0, 0, self._frame(canvas, self.a, self.b))
        self._paint_current(painter, canvas)
        edge = look.colour("accent" if self.hasFocus() else "line")
        painter.setPen(QPen(edge, 1.0))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawRect(QRectF(0.5, 0.5, canvas.width() - 1, canvas.height() - 1))
        if self.hasFocus():
            painter.drawRect(QRectF(1.5, 1.5, canvas.width() - 3, canvas.height() - 3))

    def _paint_wipe(self, painter: QPainter, canvas: Canvas) -> None:
        edge = round(self.wipe * canvas.width())
        ratio = canvas.devicePixelRatioF()
        left, right = self._frame(canvas, self.a), self._frame(canvas, self.b)
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
        if not isinstance(self.layers, PictureLayers) or self.sample is not None or not self.hasFocus():
            return
        grid = self.layers.grid
        x, y = self.camera.to_view(*grid.origin(self.current), canvas.pane)
        place = QRectF(x - 2, y - 2, grid.width * self.camera.scale + 4, grid.height * self.camera.scale + 4)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(look.colour("accent"), 2.0))
        painter.drawRect(place)

    def _frame(self, canvas: Canvas, *what: int) -> QPixmap:
        """A side, or the difference of two, as it looks in that pane now: painted once, then only copied."""
        assert self.layers is not None
        ratio = canvas.devicePixelRatioF()
        about = (*what, self.gain) if len(what) > 1 else what
        key = _Key(about, self.sample, self.camera, canvas.width(), canvas.height(), ratio, look.scheme().name)
        found = self._frames.get(key)
        if found is None:
            found = QPixmap(round(canvas.width() * ratio), round(canvas.height() * ratio))
            found.setDevicePixelRatio(ratio)
            found.fill(QColor(look.colour("surface")))
            painter = QPainter(found)
            if len(what) > 1:
                self.layers.paint_difference(painter, what[0], what[1], self.camera, canvas.pane, self.gain)
            else:
                self.layers.paint(painter, what[0], self.camera, canvas.pane)
            painter.end()
            while len(self._frames) >= max(FRAMES_KEPT, len(self._canvases)):
                self._frames.pop(next(iter(self._frames)))
            self._frames[key] = found
        return found

    # Mouse

    def pressed(self, canvas: Canvas, event: QMouseEvent) -> None:
        """A button went down in a pane."""
        self.setFocus(Qt.FocusReason.MouseFocusReason)
        if event.button() != Qt.MouseButton.LeftButton:
            return
        self._pressed = event.position()
        self._dragging = "divider" if self._at_divider(canvas, event.position()) else ""

    def moved(self, canvas: Canvas, event: QMouseEvent) -> None:
        """The mouse moved in a pane."""
        at = event.position()
        if self._pressed is None:
            over = self._at_divider(canvas, at)
            canvas.setCursor(Qt.CursorShape.SplitHCursor if over else Qt.CursorShape.ArrowCursor)
            return
        if self._dragging == "divider":
            self.set_wipe(at.x() / max(canvas.width(), 1))
            return
        way = at - self._pressed
        if self._dragging == "pan" or way.manhattanLength() >= QApplication.startDragDistance():
            self._dragging = "pan"
            canvas.setCursor(Qt.CursorShape.ClosedHandCursor)
            self.pan(way.x(), way.y())
            self._pressed = at

    def released(self, canvas: Canvas, event: QMouseEvent) -> None:
        """A button came up in a pane: without a drag, that was a click on a sample."""
        clicked = self._pressed is not None and not self._dragging
        self._pressed, self._dragging = None, ""
        canvas.setCursor(Qt.CursorShape.ArrowCursor)
        if clicked and isinstance(self.layers, PictureLayers) and self.sample is None:
            found = self.layers.grid.at(
                *self.camera.to_content(event.position().x(), event.position().y(), canvas.pane)
            )
            if found is not None:
                self.fitted = True
                self.show_sample(found)

    def _at_divider(self, canvas: Canvas, at: QPointF) -> bool:
        return self.mode == "wipe" and abs(at.x() - self.wipe * canvas.width()) <= GRAB_WIDTH

    def set_wipe(self, share: float) -> None:
        """Where the divider stands, 0 left to 1 right."""
        self.wipe = min(max(share, 0.0), 1.0)
        self._update()

    # Keys

    def keyPressEvent(self, event: QKeyEvent) -> None:
        key, held = event.key(), event.modifiers()
        if self.layers is None or held & (Qt.KeyboardModifier.AltModifier | Qt.KeyboardModifier.MetaModifier):
            super().keyPressEvent(event)
        elif key in _ARROWS:
            self._arrow(cast(Qt.Key, key), held)
        elif (deed := self._deeds().get(cast(Qt.Key, key))) is not None and not (
            held & Qt.KeyboardModifier.ControlModifier
        ):
            deed()
        else:
            super().keyPressEvent(event)

    def _deeds(self) -> dict[Qt.Key, Callable[[], object]]:
        return {
            Qt.Key.Key_Space: self.flip,
            Qt.Key.Key_B: lambda: self.blink(not self.is_blinking),
            Qt.Key.Key_Plus: lambda: self.zoom(ZOOM_STEP),
            Qt.Key.Key_Equal: lambda: self.zoom(ZOOM_STEP),
            Qt.Key.Key_Minus: lambda: self.zoom(1 / ZOOM_STEP),
            Qt.Key.Key_0: self.fit,
            Qt.Key.Key_1: self.true_size,
            Qt.Key.Key_Return: self.toggle_sample,
            Qt.Key.Key_Enter: self.toggle_sample,
            Qt.Key.Key_Escape: self._to_all,
            Qt.Key.Key_PageUp: lambda: self._step("left"),
            Qt.Key.Key_PageDown: lambda: self._step("right"),
        }

    def toggle_sample(self) -> None:
        """One sample large, or all of them again."""
        self.fitted = True
        self.show_sample(self.current if self.sample is None else None)

    def _to_all(self) -> None:
        self.fitted = True
        self.show_sample(None)
        self.fit()

    def _arrow(self, key: Qt.Key, held: Qt.KeyboardModifier) -> None:
        name, dx, dy = _ARROWS[key]
        points = not isinstance(self.layers, PictureLayers)
        deed = arrow_means(self.mode, self.fitted, dx != 0, points)
        if held & Qt.KeyboardModifier.ControlModifier:
            deed = "pan"
        if deed == "divider":
            fine = held & Qt.KeyboardModifier.ShiftModifier
            self.set_wipe(self.wipe - dx * (WIPE_FINE if fine else WIPE_STEP))
        elif deed == "sample":
            self._step(name)
        else:
            self.pan(dx * PAN_STEP, dy * PAN_STEP)

    def _step(self, name: str) -> None:
        if not isinstance(self.layers, PictureLayers):
            return
        comparison = self.layers.comparison
        found = step_sample(self.current, name, comparison.count, comparison.columns)  # type: ignore[arg-type]
        if found != self.current:
            self.current = found
            if self.sample is not None:
                self.show_sample(found)
            else:
                self._say()
                self._update()

    # Qt

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._arrange()

    def focusInEvent(self, event: object) -> None:
        super().focusInEvent(event)  # type: ignore[arg-type]
        self._update()

    def focusOutEvent(self, event: object) -> None:
        super().focusOutEvent(event)  # type: ignore[arg-type]
        self._update()

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange and hasattr(self, "_frames"):
            self.refresh()

    def picture(self) -> QPixmap:
        """All panes with their captions, as they are on the screen."""
        shown = QPixmap(self.size() * self.devicePixelRatioF())
        shown.setDevicePixelRatio(self.devicePixelRatioF())
        shown.fill(look.colour("window"))
        self.render(shown, QPoint(), renderFlags=QWidget.RenderFlag.DrawChildren)
        return shown
