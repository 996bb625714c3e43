"""The identity holds what it says: contrast, one place for colours, both schemes whole."""

import re
from pathlib import Path

import pytest
from PySide6.QtGui import QColor, QFontInfo, QPaintEvent
from PySide6.QtWidgets import (
    QApplication,
    QCheckBox,
    QLabel,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QRadioButton,
    QToolButton,
    QWidget,
)
from pytestqt.qtbot import QtBot

from app import look
from app.widgets.icon_button import IconButton

ROOT = Path(__file__).parents[2]
TEXT = ("text", "muted", "accent", "good", "warning", "bad")
GROUNDS = ("window", "surface", "raised")


def luminance(name: str) -> float:
    """Relative luminance (WCAG 2.1)."""
    parts = (QColor(name).redF(), QColor(name).greenF(), QColor(name).blueF())
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", [look.LIGHT, look.DARK], ids=["light", "dark"])
def test_words_can_be_read_on_every_ground(scheme: look.Scheme) -> None:
    pairs = [(getattr(scheme, text), getattr(scheme, ground)) for text in TEXT for ground in GROUNDS]
    pairs += [
        (scheme.on_accent, scheme.accent),
        (scheme.on_accent, scheme.accent_hover),
        (scheme.text, scheme.selection),
    ]
    assert [pair for pair in pairs if contrast(*pair) < 4.5] == []


@pytest.mark.parametrize("scheme", [look.LIGHT, look.DARK], ids=["light", "dark"])
def test_what_is_disabled_can_still_be_read(scheme: look.Scheme) -> None:
    pairs = [(scheme.disabled, getattr(scheme, ground)) for ground in GROUNDS] + [(scheme.muted, scheme.line)]
    assert [pair for pair in pairs if contrast(*pair) < 3.0] == []


@pytest.mark.parametrize("scheme", [look.LIGHT, look.DARK], ids=["light", "dark"])
@pytest.mark.parametrize("kind", [QPushButton, QToolButton, QRadioButton, QCheckBox, QLineEdit, QLabel, IconButton])
def test_a_disabled_control_is_painted_so_that_it_can_be_read(
    qtbot: QtBot, qapp: QApplication, scheme: look.Scheme, kind: type[QWidget]
) -> None:
    look.use(qapp, scheme)
    root = QWidget()
    qtbot.addWidget(root)
    made = IconButton("pause", "Pause", parent=root) if kind is IconButton else kind(root)
    if not isinstance(made, IconButton):
        made.setText("Pause")  # type: ignore[attr-defined]  # as every one of them has
    made.setEnabled(False)
    root.resize(200, 60)
    root.show()
    image = root.grab().toImage()
    colours = {image.pixelColor(x, y).name() for x in range(image.width()) for y in range(image.height())}
    assert scheme.disabled in colours
    assert max(contrast(one, scheme.window) for one in colours) < contrast(scheme.text, scheme.window)


@pytest.mark.parametrize("scheme", [look.LIGHT, look.DARK], ids=["light", "dark"])
def test_curves_and_edges_can_be_seen(scheme: look.Scheme) -> None:
    lines = [*scheme.series, scheme.strong_line]
    assert [line for line in lines if contrast(line, scheme.surface) < 3.0] == []
    assert len(set(scheme.series)) == len(scheme.series)


def test_no_other_file_names_a_colour() -> None:
    named = re.compile(r"#[0-9a-fA-F]{6}\b|QColor\(\s*\d|Qt\.GlobalColor\.(?!transparent)")
    files = [*(ROOT / "app").rglob("*.py"), ROOT / "resources" / "style.qss"]
    found = [path.name for path in files if path.name != "look.py" and named.search(path.read_text(encoding="utf-8"))]
    assert found == []


def test_the_bundled_font_is_the_one_in_use(qapp: QApplication) -> None:
    for role in look.POINTS:
        assert QFontInfo(look.font(role)).family() == look.FAMILY


def test_an_icon_is_drawn_in_the_colour_of_the_scheme(qapp: QApplication) -> None:
    for scheme in (look.LIGHT, look.DARK):
        look.use(qapp, scheme)
        image = look.icon("play").pixmap(20, 20).toImage()
        drawn = {
            image.pixelColor(x, y).name()
            for x in range(image.width())
            for y in range(image.height())
            if image.pixelColor(x, y).alpha() == 255
        }
        assert scheme.text in drawn


def test_progress_is_painted_in_its_turn_and_not_at_once(qtbot: QtBot) -> None:
    class Bar(QProgressBar):
        painted = 0

        def paintEvent(self, event: QPaintEvent) -> None:
            self.painted += 1
            super().paintEvent(event)

    bar = Bar()
    qtbot.addWidget(bar)
    bar.resize(200, 20)
    bar.show()
    qtbot.waitUntil(lambda: bar.painted > 0)
    before = bar.painted
    look.set_progress(bar, 50)
    assert bar.painted == before
    qtbot.waitUntil(lambda: bar.painted > before)
    assert bar.value() == 50
