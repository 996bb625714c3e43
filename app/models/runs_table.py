"""The list of all runs as a model: columns, words and order of each run's facts. It knows no screens.

Rows are replaced once a second while runs are live; only what changed is told to the views, so that what a person has
selected or is typing stays.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from PySide6.QtCore import (
    QAbstractTableModel,
    QModelIndex,
    QObject,
    QPersistentModelIndex,
    QSortFilterProxyModel,
    Qt,
    Signal,
)
from PySide6.QtGui import QFont

from app import look
from app.models.run_words import TONES, Words, duration, figure, state_in_words
from app.translations import curve_words, said
from backend.contract.rows import RunRow

Index = QModelIndex | QPersistentModelIndex
ROW_ROLE = int(Qt.ItemDataRole.UserRole) + 2
NOWHERE = QModelIndex()
_STATE_ORDER = tuple(TONES)


@dataclass(frozen=True)
class Column:
    """What one column shows. text: for a person. value: to sort by; None comes last whichever way is sorted.

    shown: whether it is there before anyone chose. right: figures stand at the right.
    """

    key: str
    title: str
    text: Callable[[RunRow], str]
    value: Callable[[RunRow], Any]
    shown: bool = True
    right: bool = False
    words: str = ""


def columns(tr: Words, curves: Iterable[str] = ()) -> list[Column]:
    """All columns there can be. curves: names of curves, whose last values have a column each."""

    def optional(of: Callable[[RunRow], float | None]) -> Callable[[RunRow], str]:
        return lambda row: "" if of(row) is None else figure(of(row))  # type: ignore[arg-type]

    def of_figure(name: str) -> Callable[[RunRow], float | None]:
        return lambda row: row.figures.get(name)

    def nfe(row: RunRow) -> int | None:
        return row.measured.get("nfe")

    def distance(row: RunRow) -> float | None:
        found: float | None = row.figures.get("frechet", row.figures.get("sliced_wasserstein"))
        return found

    per_image = of_figure("seconds_per_image")

    return [
        Column("name", tr("Name"), lambda r: r.name, lambda r: r.name.casefold()),
        Column("state", tr("State"), lambda r: state_words(r, tr), lambda r: _STATE_ORDER.index(r.state.state)),
        Column("method", tr("Method"), lambda r: r.method, lambda r: r.method),
        Column("teacher", tr("Teacher"), lambda r: short_name(r.teacher), lambda r: short_name(r.teacher)),
        Column("step", tr("Step"), step_words, lambda r: r.state.step, right=True),
        Column(
            *("score", tr("Best preview"), optional(lambda r: r.score), lambda r: r.score),
            right=True,
            words=tr("The lowest score of a preview whose checkpoint was kept: Frechet or sliced Wasserstein distance"),
        ),
        Column(
            *("distance", tr("Distance"), optional(distance), distance),
            right=True,
            words=tr("Of the newest evaluation: Frechet distance, or sliced Wasserstein in the plane; lower is better"),
        ),
        Column(
            *("accuracy", tr("Class accuracy"), optional(of_figure("class_accuracy")), of_figure("class_accuracy")),
            right=True,
            shown=False,
            words=tr("Of the newest evaluation: share of pictures that show the class that was asked for"),
        ),
        Column(
            *("nfe", tr("NFE"), lambda r: "" if nfe(r) is None else str(nfe(r)), nfe),
            right=True,
            shown=False,
            words=tr("Network evaluations per picture in the newest evaluation"),
        ),
        Column(
            *(
                "latency",
                tr("Time per picture"),
                lambda r: "" if per_image(r) is None else milliseconds(per_image(r) or 0),
            ),
            per_image,
            right=True,
            shown=False,
            words=tr("Measured by the newest evaluation, on the machine that made it"),
        ),
        Column(
            "seconds",
            tr("Trained"),
            lambda r: duration(r.seconds, tr) if r.seconds else "",
            lambda r: r.seconds,
            right=True,
        ),
        Column(
            *(
                "spent",
                tr("Evaluations spent"),
                lambda r: f"{r.nfe:,}" if r.nfe else "",
                lambda r: r.nfe,
            ),
            right=True,
            shown=False,
            words=tr("Network evaluations that training has taken, to compare methods at one budget"),
        ),
        Column("tags", tr("Tags"), lambda r: ", ".join(r.tags), lambda r: ", ".join(r.tags).casefold() or None),
        Column("created", tr("Created"), lambda r: date_words(r.created), lambda r: r.created),
        Column(
            *("queue", tr("Queue"), lambda r: "" if r.queue_position is None else str(r.queue_position)),
            lambda r: r.queue_position,
            right=True,
            shown=False,
        ),
        Column("exports", tr("Exports"), lambda r: str(r.exports or ""), lambda r: r.exports, right=True, shown=False),
        Column("notes", tr("Notes"), lambda r: tr("yes") if r.has_notes else "", lambda r: r.has_notes, shown=False),
        Column("id", tr("Number"), lambda r: str(r.id), lambda r: r.id, right=True, shown=False),
        *(_curve(name, tr) for name in curves),
    ]


def _curve(name: str, tr: Words) -> Column:
    def value(row: RunRow) -> float | None:
        return row.latest.get(name)

    def text(row: RunRow) -> str:
        found = value(row)
        return "" if found is None else figure(found)

    words = tr("The last value of the curve {0}").format(curve_words(name))
    return Column(
        f"curve/{name}",
        tr("Last {0}").format(said(name.replace("_", " "))),
        text,
        value,
        shown=False,
        right=True,
        words=words,
    )


def state_words(row: RunRow, tr: Words) -> str:
    """A state, with the place in the queue where it has one."""
    words = state_in_words(row.state.state, tr)
    if row.state.state != "queued":
        return words
    return tr("Not started") if row.queue_position is None else tr("Queued, place {0}").format(row.queue_position)


def step_words(row: RunRow) -> str:
    """ "120 / 400"."""
    return f"{row.state.step or 0} / {row.steps}"


def short_name(where: str) -> str:
    """A teacher's name, or the last part of the path to it."""
    return where.replace("\\", "/").rstrip("/").rpartition("/")[2] or where


def date_words(at: float) -> str:
    """A date that sorts as it reads."""
    return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M")


def milliseconds(seconds: float) -> str:
    """A short time."""
    return f"{figure(1000 * seconds)} ms"


def matches(row: RunRow, words: str, tags: frozenset[str], tr: Words = str) -> bool:
    """Whether a run has all these tags and every one of these words in its name, method, teacher, tags or state."""
    if not tags <= set(row.tags):
        return False
    text = " ".join((row.name, row.method, row.teacher, *row.tags, row.state.state, state_words(row, tr))).casefold()
    return all(word in text for word in words.casefold().split())


def as_csv(rows: Iterable[RunRow], shown: Sequence[Column]) -> str:
    """The table as a spreadsheet takes it: figures in full, not as they are shown."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([column.title for column in shown])
    writer.writerows([_plain(column, row) for column in shown] for row in rows)
    return out.getvalue()


def _plain(column: Column, row: RunRow) -> str:
    value = column.value(row)
    return repr(value) if isinstance(value, float) and column.key not in ("created",) else column.text(row)


class RunsModel(QAbstractTableModel):
    """Runs by columns. renamed: a person typed another name for a run."""

    renamed = Signal(int, str)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.rows: list[RunRow] = []
        self.columns = columns(self.tr)

    def show(self, rows: list[RunRow]) -> None:
        """Show these, oldest first; what did not change stays untouched."""
        curves = list(dict.fromkeys(name for row in rows for name in row.latest))
        if [f"curve/{name}" for name in curves] != [c.key for c in self.columns if c.key.startswith("curve/")]:
            self.beginResetModel()
            self.rows, self.columns = rows, columns(self.tr, curves)
            self.endResetModel()
            return
        before = self.rows
        if [row.id for row in rows[: len(before)]] != [row.id for row in before]:
            self.beginResetModel()
            self.rows = rows
            self.endResetModel()
            return
        for number, (old, new) in enumerate(zip(before, rows, strict=False)):
            if old != new:
                self.rows[number] = new
                self.dataChanged.emit(self.index(number, 0), self.index(number, len(self.columns) - 1))
        if len(rows) > len(before):
            self.beginInsertRows(NOWHERE, len(before), len(rows) - 1)
            self.rows = [*before, *rows[len(before) :]]
            self.endInsertRows()

    def place(self, key: str) -> int:
        """Where a column stands."""
        return next(number for number, column in enumerate(self.columns) if column.key == key)

    def rowCount(self, parent: Index = NOWHERE) -> int:
        return 0 if parent.isValid() else len(self.rows)

    def columnCount(self, parent: Index = NOWHERE) -> int:
        return 0 if parent.isValid() else len(self.columns)

    def data(self, index: Index, role: int = int(Qt.ItemDataRole.DisplayRole)) -> Any:
        found = _DATA.get(int(role))  # first, because most of what is asked is nothing: a frame asks thousands of times
        if found is None or not index.isValid():
            return None
        return found(self.rows[index.row()], self.columns[index.column()])

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = int(Qt.ItemDataRole.DisplayRole)
    ) -> Any:
        if orientation != Qt.Orientation.Horizontal or not 0 <= section < len(self.columns):
            return None
        column = self.columns[section]
        if role == Qt.ItemDataRole.DisplayRole:
            return column.title
        if role == Qt.ItemDataRole.ToolTipRole:
            return column.words or column.title
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return _alignment(column)
        return None

    def flags(self, index: Index) -> Qt.ItemFlag:
        flags = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable
        if index.isValid() and self.columns[index.column()].key == "name":
            flags |= Qt.ItemFlag.ItemIsEditable
        return flags

    def setData(self, index: Index, value: Any, role: int = int(Qt.ItemDataRole.EditRole)) -> bool:
        row = self.rows[index.row()]
        name = str(value).strip()
        if role != Qt.ItemDataRole.EditRole or name == row.name:
            return False
        self.renamed.emit(row.id, name)
        return True


_LEFT = int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
_RIGHT = int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)


def _alignment(column: Column) -> int:
    return _RIGHT if column.right else _LEFT


@cache
def _figures() -> QFont:
    return look.figures()


def _tip(row: RunRow, column: Column) -> str:
    return said(row.state.reason) if column.key == "state" and row.state.reason else column.text(row)


_DATA: dict[int, Callable[[RunRow, Column], Any]] = {
    int(Qt.ItemDataRole.DisplayRole): lambda row, column: column.text(row),
    int(Qt.ItemDataRole.EditRole): lambda row, column: column.text(row),
    int(Qt.ItemDataRole.ToolTipRole): _tip,
    int(Qt.ItemDataRole.TextAlignmentRole): lambda row, column: _alignment(column),
    int(Qt.ItemDataRole.FontRole): lambda row, column: _figures() if column.right else None,
    int(Qt.ItemDataRole.ForegroundRole): lambda row, column: (
        look.colour(TONES[row.state.state]) if column.key == "state" else None
    ),
    int(Qt.ItemDataRole.AccessibleTextRole): lambda row, column: f"{column.title}: {column.text(row) or '-'}",
    ROW_ROLE: lambda row, column: row,
}
"""What a cell answers, by role."""


class ShownRuns(QSortFilterProxyModel):
    """The runs that a person looks for, in the order that they chose."""

    def __init__(self, model: RunsModel, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.model = model
        self._words, self._tags = "", frozenset[str]()
        self.setDynamicSortFilter(True)
        self.setSourceModel(model)

    def look_for(self, words: str, tags: frozenset[str]) -> None:
        """Show only the runs that match."""
        if (words, tags) != (self._words, self._tags):
            self.beginFilterChange()
            self._words, self._tags = words, tags
            self.endFilterChange()

    def shown(self) -> list[RunRow]:
        """The rows in their order."""
        return [self.index(number, 0).data(ROW_ROLE) for number in range(self.rowCount())]

    def filterAcceptsRow(self, row: int, parent: Index) -> bool:
        return matches(self.model.rows[row], self._words, self._tags, self.tr)

    def lessThan(self, left: Index, right: Index) -> bool:
        value, rows = self.model.columns[left.column()].value, self.model.rows
        a, b = value(rows[left.row()]), value(rows[right.row()])
        falling = self.sortOrder() == Qt.SortOrder.DescendingOrder
        if _is_nothing(a) or _is_nothing(b):  # nothing comes last in both orders
            return _is_nothing(a) == falling and _is_nothing(a) != _is_nothing(b)
        return bool(a < b)


def _is_nothing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
