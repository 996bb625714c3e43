"""A student leaves the project: which one, in which form, where to, and the proof that it is what it says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QDragEnterEvent, QDropEvent, QShowEvent
from PySide6.QtWidgets import (
    QHBoxLayout,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from app import look
from app.models import export_words
from app.models.export_words import Found, Shown
from app.reading import Question, Reading
from app.screens import Screen
from app.session import Session
from app.widgets.export_form import ExportForm
from app.widgets.export_list import ExportList
from app.widgets.icon_button import action
from app.widgets.verification import VerificationView
from app.widgets.work_line import WorkLine
from backend.contract.rows import RunRow

LEAST_MILLISECONDS = 300
"""No more often than this is the project read, however much is written."""
FORM_WIDTH = 88 * look.SPACE


class ExportScreen(Screen):
    """A form at the left, what became of each export at the right."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(session, parent)
        self._run: int | None = None
        self._is_chosen = False
        self._picks_anew = True
        self._found: Found | None = None
        self._wanted: str | None = None
        self.setAcceptDrops(True)

    def build(self) -> Iterator[None]:
        whole = QHBoxLayout(self)
        whole.setContentsMargins(look.WIDE, look.MARGIN, look.WIDE, look.MARGIN)
        whole.setSpacing(look.MARGIN)
        left = QVBoxLayout()
        left.setSpacing(look.GAP)
        whole.addLayout(left)
        self.form = ExportForm(self.session.project.path.parent)
        self.form.run_chosen.connect(self._choose_run)
        self.form.export_wanted.connect(self._export)
        fields = _scrolled(self.form)
        fields.setFixedWidth(FORM_WIDTH)
        left.addWidget(fields, 1)
        yield
        self.work = WorkLine(self.session.backend, self.session.settings)
        self.work.changed.connect(self._judge)
        left.addWidget(self._start())
        yield
        self.view = VerificationView()
        results = QWidget()
        results.setLayout(self._results())
        whole.addWidget(_scrolled(results), 1)
        yield
        self.setFocusProxy(self.form.run)
        self.form.edited.connect(self._judge)
        self.export_now = action(self.tr("Export"), self._export, "Ctrl+Return", self.tr("Export the student"))
        self.browse_now = action(self.tr("Choose where to export to..."), self.form.choose_place)
        self.addActions([self.export_now, self.browse_now])
        self.session.backend.catalogue_arrived.connect(lambda _: self._show_formats())
        self._judge()
        self._reading = Reading(self.session.project, self._question, LEAST_MILLISECONDS, self)
        self._reading.found.connect(self._say)
        self._reading.missed.connect(self.says)
        self._reading.look()

    def show_item(self, item: object) -> None:
        """Export this run."""
        if isinstance(item, int) and (item != self._run or not self._is_chosen):
            self._choose_run(item)

    # Parts

    def _start(self) -> QWidget:
        """What begins the work and says how it goes; always in sight."""
        part = QWidget()
        part.setFixedWidth(FORM_WIDTH)
        inside = QVBoxLayout(part)
        inside.setContentsMargins(0, 0, 0, 0)
        inside.setSpacing(look.GAP)
        self.start = QPushButton(self.tr("Export"))
        self.start.setProperty("primary", True)
        self.start.setMinimumHeight(9 * look.SPACE)
        self.start.clicked.connect(self._export)
        inside.addWidget(self.start)
        inside.addWidget(self.work)
        return part

    def _results(self) -> QVBoxLayout:
        column = QVBoxLayout()
        column.setSpacing(look.MARGIN)
        column.setContentsMargins(0, 0, look.GAP, 0)
        frame, inside = look.card()
        inside.addWidget(look.label(self.tr("Exports of this run"), "heading"))
        self.none = look.label(
            self.tr("None yet. Export the student; what a fresh process makes of it is shown here beside the preview."),
            "body",
            "muted",
            wraps=True,
        )
        inside.addWidget(self.none)
        self.list = ExportList()
        self.list.itemSelectionChanged.connect(self._show_chosen)
        inside.addWidget(self.list)
        column.addWidget(frame)
        column.addWidget(self.view, 1)
        column.addStretch(0)
        return column

    # Reading

    def _question(self) -> Question | None:
        if self._found is not None and not self.isVisible():
            return None
        lacks = self._found is None or not self._found.checkpoints
        run = None if not self._is_chosen and (self._picks_anew or lacks) else self._run
        return lambda project: export_words.find(project, run)

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        # The screen is made before it is seen, and until a person chooses, the run is the newest that has a student.
        self._picks_anew = not self.work.is_busy
        self._reading.look_at_another()

    def _say(self, found: Found) -> None:
        if self._is_chosen and found.run != self._run:  # another run was chosen meanwhile
            self._reading.look()
            return
        self._picks_anew = False
        before, self._found = self._found, found
        another = before is None or before.run != found.run
        self._run = found.run
        if before is None or [(r.id, r.name) for r in before.rows] != [(r.id, r.name) for r in found.rows] or another:
            self.form.show_runs(found.rows, found.run)
        if another or before is None or before.checkpoints != found.checkpoints:
            self.form.show_checkpoints(found.checkpoints)
        if another:
            self.form.show_weights(found.ema)
            self.form.suggest_anew()
            self._show_formats()
        if another or before is None or before.exports != found.exports:
            self._fill_exports()
        self._judge()

    def _choose_run(self, run: int) -> None:
        self._run, self._is_chosen = run, True
        if not self.work.is_busy:
            self.work.clear()
        self._reading.look_at_another()

    # Showing

    def _row(self) -> RunRow | None:
        rows = self._found.rows if self._found else []
        return next((row for row in rows if row.id == self._run), None)

    def _show_formats(self) -> None:
        self.form.show_formats(self._makes_pictures(), self._found is not None and self._found.adapters)

    def _makes_pictures(self) -> bool:
        """True too where the catalogue is not known yet: the command line then says the same in a sentence."""
        row, catalogue = self._row(), self.session.backend.catalogue
        if row is None or catalogue is None:
            return row is None or row.teacher != "mixture-2d"
        shapes = [card.shape for card in catalogue.teachers if card.key == row.teacher]
        return not shapes or len(shapes[0]) != 1

    def _judge(self) -> None:
        """Whether all is well, and if not, why."""
        can = self.form.judge(self._found, self.work.is_busy)
        self.start.setEnabled(can)
        self.export_now.setEnabled(can)

    def _fill_exports(self) -> None:
        assert self._found is not None
        exports = list(reversed(self._found.exports))
        chosen = self.list.chosen
        self.none.setVisible(not exports)
        self.list.setVisible(bool(exports))
        ids = [export.id for export in exports]
        newest = self._wanted is not None and exports and exports[0].path == self._wanted
        at = 0 if newest or chosen is None or chosen.id not in ids else ids.index(chosen.id)
        self._wanted = None if newest else self._wanted
        self.list.show_exports(exports, at)
        self._show_chosen()

    def _show_chosen(self) -> None:
        export = self.list.chosen
        if export is None:
            self.view.show_export(None)
            return
        self.session.project.ask(
            lambda project: export_words.look_at(project, export), self._show_export, key=f"export-shown-{id(self)}"
        )

    def _show_export(self, shown: Shown) -> None:
        chosen = self.list.chosen
        if chosen is not None and chosen.id == shown.export.id:
            self.view.show_export(shown)

    # Doing

    def _export(self) -> None:
        self._judge()
        request = self.form.request(self._run) if self.start.isEnabled() and self._run is not None else None
        if request is None:
            return
        self.work.begin(
            self.tr("Exporting to {0}").format(request.out.name),
            request.arguments(self.session.project.path),
            self._exported,
            f"export-{request.form}",
        )

    def _exported(self, answer: Any) -> None:
        self._wanted = str(answer["path"])
        self.form.suggest_anew()
        self.says.emit(self.tr("Exported to {0}.").format(answer["path"]))
        self._reading.look()

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if any(Path(url.toLocalFile()).is_dir() for url in event.mimeData().urls() if url.isLocalFile()):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        folders = [url.toLocalFile() for url in event.mimeData().urls() if Path(url.toLocalFile()).is_dir()]
        event.acceptProposedAction()
        QTimer.singleShot(0, self, lambda: self.form.take_place(folders[0]))  # the drag must end first


def _scrolled(part: QWidget) -> QScrollArea:
    area = QScrollArea()
    area.setWidgetResizable(True)
    area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    area.setWidget(part)
    return area
