"""Pictures of one round side by side, painted in one widget however many there are.

It knows places, captions and pictures; not which step they are of, nor where they come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QEvent, QPoint, QRect, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QHelpEvent, QImage, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen, QResizeEvent
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from app import look
from app.models.sample_rounds import columns, period

LEAST_EDGE, LEAST_BESIDE = 13 * look.SPACE, 10 * look.SPACE
"""A picture is never shown smaller than this: alone in its place, or beside another one."""
MOST_EDGE = 128 * look.SPACE
ALONE_EDGE = 72 * look.SPACE
"""Of a single picture, such as the points of a plane: it should be in sight as a whole."""
TINY = 96
"""Pixels of an edge up to which a picture is enlarged without smoothing, by whole numbers where there is room."""


@dataclass(frozen=True)
class Tile:
    """One place of the grid. pictures: what stands there side by side, None while it is not loaded.
    words: all there is to say of it, for a tool tip and for those who cannot see it."""

    caption: str
    pictures: tuple[QImage | None, ...]
    words: str = ""
    trouble: str = ""


class SampleGrid(QWidget):
    """opened: a picture is wanted large, by its place. Arrow keys move between pictures, Enter opens one."""

    opened = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._tiles: list[Tile] = []
        self._current = 0
        self._faint = False
        self._across = 0
        self._heads: list[str] = []
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName(self.tr("Pictures"))
        policy = QSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)

    def show_tiles(
        self, tiles: Sequence[Tile], faint: bool = False, across: int = 0, heads: Sequence[str] = ()
    ) -> None:
        """Show these. faint: what is shown no longer counts. across: how many in a line, 0 for what fits; heads: words
        above each line, where `across` says how long one is."""
        changed_shape = (self._shape(self._tiles), self._across, self._heads) != (
            self._shape(tiles),
            across,
            list(heads),
        )
        self._tiles, self._faint, self._across, self._heads = list(tiles), faint, across, list(heads)
        self._current = min(self._current, max(0, len(tiles) - 1))
        self._describe()
        if changed_shape:
            self.updateGeometry()
            self._fit_height()
        self.update()

    @property
    def has_picture(self) -> bool:
        """Whether any picture is painted, and not only its place."""
        return any(picture is not None for tile in self._tiles for picture in tile.pictures)

    @property
    def current(self) -> int:
        """The place that the keyboard is at."""
        return self._current

    def place_of(self, index: int) -> QRect:
        """Where a tile is painted, without its caption."""
        across, edge, line = self._arrangement(self.width())
        width = edge * self._beside() + look.GAP
        row, column = divmod(index, across)
        return QRect(column * width, row * line + self._head(), edge * self._beside(), edge)

    def heightForWidth(self, width: int) -> int:
        across, _, line = self._arrangement(width)
        return line * -(-len(self._tiles) // across) + look.SPACE

    def hasHeightForWidth(self) -> bool:
        return True

    def sizeHint(self) -> QSize:
        width = 110 * look.SPACE
        return QSize(width, self.heightForWidth(width))

    def _head(self) -> int:
        """Height of the words above a line."""
        return self.fontMetrics().height() + look.SPACE if self._heads else 0

    def _shape(self, tiles: Sequence[Tile]) -> tuple[object, ...]:
        first = tiles[0].pictures if tiles else ()
        return len(tiles), len(first), [tile.caption for tile in tiles], [p.size() for p in first if p is not None]

    def _beside(self) -> int:
        return max(1, len(self._tiles[0].pictures)) if self._tiles else 1

    def _arrangement(self, width: int) -> tuple[int, int, int]:
        """Pictures in a line, edge of one, height of a line."""
        captions = [tile.caption for tile in self._tiles]
        beside = self._beside()
        least = LEAST_EDGE if beside == 1 else LEAST_BESIDE * beside
        across = self._across or columns(width + look.GAP, least + look.GAP, len(captions), period(captions))
        most = MOST_EDGE if len(captions) > 1 else ALONE_EDGE
        edge = min((width + look.GAP) // across - look.GAP, most * beside) // beside
        edge = max(edge, look.SPACE)
        natural = self._natural()
        if 0 < natural <= TINY and edge >= natural:
            edge -= edge % natural
        caption = self.fontMetrics().height() + look.SPACE if any(captions) else 0
        return across, edge, self._head() + edge + caption + look.GAP

    def _natural(self) -> int:
        for tile in self._tiles:
            for picture in tile.pictures:
                if picture is not None:
                    return max(picture.width(), picture.height())
        return 0

    def _fit_height(self) -> None:
        self.setMinimumHeight(self.heightForWidth(self.width()))

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if event.size().width() != event.oldSize().width():
            self._fit_height()

    # Painting

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setFont(look.font("caption"))
        across, edge, line = self._arrangement(self.width())
        first = max(0, event.rect().top() // line) * across
        last = (event.rect().bottom() // line + 1) * across
        for row in range(first // across, min(last // across, len(self._heads))):
            painter.setPen(look.colour("text"))
            words = painter.fontMetrics().elidedText(self._heads[row], Qt.TextElideMode.ElideRight, self.width())
            painter.drawText(QRect(0, row * line, self.width(), self._head()), Qt.AlignmentFlag.AlignTop, words)
        for index, tile in list(enumerate(self._tiles))[first:last]:
            place = self.place_of(index)
            painter.setOpacity(0.45 if self._faint else 1.0)
            for number, picture in enumerate(tile.pictures):
                at = QRect(place.x() + number * edge, place.y(), edge, edge)
                draw_picture(painter, at.adjusted(0, 0, -1, 0) if number + 1 < len(tile.pictures) else at, picture)
            painter.setOpacity(1.0)
            if tile.trouble:
                painter.setPen(look.colour("bad"))
                painter.drawText(place, Qt.AlignmentFlag.AlignCenter, "×")
            painter.setPen(look.colour("muted"))
            words = painter.fontMetrics().elidedText(tile.caption, Qt.TextElideMode.ElideRight, place.width())
            below = QRect(place.x(), place.bottom() + look.SPACE, place.width(), painter.fontMetrics().height())
            painter.drawText(below, Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignTop, words)
        if self.hasFocus() and self._tiles:
            painter.setPen(QPen(look.colour("accent"), 2))
            painter.drawRect(self.place_of(self._current).adjusted(1, 1, -1, -1))

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange:
            self.update()

    # Mouse and keyboard

    def tile_at(self, point: QPoint) -> int | None:
        """The place under a point."""
        across, edge, line = self._arrangement(self.width())
        column, row = point.x() // (edge * self._beside() + look.GAP), point.y() // line
        index = row * across + column
        return index if column < across and 0 <= index < len(self._tiles) else None

    def mousePressEvent(self, event: QMouseEvent) -> None:
        index = self.tile_at(event.position().toPoint())
        if index is not None and event.button() == Qt.MouseButton.LeftButton:
            self._go_to(index)
            self.opened.emit(index)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        across = self._arrangement(self.width())[0]
        moves = {
            Qt.Key.Key_Left: -1,
            Qt.Key.Key_Right: 1,
            Qt.Key.Key_Up: -across,
            Qt.Key.Key_Down: across,
        }
        key = Qt.Key(event.key())
        if key in moves and self._tiles:
            self._go_to(self._current + moves[key])
        elif key in (Qt.Key.Key_Home, Qt.Key.Key_End) and self._tiles:
            self._go_to(0 if key == Qt.Key.Key_Home else len(self._tiles) - 1)
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space) and self._tiles:
            self.opened.emit(self._current)
        else:
            super().keyPressEvent(event)

    def event(self, event: QEvent) -> bool:
        if isinstance(event, QHelpEvent) and event.type() == QEvent.Type.ToolTip:
            index = self.tile_at(event.pos())
            if index is None:
                QToolTip.hideText()
            else:
                tile = self._tiles[index]
                QToolTip.showText(event.globalPos(), tile.trouble or tile.words, self)
            return True
        return super().event(event)

    def _go_to(self, index: int) -> None:
        if 0 <= index < len(self._tiles):
            self._current = index
            self._describe()
            self.update()

    def _describe(self) -> None:
        tile = self._tiles[self._current] if self._tiles else None
        self.setAccessibleDescription(tile.trouble or tile.words if tile else "")


def draw_picture(painter: QPainter, place: QRect, picture: QImage | None) -> None:
    """A picture as large as fits, in its own proportions; a quiet surface while it is not loaded."""
    if picture is None:
        painter.fillRect(place, look.colour("raised"))
        return
    size = picture.size().scaled(place.size(), Qt.AspectRatioMode.KeepAspectRatio)
    tiny = max(picture.width(), picture.height()) <= TINY
    painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, not tiny)
    at = QRectF(0, 0, size.width(), size.height())
    at.moveCenter(QRectF(place).center())
    painter.drawImage(at, picture)
