"""Every screen, filled: named, reached by Tab, nothing cut or overlapping, in both schemes and at every size."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QSettings
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from app import look
from app.backend_process import Backend
from app.main_window import MainWindow
from backend.contract.catalogue import Catalogue

from . import looking

CATALOGUE = Path(__file__).parent / "catalogue.json"
SCREENS = ("wizard", "run", "compare", "runs", "export")
SIZES = ((1280, 800), (1024, 640))


@pytest.fixture
def window(qtbot: QtBot, settings: QSettings, project_path: Path) -> Iterator[MainWindow]:
    backend = Backend()
    backend.catalogue = Catalogue.from_json(CATALOGUE.read_bytes())
    made = MainWindow(settings, backend)
    with qtbot.waitSignal(made.project_shown):
        made.open_project(project_path)
    made.show()
    yield made
    made._may_close = True
    backend.close()
    made.close()


@pytest.mark.parametrize("key", SCREENS)
def test_a_screen_is_named_reached_and_not_cut(qtbot: QtBot, qapp: QApplication, window: MainWindow, key: str) -> None:
    window.show_screen(key, 1 if key in ("run", "compare", "export") else None)
    qtbot.waitUntil(lambda: window.is_settled)
    faults: list[str] = []
    for scheme in (look.LIGHT, look.DARK):
        look.use(qapp, scheme)
        for size in SIZES:
            window.resize(*size)
            QApplication.sendPostedEvents()
            qtbot.waitUntil(lambda: window.is_settled)
            for look_for in (looking.nameless, looking.unreachable, looking.clipped, looking.overlapping):
                faults += [f"{scheme.name} {size} {look_for.__name__}: {words}" for words in look_for(window)]
    assert not faults, "\n".join(dict.fromkeys(faults))
