"""How a row of a list is drawn that has a name and, below it, a line of words about it."""

from __future__ import annotations

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QRect, Qt
from PySide6.QtGui import QFont, QFontMetrics, QPainter
from PySide6.QtWidgets import QStyledItemDelegate, QWidget

from app import look

Index = QModelIndex | QPersistentModelIndex


class TwoLines(QStyledItemDelegate):
    """What rows of two lines have in common; what is longer than its row ends in dots, and the tool tip has it all.

    about: the role under which a row keeps its second line.
    """

    dots = Qt.TextElideMode.ElideRight

    def __init__(self, about: int, parent: QWidget) -> None:
        super().__init__(parent)
        self._about = about

    def lines(self, index: Index) -> list[tuple[str, QFont]]:
        """The words of a row from the top, and their fonts."""
        return [(index.data(), look.font("strong")), (index.data(self._about), look.font("caption"))]

    def tone(self, index: Index) -> str:
        """The colour of a row's name."""
        return "text"

    def room(self, row: QRect) -> QRect:
        """Where in a row the words stand. Each kind of row says."""
        raise NotImplementedError  # not abc: classes of Qt have a metaclass of their own

    def height(self) -> int:
        """Of both lines."""
        return QFontMetrics(look.font("strong")).height() + QFontMetrics(look.font("caption")).height()

    def draw_lines(self, painter: QPainter, row: QRect, index: Index) -> None:
        """Both of them, the first at the top of its room and the second at the bottom."""
        place = self.room(row)
        drawn = zip(self.lines(index), (self.tone(index), "muted"), (_TOP, _BOTTOM), strict=True)
        for (words, font), colour, end in drawn:
            painter.setFont(font)
            painter.setPen(look.colour(colour))
            elided = QFontMetrics(font).elidedText(words, self.dots, place.width())
            painter.drawText(place, int(end | Qt.AlignmentFlag.AlignLeft), elided)


_TOP, _BOTTOM = Qt.AlignmentFlag.AlignTop, Qt.AlignmentFlag.AlignBottom
