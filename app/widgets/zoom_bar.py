"""The controls below a comparison: which sample, how near, and what keys there are."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QSize, Qt
from PySide6.QtWidgets import QHBoxLayout, QToolButton, QWidget

from app import look
from app.widgets.comparison_view import ComparisonView
from app.widgets.pane import ZOOM_STEP


class ZoomBar(QWidget):
    """A row of controls that act on a view and show its state."""

    def __init__(self, view: ComparisonView, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._view = view
        self._icons: dict[QToolButton, str] = {}
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(look.SPACE)
        self.place = look.label("", "caption", "muted", wraps=True)
        row.addWidget(self.place, 1)
        self.all = self._button("image", view.toggle_sample)
        self.farther = self._button("zoom-out", lambda: view.zoom(1 / ZOOM_STEP), self.tr("Farther (-)"))
        self.nearer = self._button("zoom-in", lambda: view.zoom(ZOOM_STEP), self.tr("Nearer (+)"))
        self.fit = self._button("maximize", view.fit, self.tr("Fit (0)"))
        self.true_size = self._button("square", view.true_size, self.tr("True size (1)"))
        for button in (self.all, self.farther, self.nearer, self.fit, self.true_size):
            row.addWidget(button)
        self.percent = look.label("", "caption", "muted")
        self.percent.setFont(look.figures("caption"))
        self.percent.setAccessibleName(self.tr("Zoom"))
        self.percent.setMinimumWidth(self.percent.fontMetrics().horizontalAdvance("20000 %"))
        row.addWidget(self.percent)
        view.changed.connect(self._show)

    def _button(self, icon: str, deed: Callable[[], object], words: str = "") -> QToolButton:
        button = QToolButton()
        button.setIcon(look.icon(icon))
        button.setIconSize(QSize(18, 18))
        button.setAccessibleName(words)
        button.setToolTip(words)
        button.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        button.clicked.connect(deed)
        self._icons[button] = icon
        return button

    def _show(self) -> None:
        """What the view shows now."""
        view = self._view
        if view.layers is None:
            return
        comparison, one = view.layers.comparison, view.sample is not None
        pictures = comparison.kind == "pictures"
        for widget in (self.all, self.true_size, self.percent):  # points have no size of their own
            widget.setVisible(pictures)
        self.percent.setText(self.tr("{0} %").format(round(view.percent)))
        words = self.tr("All samples (Escape)") if one else self.tr("One sample large (Enter, or click it)")
        if words != self.all.toolTip():
            self._icons[self.all] = "grid-2x2" if one else "image"
            self.all.setIcon(look.icon(self._icons[self.all]))
            self.all.setToolTip(words)
            self.all.setAccessibleName(words)
        self.place.setText(self._words(view.sample))

    def _words(self, sample: int | None) -> str:
        """The sample that is shown, and the keys that are of use."""
        assert self._view.layers is not None
        comparison = self._view.layers.comparison
        if comparison.kind == "points":
            return self.tr("Wheel, + and - zoom; drag and arrows pan; 0 fits. Space flips the two.")
        if sample is None:
            return self.tr("Wheel, + and - zoom; drag pans; 0 fits. Space flips the two. Click or Enter: one sample.")
        words = self.tr("Sample {0} of {1}").format(sample + 1, comparison.count)
        return self.tr("{0}. Page Up and Page Down: the next. Escape: all. Space flips the two.").format(words)

    def refresh_icons(self) -> None:
        """Show icons in the colours of now."""
        for button, icon in self._icons.items():
            button.setIcon(look.icon(icon))
