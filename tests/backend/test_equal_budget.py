import json
import sys

import pytest

from backend import equal_budget
from backend.bench_tables import budget_table
from backend.bundled import equal_budget as script
from backend.equal_budget import Cell, cells, row_of, steps_of, summary
from backend.methods import load_method, method_names


def test_every_few_step_method_has_cells_of_distinct_names():
    found = list(cells())
    assert len({cell.key for cell in found}) == len(found)
    assert {cell.seed for cell in found} == set(equal_budget.SEEDS)
    absent = set(method_names()) - {cell.method for cell in found}
    assert absent == {
        "adapter_guidance",
        "guidance",
        "lora_guidance",
    }  # whose students take as many steps as the teacher


def test_a_cell_takes_the_steps_that_it_is_named_for():
    from backend.teachers import load_teacher

    net = load_teacher("digits").denoiser
    for cell in cells(seeds=(0,)):
        method = load_method(cell.method)
        assert method.sampler(method.settings.model_validate(dict(cell.settings)), net).nfe == cell.nfe, cell


def test_a_preset_that_is_meant_for_so_many_steps_is_taken():
    (four,) = (cell for cell in cells(["dmd2"], (0,)) if cell.nfe == 4)
    assert (
        four.settings["fake_score_updates"] == load_method("dmd2").presets["four-steps"].settings["fake_score_updates"]
    )


@pytest.mark.parametrize(("name", "pairs"), [("consistency", 0), ("knowledge", 1)])
def test_the_budget_pays_for_steps_and_for_pairs(name, pairs):
    method = load_method(name)
    a_step = method.cost(method.settings()) * method.training["batch_size"]
    left = equal_budget.BUDGET - pairs * equal_budget.PAIRS["count"] * equal_budget.PAIRS["steps"]
    steps = steps_of(Cell(name, {}, 1, 0))
    assert steps * a_step <= left < (steps + 1) * a_step


def test_some_are_trained_longer_beside_the_others():
    (longer,) = (cell for cell in cells(["sid"], (0,)) if cell.longer)
    usual = Cell("sid", longer.settings, 1, 0)
    assert steps_of(longer) > steps_of(usual)
    assert equal_budget.code_of(longer) != equal_budget.code_of(usual)
    assert (longer.name, usual.name) == ("sid (longer)", "sid")


def test_a_student_is_trained_judged_and_kept(monkeypatch, tmp_path):
    monkeypatch.setattr(equal_budget, "BUDGET", 1500)
    monkeypatch.setattr(equal_budget, "SAMPLES", 60)
    cell = Cell("gdd", {}, 1, 0)
    row = row_of(cell, tmp_path, {})
    assert (row["method"], row["nfe"], row["seed"], row["problem"]) == ("gdd", 1, 0, "")
    assert row["figures"]["frechet"] > 0
    assert (tmp_path / "gdd-1-0.png").is_file()
    monkeypatch.setattr(equal_budget, "measure", lambda cell, sheet: pytest.fail("measured again"))
    assert row_of(cell, tmp_path, {}) == row
    assert row_of(cell, tmp_path / "empty", {cell.key: row}) == row  # as shipped


def test_a_row_of_other_code_is_not_taken(monkeypatch, tmp_path):
    monkeypatch.setattr(equal_budget, "measure", lambda cell, sheet: {"figures": "new"})
    cell = Cell("gdd", {}, 1, 0)
    assert row_of(cell, tmp_path, {cell.key: {"figures": "old", "code": "another"}})["figures"] == "new"


def test_what_is_shipped_is_whole():
    for key, row in equal_budget.read_shipped().items():
        name, longer = row["method"].removesuffix(" (longer)"), row["method"].endswith(" (longer)")
        assert key == f"{name}-{row['nfe']}-{row['seed']}{'-longer' if longer else ''}"
        assert row["problem"] or row["figures"]["frechet"] > 0
        assert json.dumps(row, allow_nan=False)


def test_seeds_are_summed_up_and_failures_counted():
    figures = {"precision": 0.9, "recall": 0.8, "class_accuracy": 1.0}
    rows = [
        {"method": "gdd", "nfe": 1, "seed": seed, "figures": figures | {"frechet": distance}}
        for seed, distance in enumerate((0.2, 0.5))
    ]
    rows.append({"method": "gdd", "nfe": 1, "seed": 2, "figures": {}})
    (line,) = summary(rows)
    assert (line["seeds"], line["failed"]) == (2, 1)
    assert line["frechet"] == pytest.approx(0.35)
    assert line["spread"] == pytest.approx(0.3)
    cells_, heads = budget_table([line])
    assert dict(zip(heads, cells_[0], strict=True))["Frechet"] == "0.350"


def test_the_script_ships_each_row_that_it_measures(monkeypatch, tmp_path):
    row = {"method": "gdd", "nfe": 1, "seed": 1, "problem": "", "figures": {"frechet": 0.3}}
    monkeypatch.setattr(equal_budget, "SHIPPED", tmp_path / "figures" / "equal-budget.json")
    monkeypatch.setattr(equal_budget, "measure", lambda cell, sheet: row)
    monkeypatch.setattr(script, "kept_cells", lambda: tmp_path / "kept")
    monkeypatch.setattr(sys, "argv", ["equal_budget", "--seed", "1", "gdd"])
    script.main()
    (shipped,) = equal_budget.read_shipped().values()
    assert shipped["figures"] == row["figures"]
    assert [file.name for file in (tmp_path / "figures").iterdir()] == ["equal-budget.json"]
