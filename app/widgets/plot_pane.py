"""One plot with its heading: what it shows, how much it is reduced, and how its y axis and smoothing are set.

The choices are remembered for each group of series, because what suits a loss does not suit a score.
"""

from __future__ import annotations

from PySide6.QtCore import QSettings, Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QCheckBox, QHBoxLayout, QLabel, QSizePolicy, QSlider, QVBoxLayout, QWidget

from app import look
from app.models.curve_view import Group
from app.widgets.curve_plot import CurvePlot
from app.widgets.elided_label import ElidedLabel
from app.widgets.icon_button import action

WIDE_ENOUGH = 88 * look.SPACE
"""For the word beside the smoothing, which its tool tip says as well."""


class PlotPane(QWidget):
    """changed: another scale or smoothing is wanted. commands: what can be done with it, by name."""

    changed = Signal()

    def __init__(self, group: Group, title: str, settings: QSettings, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.group, self.title = group, title
        self._settings = settings
        self.plot = CurvePlot(title)
        # On a line of its own, and on a second where it must: beside the boxes nothing is left for it in a window of
        # 1280 pixels, and what a plot leaves out is not to be left out itself.
        self.badge = Badge()
        self.smoothing = QSlider(Qt.Orientation.Horizontal)
        self.smoothing.setRange(0, 99)
        self.smoothing.setPageStep(10)
        self.smoothing.setMinimumWidth(9 * look.SPACE)
        self.smoothing.setMaximumWidth(30 * look.SPACE)
        self.smoothing.setAccessibleName(self.tr("Smoothing of {0}").format(title))
        self.smoothing.setToolTip(
            self.tr("Smooths the columns that are drawn, as far forward as back; the line itself stays, faint.")
        )
        self.log = QCheckBox(self.tr("Log"))
        self.log.setAccessibleName(self.tr("Logarithmic axis for {0}").format(title))
        self.log.setToolTip(self.tr("Logarithmic y axis (L)"))
        self.clip = QCheckBox(self.tr("Clip"))
        self.clip.setAccessibleName(self.tr("Clip the axis of {0}").format(title))
        self.clip.setToolTip(self.tr("Fit the y axis to 2-98 % of the values, so that spikes do not flatten it"))
        self.smoothing.setValue(_number(settings.value(self._key("smoothing"))))
        self.log.setChecked(str(settings.value(self._key("log"), "")).lower() == "true")
        self.clip.setChecked(str(settings.value(self._key("clip"), "")).lower() == "true")
        self.smoothing.valueChanged.connect(self._changed)
        self.log.toggled.connect(self._changed)
        self.clip.toggled.connect(self._changed)
        self.commands = [
            action(self.tr("Logarithmic axis for {0}").format(title), self.log.toggle),
            action(self.tr("Clip the axis of {0}").format(title), self.clip.toggle),
            action(self.tr("Smooth {0} more").format(title), lambda: self._smooth_by(1)),
            action(self.tr("Smooth {0} less").format(title), lambda: self._smooth_by(-1)),
        ]
        head = QHBoxLayout()
        head.setContentsMargins(look.MARGIN, 0, look.GAP, 0)
        head.setSpacing(look.SPACE)
        name = ElidedLabel("strong")
        name.setText(title)
        name.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        name.setMinimumWidth(min(name.sizeHint().width(), 32 * look.SPACE))
        head.addWidget(name)
        head.addStretch(1)
        self._words = look.label(self.tr("Smooth"), "caption", "muted")
        self._words.setBuddy(self.smoothing)
        head.addWidget(self._words)
        head.addWidget(self.smoothing)
        for box in (self.log, self.clip):
            head.addSpacing(look.SPACE)
            head.addWidget(box)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, look.GAP, 0, 0)
        layout.setSpacing(0)
        layout.addLayout(head)
        layout.addWidget(self.badge)
        layout.addWidget(self.plot, 1)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        look.set_shown(self._words, self.width() >= WIDE_ENOUGH)

    @property
    def amount(self) -> float:
        """Of smoothing."""
        return self.smoothing.value() / 100

    def _smooth_by(self, pages: int) -> None:
        self.smoothing.setValue(self.smoothing.value() + pages * self.smoothing.pageStep())

    def _key(self, name: str) -> str:
        return f"curves/{self.group}/{name}"

    def _changed(self) -> None:
        self._settings.setValue(self._key("smoothing"), self.smoothing.value())
        self._settings.setValue(self._key("log"), self.log.isChecked())
        self._settings.setValue(self._key("clip"), self.clip.isChecked())
        self.changed.emit()


class Badge(QLabel):
    """What a plot leaves out, in as many lines as that takes."""

    def __init__(self) -> None:
        super().__init__()
        self.setFont(look.font("caption"))
        look.set_tone(self, "muted")
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setWordWrap(True)
        self.setContentsMargins(look.MARGIN, 0, look.GAP, 0)

    def say(self, words: str) -> None:
        if words != self.text():
            self.setText(words)
            self._fit()

    def hasHeightForWidth(self) -> bool:
        """It sets its height itself: a scroll area gives what says yes the height that it likes, not what there is."""
        return False

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        height = max(0, self.heightForWidth(self.width()))  # it is -1 of no words
        if height != self.maximumHeight():
            self.setFixedHeight(height)


def _number(value: object) -> int:
    try:
        return min(max(int(str(value)), 0), 99)
    except ValueError:
        return 0
