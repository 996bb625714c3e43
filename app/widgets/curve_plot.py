"""One plot of several curves on a shared x axis: draws what it is given and says what a person points at.

Lines are kept as one picture and made again only when the view, the lines or the colours change, so that a moving
crosshair costs nothing. It knows no project: the curves widget gives it columns.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PySide6.QtCore import QEvent, QPoint, QPointF, QRect, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QFontMetrics,
    QHelpEvent,
    QImage,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QPolygonF,
    QResizeEvent,
    QShowEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from app import look
from app.models import curve_view, ticks
from app.models.curve_view import Columns, Span, Values
from app.models.ink import column_spans, ink
from app.models.ticks import Tick
from app.widgets.curve_lines import EDGE, FILL, Line, Mark, Shaded, paler

FEW = 40
"""So few points in sight are drawn as dots, too."""
ZOOM_IN, ZOOM_OUT = (Qt.Key.Key_Plus, Qt.Key.Key_Equal), (Qt.Key.Key_Minus, Qt.Key.Key_Underscore)
CATCH = 6
"""How many pixels beside a mark still mean it."""
FAR = 20_000.0
"""Pixels; what is farther away is drawn there."""


class CurvePlot(QWidget):
    """pointed: x under the pointer, or None. moved, zoomed: what a person wants of the shared x axis.

    zoomed carries (x that stays, factor); spanned a range that was drawn with Shift held; keyed a key that the plot
    does not use itself.
    """

    pointed = Signal(object)
    moved = Signal(float)
    zoomed = Signal(float, float)
    spanned = Signal(object)
    reset_wanted = Signal()
    keyed = Signal(object)

    def __init__(self, title: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName(title)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMouseTracking(True)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setToolTipDuration(10_000)
        self.lines: list[Line] = []
        self.bands: list[Shaded] = []
        self.span = Span(0.0, 1.0)
        self.log = self.clip = False
        self.shows_axis = True
        self.axis_title = ""
        self.x_ticks: list[Tick] = []
        self.margin = 0
        self.marks: list[tuple[float, Mark]] = []
        self.cross: float | None = None
        self._font = look.figures("caption")
        self._letters = QFontMetrics(self._font, self)
        self._height: Span | None = None
        self._y_zoom: Span | None = None
        self._y_ticks: list[Tick] = []
        self._ink: QImage | None = None
        self._pixels = np.empty((0, 0), np.uint32)
        self._stale = self._unscaled = True
        self._drag: QPointF | None = None
        self._selection: tuple[float, float] | None = None

    # What is shown

    def show_lines(self, lines: Sequence[Line], bands: Sequence[Shaded] = ()) -> None:
        self.lines, self.bands = list(lines), list(bands)
        self.rescale()

    def show_span(self, span: Span) -> None:
        if span != self.span:
            self.span = span
            self.rescale()

    def rescale(self) -> None:
        """Choose the range of y for what is in sight, before it is next needed."""
        self._unscaled = self._stale = True
        self.update()

    def redraw(self) -> None:
        """The room for the lines has changed."""
        self._stale = True
        self.update()

    def _scale(self) -> None:
        if not self._unscaled:
            return
        self._unscaled = False
        shown = [line.columns for line in self.lines if not line.is_superseded]
        self._height = self._y_zoom or self._fitted(curve_view.height(shown, self.span, self.clip))
        if self._height is not None:
            room = max(self._area().height() // (2 * self._metrics().height()), 3)
            make = ticks.logarithmic if self.log else ticks.linear
            self._y_ticks = make(self._height.low, self._height.high, room)
        else:
            self._y_ticks = []

    def _fitted(self, height: Span | None) -> Span | None:
        """The height of the lines with room for what of the bands is in sight."""
        if height is None or not self.bands:
            return height
        seen = [band.shade.within(self.span) for band in self.bands]
        values = np.concatenate([side for one in seen for side in (one.low, one.high)])
        values = values[np.isfinite(values)]
        return curve_view.widened(height, float(values.min()), float(values.max())) if len(values) else height

    def wanted_margin(self) -> int:
        """How much room the figures of the y axis need; all plots below each other take the largest."""
        self._scale()
        metrics = self._metrics()
        return max((metrics.horizontalAdvance(tick.words) for tick in self._y_ticks), default=0) + 3 * look.SPACE

    def show_cross(self, x: float | None) -> None:
        if x != self.cross:
            self.cross = x
            self.update()

    def reset_height(self) -> None:
        self._y_zoom = None
        self.rescale()

    def zoom_height(self, factor: float, at: float | None = None) -> None:
        """Show `factor` times as much of the y axis, around a place on the plot's scale or the middle."""
        shown = self.height_shown
        if shown is not None:
            self._y_zoom = shown.zoomed((shown.low + shown.high) / 2 if at is None else at, factor)
            self.rescale()

    @property
    def height_shown(self) -> Span | None:
        """The range of y in sight, on the plot's scale."""
        self._scale()
        return self._height

    def pixels(self) -> int:
        """How many columns can be told apart."""
        return max(round(self._area().width() * self.devicePixelRatioF()), 16)

    def sizeHint(self) -> QSize:
        return QSize(110 * look.SPACE, 50 * look.SPACE)

    def minimumSizeHint(self) -> QSize:
        return QSize(50 * look.SPACE, 30 * look.SPACE)

    # Places

    def _metrics(self) -> QFontMetrics:
        return self._letters

    def _area(self) -> QRect:
        below = round(2.6 * self._metrics().height()) if self.shows_axis else look.GAP
        return self.rect().adjusted(self.margin, look.GAP, -look.MARGIN, -below)

    def x_at(self, pixel: float) -> float:
        area = self._area()
        share = (pixel - area.left()) / max(area.width(), 1)
        return self.span.low + share * self.span.width

    def pixel_of(self, x: float) -> float:
        area = self._area()
        return area.left() + (x - self.span.low) / max(self.span.width, 1e-300) * area.width()

    def _pixel_of_y(self, y: float) -> float:
        area = self._area()
        assert self._height is not None
        return area.top() + (self._height.high - y) / max(self._height.width, 1e-300) * area.height()

    # Painting

    def paintEvent(self, event: QPaintEvent) -> None:
        self._scale()
        painter = QPainter(self)
        painter.fillRect(self.rect(), look.colour("surface"))
        area = self._area()
        painter.setFont(self._font)
        self._paint_bands(painter, area)
        self._paint_grid(painter, area)
        if self._height is None or area.height() < 2 or area.width() < 2:
            painter.setPen(look.colour("muted"))
            words = (
                self.tr("Nothing was recorded here.") if self.lines else self.tr("No series of this kind is chosen.")
            )
            painter.drawText(area, Qt.AlignmentFlag.AlignCenter, words)
        else:
            self._make_ink(area)
            if self._ink is not None:
                painter.drawImage(area.topLeft(), self._ink)
            painter.setClipRect(area.adjusted(-4, -4, 4, 4))
            self._paint_dots(painter)
            self._paint_odd(painter, area)
            painter.setClipping(False)
        self._paint_marks(painter, area)
        self._paint_cross(painter, area)
        if self._selection is not None:
            left, right = sorted(self._selection)
            chosen = look.colour("accent")
            chosen.setAlpha(50)
            painter.fillRect(QRectF(left, area.top(), right - left, area.height()), chosen)
        if self.hasFocus():
            painter.setPen(QPen(look.colour("accent"), 2))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(QRectF(self.rect()).adjusted(1, 1, -1, -1), look.RADIUS, look.RADIUS)
        painter.end()

    def _paint_bands(self, painter: QPainter, area: QRect) -> None:
        """Behind everything, the grid too; and all edges over all bands, so that none is lost behind another."""
        if self._height is None or not self.bands:
            return
        painter.setClipRect(area)
        edges = []
        for band in self.bands:
            seen = band.shade.within(self.span)
            if not len(seen.x):
                continue
            sides = [self._points(area, seen.x, side) for side in (seen.high, seen.low)]
            colour = look.series_colour(band.pen.slot)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(paler(colour, FILL))
            painter.drawPolygon(QPolygonF([*sides[0], *reversed(sides[1])]))
            edges.append((paler(colour, EDGE), sides))
        for pale, sides in edges:
            painter.setPen(QPen(pale, 1))
            for side in sides:
                painter.drawPolyline(QPolygonF(side))
        painter.setClipping(False)

    def _points(self, area: QRect, x: Values, y: Values) -> list[QPointF]:
        """Places on the plot, none of them so far away that a painter loses count."""
        assert self._height is not None
        across = area.left() + (x - self.span.low) * (area.width() / max(self.span.width, 1e-300))
        down = area.top() + (self._height.high - y) * (area.height() / max(self._height.width, 1e-300))
        return list(map(QPointF, across.tolist(), np.clip(down, -FAR, FAR).tolist()))

    def _paint_grid(self, painter: QPainter, area: QRect) -> None:
        metrics, line, muted = self._metrics(), look.colour("line"), look.colour("muted")
        for tick in self._y_ticks if self._height else []:
            y = round(self._pixel_of_y(tick.at))
            painter.setPen(line)
            painter.drawLine(area.left(), y, area.right(), y)
            painter.setPen(muted)
            box = QRect(0, y - metrics.height() // 2, area.left() - look.GAP, metrics.height())
            if box.top() >= 0 and box.bottom() <= self.height():
                painter.drawText(box, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, tick.words)
        end = -1.0
        for tick in self.x_ticks:
            x = round(self.pixel_of(tick.at))
            painter.setPen(line)
            painter.drawLine(x, area.top(), x, area.bottom())
            wide = metrics.horizontalAdvance(tick.words)
            left = min(max(x - wide / 2, 0), self.width() - wide - look.SPACE)
            if self.shows_axis and left > end:
                painter.setPen(muted)
                painter.drawText(QPointF(left, area.bottom() + look.SPACE + metrics.ascent()), tick.words)
                end = left + wide + look.GAP
        if self.shows_axis:
            painter.setPen(muted)
            top = area.bottom() + look.SPACE + metrics.height()
            box = QRect(area.left(), top, area.width(), metrics.height())
            painter.drawText(box, Qt.AlignmentFlag.AlignHCenter, self.axis_title)

    def _make_ink(self, area: QRect) -> None:
        ratio = self.devicePixelRatioF()
        width, rows = round(area.width() * ratio), round(area.height() * ratio)
        if not self._stale and self._pixels.shape == (rows, width):
            return
        assert self._height is not None
        if self._pixels.shape != (rows, width):
            self._pixels = np.empty((rows, width), np.uint32)
        self._pixels.fill(0)
        thick = max(round(ratio), 1)
        # What is only background comes first, and the main run last.
        for line in sorted(self.lines, key=lambda one: (not one.is_superseded, one.smooth is None, -one.order)):
            colour = line.colour()
            raw = paler(colour, 0.35) if line.smooth is not None else colour
            self._draw(line.columns, raw, thick, () if line.smooth is not None else line.dash(ratio))
        for line in sorted(self.lines, key=lambda one: -one.order):
            if line.smooth is not None:
                c = line.columns
                smooth = Columns(c.first, c.last, line.smooth, line.smooth)
                self._draw(smooth, line.colour(), 2 * thick, line.dash(ratio))
        self._ink = QImage(self._pixels.data, width, rows, 4 * width, QImage.Format.Format_ARGB32_Premultiplied)
        self._ink.setDevicePixelRatio(ratio)
        self._stale = False

    def _draw(self, columns: Columns, colour: QColor, thick: int, dash: tuple[int, ...]) -> None:
        assert self._height is not None
        rows, width = self._pixels.shape
        top, bottom = column_spans(curve_view.drawn(columns, self.span, width), self._height, width, rows)
        ink(self._pixels, top, bottom, colour.rgba(), thick=thick, dash=dash)

    def _paint_dots(self, painter: QPainter) -> None:
        """Where there are few points, each is seen, and one alone is no empty plot."""
        painter.setPen(Qt.PenStyle.NoPen)
        for line in self.lines:
            seen = np.flatnonzero(line.columns.seen(self.span) & ~np.isnan(line.columns.high))
            if len(seen) <= FEW:
                painter.setBrush(line.colour())
                for index in seen:
                    x, y = float(line.columns.x[index]), float(line.columns.high[index])
                    painter.drawEllipse(QPointF(self.pixel_of(x), self._pixel_of_y(y)), 2.5, 2.5)

    def _paint_odd(self, painter: QPainter, area: QRect) -> None:
        """A triangle at the foot where a value is not finite."""
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(look.colour("bad"))
        for line in self.lines:
            odd = line.scaled.odd
            for x in odd[(odd >= self.span.low) & (odd <= self.span.high)][:500]:
                at, foot = self.pixel_of(float(x)), area.bottom()
                painter.drawPolygon(QPolygonF([QPointF(at - 4, foot), QPointF(at + 4, foot), QPointF(at, foot - 8)]))

    def _paint_marks(self, painter: QPainter, area: QRect) -> None:
        for x, mark in self.marks:
            if not self.span.low <= x <= self.span.high:
                continue
            tone = {"best": "accent", "checkpoint": "strong_line", "attempt": "warning"}[mark.kind]
            at = self.pixel_of(x)
            pen = QPen(look.colour(tone), 1, Qt.PenStyle.SolidLine if mark.kind == "best" else Qt.PenStyle.DotLine)
            painter.setPen(pen)
            painter.drawLine(QPointF(at, area.top()), QPointF(at, area.bottom()))
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(look.colour(tone))
            top = area.top()
            if mark.kind == "best":
                shape = [QPointF(at, top - 6), QPointF(at + 5, top), QPointF(at, top + 6), QPointF(at - 5, top)]
            else:
                shape = [QPointF(at - 4, top - 4), QPointF(at + 4, top - 4), QPointF(at, top + 3)]
            painter.drawPolygon(QPolygonF(shape))

    def _paint_cross(self, painter: QPainter, area: QRect) -> None:
        if self.cross is None or not self.span.low <= self.cross <= self.span.high:
            return
        at = self.pixel_of(self.cross)
        painter.setPen(QPen(look.colour("strong_line"), 1))
        painter.drawLine(QPointF(at, area.top()), QPointF(at, area.bottom()))
        if self._height is None:
            return
        painter.setPen(QPen(look.colour("surface"), 1))
        for line in self.lines:
            index = None if line.is_superseded else curve_view.nearest(line.columns, self.cross)
            if index is None:
                continue
            y = line.smooth[index] if line.smooth is not None else line.columns.high[index]
            if self._height.low <= y <= self._height.high:
                painter.setBrush(line.colour())
                painter.drawEllipse(QPointF(self.pixel_of(float(line.columns.x[index])), self._pixel_of_y(y)), 3.5, 3.5)

    # What a person does

    def mark_at(self, pixel: QPoint) -> Mark | None:
        near = [(abs(self.pixel_of(x) - pixel.x()), i) for i, (x, _) in enumerate(self.marks)]
        distance, index = min(near, default=(CATCH + 1, 0))
        return self.marks[index][1] if distance <= CATCH else None

    def event(self, event: QEvent) -> bool:
        if isinstance(event, QHelpEvent) and event.type() == QEvent.Type.ToolTip:
            mark = self.mark_at(event.pos())
            if mark is not None:
                QToolTip.showText(event.globalPos(), mark.words, self)
            else:
                QToolTip.hideText()
            return True
        return super().event(event)

    def wheelEvent(self, event: QWheelEvent) -> None:
        turned = event.angleDelta()
        factor = 1.2 ** (-turned.y() / 120)
        if event.modifiers() & Qt.KeyboardModifier.ControlModifier and self._height is not None:
            area = self._area()
            share = (event.position().y() - area.top()) / max(area.height(), 1)
            self.zoom_height(factor, self._height.high - share * self._height.width)
        elif turned.x() and not turned.y():
            self.moved.emit(-turned.x() / 120 * 0.1 * self.span.width)
        else:
            self.zoomed.emit(self.x_at(event.position().x()), factor)
        event.accept()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self._drag = event.position()
            if event.modifiers() & Qt.KeyboardModifier.ShiftModifier:
                self._selection = (self._drag.x(), self._drag.x())

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        at = event.position()
        if self._selection is not None:
            self._selection = (self._selection[0], at.x())
            self.update()
        elif self._drag is not None:
            by = (self._drag.x() - at.x()) / max(self._area().width(), 1) * self.span.width
            self._drag = at
            self.setCursor(Qt.CursorShape.ClosedHandCursor)
            self.moved.emit(by)
        inside = self._area().adjusted(-1, -look.GAP, 1, look.GAP).contains(at.toPoint())
        self.pointed.emit(self.x_at(at.x()) if inside else None)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        if self._selection is not None:
            left, right = sorted(self._selection)
            if right - left > CATCH:
                self.spanned.emit(Span(self.x_at(left), self.x_at(right)))
        self._drag = self._selection = None
        self.unsetCursor()
        self.update()

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        self.reset_wanted.emit()

    def leaveEvent(self, event: QEvent) -> None:
        self.pointed.emit(None)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.modifiers() & Qt.KeyboardModifier.ControlModifier and event.key() in (*ZOOM_IN, *ZOOM_OUT):
            self.zoom_height(0.5 if event.key() in ZOOM_IN else 2.0)  # with Ctrl as of the wheel
            return
        event.ignore()
        self.keyed.emit(event)
        if not event.isAccepted():
            super().keyPressEvent(event)

    def showEvent(self, event: QShowEvent) -> None:
        self._letters = QFontMetrics(self._font, self)  # of the screen it is on

    def resizeEvent(self, event: QResizeEvent) -> None:
        self.rescale()

    def changeEvent(self, event: QEvent) -> None:
        if event.type() in (QEvent.Type.PaletteChange, QEvent.Type.StyleChange):
            self._stale = True
            self.update()
        super().changeEvent(event)
