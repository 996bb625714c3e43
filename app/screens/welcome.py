"""What a window without a project shows: what the product does, the demo, and the way to a project."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QSettings, QSize, Qt, Signal
from PySide6.QtGui import QPixmap
from PySide6.QtWidgets import (
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from app import look, recent

PICTURE = look.RESOURCES / "pictures" / "welcome.png"
PICTURE_WIDTH = 560
RECENT_SHOWN = 6
STEP_WIDTH = 60 * look.SPACE


class WelcomeScreen(QWidget):
    """demo_wanted, new_wanted, open_wanted: a button was pressed. project_chosen: a recent project, by its path."""

    demo_wanted = Signal()
    new_wanted = Signal()
    open_wanted = Signal()
    project_chosen = Signal(Path)

    def __init__(self, settings: QSettings, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        content = QWidget()
        rows = QVBoxLayout(content)
        rows.setContentsMargins(10 * look.SPACE, 10 * look.SPACE, 10 * look.SPACE, 10 * look.SPACE)
        rows.setSpacing(10 * look.SPACE)
        columns = QHBoxLayout()
        columns.setSpacing(10 * look.SPACE)
        columns.addStretch(1)
        columns.addLayout(self._start(settings), 0)
        columns.addLayout(self._picture(), 0)
        columns.addStretch(1)
        rows.addStretch(1)
        rows.addLayout(columns)
        rows.addLayout(self._steps())
        rows.addStretch(1)
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setWidget(content)
        area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.addWidget(area)
        self.setFocusProxy(self.demo)

    def _start(self, settings: QSettings) -> QVBoxLayout:
        column = QVBoxLayout()
        column.setSpacing(look.GAP)
        column.addStretch(1)
        column.addWidget(look.label(self.tr("Distill Studio"), "title"))
        words = self.tr("Make a diffusion model that needs one to eight steps out of one that needs fifty.")
        column.addWidget(_narrow(look.label(words, "body", "muted", wraps=True)))
        column.addSpacing(look.WIDE)
        self.demo = QPushButton(self.tr("Try it: distil the bundled digits"))
        self.demo.setProperty("primary", True)
        self.demo.setMinimumHeight(10 * look.SPACE)
        self.demo.clicked.connect(self.demo_wanted)
        column.addWidget(self.demo)
        words = self.tr(
            "Trains, measures, exports and checks a one-step student on this machine in a few minutes; no network, no "
            "GPU needed."
        )
        column.addWidget(_narrow(look.label(words, "caption", "muted", wraps=True)))
        column.addSpacing(look.GAP)
        row = QHBoxLayout()
        for text, name, signal in (
            (self.tr("New project..."), "plus", self.new_wanted),
            (self.tr("Open project..."), "folder-open", self.open_wanted),
        ):
            button = QPushButton(look.icon(name), text)
            button.setIconSize(QSize(16, 16))
            button.clicked.connect(signal)
            row.addWidget(button, 1)
        column.addLayout(row)
        column.addSpacing(look.WIDE)
        column.addWidget(look.label(self.tr("Recent projects"), "strong"))
        found = recent.projects(settings)[:RECENT_SHOWN]
        if not found:
            column.addWidget(
                look.label(self.tr("None yet. A project keeps runs, curves and pictures in one file."), "body", "muted")
            )
        for path in found:
            column.addWidget(self._recent(path))
        column.addStretch(1)
        return column

    def _steps(self) -> QHBoxLayout:
        """What a person does with the program, in the order in which it is done."""
        row = QHBoxLayout()
        row.setSpacing(look.MARGIN)
        row.addStretch(1)
        for title, words in (
            (self.tr("1. Choose"), self.tr("A teacher, one of many methods, and what it may cost on this machine.")),
            (self.tr("2. Watch"), self.tr("Curves, samples and the run's health, live; pause and resume at any time.")),
            (self.tr("3. Compare"), self.tr("Teacher and students from the same noise, with quality beside speed.")),
            (self.tr("4. Export"), self.tr("Files that plain diffusers opens, checked in a fresh process.")),
        ):
            frame, inside = look.card()
            frame.setMaximumWidth(STEP_WIDTH)
            inside.addWidget(look.label(title, "strong"))
            inside.addWidget(look.label(words, "caption", "muted", wraps=True))
            inside.addStretch(1)
            row.addWidget(frame)
        row.addStretch(1)
        return row

    def _recent(self, path: Path) -> QPushButton:
        button = QPushButton(path.stem)
        button.setProperty("link", True)
        button.setToolTip(str(path))
        button.setAccessibleDescription(str(path))
        button.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)
        button.clicked.connect(lambda: self.project_chosen.emit(path))
        return button

    def _picture(self) -> QVBoxLayout:
        """A real comparison, as `distill compare` draws it."""
        column = QVBoxLayout()
        column.setSpacing(look.GAP)
        column.addStretch(1)
        frame, inside = look.card()
        picture = QLabel()
        found = QPixmap(str(PICTURE))
        picture.setPixmap(found)
        picture.setScaledContents(True)
        picture.setFixedSize(PICTURE_WIDTH, round(PICTURE_WIDTH * found.height() / max(found.width(), 1)))
        picture.setAccessibleName(
            self.tr("Digits by the teacher in one step, the student in one, the teacher in fifty")
        )
        inside.addWidget(picture)
        heads = QGridLayout()
        for index, (name, words) in enumerate(
            (
                (self.tr("Teacher, 1 step"), self.tr("blurred averages")),
                (self.tr("Student, 1 step"), self.tr("made here, in minutes")),
                (self.tr("Teacher, 50 steps"), self.tr("what it should be")),
            )
        ):
            heads.addWidget(look.label(name, "strong"), 0, index, Qt.AlignmentFlag.AlignHCenter)
            heads.addWidget(look.label(words, "caption", "muted"), 1, index, Qt.AlignmentFlag.AlignHCenter)
            heads.setColumnStretch(index, 1)
        inside.addLayout(heads)
        column.addWidget(frame)
        words = self.tr("The same noise and the same digits in all three. The student is the bundled demo's.")
        column.addWidget(look.label(words, "caption", "muted"))
        column.addStretch(1)
        return column


def _narrow(label: QLabel) -> QLabel:
    label.setMaximumWidth(90 * look.SPACE)
    return label
