"""The controls above a comparison: how it is shown, and which two sides."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QSignalBlocker, QSize, Qt, Signal
from PySide6.QtWidgets import (
    QButtonGroup,
    QComboBox,
    QDoubleSpinBox,
    QHBoxLayout,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from app import look
from app.models.comparison import Mode
from app.widgets.comparison_view import RATE, ComparisonView

MOST_RATE = 3.0
"""Flashing more often than three times a second can bring on a seizure (WCAG 2.3.1)."""


class ComparisonBar(QWidget):
    """Two rows of controls that act on a view and show its state. picture_wanted: "save" or "copy"."""

    picture_wanted = Signal(str)

    def __init__(self, view: ComparisonView, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._view = view
        self._icons: list[tuple[QToolButton, str]] = []
        self.modes: dict[Mode, QToolButton] = {}
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)  # pictures may shrink, buttons not
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(look.GAP)
        column.addLayout(self._first_row())
        self.second_row = self._second_row()
        column.addWidget(self.second_row)
        view.changed.connect(self._show)

    def _first_row(self) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setSpacing(look.SPACE)
        group = QButtonGroup(self)
        modes: list[tuple[Mode, str, str, str]] = [
            ("side", self.tr("Side by side"), "columns-2", self.tr("All sides beside each other")),
            ("wipe", self.tr("Wipe"), "split-square-horizontal", self.tr("Drag the divider, or use Left and Right")),
            ("blink", self.tr("Blink"), "eye", self.tr("Space flips between the two, B flips by itself")),
            ("difference", self.tr("Difference"), "diff", self.tr("Where the two differ, amplified")),
        ]
        for mode, words, icon, tip in modes:
            button = self._button(icon, words, tip)
            button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
            button.setText(words)
            button.setCheckable(True)
            button.clicked.connect(lambda _=False, mode=mode: self._choose_mode(mode))
            group.addButton(button)
            row.addWidget(button)
            self.modes[mode] = button
        self.modes["side"].setChecked(True)
        row.addStretch(1)
        self.copy = self._button("copy", self.tr("Copy picture"), self.tr("Copy picture"))
        self.copy.clicked.connect(lambda: self.picture_wanted.emit("copy"))
        self.save = self._button("save", self.tr("Save picture..."), self.tr("Save picture..."))
        self.save.clicked.connect(lambda: self.picture_wanted.emit("save"))
        row.addWidget(self.copy)
        row.addWidget(self.save)
        return row

    def _second_row(self) -> QWidget:
        whole = QWidget()
        row = QHBoxLayout(whole)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(look.SPACE)
        row.addWidget(self._pair(), 1)
        for widget in self._of_mode():
            row.addWidget(widget)
        row.addStretch(1)
        return whole

    def _pair(self) -> QWidget:
        self.a, self.b = QComboBox(), QComboBox()
        self.pair = QWidget()
        pair = QHBoxLayout(self.pair)
        pair.setContentsMargins(0, 0, 0, 0)
        pair.setSpacing(look.SPACE)
        for combo, name in ((self.a, self.tr("First side")), (self.b, self.tr("Second side"))):
            combo.setAccessibleName(name)
            combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            combo.setMinimumContentsLength(20)
            combo.currentIndexChanged.connect(self._choose_pair)
        pair.addWidget(self.a, 1)
        pair.addWidget(look.label(self.tr("and"), "body", "muted"))
        pair.addWidget(self.b, 1)
        return self.pair

    def _of_mode(self) -> list[QWidget]:
        self.auto = self._button("play", self.tr("Blink by itself"), self.tr("Blink by itself (B)"))
        self.auto.setCheckable(True)
        self.auto.clicked.connect(self._view.blink)
        self.rate = look.padded(QDoubleSpinBox())
        self.rate.setRange(0.2, MOST_RATE)
        self.rate.setSingleStep(0.2)
        self.rate.setDecimals(1)
        self.rate.setValue(RATE)
        self.rate.setSuffix(self.tr(" per second"))
        self.rate.setAccessibleName(self.tr("Flips per second"))
        self.rate.valueChanged.connect(self._view.set_rate)
        self.gain = look.padded(QDoubleSpinBox())
        self.gain.setRange(1, 64)
        self.gain.setDecimals(0)
        self.gain.setValue(self._view.gain)
        self.gain.setPrefix("× ")
        self.gain.setAccessibleName(self.tr("How many times the difference is amplified"))
        self.gain.setToolTip(self.gain.accessibleName())
        self.gain.valueChanged.connect(self._view.set_gain)
        self.number = look.label("", "body", "text")
        self.number.setFont(look.figures())
        self.number.setAccessibleName(self.tr("Mean difference of the two"))
        return [self.auto, self.rate, self.gain, self.number]

    def _button(self, icon: str, name: str, tip: str) -> QToolButton:
        button = QToolButton()
        button.setIcon(look.icon(icon))
        button.setIconSize(QSize(18, 18))
        button.setAccessibleName(name)
        button.setToolTip(tip)
        button.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self._icons.append((button, icon))
        return button

    def set_sides(self, names: Sequence[str]) -> None:
        """The sides that may be the two."""
        with QSignalBlocker(self.a), QSignalBlocker(self.b):
            for combo, chosen in ((self.a, self._view.a), (self.b, self._view.b)):
                combo.clear()
                combo.addItems(list(names))
                combo.setCurrentIndex(chosen)
        self._show()

    def _choose_mode(self, mode: Mode) -> None:
        self._view.set_mode(mode)
        self._view.setFocus()  # for the keys that the mode has: Space, arrows

    def _choose_pair(self) -> None:
        self._view.set_pair(self.a.currentIndex(), self.b.currentIndex())

    def _show(self) -> None:
        """What the view shows now."""
        view = self._view
        self.modes[view.mode].setChecked(True)
        self.second_row.setVisible(view.mode != "side")
        for widget in (self.auto, self.rate):
            widget.setVisible(view.mode == "blink")
        self.auto.setChecked(view.is_blinking)
        for combo in (self.a, self.b):
            combo.setToolTip(look.tip(combo.currentText()))
        if view.layers is None:
            return
        points = view.layers.comparison.kind == "points"
        self.gain.setVisible(view.mode == "difference" and not points)  # lines are as long as they are
        self.number.setVisible(view.mode == "difference")
        if view.mode == "difference":
            self._say_difference(view.layers.difference(view.a, view.b), points)

    def _say_difference(self, found: float | None, points: bool) -> None:
        if found is None:
            words = self.tr("no number")
        elif points:
            words = self.tr("mean length {0}").format(f"{found:.3g}")
        else:
            words = self.tr("mean {0} %").format(f"{100 * found:.2g}")
        self.number.setText(words)

    def refresh_icons(self) -> None:
        """Show icons in the colours of now."""
        for button, icon in self._icons:
            button.setIcon(look.icon(icon))
