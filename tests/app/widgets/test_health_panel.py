"""Signs of health in sentences, and the checkpoint worth keeping."""

from pathlib import PurePosixPath

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel
from pytestqt.qtbot import QtBot

from app.widgets.health_panel import HealthPanel
from backend.contract.rows import Checkpoint, LogEvent


def event(id_: int, sign: str, level: str, text: str, reading: object = "It was 1 and is 2.") -> LogEvent:
    return LogEvent(id_, 1, 1, 350, 0.0, "health", text, {"sign": sign, "level": level, "reading": reading})


def checkpoint(step: int, best: bool, score: float | None) -> Checkpoint:
    return Checkpoint(step, 1, 1, step, PurePosixPath("x"), "", 1, best, True, {"score": score})


def shown_words(panel: HealthPanel) -> str:
    return "\n".join(label.text() for label in panel.findChildren(QLabel) if label.isVisible())


def panel_of(qtbot: QtBot) -> HealthPanel:
    made = HealthPanel()
    qtbot.addWidget(made)
    made.show()
    return made


def test_nothing_unusual_says_what_is_watched(qtbot: QtBot) -> None:
    panel = panel_of(qtbot)
    assert "Nothing unusual" in shown_words(panel)
    assert "not finite" in shown_words(panel)
    panel.show_events([event(1, "overall", "good", "Nothing points to trouble.")])
    qtbot.waitUntil(lambda: "Nothing points to trouble." in shown_words(panel))


def test_the_worst_comes_first_with_its_reading(qtbot: QtBot) -> None:
    panel = panel_of(qtbot)
    panel.show_events([event(1, "lags", "warning", "It lags."), event(2, "peak", "bad", "Past its peak.")])
    assert panel.words() == ["Past its peak.", "It lags."]
    qtbot.waitUntil(lambda: "Step 350  ·  measured: It was 1 and is 2." in shown_words(panel))
    panel.show_events([event(1, "lags", "warning", "It lags."), event(3, "lags", "good", "It keeps up.")])
    qtbot.waitUntil(lambda: "Nothing unusual" in shown_words(panel))
    assert "It lags." not in shown_words(panel)


def test_the_best_checkpoint_can_be_exported(qtbot: QtBot) -> None:
    panel = panel_of(qtbot)
    assert not panel.export.isEnabled()
    panel.show_checkpoints([checkpoint(1500, True, 1.444), checkpoint(2000, False, 3.0)])
    assert "Step 1,500, score 1.44" in panel.best.text()
    with qtbot.waitSignal(panel.export_wanted):
        qtbot.mouseClick(panel.export, Qt.MouseButton.LeftButton)
    panel.show_checkpoints([checkpoint(2000, False, None)])
    assert "the last is at step 2,000" in panel.best.text()
    assert panel.export.accessibleName() == "Export the last"
