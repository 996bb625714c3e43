"""Points of the plane over the density they should have: painted for one side, or as what moved between two."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QLineF, QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QFontMetricsF, QImage, QPainter, QPen, QPolygonF

from app import look
from app.models.comparison import Camera, Comparison, ticks

UNITS = 512.0
"""The width of all of the plane that is shown, in units of content."""
MOST_LINES = 1000
"""Lines from a side's points to another's, so that they can still be told apart."""
AXIS_GAP = 70
NEAR = 0.8
"""The scale from which points are two pixels across."""
Floats = NDArray[np.float32]


class PointLayers:
    """The points of every side in one plane. Made in any thread; painted in the window's."""

    def __init__(self, comparison: Comparison) -> None:
        self.comparison = comparison
        self.points: list[Floats] = [np.load(side.files[0]) for side in comparison.sides]
        about = comparison.density
        self.density: Floats | None = None if about is None else np.load(about.file)
        if about is not None:
            self.extent = about.extent
        else:
            reach = max(float(np.nanquantile(np.abs(points), 0.99)) for points in self.points) * 1.2 or 1.0
            self.extent = (-reach, reach, -reach, reach)
        left, right, bottom, top = self.extent
        self._unit = UNITS / (right - left)
        self.size = (UNITS, (top - bottom) * self._unit)
        self._content = [self._to_content(points) for points in self.points]

    def _to_content(self, points: Floats) -> NDArray[np.float64]:
        left, _, _, top = self.extent
        finite = points[np.isfinite(points).all(1)].astype(np.float64)
        return np.stack([(finite[:, 0] - left) * self._unit, (top - finite[:, 1]) * self._unit], 1)

    def paint(self, painter: QPainter, side: int, camera: Camera, pane: tuple[float, float]) -> None:
        """One side: its points over the density."""
        self._paint_density(painter, camera, pane)
        # Whole pixels without smoothing: smooth ones of another width are painted a hundred times slower.
        painter.setPen(QPen(look.series_colour(1), 1.0 if camera.scale < NEAR else 2.0))
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
        x, y = _seen(self._content[side], camera, pane)
        painter.drawPoints(QPolygonF([QPointF(a, b) for a, b in zip(x.tolist(), y.tolist(), strict=True)]))
        self._paint_axes(painter, camera, pane)

    def paint_difference(
        self, painter: QPainter, a: int, b: int, camera: Camera, pane: tuple[float, float], gain: float
    ) -> None:
        """A line from each point of `a` to the point that `b` made of the same noise, as long as it is."""
        self._paint_density(painter, camera, pane)
        left, _, _, top = self.extent
        begin, end = self.points[a][:MOST_LINES], self.points[b][:MOST_LINES]
        whole = np.isfinite(begin).all(1) & np.isfinite(end).all(1)
        lines = []
        for (x0, y0), (x1, y1) in zip(begin[whole].tolist(), end[whole].tolist(), strict=True):
            start = camera.to_view((x0 - left) * self._unit, (top - y0) * self._unit, pane)
            stop = camera.to_view((x1 - left) * self._unit, (top - y1) * self._unit, pane)
            lines.append(QLineF(*start, *stop))
        painter.setPen(QPen(look.series_colour(1), 1.0))
        painter.drawLines(lines)
        self._paint_axes(painter, camera, pane)

    def difference(self, a: int, b: int) -> float | None:
        """The mean length from each point to its counterpart, in data units."""
        found = float(np.linalg.norm(self.points[a] - self.points[b], axis=1).mean())
        return found if np.isfinite(found) else None

    def _paint_density(self, painter: QPainter, camera: Camera, pane: tuple[float, float]) -> None:
        if self.density is None:
            return
        image = _coloured(self.density.tobytes(), self.density.shape, look.scheme().name)
        x0, y0 = camera.to_view(0, 0, pane)
        x1, y1 = camera.to_view(*self.size, pane)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, True)
        painter.drawImage(QRectF(x0, y0, x1 - x0, y1 - y0), image)

    def _paint_axes(self, painter: QPainter, camera: Camera, pane: tuple[float, float]) -> None:
        left, _, _, top = self.extent
        x0, y0 = camera.to_content(0, 0, pane)
        x1, y1 = camera.to_content(*pane, pane)
        font = look.figures("caption")
        painter.setFont(font)
        line = QFontMetricsF(font).height()
        colour = look.colour("text")
        painter.setPen(QPen(colour, 1.0))
        for value in ticks(x0 / self._unit + left, x1 / self._unit + left, int(pane[0] // AXIS_GAP)):
            x = camera.to_view((value - left) * self._unit, 0, pane)[0]
            painter.drawLine(QLineF(x, pane[1] - 4, x, pane[1]))
            place = QRectF(x - 30, pane[1] - 6 - line, 60, line)
            if place.left() >= 0 and place.right() <= pane[0]:
                painter.drawText(place, Qt.AlignmentFlag.AlignCenter, f"{value:g}")
        for value in ticks(top - y1 / self._unit, top - y0 / self._unit, int(pane[1] // AXIS_GAP)):
            y = camera.to_view(0, (top - value) * self._unit, pane)[1]
            painter.drawLine(QLineF(0, y, 4, y))
            if line / 2 < y < pane[1] - 2 * line:
                painter.drawText(QRectF(8, y - line / 2, 60, line), Qt.AlignmentFlag.AlignVCenter, f"{value:g}")


def _seen(points: NDArray[np.float64], camera: Camera, pane: tuple[float, float]) -> NDArray[np.float64]:
    """x and y in the pane of the points that lie in it, (2, M)."""
    x = (points[:, 0] - camera.x) * camera.scale + pane[0] / 2
    y = (points[:, 1] - camera.y) * camera.scale + pane[1] / 2
    inside = (x > -2) & (x < pane[0] + 2) & (y > -2) & (y < pane[1] + 2)
    return np.stack([x[inside], y[inside]])


@lru_cache(maxsize=4)
def _coloured(data: bytes, shape: tuple[int, int], scheme: str) -> QImage:
    """The density from the surface's colour to that of the first series, by its root so that thin parts show."""
    density = np.frombuffer(data, np.float32).reshape(shape)[::-1]
    share = np.sqrt(density / max(float(density.max()), 1e-12))[..., None]
    low, high = _numbers(look.colour("surface")), _numbers(look.series_colour(0))
    pixels = np.empty((*shape, 4), np.uint8)
    pixels[..., :3] = low + (high - low) * share * 0.85
    pixels[..., 3] = 255
    pixels = np.ascontiguousarray(pixels)
    return QImage(pixels.data, shape[1], shape[0], shape[1] * 4, QImage.Format.Format_RGBA8888).copy()


def _numbers(colour: QColor) -> NDArray[np.float64]:
    return np.array([colour.red(), colour.green(), colour.blue()], np.float64)
