"""Which prompt or class the picture has that a person looks at: below the comparison, as a tool tip, and read out."""

from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QEvent, QPoint, QPointF, Qt
from PySide6.QtGui import QHelpEvent, QMouseEvent
from PySide6.QtWidgets import QApplication, QLineEdit, QToolTip, QVBoxLayout, QWidget
from pytestqt.qtbot import QtBot

from app.models.comparison import read
from app.widgets.comparison_view import ComparisonView
from app.widgets.condition_line import ConditionLine
from app.widgets.density import PointLayers
from app.widgets.picture_layers import PictureLayers
from tests.app.parts import SAMPLES, write_pictures, write_points

Key = Qt.Key
LONG = "a <b>lighthouse</b> on a cliff above the sea, " * 8
PROMPTS = {"kind": "prompt", "names": [f"prompt of place {i}" for i in range(SAMPLES - 1)] + [LONG]}


class Page(QWidget):
    """A view with its line below, and the focus elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        column = QVBoxLayout(self)
        elsewhere = QLineEdit()
        elsewhere.setFocus()
        column.addWidget(elsewhere)
        self.view = ComparisonView()
        self.line = ConditionLine(self.view)
        column.addWidget(self.view, 1)
        column.addWidget(self.line)

    def show_parts(self, folder: Path) -> None:
        found = read(folder)
        assert found is not None
        layers = PointLayers(found) if found.kind == "points" else PictureLayers(found)
        self.view.show_layers(layers, lambda side: (found.sides[side].name, ""))

    def at(self, x: float, y: float, pane: int = 0) -> QPointF:
        """The point of a pane at which a point of the grid lies."""
        return QPointF(*self.view.camera.to_view(x, y, self.view.canvases[pane].pane))

    def middle_of(self, sample: int, pane: int = 0) -> QPointF:
        layers: Any = self.view.layers
        x, y = layers.grid.origin(sample)
        return self.at(x + layers.grid.width / 2, y + layers.grid.height / 2, pane)

    def point(self, at: QPointF, pane: int = 0) -> None:
        """Move the pointer there."""
        canvas, none = self.view.canvases[pane], Qt.MouseButton.NoButton
        event = QMouseEvent(
            QEvent.Type.MouseMove, at, canvas.mapToGlobal(at), none, none, Qt.KeyboardModifier.NoModifier
        )
        QApplication.sendEvent(canvas, event)


@pytest.fixture
def page(qtbot: QtBot) -> Page:
    made = Page()
    qtbot.addWidget(made)
    made.resize(900, 500)
    made.show()
    return made


@pytest.fixture
def asked(page: Page, tmp_path: Path) -> Page:
    """The page with pictures that answer prompts."""
    write_pictures(tmp_path / "parts", conditions=PROMPTS)
    page.show_parts(tmp_path / "parts")
    return page


def test_the_picture_under_the_pointer_is_named_in_every_pane(asked: Page) -> None:
    assert asked.line.text() == "Point at a picture, or go to it with the arrow keys, to read its prompt."
    for pane in range(3):
        asked.point(asked.middle_of(12, pane), pane)
        assert asked.line.text() == "Prompt of sample 13 of 20: prompt of place 12"
        asked.point(asked.middle_of(4, pane), pane)
        assert asked.line.text() == "Prompt of sample 5 of 20: prompt of place 4"
    QApplication.sendEvent(asked.view.canvases[2], QEvent(QEvent.Type.Leave))
    assert asked.line.text().startswith("Point at a picture")


def test_in_a_gap_the_name_stays_and_outside_it_goes(asked: Page) -> None:
    layers: Any = asked.view.layers
    asked.point(asked.middle_of(4))
    asked.point(asked.at(5 * layers.grid.width + 4.5 * layers.grid.gap, layers.grid.height / 2))
    assert asked.line.text() == "Prompt of sample 5 of 20: prompt of place 4"
    asked.point(asked.at(-1, -1))
    assert asked.line.text().startswith("Point at a picture")


def test_classes_are_named_too(page: Page, tmp_path: Path) -> None:
    write_pictures(tmp_path / "parts")
    page.show_parts(tmp_path / "parts")
    assert page.line.text().endswith("to read its class.")
    page.point(page.middle_of(13))
    assert page.line.text() == "Class of sample 14 of 20: 3"


@pytest.mark.parametrize("mode", ["wipe", "blink", "difference"])
def test_pictures_in_one_place_are_named(asked: Page, mode: Any) -> None:
    asked.view.set_mode(mode)
    asked.point(asked.middle_of(12))
    assert asked.line.text() == "Prompt of sample 13 of 20: prompt of place 12"


def test_the_name_follows_what_is_zoomed_below_the_pointer(asked: Page) -> None:
    asked.point(asked.middle_of(0))
    asked.view.zoom(2, (asked.view.canvases[0].pane[0] / 2, asked.view.canvases[0].pane[1] / 2))
    assert asked.view.named != 0
    asked.view.fit()
    assert asked.line.text() == "Prompt of sample 1 of 20: prompt of place 0"


def test_the_keyboards_picture_is_named_until_the_pointer_moves(qtbot: QtBot, asked: Page) -> None:
    asked.activateWindow()
    asked.view.setFocus()
    qtbot.waitUntil(asked.view.hasFocus)
    assert asked.line.text() == "Prompt of sample 1 of 20: prompt of place 0"
    asked.point(asked.middle_of(12))
    qtbot.keyClick(asked.view, Key.Key_Right)
    assert asked.line.text() == "Prompt of sample 2 of 20: prompt of place 1"
    assert "all samples, at sample 2; Prompt: prompt of place 1; " in asked.view.accessibleDescription()
    asked.point(asked.middle_of(12))
    assert asked.line.text() == "Prompt of sample 13 of 20: prompt of place 12"


def test_a_picture_shown_large_is_named_wherever_the_pointer_is(asked: Page) -> None:
    asked.view.show_sample(7)
    assert asked.line.text() == "Prompt of sample 8 of 20: prompt of place 7"
    asked.point(QPointF(1, 1))
    assert asked.line.text() == "Prompt of sample 8 of 20: prompt of place 7"


def test_a_long_prompt_is_cut_in_the_line_and_whole_beside_it(asked: Page) -> None:
    asked.point(asked.middle_of(SAMPLES - 1))
    words = f"Prompt of sample 20 of 20: {LONG}"
    assert asked.line.fontMetrics().horizontalAdvance(words) > asked.line.width()
    assert asked.width() == 900
    assert asked.line.accessibleDescription() == words
    assert asked.line.toolTip() == f"<qt>{words.replace('<', '&lt;').replace('>', '&gt;')}</qt>"


def test_the_tool_tip_is_of_the_picture_under_the_pointer(asked: Page) -> None:
    canvas = asked.view.canvases[1]

    def tip(at: QPoint) -> str:
        QApplication.sendEvent(canvas, QHelpEvent(QEvent.Type.ToolTip, at, canvas.mapToGlobal(at)))
        return QToolTip.text()

    assert tip(asked.middle_of(3, 1).toPoint()) == "<qt>Prompt: prompt of place 3</qt>"
    assert tip(asked.middle_of(SAMPLES - 1, 1).toPoint()).startswith("<qt>Prompt: a &lt;b&gt;lighthouse")
    words, place = asked.view.tip(canvas, asked.middle_of(3, 1))
    assert words == "Prompt: prompt of place 3"
    assert place.contains(asked.middle_of(3, 1).toPoint())
    assert not place.contains(asked.middle_of(4, 1).toPoint())
    assert asked.view.tip(canvas, asked.at(-1, -1, 1))[0] == ""


def test_without_conditions_there_is_no_line(page: Page, tmp_path: Path) -> None:
    write_pictures(tmp_path / "free", conditions=None)
    page.show_parts(tmp_path / "free")
    assert not page.line.isVisible()
    page.point(page.middle_of(3))
    assert page.view.named == 3
    write_points(tmp_path / "plane")
    page.show_parts(tmp_path / "plane")
    assert not page.line.isVisible()
    page.point(QPointF(20, 20))
    assert page.view.named is None
