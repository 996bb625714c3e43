"""The steps of a longer task as a list: each with its name, what was chosen there, and a mark how it stands."""

from __future__ import annotations

from typing import Literal

from PySide6.QtCore import QRect, QSize, Qt
from PySide6.QtGui import QFontMetrics, QPainter
from PySide6.QtWidgets import QListWidget, QListWidgetItem, QSizePolicy, QStyle, QStyleOptionViewItem

from app import look
from app.widgets.two_lines import Index, TwoLines

Mark = Literal["done", "wrong", "open"]
_ICONS: dict[str, tuple[str, str]] = {
    "done": ("circle-check", "good"),
    "wrong": ("circle-alert", "bad"),
    "open": ("circle-dot", "muted"),
}
WORDS, MARK = Qt.ItemDataRole.UserRole + 1, Qt.ItemDataRole.UserRole + 2
ICON = 5 * look.SPACE
CHARACTERS = 26


class StepList(QListWidget):
    """A list of a fixed width with one line of words under each name."""

    def __init__(self) -> None:
        super().__init__()
        self.setItemDelegate(_Delegate(WORDS, self))
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


class _Delegate(TwoLines):
    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        return QSize(10 * ICON, self.height() + 2 * look.GAP)

    def room(self, row: QRect) -> QRect:
        return _inside(row).adjusted(ICON + look.GAP, 0, 0, 0)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        painter.save()
        is_chosen = bool(option.state & QStyle.StateFlag.State_Selected)
        is_hovered = bool(option.state & QStyle.StateFlag.State_MouseOver)
        place: QRect = option.rect
        if is_chosen or is_hovered:
            painter.fillRect(place, look.colour("selection" if is_chosen else "raised"))
        name, tone = _ICONS[index.data(MARK)]
        inner = _inside(place)
        look.icon(name, tone).paint(painter, QRect(inner.left(), inner.center().y() - ICON // 2, ICON, ICON))
        self.draw_lines(painter, place, index)
        painter.restore()


def _inside(row: QRect) -> QRect:
    return row.adjusted(look.GAP, look.GAP, -look.GAP, -look.GAP)
