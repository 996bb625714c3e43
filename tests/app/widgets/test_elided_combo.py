"""A long name in a narrow choice ends in three dots, and looks as a name that ends so by itself."""

from pytestqt.qtbot import QtBot

from app.widgets.elided_combo import ElidedCombo

LONG = "a run that tries what becomes of the student when the learning rate is halved"


def combo(qtbot: QtBot, *names: str, wide: int = 200) -> ElidedCombo:
    made = ElidedCombo()
    qtbot.addWidget(made)
    made.addItems(names)
    made.resize(wide, 32)
    made.show()
    made.clearFocus()
    return made


def test_a_long_name_ends_in_three_dots_and_a_short_one_as_it_is(qtbot: QtBot) -> None:
    long, short = combo(qtbot, LONG), combo(qtbot, "first")
    assert long.elided().startswith("a run that tries")
    assert long.elided().endswith("…")
    assert long.currentText() == LONG
    assert short.elided() == "first"
    assert long.grab().toImage() == combo(qtbot, long.elided()).grab().toImage()
    assert long.grab().toImage() != combo(qtbot, long.elided()[:-1]).grab().toImage()


def test_a_name_is_whole_where_it_fits(qtbot: QtBot) -> None:
    assert combo(qtbot, LONG, wide=900).elided() == LONG
