"""The button behind which other runs are chosen whose curves lie over those of the run that is shown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QMenu, QToolButton, QWidget

from app.widgets.icon_button import IconButton


class OverlayButton(IconButton):
    """runs: those that were chosen, in that order. changed: they are others, because a person chose."""

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("layers", "", quiet=True, parent=parent)
        self.say(self.tr("Overlay runs..."))
        self._names: list[tuple[int, str]] = []
        self._shown: int | None = None
        self._chosen: dict[int, None] = {}
        self._menu = QMenu(self)
        self._menu.aboutToShow.connect(self._fill)
        self.setMenu(self._menu)
        self.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)

    @property
    def runs(self) -> list[int]:
        """The runs that were chosen."""
        return list(self._chosen)

    def lie_over(self, run: int, others: Iterable[int] = ()) -> None:
        """This run is shown, and cannot be chosen. others: what lies over it from the start."""
        self._shown, self._chosen = run, dict.fromkeys(other for other in others if other != run)

    def show_runs(self, names: Sequence[tuple[int, str]]) -> None:
        """The project's runs by id and name, oldest first."""
        self._names = list(names)
        self.setEnabled(len(self._names) > 1)

    def _fill(self) -> None:
        self._menu.clear()
        for run, name in reversed(self._names):
            if run != self._shown:
                entry = self._menu.addAction(name)
                entry.setCheckable(True)
                entry.setChecked(run in self._chosen)
                entry.toggled.connect(lambda on, run=run: self._choose(run, on))

    def _choose(self, run: int, on: bool) -> None:
        if on:
            self._chosen[run] = None
        else:
            self._chosen.pop(run, None)
        self.changed.emit()
