"""A fault of the program is shown with a report that can be copied; it never ends the window."""

import sys

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QMessageBox
from pytestqt.qtbot import QtBot

from app import fault_report


def test_a_fault_is_shown_and_its_report_copied(qtbot: QtBot, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        raise LookupError("no such thing")
    except LookupError as error:
        fault_report.report(type(error), error, error.__traceback__)
    assert "LookupError: no such thing" in capsys.readouterr().err
    (box,) = [w for w in QApplication.topLevelWidgets() if isinstance(w, QMessageBox) and w.isVisible()]
    assert "no such thing" in box.informativeText()
    copy = next(button for button in box.buttons() if button.text() == "Copy report")
    qtbot.mouseClick(copy, Qt.MouseButton.LeftButton)
    report = QApplication.clipboard().text()
    assert "LookupError: no such thing" in report
    assert "Distill Studio" in report
    assert "Qt" in report


def test_ctrl_c_is_no_fault(qtbot: QtBot) -> None:
    fault_report.report(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert not [w for w in QApplication.topLevelWidgets() if isinstance(w, QMessageBox) and w.isVisible()]


def test_installing_it_takes_every_uncaught_exception(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    fault_report.install()
    assert sys.excepthook is fault_report.report
