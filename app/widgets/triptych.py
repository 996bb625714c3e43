"""What people really debug with: the student's pictures, and how teacher and fake score network see them once noised.

All three at one noise level, which a slider chooses among those that were recorded. A picture holds several samples
side by side; the same column is the same sample in each row.
"""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QImage, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen, QResizeEvent
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QScrollArea, QSizePolicy, QVBoxLayout, QWidget

from app import look
from app.models.sample_rounds import Rounds
from app.picture_store import WHOLE, PictureStore
from app.widgets.history_slider import HistorySlider
from app.widgets.picture import PictureView
from app.widgets.sample_grid import draw_picture
from backend.contract.rows import VIEWS, Sample

FAKE = "fake_score_view"
MOST_HEIGHT = 50 * look.SPACE
"""Of one view: three of them should be in sight."""


class Triptych(QWidget):
    """`show_rounds` whenever there is more. The newest step is followed until another one is chosen."""

    def __init__(self, store: PictureStore, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._store, self._samples = store, Rounds()
        self._steps: list[tuple[int, int | None]] = []
        self._levels: dict[int, float] = {}
        content = QWidget()
        column = QVBoxLayout(content)
        column.setContentsMargins(0, look.GAP, look.GAP, 0)
        column.setSpacing(look.GAP)
        self.level, self.level_words = HistorySlider(self.tr("Noise level")), look.label("")
        self.step, self.step_words = HistorySlider(self.tr("Step of the views")), look.label("")
        self._sliders = self._make_sliders()
        column.addWidget(self._sliders)
        self._rows: dict[str, tuple[QWidget, Strip]] = {}
        for kind, name, what in (
            ("student_view", self.tr("Student"), self.tr("What the student makes of noise now.")),
            ("noised_view", self.tr("Noised"), self.tr("The same, with noise of this level added again.")),
            ("teacher_view", self.tr("Teacher's view"), self.tr("What the teacher takes that for: the real side.")),
            (FAKE, self.tr("Fake score's view"), self.tr("What that network takes it for: the student's side.")),
        ):
            self._rows[kind] = self._make_row(kind, name, what)
            for widget in self._rows[kind]:
                column.addWidget(widget)
        self.none = look.label(
            self.tr("This method has no fake score network, so there is no third view."), "body", "muted", wraps=True
        )
        column.addWidget(self.none)
        self.empty = look.label(
            self.tr(
                "No views yet. They come with each preview: the student's picture, and what the teacher and the fake "
                "score network make of it at several noise levels."
            ),
            "body",
            "muted",
            wraps=True,
        )
        column.addWidget(self.empty)
        column.addStretch(1)
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        area.setWidget(content)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.addWidget(area)
        self.level.valueChanged.connect(self._show)
        self.step.valueChanged.connect(self._show_step)
        store.arrived.connect(self._paint)
        self.show_rounds(self._samples)

    def _make_sliders(self) -> QWidget:
        whole = QWidget()
        grid = QGridLayout(whole)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(look.GAP)
        names = (self.tr("Noise level"), self.tr("Step"))
        sliders = ((self.level, self.level_words), (self.step, self.step_words))
        for row, (name, (slider, words)) in enumerate(zip(names, sliders, strict=True)):
            words.setFont(look.figures("body"))
            label = look.label(name, "body", "muted")
            label.setBuddy(slider)
            for place, widget in enumerate((label, slider, words)):
                grid.addWidget(widget, row, place)
        grid.setColumnStretch(1, 1)
        return whole

    def _make_row(self, kind: str, name: str, what: str) -> tuple[QWidget, Strip]:
        head, strip = QWidget(), Strip()
        words = QHBoxLayout(head)
        words.setContentsMargins(0, 0, 0, 0)
        words.setSpacing(look.GAP)
        words.addWidget(look.label(name, "strong"), 0, Qt.AlignmentFlag.AlignTop)
        words.addWidget(look.label(what, "caption", "muted", wraps=True), 1)
        strip.setAccessibleName(name)
        strip.setAccessibleDescription(what)
        strip.clicked.connect(lambda: self._open(kind))
        return head, strip

    def show_rounds(self, samples: Rounds) -> None:
        """The run's samples as they are now."""
        follows = samples is not self._samples or self.step.is_at_end or not self._steps
        at = None if follows else self._steps[self.step.value()]
        self._samples, self._steps = samples, samples.views()
        self.step.blockSignals(True)
        self.step.show_range(len(self._steps))
        self.step.setValue(self._steps.index(at) if at in self._steps else self.step.maximum())
        self.step.blockSignals(False)
        self._show_step()

    def _show_step(self) -> None:
        t = self.shown_level
        self._levels = self._samples.levels(self._steps[self.step.value()]) if self._steps else {}
        self.level.blockSignals(True)
        self.level.show_range(len(self._levels))
        if self._levels:
            wanted = 0.5 if t is None else t
            closest = min(range(len(self._levels)), key=lambda i: abs(list(self._levels.values())[i] - wanted))
            self.level.setValue(closest)
        self.level.blockSignals(False)
        self._show()

    @property
    def shown_level(self) -> float | None:
        """The noise level t that the slider is at."""
        return list(self._levels.values())[self.level.value()] if self._levels else None

    def shown(self) -> dict[str, Sample]:
        """The view of each kind that is shown now."""
        if not self._levels:
            return {}
        key, position = self._steps[self.step.value()], list(self._levels)[self.level.value()]
        found = {kind: self._samples.view(kind, key).get(position) for kind in VIEWS}
        return {kind: sample for kind, sample in found.items() if sample is not None}

    def _show(self) -> None:
        shown = self.shown()
        self._sliders.setVisible(bool(shown))
        self.empty.setVisible(not shown)
        self.none.setVisible(bool(shown) and not self._samples.has(FAKE))
        for kind, widgets in self._rows.items():
            for widget in widgets:
                widget.setVisible(kind in shown)
        if shown:
            self.level_words.setText(self.tr("t = {0}").format(f"{self.shown_level:.2f}"))
            self.step_words.setText(f"{self._steps[self.step.value()][0]:,}")
        self._ask()
        self._paint()

    def _ask(self) -> None:
        """Load what is shown, then the other levels of this step."""
        wanted = list(self.shown().values())
        if self._steps:
            key = self._steps[self.step.value()]
            wanted += [sample for kind in VIEWS for sample in self._samples.view(kind, key).values()]
        self._store.want("views", wanted, WHOLE)

    def _paint(self) -> None:
        for kind, sample in self.shown().items():
            self._rows[kind][1].show_picture(self._store.get(sample, WHOLE), self._store.why_missing(sample))

    def _open(self, kind: str) -> None:
        shown = self.shown()
        if kind in shown:
            samples = list(shown.values())
            PictureView(self._store, samples, samples.index(shown[kind]), self).open()


class Strip(QWidget):
    """A wide picture in the width there is. clicked: it is wanted large."""

    clicked = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._picture: QImage | None = None
        policy = QSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
        self.setMinimumHeight(10 * look.SPACE)
        self.setMinimumWidth(20 * look.SPACE)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)

    def show_picture(self, picture: QImage | None, trouble: str) -> None:
        """The picture, or why there is none."""
        grew = picture is not None and (self._picture is None or picture.size() != self._picture.size())
        # While another one is loading, the one before is a calmer sight than an empty place.
        self._picture = picture or (None if trouble else self._picture)
        self.setToolTip(trouble)
        if grew:
            self.setFixedHeight(self.heightForWidth(self.width()))
        self.update()

    def heightForWidth(self, width: int) -> int:
        if self._picture is None:
            return 20 * look.SPACE
        natural = self._picture.width()
        # A wide sheet of tiny pictures is enlarged by whole numbers; one scatter picture stays as large as it is.
        shown = min(width, natural * 4 if self._picture.height() < 128 else natural * 2)
        return min(MOST_HEIGHT, max(10 * look.SPACE, round(shown * self._picture.height() / natural)))

    def resizeEvent(self, event: QResizeEvent) -> None:
        if self._picture is not None:
            self.setFixedHeight(self.heightForWidth(self.width()))

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        draw_picture(painter, self.rect(), self._picture)
        if self.hasFocus():
            painter.setPen(QPen(look.colour("accent"), 2))
            painter.drawRect(self.rect().adjusted(1, 1, -1, -1))

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self.clicked.emit()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space):
            self.clicked.emit()
        else:
            super().keyPressEvent(event)
