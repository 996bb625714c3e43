"""The menu bar, and the list of every command by its name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Qt
from PySide6.QtGui import QAction, QActionGroup, QKeySequence
from PySide6.QtWidgets import QApplication, QMenu

from app import look, recent
from app.screens import Screen
from app.widgets.command_palette import CommandPalette
from app.widgets.icon_button import IN_FULL

if TYPE_CHECKING:
    from app.main_window import MainWindow


class Menus(QObject):
    """The menus of a window. What needs a project can be chosen from `offer_project` on."""

    def __init__(self, window: MainWindow) -> None:
        super().__init__(window)
        self._window = window
        self._of_project: list[QAction] = []
        self._make_file()
        self._make_edit()
        self._make_view()
        menu = window.menuBar().addMenu(self.tr("&Help"))
        self._add(menu, self.tr("Copy a report about this program"), window.copy_diagnostics)
        self._add(menu, self.tr("About Distill Studio"), window.show_about)

    def offer_project(self) -> None:
        """There is a project now."""
        for action in self._of_project:
            action.setEnabled(True)

    def show_palette(self) -> None:
        """Every command by its name, found by typing."""
        window, commands = self._window, list[QAction]()
        for menu in window.menuBar().findChildren(QMenu):
            commands += [action for action in menu.actions() if not action.menu() and not action.isSeparator()]
        current = window.screen_shown()
        own = current.offered() if isinstance(current, Screen) else []
        commands = [*own, *(action for action in commands if action not in own)]
        # What can be done now comes first, so that Enter does it.
        CommandPalette(sorted(commands, key=lambda action: not action.isEnabled()), window).open()

    def _make_file(self) -> None:
        window, menu, keys = self._window, self._window.menuBar().addMenu(self.tr("&File")), QKeySequence.StandardKey
        self._add(menu, self.tr("New project..."), window.new_project, QKeySequence(keys.New))
        self._add(menu, self.tr("Open project..."), window.choose_project, QKeySequence(keys.Open))
        self._recent = menu.addMenu(self.tr("Open recent"))
        self._recent.aboutToShow.connect(self._fill_recent)
        self._add(menu, self.tr("Welcome"), window.show_welcome)
        self._add(menu, self.tr("Distil the bundled digits"), window.start_demo)
        menu.addSeparator()
        copy = self._add(menu, self.tr("Save a copy..."), window.save_copy, "Ctrl+Shift+S", of_project=True)
        copy.setToolTip(self.tr("A whole copy of the project, made while runs go on"))
        menu.addSeparator()
        self._add(menu, self.tr("Close window"), window.close, QKeySequence(keys.Close))
        self._add(menu, self.tr("Quit"), QApplication.closeAllWindows, QKeySequence(keys.Quit))

    def _make_edit(self) -> None:
        menu, group = self._window.menuBar().addMenu(self.tr("&Edit")), self._window.undo
        undo = group.createUndoAction(self._window, self.tr("Undo"))
        redo = group.createRedoAction(self._window, self.tr("Redo"))
        undo.setShortcuts(QKeySequence.StandardKey.Undo)
        redo.setShortcuts(QKeySequence.StandardKey.Redo)
        menu.addActions([undo, redo])

    def _make_view(self) -> None:
        menu, keys = self._window.menuBar().addMenu(self.tr("&View")), QKeySequence.StandardKey
        for place in self._window.places.values():
            go = self._add(menu, place.words, partial(self._window.show_screen, place.key), place.shortcut, True)
            go.setProperty(IN_FULL, self.tr("Go to {0}").format(place.words))
        menu.addSeparator()
        self._add(menu, self.tr("Find a command..."), self.show_palette, "Ctrl+K")
        self._add(menu, self.tr("Full screen"), self._toggle_full_screen, QKeySequence(keys.FullScreen))
        colours, group = menu.addMenu(self.tr("Colours")), QActionGroup(self)
        chosen = str(self._window.settings.value("look/scheme", "system"))
        for key, words in (
            ("system", self.tr("Colours of the system")),
            ("light", self.tr("Light colours")),
            ("dark", self.tr("Dark colours")),
        ):
            action = self._add(colours, words, partial(self._choose_scheme, key))
            action.setCheckable(True)
            action.setChecked(key == chosen)
            group.addAction(action)

    def _add(
        self,
        menu: QMenu,
        words: str,
        deed: Callable[[], object],
        shortcut: QKeySequence | str = "",
        of_project: bool = False,
    ) -> QAction:
        action = QAction(words, self._window)
        action.triggered.connect(lambda _=False: deed())
        if shortcut:
            action.setShortcut(QKeySequence(shortcut))
        if of_project:
            action.setEnabled(False)
            self._of_project.append(action)
        menu.addAction(action)
        return action

    def _fill_recent(self) -> None:
        self._recent.clear()
        for path in recent.projects(self._window.settings):
            self._recent.addAction(path.name, partial(self._window.open_project, path)).setToolTip(str(path))
        self._recent.setEnabled(True)

    def _choose_scheme(self, key: str) -> None:
        self._window.settings.setValue("look/scheme", key)
        application = QApplication.instance()
        assert isinstance(application, QApplication)
        look.choose(application, key)  # type: ignore[arg-type]

    def _toggle_full_screen(self) -> None:
        self._window.setWindowState(self._window.windowState() ^ Qt.WindowState.WindowFullScreen)
