"""What is exported, in which form and where to, as a person fills it in. It knows no project and no process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QButtonGroup,
    QComboBox,
    QFileDialog,
    QFrame,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QRadioButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from app import look
from app.models import export_words
from app.models.export_words import FORMATS, Format, Found, Request
from app.widgets.elided_combo import ElidedCombo
from backend.contract.rows import Checkpoint, RunRow

MOST_NFE = 250


class ExportForm(QFrame):
    """folder: where exports are suggested. run_chosen: another run is wanted, by its id. edited: what was said of it
    may no longer hold. export_wanted: Return was pressed."""

    run_chosen = Signal(int)
    edited = Signal()
    export_wanted = Signal()

    def __init__(self, folder: Path, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._folder, self._typed = folder, False
        self.setProperty("card", True)
        inside = QVBoxLayout(self)
        inside.setContentsMargins(look.MARGIN, look.MARGIN, look.MARGIN, look.MARGIN)
        inside.setSpacing(look.SPACE)
        inside.addWidget(look.label(self.tr("Export a student"), "title"))
        self.hint = look.label("", "body", "muted", wraps=True)
        inside.addWidget(self.hint)
        self.run, self.checkpoint, self.weights = look.tell_whole(ElidedCombo()), QComboBox(), QComboBox()
        for words, box in (
            (self.tr("&Run"), self.run),
            (self.tr("&Checkpoint"), self.checkpoint),
            (self.tr("&Weights"), self.weights),
        ):
            box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            box.setMinimumContentsLength(10)
            self._field(inside, words, box)
        self.run.activated.connect(lambda at: self.run_chosen.emit(self.run.itemData(at)))
        self.weights_words = look.label("", "caption", "muted", wraps=True)
        inside.addWidget(self.weights_words)
        self._add_formats(inside)
        self.nfe = look.padded(QSpinBox())
        self.nfe.setRange(0, MOST_NFE)
        self.nfe.setSpecialValueText(self.tr("As trained"))
        self._field(inside, self.tr("&Network evaluations per picture (NFE)"), self.nfe)
        self._add_destination(inside)
        inside.addStretch(1)

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
                self.tr("Of Stable Diffusion 1, 2 and XL the whole model, checked; of others the network alone."),
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
        self.destination = look.tell_whole(QLineEdit())
        self.destination.textEdited.connect(self._place_typed)
        self.destination.returnPressed.connect(self.export_wanted)
        self.browse = QPushButton(self.tr("Browse..."))
        self.browse.setAccessibleName(self.tr("Choose where to export to"))
        self.browse.clicked.connect(self.choose_place)
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

    # What there is

    def show_runs(self, rows: Sequence[RunRow], run: int | None) -> None:
        """The runs of the project, newest first, and the one that is exported."""
        self.run.clear()
        for row in reversed(rows):
            self.run.addItem(row.name, row.id)
        self.run.setCurrentIndex(self.run.findData(run))

    def show_checkpoints(self, found: Sequence[Checkpoint]) -> None:
        """The checkpoints of the run; the choice stays where it can."""
        before = self.checkpoint.currentData()
        self.checkpoint.clear()
        for key, words in export_words.checkpoints(found, self.tr):
            self.checkpoint.addItem(words, key)
        self.checkpoint.setCurrentIndex(max(0, self.checkpoint.findData(before)))

    def show_weights(self, ema: bool) -> None:
        """ema: whether the run kept an average of its weights."""
        self.weights.clear()
        if ema:
            self.weights.addItem(self.tr("Averaged (EMA)"), "ema")
        self.weights.addItem(self.tr("Raw"), "raw")
        self.weights.setEnabled(ema)
        self.weights_words.setText(
            self.tr("Previews were drawn with the average; the raw weights are the last step's own.")
            if ema
            else self.tr("This run kept no average of its weights.")
        )

    def show_formats(self, pictures: bool, adapters: bool) -> None:
        """What the run's student makes and is decides in which forms it can leave."""
        for form, button in self.formats.items():
            why = export_words.refusal(form, pictures, adapters, self.tr)
            words, about = self._about_formats[form]
            words.setText(why or about)
            button.setEnabled(not why)
            button.setAccessibleDescription(why or about)
        chosen = self.format
        if chosen is None or not self.formats[chosen].isEnabled():
            self.formats["diffusers" if pictures else "safetensors"].setChecked(True)
        else:
            self._format_chosen()

    def judge(self, found: Found | None, is_busy: bool) -> bool:
        """Say what is wrong, or that all is well; whether it can be exported. is_busy: an export is being written."""
        form = self.format
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
        if is_busy:
            wrong = ""  # what is being written is there already
        self.wrong.setText(wrong)
        self.wrong.setVisible(bool(wrong))
        if self.destination.property("wrong") != bool(wrong):
            self.destination.setProperty("wrong", bool(wrong))
            look.dress_again(self.destination)
        for widget in (self.run, self.checkpoint, self.destination, self.browse, self.nfe):
            widget.setEnabled(has_runs and not is_busy)
        self.weights.setEnabled(self.weights.count() > 1 and not is_busy)
        return has_checkpoint and form is not None and not wrong and not is_busy

    # What a person asks for

    @property
    def format(self) -> Format | None:
        """The form that is chosen."""
        return next((form for form, button in self.formats.items() if button.isChecked()), None)

    def request(self, run: int) -> Request | None:
        """The export that is asked for."""
        form = self.format
        if form is None:
            return None
        return Request(
            *(run, form, Path(self.destination.text().strip()).expanduser(), self.checkpoint.currentData() or "best"),
            *(self.weights.currentData() or "", self.nfe.value()),
        )

    def suggest_anew(self) -> None:
        """What was typed no longer counts: suggest the next place."""
        self._typed = False
        self._format_chosen()

    def _format_toggled(self, on: bool) -> None:
        if on:
            self._format_chosen()

    def _format_chosen(self) -> None:
        name, form = self.run.currentText(), self.format
        if name and form is not None and not self._typed:
            place = export_words.suggestion(self._folder, name, form)
            self.destination.setText(str(place))
        self.edited.emit()

    def _place_typed(self) -> None:
        self._typed = True
        self.edited.emit()

    def choose_place(self) -> None:
        """Ask where to."""
        form, text = self.format, self.destination.text().strip()
        above = Path(text).expanduser().parent if text else self._folder
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
        place, name, form = Path(chosen), self.run.currentText(), self.format
        if name and form is not None and place.is_dir() and (form == "safetensors" or any(place.iterdir())):
            place = export_words.suggestion(place, name, form)
        self.destination.setText(str(place))
        self._place_typed()
