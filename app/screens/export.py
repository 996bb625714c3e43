"""A student leaves the project: which one, in which form, where to, and the proof that it is what it says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QDragEnterEvent, QDropEvent, QShowEvent
from PySide6.QtWidgets import (
    QAbstractItemView,
    QButtonGroup,
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QLineEdit,
    QPushButton,
    QRadioButton,
    QScrollArea,
    QSpinBox,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from app import look
from app.models import export_words
from app.models.export_words import FORMATS, Format, Request, Shown
from app.models.run_words import figure
from app.models.runs_table import date_words
from app.reading import Question, Reading
from app.screens import Screen
from app.session import Session
from app.widgets.icon_button import action
from app.widgets.verification import VerificationView
from app.widgets.work_line import WorkLine
from backend.contract.project_file import ProjectFile
from backend.contract.rows import Checkpoint, Export, RunRow

LEAST_MILLISECONDS = 300
"""No more often than this is the project read, however much is written."""
FORM_WIDTH = 96 * look.SPACE
MOST_NFE = 250
LINES = 6
"""Exports in sight at once."""


@dataclass(frozen=True)
class Found:
    """What the screen shows of the project. ema: whether the chosen run kept an average of its weights; adapters:
    whether these are adapters on the teacher."""

    rows: list[RunRow]
    run: int | None
    checkpoints: list[Checkpoint]
    exports: list[Export]
    ema: bool
    adapters: bool = False


class ExportScreen(Screen):
    """A form at the left, what became of each export at the right."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(session, parent)
        self._run: int | None = None
        self._found: Found | None = None
        self._typed = False
        self._wanted: str | None = None
        self.setAcceptDrops(True)

    def build(self) -> Iterator[None]:
        whole = QHBoxLayout(self)
        whole.setContentsMargins(look.WIDE, look.MARGIN, look.WIDE, look.MARGIN)
        whole.setSpacing(look.MARGIN)
        left = QVBoxLayout()
        left.setSpacing(look.GAP)
        whole.addLayout(left)
        fields = _scrolled(self._form())
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
        self.setFocusProxy(self.run)
        self.export_now = action(self.tr("Export"), self._export, "Ctrl+Return")
        self.browse_now = action(self.tr("Choose where to export to..."), self._browse)
        self.addActions([self.export_now, self.browse_now])
        self.session.backend.catalogue_arrived.connect(lambda _: self._show_formats())
        self._judge()
        self._reading = Reading(self.session.project, self._question, LEAST_MILLISECONDS, self)
        self._reading.found.connect(self._say)
        self._reading.missed.connect(self.says)
        self._reading.look()

    def show_item(self, item: object) -> None:
        """Export this run."""
        if isinstance(item, int) and item != self._run:
            self._choose_run(item)

    # Parts

    def _form(self) -> QWidget:
        frame, inside = look.card()
        inside.setSpacing(look.SPACE)
        inside.addWidget(look.label(self.tr("Export a student"), "title"))
        self.hint = look.label("", "body", "muted", wraps=True)
        inside.addWidget(self.hint)
        self.run, self.checkpoint, self.weights = QComboBox(), QComboBox(), QComboBox()
        for words, box in (
            (self.tr("&Run"), self.run),
            (self.tr("&Checkpoint"), self.checkpoint),
            (self.tr("&Weights"), self.weights),
        ):
            box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            box.setMinimumContentsLength(10)
            self._field(inside, words, box)
        self.run.activated.connect(lambda at: self._choose_run(self.run.itemData(at)))
        self.weights_words = look.label("", "caption", "muted", wraps=True)
        inside.addWidget(self.weights_words)
        self._add_formats(inside)
        self.nfe = look.padded(QSpinBox())
        self.nfe.setRange(0, MOST_NFE)
        self.nfe.setSpecialValueText(self.tr("As trained"))
        self._field(inside, self.tr("&Network evaluations per picture (NFE)"), self.nfe)
        self._add_destination(inside)
        inside.addStretch(1)
        return frame

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

    def _field(self, inside: QVBoxLayout, words: str, widget: QWidget) -> None:
        label = QLabel(words)
        label.setFont(look.font("strong"))
        label.setBuddy(widget)
        widget.setAccessibleName(words.replace("&", ""))
        inside.addSpacing(look.SPACE)
        inside.addWidget(label)
        inside.addWidget(widget)

    def _add_formats(self, inside: QVBoxLayout) -> None:
        inside.addSpacing(look.SPACE)
        inside.addWidget(look.label(self.tr("Form"), "strong"))
        group = QButtonGroup(self)
        self.formats: dict[Format, QRadioButton] = {}
        self._about_formats: dict[Format, tuple[QLabel, str]] = {}
        names = {
            "diffusers": (
                self.tr("Diffusers folder"),
                self.tr("Network, scheduler, model card and sample.py; checked in a fresh process."),
            ),
            "safetensors": (
                self.tr("Safetensors file"),
                self.tr("The weights alone, with the recipe in their header."),
            ),
            "lora": (
                self.tr("LoRA"),
                self.tr("The adapters alone, for the untouched teacher; checked in a fresh process."),
            ),
        }
        for form in FORMATS:
            title, about = names[form]
            button = QRadioButton(title)
            button.setAccessibleName(title)
            button.setAccessibleDescription(about)
            button.toggled.connect(self._format_toggled)
            words = look.label(about, "caption", "muted", wraps=True)
            words.setContentsMargins(7 * look.SPACE, 0, 0, 0)
            group.addButton(button)
            inside.addWidget(button)
            inside.addWidget(words)
            self.formats[form], self._about_formats[form] = button, (words, about)

    def _add_destination(self, inside: QVBoxLayout) -> None:
        self.destination = QLineEdit()
        self.destination.textEdited.connect(self._place_typed)
        self.destination.returnPressed.connect(self._export)
        self.browse = QPushButton(self.tr("Browse..."))
        self.browse.setAccessibleName(self.tr("Choose where to export to"))
        self.browse.clicked.connect(self._browse)
        row = QHBoxLayout()
        row.setSpacing(look.GAP)
        row.addWidget(self.destination, 1)
        row.addWidget(self.browse)
        label = QLabel(self.tr("Where &to"))
        label.setFont(look.font("strong"))
        label.setBuddy(self.destination)
        self.destination.setAccessibleName(self.tr("Where to"))
        inside.addSpacing(look.SPACE)
        inside.addWidget(label)
        inside.addLayout(row)
        self.wrong = look.label("", "caption", "bad", wraps=True)
        inside.addWidget(self.wrong)

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
        self.list = QTableWidget(0, 5)
        self.list.setAccessibleName(self.tr("Exports of this run"))
        self.list.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.list.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.list.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.list.setTabKeyNavigation(False)
        self.list.setShowGrid(False)
        self.list.setWordWrap(False)
        self.list.verticalHeader().hide()
        self.list.verticalHeader().setDefaultSectionSize(look.FIELD_HEIGHT)
        heads = [self.tr("Date"), self.tr("Form"), self.tr("Step"), self.tr("Difference"), self.tr("Where")]
        self.list.setHorizontalHeaderLabels(heads)
        header = self.list.horizontalHeader()
        header.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(4, QHeaderView.ResizeMode.Stretch)
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
        run = self._run
        return lambda project: _found(project, run)

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._reading.look_if_due()

    def _say(self, found: Found) -> None:
        if self._run is not None and found.run != self._run:  # another run was chosen meanwhile
            self._reading.look()
            return
        before, self._found = self._found, found
        another = before is None or before.run != found.run
        self._run = found.run
        if before is None or [(r.id, r.name) for r in before.rows] != [(r.id, r.name) for r in found.rows] or another:
            self.run.clear()
            for row in reversed(found.rows):
                self.run.addItem(row.name, row.id)
            self.run.setCurrentIndex(self.run.findData(found.run))
        if another or before is None or before.checkpoints != found.checkpoints:
            self._fill_checkpoints()
        if another:
            self._fill_weights()
            self._typed = False
            self._show_formats()
        if another or before is None or before.exports != found.exports:
            self._fill_exports()
        self._judge()

    def _choose_run(self, run: int) -> None:
        self._run = run
        if not self.work.is_busy:
            self.work.clear()
        self._reading.look_at_another()

    # Showing

    def _row(self) -> RunRow | None:
        rows = self._found.rows if self._found else []
        return next((row for row in rows if row.id == self._run), None)

    def _fill_checkpoints(self) -> None:
        assert self._found is not None
        before = self.checkpoint.currentData()
        self.checkpoint.clear()
        for key, words in export_words.checkpoints(self._found.checkpoints, self.tr):
            self.checkpoint.addItem(words, key)
        self.checkpoint.setCurrentIndex(max(0, self.checkpoint.findData(before)))

    def _fill_weights(self) -> None:
        assert self._found is not None
        self.weights.clear()
        if self._found.ema:
            self.weights.addItem(self.tr("Averaged (EMA)"), "ema")
        self.weights.addItem(self.tr("Raw"), "raw")
        self.weights.setEnabled(self._found.ema)
        self.weights_words.setText(
            self.tr("Previews were drawn with the average; the raw weights are the last step's own.")
            if self._found.ema
            else self.tr("This run kept no average of its weights.")
        )

    def _show_formats(self) -> None:
        pictures = self._makes_pictures()
        for form, button in self.formats.items():
            adapters = self._found is not None and self._found.adapters
            why = export_words.refusal(form, pictures, adapters, self.tr)
            words, about = self._about_formats[form]
            words.setText(why or about)
            button.setEnabled(not why)
            button.setAccessibleDescription(why or about)
        chosen = self.form()
        if chosen is None or not self.formats[chosen].isEnabled():
            self.formats["diffusers" if pictures else "safetensors"].setChecked(True)
        else:
            self._format_chosen()

    def _makes_pictures(self) -> bool:
        """True too where the catalogue is not known yet: the command line then says the same in a sentence."""
        row, catalogue = self._row(), self.session.backend.catalogue
        if row is None or catalogue is None:
            return row is None or row.teacher != "mixture-2d"
        shapes = [card.shape for card in catalogue.teachers if card.key == row.teacher]
        return not shapes or len(shapes[0]) != 1

    def form(self) -> Format | None:
        """The form that is chosen."""
        return next((form for form, button in self.formats.items() if button.isChecked()), None)

    def _format_toggled(self, on: bool) -> None:
        if on:
            self._format_chosen()

    def _format_chosen(self) -> None:
        row, form = self._row(), self.form()
        if row is not None and form is not None and not self._typed:
            place = export_words.suggestion(self.session.project.path.parent, row.name, form)
            self.destination.setText(str(place))
            self.destination.setToolTip(str(place))
        self._judge()

    def _place_typed(self) -> None:
        self._typed = True
        self.destination.setToolTip(self.destination.text())
        self._judge()

    def _judge(self) -> None:
        """Whether all is well, and if not, why."""
        found, form = self._found, self.form()
        has_runs = found is not None and bool(found.rows)
        has_checkpoint = found is not None and bool(found.checkpoints)
        if found is None:
            hint = self.tr("Reading the project...")
        elif not has_runs:
            hint = self.tr("There is no run yet. Begin one, and its student can be exported once it has a checkpoint.")
        elif not has_checkpoint:
            hint = self.tr("This run has no checkpoint yet; let it train further.")
        else:
            hint = self.tr("Leaves as files that plain diffusers or safetensors open, without this program.")
        self.hint.setText(hint)
        wrong = export_words.problem(self.destination.text(), form, self.tr) if form and has_runs else ""
        if self.work.is_busy:
            wrong = ""  # what is being written is there already
        self.wrong.setText(wrong)
        self.wrong.setVisible(bool(wrong))
        if self.destination.property("wrong") != bool(wrong):
            self.destination.setProperty("wrong", bool(wrong))
            look.dress_again(self.destination)
        can = has_checkpoint and form is not None and not wrong and not self.work.is_busy
        self.start.setEnabled(can)
        self.export_now.setEnabled(can)
        for widget in (self.run, self.checkpoint, self.destination, self.browse, self.nfe):
            widget.setEnabled(has_runs and not self.work.is_busy)
        self.weights.setEnabled(self.weights.count() > 1 and not self.work.is_busy)

    def _fill_exports(self) -> None:
        assert self._found is not None
        exports = list(reversed(self._found.exports))
        chosen = self._chosen()
        self.none.setVisible(not exports)
        self.list.setVisible(bool(exports))
        self.list.blockSignals(True)
        self.list.setRowCount(len(exports))
        for number, export in enumerate(exports):
            kept = export.verification
            difference = kept.get("max_abs_difference")
            cells = (
                date_words(export.time),
                export.format,
                str(kept.get("step") or ""),
                figure(difference) if isinstance(difference, int | float) else self.tr("not checked"),
                export.path,
            )
            for column, words in enumerate(cells):
                item = QTableWidgetItem(words)
                item.setToolTip(words)
                item.setFont(look.figures())
                item.setData(Qt.ItemDataRole.UserRole, export)
                self.list.setItem(number, column, item)
        self.list.blockSignals(False)
        lines = min(max(len(exports), 2), LINES) + 1
        self.list.setFixedHeight(lines * look.FIELD_HEIGHT + look.GAP)
        ids = [export.id for export in exports]
        newest = self._wanted is not None and exports and exports[0].path == self._wanted
        at = 0 if newest or chosen is None or chosen.id not in ids else ids.index(chosen.id)
        self._wanted = None if newest else self._wanted
        if exports:
            self.list.selectRow(at)
        self._show_chosen()

    def _chosen(self) -> Export | None:
        items = self.list.selectedItems()
        return items[0].data(Qt.ItemDataRole.UserRole) if items else None

    def _show_chosen(self) -> None:
        export = self._chosen()
        if export is None:
            self.view.show_export(None)
            return
        self.session.project.ask(
            lambda project: export_words.look_at(project, export), self._show_export, key=f"export-shown-{id(self)}"
        )

    def _show_export(self, shown: Shown) -> None:
        chosen = self._chosen()
        if chosen is not None and chosen.id == shown.export.id:
            self.view.show_export(shown)

    # Doing

    def _export(self) -> None:
        form = self.form()
        self._judge()
        if not self.start.isEnabled() or form is None or self._run is None:
            return
        out = Path(self.destination.text().strip()).expanduser()
        request = Request(
            *(self._run, form, out, self.checkpoint.currentData() or "best"),
            *(self.weights.currentData() or "", self.nfe.value()),
        )
        self.work.begin(
            self.tr("Exporting to {0}").format(out.name),
            request.arguments(self.session.project.path),
            self._exported,
            f"export-{form}",
        )

    def _exported(self, answer: Any) -> None:
        self._wanted = str(answer["path"])
        self._typed = False
        self._format_chosen()
        self.says.emit(self.tr("Exported to {0}.").format(answer["path"]))
        self._reading.look()

    def _browse(self) -> None:
        form, text = self.form(), self.destination.text().strip()
        above = Path(text).expanduser().parent if text else self.session.project.path.parent
        dialog = QFileDialog(self, self.tr("Where to export to"), str(above))
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        if form == "safetensors":
            dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
            dialog.setDefaultSuffix("safetensors")
            dialog.setNameFilter(self.tr("Safetensors (*.safetensors)"))
            dialog.fileSelected.connect(self.take_place)
        else:
            dialog.setFileMode(QFileDialog.FileMode.Directory)
            dialog.setOption(QFileDialog.Option.ShowDirsOnly, True)
            dialog.fileSelected.connect(self.take_place)
        dialog.open()

    def take_place(self, chosen: str) -> None:
        """Export there: to an empty folder itself, in a folder that holds something under a name of its own."""
        place, row, form = Path(chosen), self._row(), self.form()
        if row is not None and form is not None and place.is_dir() and (form == "safetensors" or any(place.iterdir())):
            place = export_words.suggestion(place, row.name, form)
        self.destination.setText(str(place))
        self._place_typed()

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if any(Path(url.toLocalFile()).is_dir() for url in event.mimeData().urls() if url.isLocalFile()):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        folders = [url.toLocalFile() for url in event.mimeData().urls() if Path(url.toLocalFile()).is_dir()]
        event.acceptProposedAction()
        QTimer.singleShot(0, self, lambda: self.take_place(folders[0]))  # the drag must end first


def _scrolled(part: QWidget) -> QScrollArea:
    area = QScrollArea()
    area.setWidgetResizable(True)
    area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    area.setWidget(part)
    return area


def _found(project: ProjectFile, run: int | None) -> Found:
    """run: None for the newest that has a checkpoint, or the newest of all."""
    rows = project.run_rows([])
    if run is None and rows:
        finished = [row.id for row in rows if row.score is not None or row.state.state == "finished"]
        run = (finished or [row.id for row in rows])[-1]
    if run is None:
        return Found(rows, None, [], [], ema=True)
    recipe, declaration = project.run(run).recipe, project.run(run).declaration
    ema = recipe.get("training", {}).get("ema_decay", 1)
    adapters = recipe.get("student", {}).get("kind") == "lora" or declaration.get("adapters") is True
    return Found(rows, run, project.checkpoints(run), project.exports(run), bool(ema), adapters)
