"""The recipe that is being made: its values, every edit of them, undo and redo, all kept in the project at once.

An edit is a change of dotted names ("training.steps") and what a person calls it. The project holds the edits, the
first of which is the whole recipe, so that a window that is killed finds its recipe and its undo again. What a recipe
means is not known here.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QUndoCommand, QUndoStack

from app.open_project import OpenProject

LEVELS = 200
Values = dict[str, Any]


@dataclass(frozen=True)
class Edit:
    """words: what was done, for the menu. change: dotted name -> new value."""

    words: str
    change: dict[str, Any]


def with_change(values: Values, change: Mapping[str, Any]) -> Values:
    """The values after a change. A name of a whole group ("settings") replaces that group."""
    made = copy.deepcopy(values)
    for name, value in change.items():
        group, dot, key = name.partition(".")
        if dot:
            made[group] = {**(made.get(group) or {}), key: copy.deepcopy(value)}
        else:
            made[name] = copy.deepcopy(value)
    return made


def value_at(values: Mapping[str, Any], name: str) -> Any:
    """The value of a dotted name; None where there is none."""
    group, dot, key = name.partition(".")
    found = values.get(group)
    return found.get(key) if dot and isinstance(found, dict) else found if not dot else None


class Draft(QObject):
    """Values that are edited. changed: they are others now. loaded: what the project kept of them is here."""

    changed = Signal()
    loaded = Signal()

    def __init__(self, project: OpenProject, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.values: Values = {}
        self.undo_stack = QUndoStack(self)
        self.undo_stack.setUndoLimit(LEVELS)
        self.undo_stack.indexChanged.connect(self._go_to)
        self._project = project
        self._base: Values = {}
        self._edits: list[Edit] = []
        self._typing = ""
        self._is_loading = False

    def load(self, fresh: Values) -> None:
        """Have `loaded` follow, with what the project kept, or with these values where it has none."""

        def found(kept: tuple[list[Any], int] | None) -> None:
            self._restore(fresh, kept)
            self.loaded.emit()
            self.changed.emit()

        self._project.ask(lambda project: project.draft(), found, key="draft")

    def edit(self, change: Mapping[str, Any], words: str, typing: str = "") -> None:
        """Change something. typing: of what; letters of one word after another are one step of undo."""
        after = with_change(self.values, change)
        if after == self.values:
            return
        position = self.undo_stack.index()
        if typing and typing == self._typing and position == self.undo_stack.count() == len(self._edits) > 0:
            last = self._edits[-1]
            self._edits[-1] = replace(last, change={**last.change, **change})
            self._show(after)
        else:
            del self._edits[position:]
            self._edits.append(Edit(words, dict(change)))
            if len(self._edits) > LEVELS:  # the stack forgets its oldest too
                self._base = with_change(self._base, self._edits.pop(0).change)
            self.undo_stack.push(QUndoCommand(words))
        self._typing = typing

    def end_typing(self) -> None:
        """What is typed from here on is a step of undo of its own."""
        self._typing = ""

    def _go_to(self, position: int) -> None:
        if not self._is_loading:
            self._typing = ""
            self._show(self._after(position), position)

    def _after(self, position: int) -> Values:
        values = self._base
        for edit in self._edits[:position]:
            values = with_change(values, edit.change)
        return values

    def _show(self, values: Values, position: int | None = None) -> None:
        self.values = values
        edits: list[Any] = [asdict(Edit("", self._base)), *map(asdict, self._edits)]
        count = len(self._edits) if position is None else position
        self._project.write(lambda project: project.save_draft(edits, count))
        self.changed.emit()

    def _restore(self, fresh: Values, kept: tuple[list[Any], int] | None) -> None:
        self._is_loading = True
        self.undo_stack.clear()
        self._base, self._edits, position = fresh, [], 0
        if kept is not None and kept[0]:
            edits = [Edit(str(edit["words"]), dict(edit["change"])) for edit in kept[0]]
            self._base, self._edits = with_change(fresh, edits[0].change), edits[1:][-LEVELS:]
            position = min(kept[1], len(self._edits))
            for edit in self._edits:
                self.undo_stack.push(QUndoCommand(edit.words))
            self.undo_stack.setIndex(position)
        self.values = self._after(position)
        self._is_loading = False
