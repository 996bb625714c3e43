"""Forms of any schema: an editor for each kind, values that come back, defaults that can be had again."""

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QCheckBox, QComboBox, QLabel, QLineEdit
from pytestqt.qtbot import QtBot

from app.forms import SettingsForm
from backend.contract.settings import Settings, setting


class Example(Settings):
    steps: int = setting(4, "How many", low=1, high=8, unit="steps")
    rate: float = setting(2e-4, "How fast", low=1e-7, high=1e-2)
    kind: str = setting("a", "Which", choices=["a", "b"])
    sure: bool = setting(False, "Whether")
    start: str | None = setting(None, "From where")
    hidden: float = setting(0.5, "Seldom changed", low=0, high=1, advanced=True)


@pytest.fixture
def form(qtbot: QtBot) -> SettingsForm:
    made = SettingsForm(Example.model_json_schema(), Example().model_dump())
    qtbot.addWidget(made)
    with qtbot.waitExposed(made):
        made.show()
    return made


def test_each_kind_has_its_editor_with_a_name(form: SettingsForm) -> None:
    kinds = {"steps": QLineEdit, "rate": QLineEdit, "kind": QComboBox, "sure": QCheckBox, "start": QLineEdit}
    for name, kind in kinds.items():
        control = form.rows[name].editor.focusProxy()
        assert control is not None
        assert isinstance(control, kind)
        assert control.accessibleName() == form.rows[name].field.label
        assert control.accessibleDescription().startswith(form.rows[name].field.words)


def test_what_is_edited_is_a_value_at_once(qtbot: QtBot, form: SettingsForm) -> None:
    seen: list[tuple[str, object]] = []
    form.changed.connect(lambda name, value: seen.append((name, value)))
    line = form.rows["rate"].editor.focusProxy()
    assert isinstance(line, QLineEdit)
    line.clear()
    qtbot.keyClicks(line, "1e-3")
    assert seen == [("rate", 1.0), ("rate", "1e"), ("rate", "1e-"), ("rate", 1e-3)]
    assert line.text() == "1e-3"  # as it was written
    box = form.rows["sure"].editor.focusProxy()
    assert box is not None
    qtbot.keyClick(box, Qt.Key.Key_Space)
    kind = form.rows["kind"].editor.focusProxy()
    assert kind is not None
    qtbot.keyClick(kind, Qt.Key.Key_Down)
    assert seen[-2:] == [("sure", True), ("kind", "b")]
    assert Example.model_validate(form.values()) == Example(rate=1e-3, sure=True, kind="b")
    assert form.problems() == {}


def test_values_that_are_shown_are_not_edits(qtbot: QtBot, form: SettingsForm) -> None:
    values = {"steps": 9, "rate": 1 / 3, "kind": "z", "sure": True, "start": "x", "hidden": 0.25, "odd": 1}
    with qtbot.assertNotEmitted(form.changed):
        form.set_values(values)
    assert form.values() == values
    assert set(form.problems()) == {"steps", "rate", "kind"}
    assert form.rows["steps"].wrong.text() == "Steps is 9, above its highest value 8; choose between 1 and 8 steps."
    assert form.rows["hidden"].isVisible()  # what differs is in sight


def test_a_default_can_be_had_again(qtbot: QtBot, form: SettingsForm) -> None:
    row = form.rows["steps"]
    assert not row.reset.isVisible()
    form.set_values({**form.values(), "steps": 2})
    assert row.reset.isVisible()
    qtbot.mouseClick(row.reset, Qt.MouseButton.LeftButton)
    assert form.values()["steps"] == 4
    assert not row.reset.isVisible()
    form.set_defaults({"steps": 6})
    assert row.reset.isVisible()
    assert "the default, 6;" in row.reset.toolTip()


def test_the_rest_is_behind_advanced(qtbot: QtBot, form: SettingsForm) -> None:
    assert not form.rows["hidden"].isVisible()
    qtbot.mouseClick(form.more, Qt.MouseButton.LeftButton)
    assert form.rows["hidden"].isVisible()
    qtbot.mouseClick(form.more, Qt.MouseButton.LeftButton)
    assert not form.rows["hidden"].isVisible()
    form.show_setting("hidden")
    assert form.rows["hidden"].isVisible()
    qtbot.keyClicks(form.search, "nothing like it")
    assert not any(row.isVisible() for row in form.rows.values())


def test_a_narrow_row_has_its_editor_below_its_words(qtbot: QtBot, form: SettingsForm) -> None:
    row = form.rows["steps"]
    words, editor = row.findChildren(QLabel)[0], row.editor

    def is_below() -> bool:
        return editor.y() > words.geometry().bottom() and editor.x() == words.x()

    def is_beside() -> bool:
        return editor.y() <= words.geometry().bottom() and editor.x() > words.geometry().right()

    for width, is_so in ((600, is_beside), (300, is_below), (600, is_beside)):
        form.resize(width, 800)
        qtbot.waitUntil(is_so)
