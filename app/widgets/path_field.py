"""Where a folder or a file is named: written, chosen in a dialog, or dropped."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import QMimeData, Signal
from PySide6.QtGui import QDragEnterEvent, QDropEvent
from PySide6.QtWidgets import QFileDialog, QHBoxLayout, QLineEdit, QPushButton, QWidget

from app import look


@dataclass(frozen=True)
class Files:
    """Files that may be named. button: what opens their dialog. kinds: its filter, "Zip (*.zip)"."""

    button: str
    kinds: str

    def has(self, path: Path) -> bool:
        """Whether it is one of them, by its name."""
        return path.is_file() and path.suffix.lower() in re.findall(r"\*(\.\w+)", self.kinds)


class PathField(QWidget):
    """edited: what it says now. finished: the person is done writing, or has chosen. says: a sentence about a drop.

    files: which may be named; None for none. folders: whether one may be named.
    """

    edited = Signal(str)
    finished = Signal()
    says = Signal(str)

    def __init__(self, title: str, hint: str, files: Files | None = None, folders: bool = True) -> None:
        super().__init__()
        self._title, self._files, self._folders = title, files, folders
        self.setAcceptDrops(True)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(look.GAP)
        self.line = look.tell_whole(QLineEdit())
        self.line.setAcceptDrops(False)  # it would write a file's address, file:///..., between the letters
        self.line.setPlaceholderText(hint)
        self.line.setAccessibleName(title)
        self.line.textEdited.connect(self.edited)
        self.line.editingFinished.connect(self.finished)
        row.addWidget(self.line, 1)
        # Two buttons, because no dialog of all systems lets a person choose either.
        if folders:
            self.browse = QPushButton(self.tr("Browse..."))
            self.browse.setAccessibleName(self.tr("Browse for: {0}").format(title))
            self.browse.clicked.connect(self._browse)
            row.addWidget(self.browse)
        if files is not None:
            self.browse_file = QPushButton(files.button)
            self.browse_file.setAccessibleName(self.tr("Browse for a file: {0}").format(title))
            self.browse_file.clicked.connect(self._browse_file)
            row.addWidget(self.browse_file)
        self.setFocusProxy(self.line)

    def set_text(self, text: str) -> None:
        """Show a path, without a word of it."""
        if self.line.text() != text:
            self.line.setText(text)

    def set_wrong(self, wrong: bool) -> None:
        """Mark what it says as wrong."""
        if self.line.property("wrong") != wrong:
            self.line.setProperty("wrong", wrong)
            look.dress_again(self.line)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if self._named(event.mimeData()):
            event.acceptProposedAction()
        else:  # whatever it lies in may know what to do with it
            event.ignore()

    def dropEvent(self, event: QDropEvent) -> None:
        named = self._named(event.mimeData())
        if not named:
            event.ignore()
            return
        event.acceptProposedAction()
        self._chosen(named[0])
        count = len(event.mimeData().urls())
        if count > 1:
            self.says.emit(self.tr("Took {0}, one of {1} that were dropped.").format(Path(named[0]).name, count))

    def _named(self, dropped: QMimeData) -> list[str]:
        """What can be named here of what was dropped: paths that fit, else words."""
        if not dropped.hasUrls():
            return [dropped.text().strip()] if dropped.text().strip() else []
        paths = [Path(url.toLocalFile()) for url in dropped.urls() if url.isLocalFile()]
        return [str(path) for path in paths if self._fits(path)]

    def _fits(self, path: Path) -> bool:
        return (self._folders and path.is_dir()) or (self._files is not None and self._files.has(path))

    def _browse(self) -> None:
        dialog = self._dialog()
        dialog.setFileMode(QFileDialog.FileMode.Directory)
        dialog.setOption(QFileDialog.Option.ShowDirsOnly, True)
        dialog.open()

    def _browse_file(self) -> None:
        assert self._files is not None  # the button is there only then
        dialog = self._dialog()
        dialog.setFileMode(QFileDialog.FileMode.ExistingFile)
        dialog.setNameFilter(self._files.kinds)
        dialog.open()

    def _dialog(self) -> QFileDialog:
        start = Path(self.line.text()).expanduser()
        near = start if start.is_dir() else start.parent if start.is_file() else Path.home()
        dialog = QFileDialog(self, self._title, str(near))
        dialog.fileSelected.connect(self._chosen)
        dialog.finished.connect(dialog.deleteLater)
        return dialog

    def _chosen(self, path: str) -> None:
        self.line.setText(path)
        self.edited.emit(path)
        self.finished.emit()
