"""What is asked of a person who closes a window while runs go on."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QCheckBox, QMessageBox, QWidget

from backend.contract.rows import Run


class ClosingQuestion(QMessageBox):
    """decided: the window is to close; whether the runs are to stop, and whether not to ask again."""

    decided = Signal(bool, bool)

    def __init__(self, runs: Sequence[Run], parent: QWidget) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        if len(runs) == 1:
            self.setText(self.tr("{0} goes on without the window.").format(runs[0].name))
            self.setInformativeText(self.tr("It trains in a process of its own. Open the project again to see it."))
        else:
            names = ", ".join(run.name for run in runs[:-1])
            self.setText(self.tr("{0} and {1} go on without the window.").format(names, runs[-1].name))
            self.setInformativeText(self.tr("Each trains in a process of its own. Open the project again to see them."))
        self._leave = self.addButton(self.tr("Close window"), QMessageBox.ButtonRole.AcceptRole)
        words = self.tr("Stop run, then close") if len(runs) == 1 else self.tr("Stop the runs, then close")
        self._stop = self.addButton(words, QMessageBox.ButtonRole.DestructiveRole)
        self.addButton(self.tr("Cancel"), QMessageBox.ButtonRole.RejectRole)
        self.setDefaultButton(self._leave)
        self._quietly = QCheckBox(self.tr("Do not ask again"))
        self.setCheckBox(self._quietly)
        self.finished.connect(self._decide)

    def _decide(self) -> None:
        if self.clickedButton() in (self._leave, self._stop):
            self.decided.emit(self.clickedButton() is self._stop, self._quietly.isChecked())
