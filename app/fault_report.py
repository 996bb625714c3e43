"""Faults of the program itself: a dialog with a report that can be copied, instead of a traceback on a console."""

from __future__ import annotations

import platform
import sys
import traceback
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from types import TracebackType

import PySide6
from PySide6.QtCore import QCoreApplication, Qt, qVersion
from PySide6.QtWidgets import QApplication, QMessageBox

from app.session import Session
from backend.contract.database import sqlite_version


def version() -> str:
    """The installed version of this program."""
    try:
        return installed("distill-studio")
    except PackageNotFoundError:
        return "source"


def diagnostics(session: Session | None) -> str:
    """Versions and the machine, for a report."""
    lines = [
        f"Distill Studio {version()}",
        f"Python {platform.python_version()}, Qt {qVersion()}, PySide6 {PySide6.__version__}",
        f"SQLite {sqlite_version()}",
        f"{platform.platform()}, {QApplication.platformName()}",
    ]
    if session is not None and session.backend.catalogue is not None:
        lines += [f"device: {device.name} ({device.kind})" for device in session.backend.catalogue.devices]
    return "\n".join(lines)


def install() -> None:
    """Show every exception that nothing caught."""
    sys.excepthook = report


def report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print a fault, and show it where there is a window."""
    text = "".join(traceback.format_exception(kind, error, trace))
    sys.stderr.write(text)
    if issubclass(kind, KeyboardInterrupt) or QApplication.instance() is None:
        return

    def tr(words: str) -> str:
        return QCoreApplication.translate("FaultReport", words)

    box = QMessageBox(QMessageBox.Icon.Critical, tr("Distill Studio"), tr("A fault in the program."))
    box.setInformativeText(
        tr("Runs are not touched by it. Please copy the report and send it to us: {0}").format(error)
    )
    box.setDetailedText(f"{diagnostics(None)}\n\n{text}")
    copy = box.addButton(tr("Copy report"), QMessageBox.ButtonRole.ActionRole)
    box.addButton(QMessageBox.StandardButton.Close)
    box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    copy.clicked.connect(lambda: QApplication.clipboard().setText(box.detailedText()))
    box.open()
