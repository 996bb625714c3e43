"""The line below a comparison that names the picture a person looks at by its prompt or class."""

from __future__ import annotations

from PySide6.QtWidgets import QWidget

from app import look
from app.models.comparison import sample_words
from app.widgets.comparison_view import ComparisonView
from app.widgets.elided_label import ElidedLabel


class ConditionLine(ElidedLabel):
    """Follows a view; it is not there where pictures have no prompts or classes."""

    def __init__(self, view: ComparisonView, parent: QWidget | None = None) -> None:
        super().__init__(parent=parent)
        self._view = view
        self.setAccessibleName(self.tr("What the picture answers"))
        view.changed.connect(self._show)
        view.pointed.connect(self._show)

    def _show(self) -> None:
        """What the view names now."""
        layers, sample = self._view.layers, self._view.named
        conditions = layers.comparison.conditions if layers is not None else None
        self.setVisible(conditions is not None)
        if conditions is None:
            return
        if sample is not None:
            words = sample_words(conditions, sample, self.tr)
        elif conditions.kind == "prompt":
            words = self.tr("Point at a picture, or go to it with the arrow keys, to read its prompt.")
        else:
            words = self.tr("Point at a picture, or go to it with the arrow keys, to read its class.")
        look.set_tone(self, "muted" if sample is None else "text")
        if words != self.text():
            self.setText(words)
            self.setToolTip(look.tip(words))
            self.setAccessibleDescription(words)
