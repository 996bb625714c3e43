"""What a teacher makes, small: the first of its samples, each for itself, or the ring whose points it draws."""

from __future__ import annotations

import math

from PySide6.QtCore import QPointF, QRect, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPixmap, QRadialGradient
from PySide6.QtWidgets import QSizePolicy, QWidget

from app import look

COLUMNS, ROWS = 8, 3
EDGE, GAP = 8 * look.SPACE, 2
SIZE = QSize(COLUMNS * (EDGE + GAP) - GAP, ROWS * (EDGE + GAP) - GAP)
"""What fits into a card of a narrow window."""
BRIGHT, VEIL = 0.8, 72
"""A tile with an edge so light is laid under a veil of so much of 255 where the window is dark."""
SPOTS, SPREAD = 8, 0.2
"""Of the ring: its spots, and how far each is seen, for a radius of 1; about three times its deviation."""


class Tiles(QWidget):
    """sheet: samples side by side without a gap, each `edge` pixels wide and high."""

    def __init__(self, sheet: QPixmap, edge: int, name: str) -> None:
        super().__init__()
        self.setAccessibleName(name)
        self.setFixedSize(SIZE)
        self._sheet, self._edge = sheet, edge
        self._is_bright = QColor(sheet.toImage().pixelColor(0, 0)).lightnessF() > BRIGHT

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        shrinks = EDGE * self.devicePixelRatioF() < self._edge
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, shrinks)
        veil = look.colour("window")
        veil.setAlpha(VEIL)
        for row in range(ROWS):
            for column in range(COLUMNS):
                place = QRect(column * (EDGE + GAP), row * (EDGE + GAP), EDGE, EDGE)
                of = QRect(column * self._edge, row * self._edge, self._edge, self._edge)
                painter.drawPixmap(place, self._sheet, of)
                if self._is_bright and look.scheme().name == "dark":
                    painter.fillRect(place, veil)
        painter.end()


class Ring(QWidget):
    """Eight Gaussians on a circle: where each of them lies, whatever its weight."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.setAccessibleName(name)
        self.setFixedSize(SIZE)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        radius = self.height() / 2 / (1 + SPREAD)
        for spot in range(SPOTS):
            angle = 2 * math.pi * spot / SPOTS
            middle = QPointF(self.height() / 2 + radius * math.cos(angle), self.height() / 2 - radius * math.sin(angle))
            shades = QRadialGradient(middle, radius * SPREAD)
            for at in range(5):
                shade = look.colour("accent")
                shade.setAlphaF(math.exp(-((3 * at / 4) ** 2) / 2) if at < 4 else 0.0)
                shades.setColorAt(at / 4, shade)
            painter.setBrush(shades)
            painter.drawEllipse(middle, radius * SPREAD, radius * SPREAD)
        painter.end()
