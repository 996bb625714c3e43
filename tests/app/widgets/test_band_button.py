"""The button of the reference band: one choice at a time, kept for each run, with what fits by itself at first."""

import pytest
from PySide6.QtGui import QAction
from pytestqt.qtbot import QtBot

from app.models.band import Offers, Reference
from app.widgets.band_button import BandButton

OFFERS = Offers(1, "dmd2", ((3, "third"), (2, "a & b")), shipped="dmd2")
NONE, PRESET = "No band", "A sound run of this preset"


@pytest.fixture
def button(qtbot: QtBot) -> BandButton:
    made = BandButton()
    qtbot.addWidget(made)
    made.show_run(1)
    return made


def entries(button: BandButton) -> list[QAction]:
    button.menu().aboutToShow.emit()
    return [entry for entry in button.menu().actions() if not entry.isSeparator()]


def choose(button: BandButton, words: str) -> None:
    next(entry for entry in entries(button) if entry.text() == words).trigger()


def checked(button: BandButton) -> list[str]:
    return [entry.text() for entry in entries(button) if entry.isChecked()]


def test_one_of_all_that_there_is_can_be_chosen(qtbot: QtBot, button: BandButton) -> None:
    assert not button.isEnabled()
    button.show_offers(OFFERS)
    assert button.isEnabled()
    assert [entry.text() for entry in entries(button)] == [NONE, PRESET, "third", "a && b"]
    assert checked(button) == [NONE]
    for words, reference in ((PRESET, Reference("dmd2")), ("third", Reference("dmd2", 3)), (NONE, None)):
        with qtbot.waitSignal(button.changed):
            choose(button, words)
        assert button.reference == reference
        assert checked(button) == [words]
    with qtbot.assertNotEmitted(button.changed):
        choose(button, NONE)


def test_what_fits_is_shown_until_a_person_chooses_and_a_choice_is_kept_for_its_run(
    qtbot: QtBot, button: BandButton
) -> None:
    with qtbot.waitSignal(button.changed):
        button.show_offers(Offers(1, "dmd2", shipped="dmd2", fits=True))
    assert button.reference == Reference("dmd2")
    choose(button, NONE)
    button.show_run(2)
    with qtbot.assertNotEmitted(button.changed):
        button.show_offers(OFFERS)  # of the run before
    assert not button.isEnabled()
    button.show_offers(Offers(2, "dmd2", shipped="dmd2", fits=True))
    assert button.reference == Reference("dmd2")
    button.show_run(1)
    assert checked(button) == []
    button.show_offers(Offers(1, "dmd2", shipped="dmd2", fits=True))
    assert checked(button) == [NONE]


def test_without_anything_to_be_held_against_it_is_off(button: BandButton) -> None:
    button.show_offers(Offers(1, "dmd2"))
    assert not button.isEnabled()
    assert "band" in button.accessibleName()
