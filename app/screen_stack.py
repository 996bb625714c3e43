"""The screens of a project, one in front. Each is made when it is first wanted, or when nothing else is to be done."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QApplication, QStackedWidget, QWidget

from app.screens import Screen
from app.session import Session
from app.turns import turns

DONE = object()


class ScreenStack(QStackedWidget):
    """places: the module and class of each screen, "app.screens.run:RunScreen", by its key.

    made: a screen is whole, and can be connected. shown: it is in front.
    """

    made = Signal(str, object)
    shown = Signal(object)

    def __init__(self, places: Mapping[str, str], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._places = places
        self._session: Session | None = None
        self._screens: dict[str, Screen] = {}
        self._unfinished: dict[str, tuple[Screen, Iterator[None]]] = {}
        self._wanted: tuple[str, object] | None = None
        self._blank = QWidget()
        self.addWidget(self._blank)

    def begin(self, session: Session) -> None:
        """From now on there is a project to show."""
        self._session = session

    @property
    def is_settled(self) -> bool:
        """Whether what was wanted is shown, and is complete."""
        front = self.currentWidget()
        return self._wanted is None and (not isinstance(front, Screen) or front.is_settled)

    def show_screen(self, key: str, item: object = None) -> None:
        """Bring a screen to the front, and in it what another one leads to."""
        if key not in self._screens:
            self._wanted = (key, item)
            self.setCurrentWidget(self._blank)
            turns().add(self._build_on)
            return
        self._wanted = None
        screen = self._screens[key]
        self.setCurrentWidget(screen)
        if item is not None:
            screen.show_item(item)
        if not screen.isAncestorOf(QApplication.focusWidget() or self):
            screen.setFocus()
        self.shown.emit(screen)

    def show_page(self, page: QWidget) -> None:
        """Bring what is no screen of the project to the front."""
        self._wanted = None
        if self.indexOf(page) < 0:
            self.addWidget(page)
        self.setCurrentWidget(page)

    def stop(self) -> None:
        """Make no more, and close what there is."""
        turns().drop(self._build_on)
        for screen in self._screens.values():
            screen.close()

    def _build_on(self) -> bool:
        """Make one more part of a screen: of the one that is wanted, else of one that may be wanted later."""
        missing = [key for key in self._places if key not in self._screens]
        if self._wanted is not None and self._wanted[0] in self._screens:
            self.show_screen(*self._wanted)
            turns().add(self._build_on, gently=True)
            return False
        if not missing or self._session is None:
            return False
        key = self._wanted[0] if self._wanted is not None else missing[0]
        if key not in self._unfinished:
            module, name = self._places[key].split(":")
            screen = getattr(importlib.import_module(module), name)(self._session)
            assert isinstance(screen, Screen)
            self.addWidget(screen)  # while it is empty: what is put elsewhere as a whole is dressed anew
            self._unfinished[key] = (screen, screen.build())
            return True
        screen, parts = self._unfinished[key]
        if next(parts, DONE) is DONE:
            del self._unfinished[key]
            self._screens[key] = screen
            self.made.emit(key, screen)
        return True
