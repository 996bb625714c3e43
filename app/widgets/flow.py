"""A layout that sets its items side by side and goes on in the next line where the width ends."""

from __future__ import annotations

from PySide6.QtCore import QPoint, QRect, QSize, Qt
from PySide6.QtWidgets import QLayout, QLayoutItem, QWidget, QWidgetItem

from app import look


class Flow(QLayout):
    """gap: between items. Items of a line are centred on each other."""

    def __init__(self, gap: int = look.GAP) -> None:
        super().__init__()
        self._items: list[QLayoutItem] = []
        self._gap = gap
        self.setContentsMargins(0, 0, 0, 0)

    def addWidget(self, widget: QWidget) -> None:
        """Put a widget at the end.

        Its item is made here: one that Qt makes and hands to a layout in Python can be declared deleted while it is in
        use, and asking it for its size then ends the program (seen with PySide 6.11 once a screen was hidden).
        """
        self.addChildWidget(widget)
        self.addItem(QWidgetItem(widget))
        self.invalidate()

    def addItem(self, item: QLayoutItem) -> None:
        self._items.append(item)

    def count(self) -> int:
        return len(self._items)

    def itemAt(self, index: int) -> QLayoutItem | None:
        return self._items[index] if 0 <= index < len(self._items) else None

    def takeAt(self, index: int) -> QLayoutItem | None:
        return self._items.pop(index) if 0 <= index < len(self._items) else None

    def expandingDirections(self) -> Qt.Orientation:
        return Qt.Orientation(0)

    def hasHeightForWidth(self) -> bool:
        return True

    def heightForWidth(self, width: int) -> int:
        return self._arrange(QRect(0, 0, width, 0), move=False)

    def setGeometry(self, place: QRect) -> None:
        super().setGeometry(place)
        self._arrange(place, move=True)

    def sizeHint(self) -> QSize:
        shown = [item.sizeHint() for item in self._items if not item.isEmpty()]
        width = sum(size.width() for size in shown) + self._gap * max(0, len(shown) - 1)
        return QSize(width, max((size.height() for size in shown), default=0))

    def minimumSize(self) -> QSize:
        widest = max((item.minimumSize().width() for item in self._items if not item.isEmpty()), default=0)
        return QSize(widest, self.sizeHint().height())

    def _arrange(self, place: QRect, move: bool) -> int:
        lines: list[list[QLayoutItem]] = [[]]
        x = 0
        for item in (item for item in self._items if not item.isEmpty()):
            width = min(item.sizeHint().width(), max(place.width(), 1))
            if x and x + width > place.width():
                lines.append([])
                x = 0
            lines[-1].append(item)
            x += width + self._gap
        y = 0
        for line in lines:
            height = max((item.sizeHint().height() for item in line), default=0)
            x = place.x()
            for item in line:
                size = item.sizeHint()
                width = min(size.width(), max(place.width(), 1))
                if move:
                    top = place.y() + y + (height - size.height()) // 2
                    item.setGeometry(QRect(QPoint(x, top), QSize(width, size.height())))
                x += width + self._gap
            y += height + (self._gap if line is not lines[-1] else 0)
        return y
