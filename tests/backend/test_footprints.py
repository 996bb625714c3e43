"""The table of predicted and needed memory: what counts as close, what is kept, and one line of it in earnest."""

import subprocess

import pytest

from backend import footprints
from backend.bench_tables import memory_table
from backend.teachers import BUNDLED


@pytest.mark.parametrize(
    ("predicted", "needed", "off", "ok"), [(114, 100, 0.14, True), (84, 100, -0.16, False), (230, 200, 0.15, True)]
)
def test_off_is_a_share_of_what_was_needed(predicted, needed, off, ok):
    row = footprints.judged({"predicted": predicted, "needed": needed, "base": 0, "problem": ""})
    assert row["off"] == pytest.approx(off)
    assert row["ok"] == ok


def test_the_program_itself_makes_no_prediction_good():
    row = footprints.judged({"predicted": 630.0, "needed": 600.0, "base": 420.0, "problem": ""})
    assert (row["off"], row["off_beyond_base"], row["ok"]) == (pytest.approx(0.05), pytest.approx(1 / 6), True)
    assert footprints.judged({"predicted": 1.0, "needed": 1.0, "base": 1.0, "problem": ""})["off_beyond_base"] is None


def test_the_program_is_measured_once_for_each_teacher(monkeypatch):
    started = []

    def ended(*arguments):
        started.append(arguments)
        return subprocess.CompletedProcess(arguments, 0, stdout=f"{420 * 2**20}\n")

    monkeypatch.setattr(footprints, "_ended", ended)
    footprints.base_of.cache_clear()
    assert [footprints.base_of(name) for name in ("digits", "emoji-flow", "digits")] == [420.0] * 3
    assert [arguments[-1] for arguments in started] == ["digits", "emoji-flow"]
    footprints.base_of.cache_clear()


def test_a_process_that_only_imports_is_as_large_as_the_program():
    footprints.base_of.cache_clear()
    assert 100 < footprints.base_of("digits") < 4096


def test_every_bundled_teacher_is_in_the_table():
    assert set(footprints.TEACHERS) == {"mixture-2d", *BUNDLED}


def test_a_finished_cell_is_not_measured_again(tmp_path, monkeypatch):
    asked = []

    def measured(recipe):
        asked.append(recipe)
        return {"predicted": 110.0, "needed": 100.0, "base": 60.0, "problem": ""}

    monkeypatch.setattr(footprints, "measured", measured)
    rows = [footprints.row(tmp_path, "digits", "dmd2", 64, "adafactor") for _ in range(2)]
    assert rows[0] == rows[1]
    footprints.row(tmp_path, "digits", "dmd2", 8)
    assert [recipe.training.optimizer for recipe in asked] == ["adafactor", "adam"]
    cells, heads = memory_table(rows)
    assert dict(zip(heads, cells[0], strict=True)) == {
        "teacher": "digits", "method": "dmd2", "batch": "64", "with": "adafactor", "predicted": "110 MiB",
        "needed": "100 MiB", "off": "+10%", "program": "60 MiB", "off beyond it": "+25%", "": "",
    }  # fmt: skip


def test_the_table_holds_every_teacher_method_and_batch_once():
    cases = [tuple(case.values()) for case in footprints.cases()]
    assert len(cases) == len(set(cases)) == 6 * 4 * 2 + 2 * 3


@pytest.mark.long
@pytest.mark.parametrize(
    ("teacher", "method", "batch_size"), [("mixture-2d", "dmd2", 64), ("mixture-2d", "gdd", 64), ("digits", "dmd2", 64)]
)
def test_preflight_says_what_a_run_then_needs(teacher, method, batch_size, tmp_path):
    """Within 15 % of the peak of a process of its own."""
    row = footprints.row(tmp_path, teacher, method, batch_size)
    assert row["problem"] == ""
    assert abs(row["predicted"] / row["needed"] - 1) <= 0.15, row
