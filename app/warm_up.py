"""Loads the code of screens beside the window's own work, so that showing one for the first time does not wait."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Sequence


def load(modules: Sequence[str], *calls: Callable[[], object]) -> threading.Thread:
    """Import these in a thread of their own, and call what is slow only the first time.

    One that is wanted meanwhile is waited for by Python itself.
    """

    def load_all() -> None:
        for module in modules:
            importlib.import_module(module)
        for call in calls:
            call()

    thread = threading.Thread(target=load_all, name="warm-up", daemon=True)
    thread.start()
    return thread
