"""One screen per file; the main window shows one at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from PySide6.QtCore import Signal
from PySide6.QtGui import QAction, QUndoStack
from PySide6.QtWidgets import QWidget

from app.session import Session


@dataclass(frozen=True)
class Overlaid:
    """A run to show with the curves of others laid over its own. others: their ids, without its own."""

    run: int
    others: tuple[int, ...] = ()


class Screen(QWidget):
    """A screen of a project's window. What is `offered()` is in the command palette while it is shown.

    leads_to: another screen by its key ("run", "compare", "export", "wizard", "runs") and what to show there: a run's
    id; for "compare" and "runs" also a list of them; for "run" also `Overlaid`; for the wizard a recipe's values.
    Screens do not know each other; the main window connects them.
    """

    leads_to = Signal(str, object)
    says = Signal(str)
    """A sentence for the status bar."""
    tells_of_run = Signal(int, object, int)
    """What this screen shows of a run now: its id, its state and its steps. The status bar is to show the same."""
    undo_stack: QUndoStack | None = None
    """What Undo and Redo act on while this screen is shown."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.session = session

    def build(self) -> Iterator[None]:
        """Make what is shown. Between two parts the window serves its events, so that none of them is felt.

        Nothing else of the screen is called before the end. A screen that is soon made does it all in `__init__`.
        """
        yield from ()

    def offered(self) -> list[QAction]:
        """What can be done here, for the command palette: its actions, and what only exists now."""
        return self.actions()

    @property
    def is_settled(self) -> bool:
        """Whether it shows all that it will, as far as it knows."""
        return True

    def show_item(self, item: object) -> None:
        """Show this: what another screen's `leads_to` carried."""
