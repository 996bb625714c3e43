"""Where a project lies or is to lie, asked in the system's own way. Nothing waits for the answer."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from PySide6.QtCore import QCoreApplication, Qt
from PySide6.QtWidgets import QFileDialog, QWidget

tr = partial(QCoreApplication.translate, "asking")
SUFFIX = ".distill"
Chosen = Callable[[Path], object]


def for_new(parent: QWidget, title: str, folder: Path, chosen: Chosen, name: str = "") -> None:
    """Ask for the name of a project that does not exist yet. name: what is proposed."""
    dialog = _for_a_name(parent, title, folder, chosen)
    dialog.selectFile(name)
    dialog.open()


def for_copy(parent: QWidget, title: str, folder: Path, chosen: Chosen) -> None:
    """Ask where a copy is to lie. A name that exists is not asked about: nothing is overwritten, it is refused."""
    dialog = _for_a_name(parent, title, folder, chosen)
    dialog.setOption(QFileDialog.Option.DontConfirmOverwrite)
    dialog.open()


def for_existing(parent: QWidget, title: str, folder: Path, chosen: Chosen) -> None:
    """Ask for a project that exists."""
    dialog = _dialog(parent, title, folder, chosen)
    dialog.setFileMode(QFileDialog.FileMode.ExistingFile)
    dialog.setNameFilters([*dialog.nameFilters(), tr("All files (*)")])
    dialog.open()


def _for_a_name(parent: QWidget, title: str, folder: Path, chosen: Chosen) -> QFileDialog:
    dialog = _dialog(parent, title, folder, chosen)
    dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
    dialog.setDefaultSuffix(SUFFIX.removeprefix("."))
    return dialog


def _dialog(parent: QWidget, title: str, folder: Path, chosen: Chosen) -> QFileDialog:
    dialog = QFileDialog(parent, title, str(folder))
    dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    dialog.setNameFilter(tr("Distill projects (*.distill)"))
    dialog.fileSelected.connect(lambda path: chosen(Path(path)))
    return dialog
