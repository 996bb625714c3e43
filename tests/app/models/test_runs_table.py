"""The list of runs: what it says, how it is found and sorted, and that a change touches only what changed."""

import csv
import io
from dataclasses import replace
from typing import Any

import pytest
from PySide6.QtCore import Qt

from app.models.runs_table import RunsModel, ShownRuns, as_csv, columns, matches, milliseconds, short_name
from backend.contract.rows import RunRow, RunState


def row(number: int, name: str, state: str = "finished", **more: Any) -> RunRow:
    made = RunRow(
        *(number, name, "dmd2", "digits", 1000.0 * number, (), False, None),
        *(RunState(state, "why", number, 10 * number), 400),  # type: ignore[arg-type]
    )
    return replace(made, **more)


def names(shown: ShownRuns) -> list[str]:
    return [row.name for row in shown.shown()]


@pytest.fixture
def model(qapp):
    made = RunsModel()
    made.show(
        [
            row(1, "Beta", score=2.0, tags=("night",)),
            row(2, "alpha", "failed", method="consistency"),
            row(3, "gamma", score=10.0, tags=("night", "good"), teacher="/models/sd15"),
        ]
    )
    return made


def test_figures_are_sorted_as_figures_and_nothing_comes_last_both_ways(model):
    shown = ShownRuns(model)
    shown.sort(model.place("score"), Qt.SortOrder.AscendingOrder)
    assert names(shown) == ["Beta", "gamma", "alpha"]
    shown.sort(model.place("score"), Qt.SortOrder.DescendingOrder)
    assert names(shown) == ["gamma", "Beta", "alpha"]


def test_names_are_sorted_without_regard_to_case(model):
    shown = ShownRuns(model)
    shown.sort(model.place("name"), Qt.SortOrder.AscendingOrder)
    assert names(shown) == ["alpha", "Beta", "gamma"]


@pytest.mark.parametrize(
    ("words", "tags", "found"),
    [
        ("", set(), ["Beta", "alpha", "gamma"]),
        ("ALPH", set(), ["alpha"]),
        ("failed", set(), ["alpha"]),
        ("consistency", set(), ["alpha"]),
        ("sd15", set(), ["gamma"]),
        ("night finished", set(), ["Beta", "gamma"]),
        ("", {"night"}, ["Beta", "gamma"]),
        ("", {"night", "good"}, ["gamma"]),
        ("beta", {"good"}, []),
    ],
)
def test_runs_are_found_by_words_and_tags(model, words, tags, found):
    shown = ShownRuns(model)
    shown.look_for(words, frozenset(tags))
    assert names(shown) == found


def test_every_word_must_be_met():
    assert matches(row(1, "one two"), "two one", frozenset())
    assert not matches(row(1, "one two"), "two three", frozenset())


def test_only_what_changed_is_told(model, qtbot):
    changes: list[int] = []
    model.dataChanged.connect(lambda first, last, _: changes.append(first.row()))
    rows = list(model.rows)
    with qtbot.assertNotEmitted(model.modelReset):
        model.show([rows[0], replace(rows[1], name="other"), rows[2]])
    assert changes == [1]
    with qtbot.assertNotEmitted(model.modelReset), qtbot.waitSignal(model.rowsInserted):
        model.show([*model.rows, row(4, "delta")])
    assert model.rowCount() == 4
    assert changes == [1]


def test_a_curve_that_appears_has_a_column(model):
    assert not any(column.key.startswith("curve/") for column in model.columns)
    model.show([replace(model.rows[0], latest={"gan": 0.25}), *model.rows[1:]])
    index = model.index(0, model.place("curve/gan"))
    assert index.data() == "0.25"
    assert model.headerData(index.column(), Qt.Orientation.Horizontal) == "Last gan"


def test_a_name_can_be_typed_over_and_other_cells_cannot(model, qtbot):
    name, state = model.index(0, model.place("name")), model.index(0, model.place("state"))
    assert model.flags(name) & Qt.ItemFlag.ItemIsEditable
    assert not model.flags(state) & Qt.ItemFlag.ItemIsEditable
    with qtbot.waitSignal(model.renamed) as said:
        assert model.setData(name, "  better ")
    assert said.args == [1, "better"]
    with qtbot.assertNotEmitted(model.renamed):
        assert not model.setData(name, "Beta")


def test_the_copied_table_has_figures_in_full():
    shown = [column for column in columns(str) if column.key in ("name", "score", "step")]
    text = as_csv([row(1, 'a "b", c', score=0.123456789), row(2, "d")], shown)
    assert list(csv.reader(io.StringIO(text))) == [
        ["Name", "Step", "Best preview"],
        ['a "b", c', "10 / 400", "0.123456789"],
        ["d", "20 / 400", ""],
    ]


def test_words_for_places_and_times():
    assert short_name("/models/sd15/") == "sd15"
    assert short_name("digits") == "digits"
    assert milliseconds(0.0012) == "1.2 ms"
