"""Sides of a comparison beside each other, or two of them in one place: wipe, blink, difference.

All panes share one camera. It knows no project and no process: it is given layers and the words for each side.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from PySide6.QtCore import QEvent, QPoint, QPointF, QRect, Qt, QTimer, Signal
from PySide6.QtGui import QKeyEvent, QPixmap, QResizeEvent
from PySide6.QtWidgets import QFrame, QGridLayout, QWidget

from app import look
from app.models.comparison import Camera, Mode, arrange, arrow_means, condition_words, is_beside, step_sample
from app.widgets.pane import ZOOM_STEP, Canvas, Caption
from app.widgets.pane_painter import Layers, PanePainter
from app.widgets.picture_layers import PictureLayers

MARGIN = 8.0
WORDS_WIDTH = 56.0 * look.SPACE
"""Of words beside their pane."""
PAN_STEP = 48.0
WIPE_STEP, WIPE_FINE = 0.05, 0.01
RATE = 2.0
Words = Callable[[int], tuple[str, str]]
_ARROWS = {
    Qt.Key.Key_Left: ("left", 1.0, 0.0),
    Qt.Key.Key_Right: ("right", -1.0, 0.0),
    Qt.Key.Key_Up: ("up", 0.0, 1.0),
    Qt.Key.Key_Down: ("down", 0.0, -1.0),
}


class ComparisonView(QFrame):
    """Panes, their captions, and what keys and mouse do in them.

    changed: mode, sides, sample, zoom or what blinks has changed. sample_shown: one sample is shown large.
    pointed: `named` is another, because the pointer moved; else `changed` says so.
    """

    changed = Signal()
    pointed = Signal()
    sample_shown = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName(self.tr("Comparison"))
        self.layers: Layers | None = None
        self.mode: Mode = "side"
        self.a, self.b = 0, 0
        self.current = 0
        self._pointer: tuple[Canvas, QPointF] | None = None
        self.camera = Camera(0, 0, 1)
        self.fitted = True
        self.flipped = False
        self.wipe = 0.5
        self.gain = 4.0
        self._words: Words = lambda side: ("", "")
        self._painter = PanePainter(self)
        self.canvases: list[Canvas] = []
        self._captions: list[Caption] = []
        self._blinking = QTimer(self)
        self._blinking.setInterval(round(1000 / RATE))
        self._blinking.timeout.connect(self.flip)
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(look.SPACE, look.SPACE, look.SPACE, look.SPACE)
        self._grid.setSpacing(look.GAP)
        self._columns = 0
        self._beside = False
        """Whether the words of a pane stand at its right, not below it."""

    # What is shown

    def show_layers(self, layers: Layers, words: Words) -> None:
        """Show another comparison; the mode stays."""
        self.layers, self._words = layers, words
        comparison = layers.comparison
        self.a, self.b = comparison.first_student, len(comparison.sides) - 1
        self.current = 0
        self.fitted = True
        self._painter.forget()
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
        for canvas in self.canvases:
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
        self._painter.forget()
        self._update()

    def open_sample(self, at: QPointF, canvas: Canvas) -> None:
        """Show the sample large that lies at this point of a pane, where there is one."""
        found = self._sample_at(canvas, at) if self.sample is None else None
        if found is not None:
            self.fitted = True
            self.show_sample(found)

    # Which picture a person looks at

    @property
    def named(self) -> int | None:
        """The sample under the pointer, else the one that is shown large or framed for the keyboard."""
        pointed = self._sample_at(*self._pointer) if self._pointer is not None else None
        if pointed is not None or not isinstance(self.layers, PictureLayers):
            return pointed
        return self.current if self.sample is not None or self.hasFocus() else None

    def point(self, canvas: Canvas | None, at: QPointF | None = None) -> None:
        """The pointer is at this point of a pane, or in none. In a gap it is as at the picture that it came from."""
        before = self.named
        if canvas is None or at is None:
            self._pointer = None
        elif self._sample_at(canvas, at) is not None or not self._is_inside(canvas, at):
            self._pointer = (canvas, at)
        if self.named != before:
            self.pointed.emit()

    def tip(self, canvas: Canvas, at: QPointF) -> tuple[str, QRect]:
        """What is said of the picture at a point of a pane, and for where in the pane it holds."""
        found = self._sample_at(canvas, at)
        if found is None or not isinstance(self.layers, PictureLayers):
            return "", QRect()
        return self._condition(found), self.layers.place_of(found, self.camera, canvas.pane).toAlignedRect()

    def _sample_at(self, canvas: Canvas, at: QPointF) -> int | None:
        if not isinstance(self.layers, PictureLayers):
            return None
        return self.layers.sample_at(*self.camera.to_content(at.x(), at.y(), canvas.pane))

    def _is_inside(self, canvas: Canvas, at: QPointF) -> bool:
        width, height = self.layers.size if self.layers is not None else (0.0, 0.0)
        x, y = self.camera.to_content(at.x(), at.y(), canvas.pane)
        return 0 <= x < width and 0 <= y < height

    def _condition(self, sample: int) -> str:
        conditions = self.layers.comparison.conditions if self.layers is not None else None
        return condition_words(conditions, sample, self.tr) if conditions is not None else ""

    def paint(self, canvas: Canvas) -> None:
        """Paint one pane."""
        self._painter.paint(canvas)

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
        """A pane has another size: what was shown whole is shown whole again.

        Others hear of it later: what they show would lay out the panes while they are being laid out.
        """
        self._fit()
        for canvas in self.canvases:
            canvas.update()
        QTimer.singleShot(0, self, self.changed.emit)

    def _first(self) -> Canvas | None:
        return next(iter(self.canvases), None)

    # Panes

    def _arrange(self) -> None:
        """As many panes as the mode needs, in as many columns as show most."""
        if self.layers is None:
            return
        count = len(self.layers.comparison.sides) if self.mode == "side" else 1
        below = 4 * self.fontMetrics().lineSpacing()
        area = (float(max(self.width(), 1)), float(max(self.height(), 1)))
        columns = arrange(count, self.layers.size, area, below) if self.mode == "side" else 1
        beside = self.mode == "side" and is_beside(count, self.layers.size, area, below, WORDS_WIDTH)
        captions = count if self.mode == "side" else 2
        columns = 1 if beside else columns
        shape = (len(self.canvases), len(self._captions), self._columns, self._beside)
        if (count, captions, columns, beside) != shape:
            self._beside = beside
            self._rebuild(count, captions, columns)
        self._say()
        self._fit()
        self._update()

    def _rebuild(self, count: int, captions: int, columns: int) -> None:
        for old in (*self.canvases, *self._captions):
            self._grid.removeWidget(old)
            old.hide()
            old.deleteLater()
        for index in range(self._grid.rowCount()):
            self._grid.setRowStretch(index, 0)
        for index in range(self._grid.columnCount()):
            self._grid.setColumnStretch(index, 0)
        self._columns, self._pointer = columns, None
        self.canvases = [Canvas(self, slot) for slot in range(count)]
        self._captions = [Caption() for _ in range(captions)]
        wide = captions // count if count == 1 else 1
        for slot, canvas in enumerate(self.canvases):
            row, column = slot // columns * 2, slot % columns
            self._grid.addWidget(canvas, row, column, 1, wide)
            self._grid.setRowStretch(row, 1)
        for slot, caption in enumerate(self._captions):
            row, column = (slot // columns * 2 + 1, slot % columns) if count > 1 else (1, slot)
            if self._beside:
                row, column = 2 * slot, 1
            self._grid.addWidget(caption, row, column)
            self._grid.setColumnStretch(column, 0 if self._beside else 1)
            self._grid.setColumnStretch(0, 1)
            if self._beside:
                caption.setFixedWidth(round(WORDS_WIDTH))
            ends = count == 1 and slot == 1
            caption.align(Qt.AlignmentFlag.AlignRight if ends else Qt.AlignmentFlag.AlignLeft)
        for made in (*self.canvases, *self._captions):
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
            which = which if self.sample is not None else self.tr("all samples, at {0}").format(which)
            said[:0] = filter(None, (which, self._condition(self.current)))
        self.setAccessibleDescription("; ".join(said))
        self.changed.emit()

    def _update(self) -> None:
        for canvas in self.canvases:
            canvas.update()
        self.changed.emit()

    # Keys

    def set_wipe(self, share: float) -> None:
        """Where the divider stands, 0 left to 1 right."""
        self.wipe = min(max(share, 0.0), 1.0)
        self._update()

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
            self.current, self._pointer = found, None  # until it moves, the keyboard's picture is looked at
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
        if event.type() == QEvent.Type.PaletteChange and hasattr(self, "_painter"):
            self.refresh()

    def picture(self) -> QPixmap:
        """All panes with their captions, as they are on the screen."""
        shown = QPixmap(self.size() * self.devicePixelRatioF())
        shown.setDevicePixelRatio(self.devicePixelRatioF())
        shown.fill(look.colour("window"))
        self.render(shown, QPoint(), renderFlags=QWidget.RenderFlag.DrawChildren)
        return shown
