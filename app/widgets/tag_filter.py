"""The tags of the project's runs as switches: those that are on are wanted of every run that is shown."""

from __future__ import annotations

from collections.abc import Iterable

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QToolButton, QWidget

from app.widgets.flow import Flow


class TagFilter(QWidget):
    """changed: the tags that are on, as a frozenset. Nothing is shown where no run has a tag."""

    changed = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName(self.tr("Show runs with these tags"))
        self._row = Flow()
        self.setLayout(self._row)
        self.buttons: dict[str, QToolButton] = {}
        self.hide()

    def show_tags(self, tags: Iterable[str]) -> None:
        """The tags there are; those that were on stay on while they exist."""
        wanted = sorted(set(tags), key=str.casefold)
        if wanted == list(self.buttons):
            return
        on = self.chosen()
        for button in self.buttons.values():
            self._row.removeWidget(button)
            button.deleteLater()
        self.buttons = {tag: self._button(tag, tag in on) for tag in wanted}
        self.setVisible(bool(wanted))
        if self.chosen() != on:
            self.changed.emit(self.chosen())

    def chosen(self) -> frozenset[str]:
        """The tags that are on."""
        return frozenset(tag for tag, button in self.buttons.items() if button.isChecked())

    def _button(self, tag: str, on: bool) -> QToolButton:
        button = QToolButton(self)
        button.setText(tag)
        button.setCheckable(True)
        button.setChecked(on)
        button.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        button.setAccessibleName(self.tr("Tag {0}").format(tag))
        button.setToolTip(self.tr("Show only runs with the tag {0}").format(tag))
        button.toggled.connect(lambda _: self.changed.emit(self.chosen()))
        self._row.addWidget(button)
        return button
