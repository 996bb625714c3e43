"""Many named things of a few groups as a list to choose from, with a field that finds them by any word about them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from PySide6.QtCore import QRect, QSignalBlocker, QSize, Qt, Signal
from PySide6.QtGui import QFont, QFontMetrics, QKeyEvent, QPainter
from PySide6.QtWidgets import (
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QStyle,
    QStyleOptionViewItem,
    QVBoxLayout,
    QWidget,
)

from app import look
from app.widgets.two_lines import Index, TwoLines

KEY, FOUND_BY, CAPTION, REFUSAL = (Qt.ItemDataRole.UserRole + number for number in (1, 2, 3, 4))

NARROW, WIDE = 76 * look.SPACE, 86 * look.SPACE
"""Pixels; the longest titles of methods are cut in the one, and none in the other."""


@dataclass(frozen=True)
class Entry:
    """One thing: its key and name, a caption under it, its group, and all words by which it can be found.

    refusal: a sentence on why it will not do; it is shown paler then, and can be chosen all the same."""

    key: str
    title: str
    caption: str
    group: str
    words: str
    refusal: str = ""


class GroupedList(QWidget):
    """chosen: a person chose the thing of that key."""

    chosen = Signal(str)

    def __init__(self, name: str, search: str) -> None:
        super().__init__()
        self.setFixedWidth(NARROW)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(look.GAP)
        self.search_field = QLineEdit(self)
        self.search_field.setPlaceholderText(search)
        self.search_field.setAccessibleName(search)
        self.search_field.setClearButtonEnabled(True)
        self.search_field.textChanged.connect(self._filter)
        column.addWidget(self.search_field)
        self.list = _List(self)
        self.list.setAccessibleName(name)
        column.addWidget(self.list, 1)
        self.nothing = look.label(self.tr("Nothing is called that."), "body", "muted", wraps=True, parent=self)
        self.nothing.hide()
        column.addWidget(self.nothing)
        self.list.currentItemChanged.connect(self._choose)

    def fit_into(self, width: int) -> None:
        """Take what titles need of a place this many pixels wide, unless that leaves too little beside it."""
        self.setFixedWidth(WIDE if width >= NARROW + WIDE + WIDE // 2 else NARROW)

    def set_entries(self, entries: Iterable[Entry]) -> None:
        """Show these, group by group in the order in which the groups come first."""
        groups: dict[str, list[Entry]] = {}
        for entry in entries:
            groups.setdefault(entry.group, []).append(entry)
        with QSignalBlocker(self.list):
            self.list.clear()
            for group, members in groups.items():
                heading = QListWidgetItem(group, self.list)
                heading.setFlags(Qt.ItemFlag.NoItemFlags)
                for entry in members:
                    item = QListWidgetItem(entry.title, self.list)
                    item.setData(KEY, entry.key)
                    item.setData(CAPTION, entry.caption)
                    item.setData(FOUND_BY, f"{entry.title} {entry.caption} {entry.group} {entry.words}".casefold())
                    item.setData(REFUSAL, entry.refusal)
                    said = f"{entry.title}: {entry.refusal or entry.caption}"
                    item.setData(Qt.ItemDataRole.AccessibleTextRole, said)
                    item.setToolTip(look.tip(said))
        self._filter(self.search_field.text())

    def keys(self) -> list[str]:
        """The keys of all things, from the top."""
        return [key for row in range(self.list.count()) if (key := self.list.item(row).data(KEY))]

    def show_chosen(self, key: str) -> None:
        """Mark the thing of that key, without a word of it."""
        with QSignalBlocker(self.list):
            for row in range(self.list.count()):
                if self.list.item(row).data(KEY) == key:
                    self.list.setCurrentRow(row)
                    self.list.scrollToItem(self.list.item(row))
                    return
            self.list.setCurrentRow(-1)

    def _choose(self, item: QListWidgetItem | None) -> None:
        if item is not None and item.data(KEY):
            self.chosen.emit(item.data(KEY))

    def _filter(self, text: str) -> None:
        words, heading, shown = text.casefold().split(), None, 0
        for row in range(self.list.count()):
            item = self.list.item(row)
            if not item.data(KEY):
                heading = item
                item.setHidden(True)
                continue
            fits = all(word in item.data(FOUND_BY) for word in words)
            item.setHidden(not fits)
            shown += fits
            if fits and heading is not None:
                heading.setHidden(False)
        self.nothing.setVisible(bool(words) and not shown)


class _List(QListWidget):
    """Home and End go to the first and the last thing, never to a heading."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setItemDelegate(_Delegate(CAPTION, self))
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setMouseTracking(True)
        self.setMinimumHeight(110 * look.SPACE)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Home, Qt.Key.Key_End):
            rows = [r for r in range(self.count()) if self.item(r).data(KEY) and not self.item(r).isHidden()]
            if rows:
                self.setCurrentRow(rows[0 if event.key() == Qt.Key.Key_Home else -1])
            return
        super().keyPressEvent(event)


class _Delegate(TwoLines):
    dots = Qt.TextElideMode.ElideMiddle  # a method's published name stands last

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        if not index.data(KEY):
            return QSize(0, QFontMetrics(look.font("caption")).height() + look.GAP + look.SPACE)
        return QSize(0, self.height() + look.GAP)

    def lines(self, index: Index) -> list[tuple[str, QFont]]:
        if not index.data(KEY):
            return [(index.data(), look.font("caption"))]
        name, about = super().lines(index)
        return [(index.data(), look.font("body")) if index.data(REFUSAL) else name, about]

    def tone(self, index: Index) -> str:
        return "muted" if index.data(REFUSAL) else "text"

    def room(self, row: QRect) -> QRect:
        return row.adjusted(look.GAP, look.SPACE, -look.GAP, -look.SPACE)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        painter.save()
        if not index.data(KEY):
            painter.setFont(look.font("caption"))
            painter.setPen(look.colour("muted"))
            below = Qt.AlignmentFlag.AlignBottom | Qt.AlignmentFlag.AlignLeft
            painter.drawText(self.room(option.rect), int(below), index.data())
        else:
            is_chosen = bool(option.state & QStyle.StateFlag.State_Selected)
            if is_chosen or option.state & QStyle.StateFlag.State_MouseOver:
                painter.fillRect(option.rect, look.colour("selection" if is_chosen else "raised"))
            self.draw_lines(painter, option.rect, index)
        painter.restore()
