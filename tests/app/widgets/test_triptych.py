"""The views at a noise level: which are shown, and that the newest step is followed."""

import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from app.models.sample_rounds import Rounds
from app.picture_store import PictureStore
from app.session import Session
from app.widgets.picture import PictureView
from app.widgets.triptych import Triptych
from backend.contract.project_file import ProjectFile
from backend.contract.rows import VIEWS
from tests.app.conftest import ask, picture_bytes

LEVELS = (0.2, 0.5, 0.8)


def add_views(session: Session, step: int, kinds: tuple[str, ...] = VIEWS) -> None:
    with ProjectFile.open(session.project.path) as project:
        for position, t in enumerate(LEVELS):
            for kind in kinds:
                image = picture_bytes(step + position)
                project.add_sample(1, step=step, kind=kind, position=position, image=image, sampler={"t": t})


def rounds_of(qtbot: QtBot, session: Session) -> Rounds:
    rounds = Rounds()
    rounds.add(ask(qtbot, session, lambda project: project.samples_after(1)))
    return rounds


@pytest.fixture
def triptych(qtbot: QtBot, session: Session) -> Triptych:
    store = PictureStore(session.project)
    made = Triptych(store)
    store.setParent(made)
    qtbot.addWidget(made)
    made.resize(480, 700)
    made.show()
    return made


def test_before_the_first_preview_it_says_what_will_be_here(triptych: Triptych) -> None:
    assert triptych.empty.isVisible()
    assert not triptych.level.isVisible()


def test_all_views_of_a_level_are_shown_and_another_level_is_chosen(
    qtbot: QtBot, triptych: Triptych, session: Session
) -> None:
    add_views(session, 100)
    triptych.show_rounds(rounds_of(qtbot, session))
    assert triptych.level_words.text() == "t = 0.50"
    strips = [strip for _, strip in triptych._rows.values()]
    assert all(strip.isVisible() for strip in strips)
    assert not triptych.none.isVisible()
    qtbot.waitUntil(lambda: all(strip._picture is not None for strip in strips))
    qtbot.keyClick(triptych.level, Qt.Key.Key_Right)
    assert triptych.level_words.text() == "t = 0.80"
    assert {sample.position for sample in triptych.shown().values()} == {2}


def test_a_method_without_a_fake_score_network_says_so(qtbot: QtBot, triptych: Triptych, session: Session) -> None:
    add_views(session, 100, ("student_view", "teacher_view"))
    triptych.show_rounds(rounds_of(qtbot, session))
    assert triptych.none.isVisible()
    assert not triptych._rows["fake_score_view"][1].isVisible()


def test_the_newest_step_is_followed_until_another_is_chosen(
    qtbot: QtBot, triptych: Triptych, session: Session
) -> None:
    add_views(session, 100)
    add_views(session, 200)
    rounds = rounds_of(qtbot, session)
    triptych.show_rounds(rounds)
    triptych.level.setValue(0)
    assert triptych.step_words.text() == "200"
    add_views(session, 300)
    rounds.add(rounds_of_new(qtbot, session))
    triptych.show_rounds(rounds)
    assert triptych.step_words.text() == "300"
    assert triptych.level_words.text() == "t = 0.20"
    triptych.step.setValue(0)
    add_views(session, 400)
    rounds.add(rounds_of_new(qtbot, session))
    triptych.show_rounds(rounds)
    assert triptych.step_words.text() == "100"


def rounds_of_new(qtbot: QtBot, session: Session) -> list:  # type: ignore[type-arg]
    found: list = ask(qtbot, session, lambda project: project.samples_after(1))  # type: ignore[type-arg]
    return found


def test_a_view_is_opened_by_the_keyboard(qtbot: QtBot, triptych: Triptych, session: Session) -> None:
    add_views(session, 100)
    triptych.show_rounds(rounds_of(qtbot, session))
    qtbot.keyClick(triptych._rows["teacher_view"][1], Qt.Key.Key_Return)
    opened = triptych.findChild(PictureView)
    assert opened is not None
    qtbot.waitUntil(lambda: "sampler: t 0.5" in opened.words.text())
    opened.close()
