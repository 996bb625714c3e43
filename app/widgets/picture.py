"""One picture, large, with all that is known of how it was made."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt
from PySide6.QtGui import QImage, QKeyEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QApplication, QDialog, QHBoxLayout, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from app import look
from app.models.run_words import Words
from app.picture_store import WHOLE, PictureStore
from app.widgets.icon_button import IconButton
from app.widgets.sample_grid import draw_picture
from backend.contract.rows import Sample

EDGE = 128 * look.SPACE


class PictureView(QDialog):
    """Arrow keys go to the picture before or after."""

    def __init__(self, store: PictureStore, samples: Sequence[Sample], index: int, parent: QWidget) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle(self.tr("Picture"))
        self._store, self._samples, self._index = store, list(samples), index
        column = QVBoxLayout(self)
        column.setContentsMargins(look.MARGIN, look.MARGIN, look.MARGIN, look.MARGIN)
        column.setSpacing(look.GAP)
        self._canvas = _Canvas()
        column.addWidget(self._canvas, 1)
        self.words = look.label("", "body", "muted", wraps=True)
        self.words.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        column.addWidget(self.words)
        row = QHBoxLayout()
        self.before = IconButton("chevron-left", self.tr("Picture before"), alone=True)
        self.after = IconButton("chevron-right", self.tr("Picture after"), alone=True)
        self.before.clicked.connect(lambda: self.go(-1))
        self.after.clicked.connect(lambda: self.go(1))
        self.copy = IconButton("copy", self.tr("Copy picture"))
        self.copy.clicked.connect(self._copy)
        close = QPushButton(self.tr("Close"))
        close.clicked.connect(self.close)
        close.setDefault(True)
        for button in (self.before, self.after, self.copy):
            row.addWidget(button)
        row.addStretch(1)
        row.addWidget(close)
        column.addLayout(row)
        self.resize(EDGE + 2 * look.MARGIN, EDGE + 30 * look.SPACE)
        store.arrived.connect(self._show)
        self.go(0)

    def go(self, by: int) -> None:
        """To another picture of the same round."""
        self._index = max(0, min(len(self._samples) - 1, self._index + by))
        self.before.setEnabled(self._index > 0)
        self.after.setEnabled(self._index < len(self._samples) - 1)
        self._store.want("picture", [self._samples[self._index]], WHOLE)
        self._show()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        moves = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}
        if event.key() in moves:
            self.go(moves[Qt.Key(event.key())])
        else:
            super().keyPressEvent(event)

    def _show(self) -> None:
        sample = self._samples[self._index]
        picture = self._store.get(sample, WHOLE)
        self._canvas.show_picture(picture)
        self.copy.setEnabled(picture is not None)
        trouble = self._store.why_missing(sample)
        parts = [sample_words(sample, self.tr)]
        if picture is not None:
            parts.append(self.tr("{0} x {1} pixels").format(picture.width(), picture.height()))
        self.words.setText(trouble or "\n".join(parts))
        self._canvas.setAccessibleName(self.tr("Picture {0} of {1}").format(self._index + 1, len(self._samples)))

    def _copy(self) -> None:
        picture = self._store.get(self._samples[self._index], WHOLE)
        if picture is not None:
            QApplication.clipboard().setImage(picture)


class _Canvas(QWidget):
    def __init__(self) -> None:
        super().__init__()
        self._picture: QImage | None = None
        self.setMinimumSize(40 * look.SPACE, 40 * look.SPACE)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)

    def show_picture(self, picture: QImage | None) -> None:
        self._picture = picture
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        draw_picture(QPainter(self), self.rect(), self._picture)


def sample_words(sample: Sample, tr: Words) -> str:
    """What is known of a sample: label, step, seed, sampler."""
    parts = [sample.label] if sample.label else []
    parts.append(tr("step {0}").format(f"{sample.step:,}"))
    if sample.seed is not None:
        parts.append(tr("seed {0}").format(sample.seed))
    sampler = ", ".join(f"{name} {_short(value)}" for name, value in sample.sampler.items())
    if sampler:
        parts.append(tr("sampler: {0}").format(sampler))
    return " · ".join(parts)


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return "[" + ", ".join(_short(one) for one in value) + "]"
    return str(value)
