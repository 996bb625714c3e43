"""The button behind which a person chooses the run whose curves lie as a band behind those of the run that is shown."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtGui import QActionGroup
from PySide6.QtWidgets import QMenu, QToolButton, QWidget

from app.models.band import Offers, Reference
from app.widgets.icon_button import IconButton


class BandButton(IconButton):
    """reference: what was chosen for the run that is shown, or what fits it by itself; None for no band.

    A choice is kept for each run as long as the button lives. changed: `reference` is another.
    """

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("activity", "", quiet=True, parent=parent)
        self.say(self.tr("Band..."))
        self.setAccessibleName(self.tr("Reference band..."))
        self.setToolTip(
            self.tr("Shade where the curves of a sound run of the same method and teacher lay: nine values of ten")
        )
        self.setEnabled(False)
        self._run: int | None = None
        self._offers: Offers | None = None
        self._chosen: dict[int, Reference | None] = {}
        self._menu = QMenu(self)
        self._menu.aboutToShow.connect(self._fill)
        self.setMenu(self._menu)
        self.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)

    @property
    def reference(self) -> Reference | None:
        if self._run in self._chosen:
            return self._chosen[self._run]
        return Reference(self._offers.shipped) if self._offers is not None and self._offers.fits else None

    def show_run(self, run: int) -> None:
        """This run is shown; what there is for it is told later."""
        self._run, self._offers = run, None
        self.setEnabled(False)

    def show_offers(self, offers: Offers | None) -> None:
        """What the run that is shown can be held against; what is of another is of no use."""
        if offers is None or offers.run != self._run or offers == self._offers:
            return
        before = self.reference
        self._offers = offers
        self.setEnabled(bool(offers.runs or offers.shipped))
        if self.reference != before:
            self.changed.emit()

    def _fill(self) -> None:
        self._menu.clear()
        offers = self._offers
        if offers is None:
            return
        group = QActionGroup(self._menu)  # one of them at a time
        entries: list[tuple[str, Reference | None]] = [(self.tr("No band"), None)]
        if offers.shipped:
            entries.append((self.tr("A sound run of this preset"), Reference(offers.shipped)))
        of_runs = [(name, Reference(offers.method, run)) for run, name in offers.runs]
        for words, reference in (*entries, *of_runs):
            if of_runs and reference == of_runs[0][1]:
                self._menu.addSeparator()
            entry = self._menu.addAction(words.replace("&", "&&"))
            entry.setCheckable(True)
            entry.setChecked(reference == self.reference)
            entry.setActionGroup(group)
            entry.triggered.connect(lambda _=False, reference=reference: self._choose(reference))

    def _choose(self, reference: Reference | None) -> None:
        before = self.reference
        if self._run is not None:
            self._chosen[self._run] = reference
        if reference != before:
            self.changed.emit()
