"""What the measurable signs say about a run, in sentences, worst first, and the checkpoint worth keeping."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QEvent, Qt, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QScrollArea, QVBoxLayout, QWidget

from app import look
from app.models import run_words
from app.translations import said
from app.widgets.icon_button import IconButton
from backend.contract.rows import Checkpoint, LogEvent

ICONS = {"bad": "circle-alert", "warning": "triangle-alert", "notice": "info"}


class HealthPanel(QWidget):
    """export_wanted: the best checkpoint is to be exported."""

    export_wanted = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._events: list[LogEvent] = []
        self._overall: LogEvent | None = None
        self._drawn: list[tuple[QLabel, str, str]] = []
        content = QWidget()
        column = QVBoxLayout(content)
        column.setContentsMargins(0, look.GAP, look.GAP, 0)
        column.setSpacing(look.GAP)
        column.addWidget(self._best())
        self._signs = QVBoxLayout()
        self._signs.setSpacing(look.GAP)
        column.addLayout(self._signs)
        column.addStretch(1)
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        area.setWidget(content)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.addWidget(area)
        self.show_checkpoints([])
        self.show_events([])

    def _best(self) -> QFrame:
        frame, inside = look.card()
        inside.addWidget(look.label(self.tr("Best checkpoint"), "strong"))
        self.best = look.label("", "body", "text", wraps=True)
        inside.addWidget(self.best)
        row = QHBoxLayout()
        self.export = IconButton("share", self.tr("Export the best"))
        self.export.clicked.connect(self.export_wanted)
        row.addWidget(self.export)
        row.addStretch(1)
        inside.addLayout(row)
        return frame

    def show_checkpoints(self, checkpoints: Sequence[Checkpoint]) -> None:
        """The checkpoints that are on disk."""
        best = next((checkpoint for checkpoint in checkpoints if checkpoint.is_best), None)
        self.export.setEnabled(bool(checkpoints))
        self.export.say(self.tr("Export the best") if best or not checkpoints else self.tr("Export the last"))
        if not checkpoints:
            self.best.setText(self.tr("None yet. The run keeps one whenever a preview scores better than all before."))
        elif best is None:
            last = checkpoints[-1]
            self.best.setText(self.tr("Nothing is scored; the last is at step {0}.").format(_number(last.step)))
        else:
            score = best.meta.get("score")
            words = self.tr("Step {0}, score {1} (smaller is better); kept on disk.")
            if not isinstance(score, int | float):
                words = self.tr("Step {0}; kept on disk.")
            self.best.setText(words.format(_number(best.step), run_words.figure(float(score or 0))))

    def show_events(self, events: Sequence[LogEvent]) -> None:
        """All events of the run so far."""
        found, overall = run_words.signs(events), run_words.overall(events)
        if self._drawn and (found, overall) == (self._events, self._overall):
            return
        self._events, self._overall = found, overall
        self._drawn = []
        while (item := self._signs.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.hide()
                widget.deleteLater()
        if not found:
            self._signs.addWidget(self._nothing())
        for event in found:
            self._signs.addWidget(self._sign(event))

    def words(self) -> list[str]:
        """The sentences that are shown, worst first."""
        return [event.text for event in self._events]

    def _nothing(self) -> QFrame:
        frame, inside = look.card()
        row = QHBoxLayout()
        row.addWidget(self._icon("circle-check", "good"), 0, Qt.AlignmentFlag.AlignTop)
        row.addWidget(look.label(self.tr("Nothing unusual"), "strong"), 1)
        inside.addLayout(row)
        if self._overall is not None:
            inside.addWidget(look.label(said(self._overall.text), "body", "text", wraps=True))
            inside.addWidget(look.label(run_words.reading(self._overall), "caption", "muted", wraps=True))
        watched = self.tr(
            "Watched: losses that are not finite; a fake score network that lags behind the student; a discriminator "
            "that no longer teaches; diversity that falls; samples that leave the range; quality past its peak."
        )
        inside.addWidget(look.label(watched, "body", "muted", wraps=True))
        return frame

    def _sign(self, event: LogEvent) -> QFrame:
        level = str(event.data.get("level", "warning"))
        frame, inside = look.card()
        row = QHBoxLayout()
        tone = level if level in ("bad", "warning") else "muted"
        row.addWidget(self._icon(ICONS.get(level, "info"), tone), 0, Qt.AlignmentFlag.AlignTop)
        sentence = look.label(said(event.text), "body", "text", wraps=True)
        sentence.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        row.addWidget(sentence, 1)
        inside.addLayout(row)
        parts = [self.tr("Step {0}").format(_number(event.step))] if event.step is not None else []
        measured = run_words.reading(event)
        if measured:
            parts.append(self.tr("measured: {0}").format(measured))
        if parts:
            inside.addWidget(look.label("  ·  ".join(parts), "caption", "muted", wraps=True))
        return frame

    def _icon(self, name: str, tone: str) -> QLabel:
        label = QLabel()
        label.setPixmap(look.icon(name, tone).pixmap(20, 20))
        self._drawn.append((label, name, tone))
        return label

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange:
            for label, name, tone in getattr(self, "_drawn", []):
                label.setPixmap(look.icon(name, tone).pixmap(20, 20))


def _number(value: int) -> str:
    return f"{value:,}"
