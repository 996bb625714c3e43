"""A person at the window: finds things by the names that are read there, clicks, types, waits, looks."""

from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QAbstractButton, QLabel, QLineEdit, QListWidget, QWidget
from pytestqt.qtbot import QtBot

from app.main_window import MainWindow
from app.run_watcher import RunWatcher
from tests.app import looking

W = TypeVar("W", bound=QWidget)
SETTLED = 10_000
PATIENCE = 180_000  # milliseconds; a whole training run on a busy machine


def named(root: QWidget, name: str, kind: type[W]) -> W:
    """The visible control of that name."""
    found = [
        widget
        for widget in root.findChildren(kind)
        if widget.isVisibleTo(root)
        and name in (widget.accessibleName(), widget.text().strip() if isinstance(widget, QAbstractButton) else "")
    ]
    assert found, f"there is no {name!r}"
    return found[0]


def has(root: QWidget, name: str, kind: type[QWidget] = QLineEdit) -> bool:
    """Whether a control of that name is to be seen."""
    return any(w.accessibleName() == name and w.isVisibleTo(root) for w in root.findChildren(kind))


def click(qtbot: QtBot, root: QWidget, name: str) -> None:
    """Press a button once it can be pressed."""
    qtbot.waitUntil(lambda: named(root, name, QAbstractButton).isEnabled(), timeout=PATIENCE)
    qtbot.mouseClick(named(root, name, QAbstractButton), Qt.MouseButton.LeftButton)


def choose(qtbot: QtBot, root: QWidget, name: str, title: str) -> None:
    """Click on a line of a list."""
    view = named(root, name, QListWidget)
    (item,) = view.findItems(title, Qt.MatchFlag.MatchExactly)
    view.scrollToItem(item)
    qtbot.mouseClick(view.viewport(), Qt.MouseButton.LeftButton, pos=view.visualItemRect(item).center())
    assert view.currentItem() is item


def type_in(qtbot: QtBot, root: QWidget, name: str, text: str) -> None:
    """Write a field anew, once it is there: forms come a few rows a turn."""
    until(qtbot, lambda: has(root, name))
    field = named(root, name, QLineEdit)
    field.setFocus()
    field.selectAll()
    qtbot.keyClicks(field, text)
    qtbot.keyClick(field, Qt.Key.Key_Return)


def go_to(qtbot: QtBot, wizard: QWidget, page: str) -> None:
    """Press Next or Back until the wizard shows the page of that title."""
    steps = named(wizard, "Pages of the new run", QListWidget)
    titles = [steps.item(row).text() for row in range(steps.count())]
    while steps.currentRow() != (wanted := titles.index(page)):
        click(qtbot, wizard, "Next" if steps.currentRow() < wanted else "Back")


def shown_words(root: QWidget) -> str:
    """All that is written there."""
    return "\n".join(label.text() for label in root.findChildren(QLabel) if label.isVisibleTo(root))


def screen(window: MainWindow) -> QWidget:
    """What the window shows."""
    shown = window.screen_shown()
    assert shown is not None
    return shown


def state_of(window: MainWindow) -> str:
    """The state of the run on the run screen."""
    watcher = screen(window).findChild(RunWatcher)
    return watcher.state.state if watcher is not None and watcher.state is not None else ""


def until(qtbot: QtBot, condition: Callable[[], bool]) -> None:
    """Wait for it."""
    qtbot.waitUntil(condition, timeout=PATIENCE)


def look_at(qtbot: QtBot, window: MainWindow, what: str) -> None:
    """What an eye would find once all parts have had their turn: words cut, controls without a name or overlapping."""
    found: dict[str, list[str]] = {}

    def is_sound() -> bool:
        for fault in (looking.clipped, looking.nameless, looking.overlapping):
            found[fault.__name__] = fault(screen(window))
        return not any(found.values())

    with suppress(qtbot.TimeoutError):  # what is still wrong is said below
        qtbot.waitUntil(is_sound, timeout=SETTLED)
    assert not any(found.values()), f"{what}: {found}"
