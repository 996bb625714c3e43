"""The steps of a longer task as a list: each with its name, what was chosen there, and a mark how it stands."""

from __future__ import annotations

from typing import Literal

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QRect, QSize, Qt
from PySide6.QtGui import QFontMetrics, QPainter
from PySide6.QtWidgets import (
    QListWidget,
    QListWidgetItem,
    QSizePolicy,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
)

from app import look

Mark = Literal["done", "wrong", "open"]
_ICONS: dict[str, tuple[str, str]] = {
    "done": ("circle-check", "good"),
    "wrong": ("circle-alert", "bad"),
    "open": ("circle-dot", "muted"),
}
WORDS, MARK = Qt.ItemDataRole.UserRole + 1, Qt.ItemDataRole.UserRole + 2
ICON = 5 * look.SPACE
CHARACTERS = 22
Index = QModelIndex | QPersistentModelIndex


class StepList(QListWidget):
    """A list of a fixed width with one line of words under each name."""

    def __init__(self) -> None:
        super().__init__()
        self.setItemDelegate(_Delegate(self))
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Expanding)
        self.setFixedWidth(QFontMetrics(look.font()).horizontalAdvance("0") * CHARACTERS + ICON)
        self.setFrameShape(QListWidget.Shape.NoFrame)

    def add_step(self, name: str) -> None:
        """One more at the end."""
        item = QListWidgetItem(name, self)
        item.setData(WORDS, "")
        item.setData(MARK, "open")

    def show_step(self, row: int, words: str, mark: Mark) -> None:
        """What was chosen there and how it stands."""
        item = self.item(row)
        stands = {"done": self.tr("done"), "wrong": self.tr("something is wrong"), "open": self.tr("not visited")}[mark]
        if item.data(WORDS) != words or item.data(MARK) != mark:
            item.setData(WORDS, words)
            item.setData(MARK, mark)
            item.setData(Qt.ItemDataRole.AccessibleTextRole, f"{item.text()}: {words}, {stands}")
            item.setToolTip(f"{words} ({stands})" if words else stands)


class _Delegate(QStyledItemDelegate):
    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        lines = QFontMetrics(look.font("strong")).height() + QFontMetrics(look.font("caption")).height()
        return QSize(10 * ICON, lines + 2 * look.GAP)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        painter.save()
        is_chosen = bool(option.state & QStyle.StateFlag.State_Selected)
        is_hovered = bool(option.state & QStyle.StateFlag.State_MouseOver)
        place: QRect = option.rect
        if is_chosen or is_hovered:
            painter.fillRect(place, look.colour("selection" if is_chosen else "raised"))
        name, tone = _ICONS[index.data(MARK)]
        inner = place.adjusted(look.GAP, look.GAP, -look.GAP, -look.GAP)
        icon = QRect(inner.left(), inner.center().y() - ICON // 2, ICON, ICON)
        look.icon(name, tone).paint(painter, icon)
        text = inner.adjusted(ICON + look.GAP, 0, 0, 0)
        for words, font, colour, align in (
            (index.data(), look.font("strong"), "text", Qt.AlignmentFlag.AlignTop),
            (index.data(WORDS), look.font("caption"), "muted", Qt.AlignmentFlag.AlignBottom),
        ):
            painter.setFont(font)
            painter.setPen(look.colour(colour))
            elided = QFontMetrics(font).elidedText(words, Qt.TextElideMode.ElideRight, text.width())
            painter.drawText(text, int(align | Qt.AlignmentFlag.AlignLeft), elided)
        painter.restore()
