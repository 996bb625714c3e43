"""Previews through the steps: what the slider shows, what stays, and how a picture is opened."""

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from app.models.sample_rounds import Rounds
from app.picture_store import PictureStore
from app.session import Session
from app.widgets.picture import PictureView
from app.widgets.sample_history import SampleHistory
from backend.contract.project_file import ProjectFile
from backend.contract.rows import RunState
from tests.app.conftest import ask, picture_bytes


def rounds_of(qtbot: QtBot, session: Session) -> Rounds:
    rounds = Rounds()
    rounds.add(ask(qtbot, session, lambda project: project.samples_after(1)))
    rounds.set_attempts(ask(qtbot, session, lambda project: project.attempts(1)))
    return rounds


@pytest.fixture
def teacher(session: Session) -> None:
    with ProjectFile.open(session.project.path) as project:
        for kind in ("teacher", "teacher_at_student_nfe"):
            for position in range(20):
                image = picture_bytes(900 + position)
                project.add_sample(1, step=0, kind=kind, position=position, image=image, label=str(position % 10))


@pytest.fixture
def history(qtbot: QtBot, session: Session, teacher: None) -> SampleHistory:
    store = PictureStore(session.project)
    made = SampleHistory(store)
    store.setParent(made)
    qtbot.addWidget(made)
    made.resize(480, 600)
    made.show()
    made.show_rounds(rounds_of(qtbot, session), [])
    qtbot.waitUntil(lambda: is_painted(made))
    return made


def is_painted(history: SampleHistory) -> bool:
    tiles = history.grid._tiles
    return bool(tiles) and all(picture is not None for tile in tiles for picture in tile.pictures)


def first_picture(history: SampleHistory) -> int:
    picture = history.grid._tiles[0].pictures[0]
    assert picture is not None
    return picture.cacheKey()


def test_the_newest_is_shown_until_another_is_chosen(qtbot: QtBot, history: SampleHistory, session: Session) -> None:
    assert history.words.text() == "Step 400  ·  Frechet 3.25  ·  best so far"
    newest = first_picture(history)
    qtbot.keyClick(history.slider, Qt.Key.Key_Home)
    qtbot.keyClick(history.slider, Qt.Key.Key_Right)
    assert history.words.text() == "Step 133  ·  Frechet 6.5"
    qtbot.waitUntil(lambda: is_painted(history))
    assert first_picture(history) != newest
    with ProjectFile.open(session.project.path) as project:
        project.add_sample(1, step=500, kind="preview", position=0, image=picture_bytes(5))
    history.show_rounds(rounds_of(qtbot, session), [])
    assert history.slider.maximum() == 4
    assert history.words.text().startswith("Step 500")


def test_what_is_looked_at_stays_when_more_comes(qtbot: QtBot, history: SampleHistory, session: Session) -> None:
    history.slider.setValue(1)
    rounds = history._samples
    with ProjectFile.open(session.project.path) as project:
        project.add_sample(1, step=50, kind="preview", position=0, image=picture_bytes(5))
    rounds.add(ask(qtbot, session, lambda project: project.samples_after(1, 0)))
    history.show_rounds(rounds, [])
    assert history.words.text().startswith("Step 133")


def test_the_teacher_stands_beside_or_instead(qtbot: QtBot, history: SampleHistory) -> None:
    shown = history.shown
    assert [shown.itemText(i) for i in range(shown.count())] == [
        "Student",
        "Student | teacher",
        "Student | teacher, as few steps",
        "Student | both",
        "Teacher",
        "Teacher, as few steps",
        "Student through the steps",
    ]
    shown.setCurrentIndex(3)
    assert len(history.grid._tiles[0].pictures) == 3
    qtbot.waitUntil(lambda: is_painted(history))
    shown.setCurrentIndex(4)
    qtbot.waitUntil(lambda: is_painted(history))
    assert len(history.grid._tiles[0].pictures) == 1


def test_each_class_goes_through_the_steps_in_a_line_of_its_own(qtbot: QtBot, history: SampleHistory) -> None:
    history.shown.setCurrentIndex(history.shown.count() - 1)
    qtbot.waitUntil(lambda: is_painted(history))
    grid = history.grid
    assert [tile.caption for tile in grid._tiles[:4]] == ["Step 0", "Step 133", "Step 266", "Step 400"]
    assert grid._heads == [str(digit) for digit in range(10)]
    assert grid.place_of(3).y() == grid.place_of(0).y() < grid.place_of(4).y()
    assert "1 · step 133" in grid._tiles[5].words
    qtbot.keyClick(history.slider, Qt.Key.Key_Left)
    assert [tile.caption for tile in grid._tiles[:4]] == ["Step 0", "Step 133", "Step 266", "Step 0"]
    at = grid.place_of(4).center()
    qtbot.mouseClick(grid, Qt.MouseButton.LeftButton, pos=QPoint(at.x(), at.y()))
    opened = history.findChild(PictureView)
    assert opened is not None
    opened.close()


def test_a_click_opens_a_picture_with_what_is_known_of_it(qtbot: QtBot, history: SampleHistory) -> None:
    at = history.grid.place_of(3).center()
    qtbot.mouseClick(history.grid, Qt.MouseButton.LeftButton, pos=QPoint(at.x(), at.y()))
    opened = history.findChild(PictureView)
    assert opened is not None
    qtbot.waitUntil(lambda: "16 x 16 pixels" in opened.words.text())
    assert opened.words.text().startswith("3 · step 400 · seed 7 · sampler: kind renoise, levels [1]")
    qtbot.keyClick(opened, Qt.Key.Key_Right)
    qtbot.waitUntil(lambda: opened.words.text().startswith("4 · "))
    qtbot.waitUntil(opened.copy.isEnabled)
    qtbot.mouseClick(opened.copy, Qt.MouseButton.LeftButton)
    assert QApplication.clipboard().image().size().toTuple() == (16, 16)
    opened.close()


def test_the_grid_is_walked_by_keys(qtbot: QtBot, history: SampleHistory) -> None:
    grid = history.grid
    grid.setFocus()
    assert "0 · step 400" in grid.accessibleDescription()
    for key in (Qt.Key.Key_Right, Qt.Key.Key_Down, Qt.Key.Key_Left, Qt.Key.Key_Left):
        qtbot.keyClick(grid, key)
    assert grid.current == 4  # five stand in a line: 0, 1, 6, 5, 4
    qtbot.keyClick(grid, Qt.Key.Key_End)
    assert grid.current == 19
    with qtbot.waitSignal(grid.opened) as opened:
        qtbot.keyClick(grid, Qt.Key.Key_Return)
    assert opened.args == [19]
    view = history.findChild(PictureView)
    assert view is not None
    view.close()


def test_tiny_pictures_are_enlarged_by_whole_numbers(history: SampleHistory) -> None:
    assert history.grid.place_of(0).width() % 16 == 0
    assert history.grid.place_of(10).x() == history.grid.place_of(0).x()


def test_it_plays_to_the_end(qtbot: QtBot, history: SampleHistory) -> None:
    history._clock.setInterval(1)
    seen: list[int] = []
    history.slider.valueChanged.connect(seen.append)
    qtbot.mouseClick(history.play, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not history.play.isChecked())
    assert seen == [0, 1, 2, 3]


def test_superseded_previews_are_there_on_request(qtbot: QtBot, history: SampleHistory, session: Session) -> None:
    assert not history.superseded.isVisible()
    with ProjectFile.open(session.project.path) as project:
        attempt = project.begin_attempt(1)
        project.set_first_step(attempt, 200)
        project.add_sample(1, step=300, kind="preview", position=0, image=picture_bytes(5), attempt=attempt)
        project.end_attempt(attempt, "stopped")
    history.show_rounds(rounds_of(qtbot, session), [])
    assert history.superseded.isVisible()
    assert [one.step for one in history._rounds] == [0, 133, 300]
    qtbot.mouseClick(history.superseded, Qt.MouseButton.LeftButton, pos=QPoint(10, history.superseded.height() // 2))
    assert [one.step for one in history._rounds] == [0, 133, 266, 300, 400]
    history.slider.setValue(4)
    assert "superseded by a later attempt" in history.words.text()


def test_a_missing_picture_says_so_where_it_would_be(qtbot: QtBot, session: Session) -> None:
    with ProjectFile.open(session.project.path) as project:
        project.add_sample(2, step=900, kind="preview", position=0, image=b"no picture")
    store = PictureStore(session.project)
    made = SampleHistory(store)
    store.setParent(made)
    qtbot.addWidget(made)
    rounds = Rounds()
    rounds.add(ask(qtbot, session, lambda project: project.samples_after(2)))
    made.show_rounds(rounds, [])
    qtbot.waitUntil(lambda: "damaged" in made.grid.accessibleDescription())


def test_without_previews_it_says_what_comes(qtbot: QtBot, session: Session) -> None:
    store = PictureStore(session.project)
    made = SampleHistory(store)
    store.setParent(made)
    qtbot.addWidget(made)
    made.show()
    assert made._empty.isVisible()
    assert "first comes as soon as" in made._empty.text()
    made.show_state(RunState("failed"))
    assert "ended before its first preview" in made._empty.text()
