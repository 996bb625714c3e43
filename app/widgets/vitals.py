"""The figures of a run in one line: elapsed, pace, time left, memory, GPU. It is told them; it works out nothing."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtWidgets import QHBoxLayout, QLabel, QWidget

from app import look
from app.models.run_words import Vital
from app.widgets.flow import Flow


class Vitals(QWidget):
    """Names in a quiet tone, values in digits of one width. Labels are made once and used again."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._flow = Flow(look.WIDE)
        self.setLayout(self._flow)
        self._pairs: list[tuple[QWidget, QLabel, QLabel]] = []

    def show_vitals(self, vitals: Sequence[Vital]) -> None:
        """Show these and no others."""
        while len(self._pairs) < len(vitals):
            self._pairs.append(self._pair())
        for index, (pair, name, value) in enumerate(self._pairs):
            pair.setVisible(index < len(vitals))
            if index < len(vitals):
                vital = vitals[index]
                name.setText(vital.name)
                value.setText(vital.value)
                value.setToolTip(vital.more)
                value.setAccessibleName(f"{vital.name}: {vital.value}")

    def words(self) -> str:
        """All of it as text."""
        return ", ".join(f"{name.text()} {value.text()}" for pair, name, value in self._pairs if not pair.isHidden())

    def _pair(self) -> tuple[QWidget, QLabel, QLabel]:
        pair = QWidget()
        row = QHBoxLayout(pair)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(look.SPACE)
        name, value = look.label("", "body", "muted"), look.label("")
        value.setFont(look.figures("strong"))
        row.addWidget(name)
        row.addWidget(value)
        self._flow.addWidget(pair)
        return pair, name, value
