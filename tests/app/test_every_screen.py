"""Every screen, filled: named, reached by Tab, nothing cut or overlapping, in both schemes and at every size."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from PySide6.QtCore import QSettings
from PySide6.QtWidgets import QApplication, QWidget
from pytestqt.qtbot import QtBot

from app import look
from app.main_window import MainWindow
from backend.contract import catalogue
from backend.contract.project_file import ProjectFile

from . import looking
from .longer_words import Longer, untranslated
from .scripted import FITS, ScriptedBackend
from .views import empty_views, every_state, in_sight, views, waiting_views

SCREENS = ("wizard", "run", "compare", "runs", "export")
SIZES = ((1280, 800), (1024, 640))
LAYOUT_MILLISECONDS = 2000
"""In which a view must be as it will be; a machine with much else to do takes many turns over it."""


@contextmanager
def opened(qtbot: QtBot, settings: QSettings, path: Path, knows: bool = True) -> Iterator[MainWindow]:
    """A window of a project, with no process behind it. knows: what the backend offers; else it waits for that."""
    backend = ScriptedBackend()
    if not knows:
        backend.catalogue = None
    backend.answers["preflight"] = lambda _: FITS
    made = MainWindow(settings, backend)
    with qtbot.waitSignal(made.project_shown):
        made.open_project(path)
    made.show()
    yield made
    made._may_close = True
    backend.close()
    made.close()
    made.deleteLater()


@pytest.fixture
def window(qtbot: QtBot, settings: QSettings, project_path: Path) -> Iterator[MainWindow]:
    with opened(qtbot, settings, project_path) as made:
        yield made


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


@pytest.fixture
def longer(qapp: QApplication) -> Iterator[Longer]:
    translator = Longer()
    qapp.installTranslator(translator)
    yield translator
    qapp.removeTranslator(translator)


@pytest.mark.parametrize(("size", "scheme"), zip(SIZES, (look.DARK, look.LIGHT), strict=True), ids=("dark", "light"))
def test_every_view_is_named_reached_and_not_cut(
    qtbot: QtBot,
    qapp: QApplication,
    window: MainWindow,
    project_path: Path,
    size: tuple[int, int],
    scheme: look.Scheme,
) -> None:
    """Each size in one scheme here and in the other at twice the scale: colours have no sizes."""
    ids = every_state(project_path)
    look.use(qapp, look.LIGHT if (scheme is look.DARK) == (qapp.devicePixelRatio() > 1) else look.DARK)
    window.resize(*size)
    faults = faults_of_views(qtbot, window, ids, looking.sideways)
    assert not faults, "\n".join(faults)


@pytest.fixture
def no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is known from an earlier start."""
    monkeypatch.setattr(catalogue, "load_cached", lambda key: None)


@pytest.fixture
def empty_path(tmp_path: Path) -> Path:
    """A project without runs."""
    path = tmp_path / "empty.distill"
    ProjectFile.create(path).close()
    return path


@pytest.mark.parametrize("size", SIZES)
def test_every_empty_page_is_named_reached_and_not_cut(
    qtbot: QtBot, settings: QSettings, empty_path: Path, size: tuple[int, int]
) -> None:
    with opened(qtbot, settings, empty_path) as window:
        window.resize(*size)
        faults = faults_of(window, empty_views(qtbot, window), qtbot)
    assert not faults, "\n".join(faults)


@pytest.mark.usefixtures("no_cache")
@pytest.mark.parametrize("size", SIZES)
def test_a_wizard_that_waits_is_named_reached_and_not_cut(
    qtbot: QtBot, settings: QSettings, empty_path: Path, size: tuple[int, int]
) -> None:
    with opened(qtbot, settings, empty_path, knows=False) as window:
        window.resize(*size)
        faults = faults_of(window, waiting_views(qtbot, window), qtbot)
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("scheme", [look.LIGHT, look.DARK], ids=lambda scheme: scheme.name)
def test_every_control_shows_that_it_has_the_focus(
    qtbot: QtBot, qapp: QApplication, window: MainWindow, project_path: Path, scheme: look.Scheme
) -> None:
    ids = every_state(project_path)
    look.use(qapp, scheme)
    window.activateWindow()
    qtbot.waitUntil(window.isActiveWindow)
    window.resize(*SIZES[0])
    faults: dict[str, str] = {}
    looked_at: set[QWidget] = set()
    for view in views(qtbot, window, ids):
        qtbot.waitUntil(lambda: window.is_settled)
        QApplication.sendPostedEvents()
        try:
            qtbot.waitUntil(lambda: in_sight(window).isActiveWindow())
        except qtbot.TimeoutError:
            pytest.fail(f"{view}: a part of it was shown as a window of its own")
        for words in looking.focus_unseen(in_sight(window), looked_at):
            faults.setdefault(words, view)
    assert not faults, "\n".join(f"{view}: {words}" for words, view in faults.items())
    assert len(looked_at) > len(SCREENS)


@pytest.mark.usefixtures("longer")
def test_every_view_has_room_for_a_language_of_longer_words(
    qtbot: QtBot, request: pytest.FixtureRequest, project_path: Path
) -> None:
    ids = every_state(project_path)
    window = request.getfixturevalue("window")  # made after the language is chosen
    window.resize(*SIZES[-1])
    faults = faults_of_views(qtbot, window, ids, untranslated)
    assert not faults, "\n".join(faults)


def test_every_view_is_not_cut_at_twice_the_scale() -> None:
    """Qt takes the scale when it starts, so another process looks."""
    test = f"{__file__}::{test_every_view_is_named_reached_and_not_cut.__name__}"
    environment = os.environ | {"QT_SCALE_FACTOR": "2", "QT_QPA_PLATFORM": "offscreen"}
    command = [sys.executable, "-m", "pytest", "-n", "0", "-p", "no:cacheprovider", test]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, env=environment, cwd=root, stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0, done.stdout


def faults_of_views(
    qtbot: QtBot, window: MainWindow, ids: dict[str, int], *more: Callable[[QWidget], list[str]]
) -> list[str]:
    """What an eye would find wrong in any view of a project with these runs."""
    return faults_of(window, views(qtbot, window, ids), qtbot, *more)


def faults_of(
    window: MainWindow, shown: Iterator[str], qtbot: QtBot, *more: Callable[[QWidget], list[str]]
) -> list[str]:
    """The same of the views that `shown` brings; each fault once, where it was seen first."""
    found: dict[str, str] = {}
    checks = (looking.nameless, looking.unreachable, looking.clipped, looking.overlapping, *more)
    seen: list[str] = []

    def is_well() -> bool:
        seen[:] = [f"{check.__name__}: {words}" for check in checks for words in check(in_sight(window))]
        return not seen

    for view in shown:
        qtbot.waitUntil(lambda: window.is_settled)
        QApplication.sendPostedEvents()
        if not is_well():
            with suppress(qtbot.TimeoutError):  # it may be laid out in several turns
                qtbot.waitUntil(is_well, timeout=LAYOUT_MILLISECONDS)
        for words in seen:
            found.setdefault(words, view)
    return [f"{view}: {words}" for words, view in found.items()]
