"""Every command by its name: type a part of it, press Enter."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QEvent, QObject, QSortFilterProxyModel, Qt
from PySide6.QtGui import QAction, QKeyEvent, QKeySequence, QShowEvent, QStandardItem, QStandardItemModel
from PySide6.QtWidgets import QDialog, QLineEdit, QTreeView, QVBoxLayout, QWidget

from app import look
from app.widgets.icon_button import IN_FULL

WIDTH, ROWS = 520, 12


class CommandPalette(QDialog):
    """A list of commands that shrinks while one types. Triggers the one that is chosen."""

    def __init__(self, commands: Sequence[QAction], parent: QWidget) -> None:
        super().__init__(parent)
        self.setWindowTitle(self.tr("Find a command"))
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self._search = QLineEdit()
        self._search.setPlaceholderText(self.tr("Type a command"))
        self._search.setAccessibleName(self.tr("Command"))
        self._search.setClearButtonEnabled(True)
        self._search.installEventFilter(self)
        self._commands = list(commands)

        model = QStandardItemModel(0, 2, self)
        for index, action in enumerate(self._commands):
            name, keys = QStandardItem(words_of(action)), QStandardItem(_keys(action))
            for item in (name, keys):
                item.setEditable(False)
                item.setEnabled(action.isEnabled())
                item.setData(index, Qt.ItemDataRole.UserRole)
            keys.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            model.appendRow([name, keys])
        self._shown = QSortFilterProxyModel(self)
        self._shown.setSourceModel(model)
        self._shown.setFilterCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        self._view = QTreeView()
        self._view.setModel(self._shown)
        self._view.setAccessibleName(self.tr("Commands"))
        self._view.setHeaderHidden(True)
        self._view.setRootIsDecorated(False)
        self._view.setUniformRowHeights(True)
        self._view.setVerticalScrollMode(QTreeView.ScrollMode.ScrollPerItem)
        self._view.header().setSectionResizeMode(0, self._view.header().ResizeMode.Stretch)
        self._view.header().setStretchLastSection(False)
        self._view.activated.connect(self._run)
        self._view.clicked.connect(self._run)
        self._search.textChanged.connect(self._find)
        self._search.returnPressed.connect(self._run)

        column = QVBoxLayout(self)
        column.setContentsMargins(look.MARGIN, look.MARGIN, look.MARGIN, look.MARGIN)
        column.addWidget(self._search)
        column.addWidget(self._view)
        self._find("")
        self._search.setFocus()

    def showEvent(self, event: QShowEvent) -> None:
        """As high as whole rows are, which is known once they are dressed: half a row looks like the last one."""
        view, column = self._view, self.layout()
        assert column is not None
        view.ensurePolished()
        view.doItemsLayout()  # its rows were measured when it was not dressed yet
        column.activate()
        row = view.rowHeight(view.model().index(0, 0))
        view.setFixedHeight(view.height() - view.viewport().height() + ROWS * row)
        self.setFixedSize(WIDTH, column.sizeHint().height())
        super().showEvent(event)

    def _find(self, words: str) -> None:
        self._shown.setFilterFixedString(words)
        self._view.setCurrentIndex(self._shown.index(0, 0))

    def _run(self) -> None:
        index = self._view.currentIndex()
        if not index.isValid():
            return
        action = self._commands[index.data(Qt.ItemDataRole.UserRole)]
        if action.isEnabled():
            self.accept()
            action.trigger()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        moves = (Qt.Key.Key_Up, Qt.Key.Key_Down, Qt.Key.Key_PageUp, Qt.Key.Key_PageDown)
        pressed = event if isinstance(event, QKeyEvent) and event.type() == QEvent.Type.KeyPress else None
        if watched is self._search and pressed is not None and pressed.key() in moves:
            self._view.keyPressEvent(pressed)
            return True
        return super().eventFilter(watched, event)


def words_of(action: QAction) -> str:
    """What an action is called in a list of all there is."""
    return str(action.property(IN_FULL) or action.text()).replace("&", "").removesuffix("...")


def _keys(action: QAction) -> str:
    return action.shortcut().toString(QKeySequence.SequenceFormat.NativeText)
