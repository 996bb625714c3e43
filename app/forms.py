"""Settings -> editors -> values: the one place that maps what a field takes to the widget in which it is edited.

A form knows a JSON Schema and defaults, and nothing of what the settings mean. What a person writes is a value at once,
right or wrong; what is wrong stands beside it in a sentence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from PySide6.QtCore import QSignalBlocker, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import (
    QBoxLayout,
    QCheckBox,
    QComboBox,
    QHBoxLayout,
    QLineEdit,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from app import look
from app.models.fields import Field, fields_of, matches
from app.translations import said
from app.widgets.icon_button import IconButton

WIDEST_UNIT = "samples"
ROWS_AT_ONCE = 4
LEAST_DIGITS = 8
"""Of a number that is whole in a narrow window too."""
NARROW = 100 * look.SPACE
"""A row that is less wide has its editor below the words, which would have a few letters a line beside it."""
ChoiceWords = Mapping[str, Mapping[Any, str]]


class Editor(QWidget):
    """Where one value is edited. edited: a person gave it another one. finished: and is done with that."""

    edited = Signal(object)
    finished = Signal()

    def value(self) -> Any:
        """What it holds now. Each kind of editor says."""
        raise NotImplementedError  # not abc: classes of Qt have a metaclass of their own

    def set_value(self, value: Any) -> None:
        """Show a value, without a word of it. Each kind of editor does."""
        raise NotImplementedError  # not abc: classes of Qt have a metaclass of their own


class TextEditor(Editor):
    """Numbers and texts. What is no number is kept as it was written."""

    def __init__(self, field: Field, parent: QWidget) -> None:
        super().__init__(parent)
        self._field = field
        self.line = look.tell_whole(QLineEdit(self))
        self.line.setMinimumWidth(self.fontMetrics().horizontalAdvance("0") * LEAST_DIGITS + look.WIDE)
        _fill(self, self.line)
        self.line.textEdited.connect(lambda _: self.edited.emit(self.value()))
        self.line.editingFinished.connect(self.finished)

    def value(self) -> Any:
        return self._field.parse(self.line.text())

    def set_value(self, value: Any) -> None:
        if self.value() != value or not self.line.text():  # "5e-1" stays as it was written while it means the same
            self.line.setText(self._field.show(value))


class BoolEditor(Editor):
    """Yes or no."""

    def __init__(self, field: Field, parent: QWidget) -> None:
        super().__init__(parent)
        self.box = QCheckBox(said(field.label), self)
        _fill(self, self.box)
        self.box.clicked.connect(lambda on: self.edited.emit(bool(on)))

    def value(self) -> Any:
        return self.box.isChecked()

    def set_value(self, value: Any) -> None:
        self.box.setChecked(value is True)


class ChoiceEditor(Editor):
    """One of a few. A value that is none of them is shown beside them."""

    def __init__(self, field: Field, words: Mapping[Any, str], parent: QWidget) -> None:
        super().__init__(parent)
        self._field, self._words = field, words
        self.box = QComboBox(self)
        self.box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.box.setMinimumContentsLength(14)
        _fill(self, self.box)
        for choice in field.choices:
            self.box.addItem(words.get(choice) or said(field.show(choice)), choice)
        self.box.activated.connect(lambda _: self.edited.emit(self.value()))

    def value(self) -> Any:
        return self.box.currentData()

    def set_value(self, value: Any) -> None:
        with QSignalBlocker(self.box):
            index = self.box.findData(value)
            if index < 0:
                self.box.addItem(self._field.show(value), value)
                index = self.box.count() - 1
            self.box.setCurrentIndex(index)
        self.box.setToolTip(self.box.currentText())


def editor_of(field: Field, words: Mapping[Any, str] | None, parent: QWidget) -> Editor:
    """The editor of a field. words: how its choices are called, where their values do not say it."""
    if field.kind == "bool":
        return BoolEditor(field, parent)
    if field.kind == "choice":
        return ChoiceEditor(field, words or {}, parent)
    return TextEditor(field, parent)


class SettingRow(QWidget):
    """One setting: its name, what it does and takes, its editor, and what is wrong with its value.

    edited: its name and new value. finished: the person is done with it.
    """

    edited = Signal(str, object)
    finished = Signal()

    def __init__(self, field: Field, default: Any, words: Mapping[Any, str] | None, parent: QWidget) -> None:
        super().__init__(parent)
        self.field, self.default, self._words = field, default, words or {}
        self._remark, self._tone = "", "bad"
        self.editor = editor_of(field, words, self)
        control = self.editor.focusProxy()
        assert control is not None
        self._halves = row = QBoxLayout(QBoxLayout.Direction.LeftToRight, self)
        row.setContentsMargins(0, look.GAP, 0, look.GAP)
        row.setSpacing(look.WIDE)
        about = QVBoxLayout()
        about.setSpacing(0)
        head = look.label(said(field.label), "strong", wraps=True, parent=self)
        head.setBuddy(control)
        about.addWidget(head)
        self._range = look.label("", "caption", "muted", wraps=True, parent=self)
        about.addWidget(self._range)
        about.addStretch(1)
        row.addLayout(about, 3)

        side = QVBoxLayout()
        side.setSpacing(look.SPACE)
        line = QHBoxLayout()
        line.setSpacing(look.GAP)
        line.addWidget(self.editor, 1)
        unit = look.label(said(field.unit), "body", "muted", parent=self)
        unit.setMinimumWidth(unit.fontMetrics().horizontalAdvance(WIDEST_UNIT))  # so that editors end below each other
        line.addWidget(unit)
        words_of_reset = self.tr("Set {0} back to its default").format(said(field.label))
        self.reset = IconButton("rotate-ccw", words_of_reset, alone=True, quiet=True, parent=self)
        policy = self.reset.sizePolicy()
        policy.setRetainSizeWhenHidden(True)
        self.reset.setSizePolicy(policy)
        self.reset.clicked.connect(lambda: self._take(self.default))
        line.addWidget(self.reset)
        side.addLayout(line)
        self.wrong = look.label("", "caption", "bad", wraps=True, parent=self)
        side.addWidget(self.wrong)
        side.addStretch(1)
        row.addLayout(side, 2)

        control.setAccessibleName(said(field.label))
        self._control = control
        self.editor.edited.connect(self._take)
        self.editor.finished.connect(self.finished)
        self.set_default(default)

    def resizeEvent(self, event: QResizeEvent) -> None:
        beside = event.size().width() >= NARROW
        if beside != (self._halves.direction() == QBoxLayout.Direction.LeftToRight):
            way = QBoxLayout.Direction.LeftToRight if beside else QBoxLayout.Direction.TopToBottom
            self._halves.setDirection(way)
            self._halves.setSpacing(look.WIDE if beside else look.SPACE)
        super().resizeEvent(event)

    def set_default(self, default: Any) -> None:
        """Another default, as when another method is chosen."""
        self.default = default
        shown = self._shown(default)
        parts = [said(self.field.range_words()), self.tr("default {0}").format(shown)]
        if default is None or default == "":
            parts.pop()
        takes = ", ".join(part for part in parts if part)
        about = f"{said(self.field.words)}. {takes[:1].upper()}{takes[1:]}." if takes else f"{said(self.field.words)}."
        self._range.setText(about)
        self._control.setAccessibleDescription(about)
        self._show_state()

    def _shown(self, value: Any) -> str:
        """A value in the words in which its editor shows it."""
        if isinstance(value, bool):
            return self.tr("on") if value else self.tr("off")
        words = self._words.get(value) if self.field.choices else None
        return words or (said(value) if isinstance(value, str) else self.field.show(value))

    def set_value(self, value: Any, remark: tuple[str, str] = ("", "bad")) -> None:
        """Show a value. remark: what is known of it that the field itself does not show, and its tone."""
        self.editor.set_value(value)
        self._remark, self._tone = remark
        self._show_state()

    def matches(self, wanted: str) -> bool:
        """Whether it is what someone looks for, in the backend's words or in those that are shown."""
        field = self.field
        return matches(field, wanted) or matches(
            replace(field, label=said(field.label), words=said(field.words), unit=said(field.unit)), wanted
        )

    def problem(self) -> str:
        """What is wrong with its value."""
        return self.field.problem(self.editor.value())

    def _take(self, value: Any) -> None:
        self.set_value(value)
        self.edited.emit(self.field.name, value)

    def _show_state(self) -> None:
        problem = said(self.problem())
        words, tone = (problem, "bad") if problem else (self._remark, self._tone)
        look.set_tone(self.wrong, tone)
        self.wrong.setText(words)
        look.set_shown(self.wrong, bool(words))
        is_wrong = bool(words) and tone == "bad"
        if self._control.property("wrong") != is_wrong:
            self._control.setProperty("wrong", is_wrong)
            look.dress_again(self._control)
        changed = self.editor.value() != self.default
        look.set_shown(self.reset, changed)
        shown = self._shown(self.default) or self.tr("empty")
        self.reset.setToolTip(self.tr("Changed from the default, {0}; set it back").format(shown))


class SettingsForm(QWidget):
    """The settings of a schema: what matters in sight, the rest behind "Advanced", a search over all of them.

    changed: name and value of a setting that a person edited. finished: they are done with it.
    """

    changed = Signal(str, object)
    finished = Signal()

    def __init__(
        self,
        schema: Mapping[str, Any],
        defaults: Mapping[str, Any],
        names: Sequence[str] | None = None,
        choice_words: ChoiceWords | None = None,
        at_once: bool = True,
    ) -> None:
        """at_once: False where a long form is made in parts, by `make_some`, before it is used."""
        super().__init__()
        self._values: dict[str, Any] = dict(defaults)
        self.rows: dict[str, SettingRow] = {}
        self._choice_words = choice_words or {}
        self._whole = QVBoxLayout(self)
        self._whole.setContentsMargins(0, 0, 0, 0)
        self._whole.setSpacing(0)
        fields = fields_of(schema, names)
        advanced = [field for field in fields if field.advanced]
        self._unmade: list[Field | None] = [*(f for f in fields if not f.advanced), None, *advanced]
        self.search = QLineEdit(self)
        self.search.setPlaceholderText(self.tr("Find a setting"))
        self.search.setAccessibleName(self.tr("Find a setting"))
        self.search.setClearButtonEnabled(True)
        self.search.textChanged.connect(self._filter)
        self._whole.addWidget(self.search)
        self.search.setVisible(len(fields) > 3)
        self._nothing = look.label("", "body", "muted", wraps=True, parent=self)
        self._whole.addWidget(self._nothing)
        words_of_more = self.tr("Advanced ({0})").format(len(advanced))
        self.more = IconButton("chevron-right", words_of_more, quiet=True, parent=self)
        self.more.setCheckable(True)
        self.more.setToolTip(self.tr("Settings that are seldom changed"))
        self.more.toggled.connect(lambda _: self._filter())
        while at_once and self.make_some():
            pass

    def make_some(self) -> bool:
        """Make a few more rows; whether there were any left to make."""
        if not self._unmade:
            return False
        for field in self._unmade[:ROWS_AT_ONCE]:
            self._whole.addWidget(self.more if field is None else self._row(field))
        del self._unmade[:ROWS_AT_ONCE]
        if not self._unmade:
            self._filter()
        return True

    def values(self) -> dict[str, Any]:
        """Every value, right or wrong, with those that the schema does not know."""
        return dict(self._values)

    def set_values(self, values: Mapping[str, Any], remarks: Mapping[str, tuple[str, str]] | None = None) -> None:
        """Show values, without `changed`. remarks: what else there is to say of some, words and tone, by name."""
        self._values = dict(values)
        for name, row in self.rows.items():
            row.set_value(values.get(name, row.default), (remarks or {}).get(name, ("", "bad")))
        if not self.more.isChecked():  # what is wrong or differs is never out of sight
            self._filter()

    def set_defaults(self, defaults: Mapping[str, Any]) -> None:
        """Other defaults."""
        for name, row in self.rows.items():
            row.set_default(defaults.get(name, row.field.default))

    def problems(self) -> dict[str, str]:
        """What is wrong, by name."""
        return {name: words for name, row in self.rows.items() if (words := row.problem())}

    def show_setting(self, name: str) -> None:
        """Bring a setting into sight and put the cursor there."""
        row = self.rows.get(name)
        if row is not None:
            self.search.clear()
            if row.field.advanced:
                self.more.setChecked(True)
            row.editor.setFocus()

    def _row(self, field: Field) -> SettingRow:
        default = self._values.get(field.name, field.default)
        row = SettingRow(field, default, self._choice_words.get(field.name), self)
        row.set_value(row.default)
        row.edited.connect(self._take)
        row.finished.connect(self.finished)
        self.rows[field.name] = row
        return row

    def _take(self, name: str, value: Any) -> None:
        self._values[name] = value
        self.changed.emit(name, value)

    def _filter(self) -> None:
        wanted = self.search.text().strip()
        is_open = self.more.isChecked()
        count = 0
        for row in self.rows.values():
            in_sight = is_open or not row.field.advanced or not row.reset.isHidden() or not row.wrong.isHidden()
            fits = not wanted or row.matches(wanted)
            look.set_shown(row, fits if wanted else in_sight)
            count += fits
        self._nothing.setText(self.tr("No setting is called or described so. Clear the search to see all."))
        look.set_shown(self._nothing, bool(wanted) and not count)
        look.set_shown(self.more, not wanted and any(row.field.advanced for row in self.rows.values()))
        self.more.show_icon("chevron-down" if is_open else "chevron-right")


def _fill(editor: Editor, control: QWidget) -> None:
    layout = QHBoxLayout(editor)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.addWidget(control)
    control.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    editor.setFocusProxy(control)
