import json
import sys

import pytest
import torch

from backend import equal_budget
from backend.assembly import start_from, start_run
from backend.bench_tables import budget_table
from backend.bundled import equal_budget as script
from backend.equal_budget import Cell, cells, row_of, steps_of, summary
from backend.methods import load_method, method_names
from backend.train import train


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
    (four,) = (cell for cell in cells(["dmd2"], (0,)) if cell.nfe == 4 and not cell.variant)
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


@pytest.mark.parametrize(
    ("name", "variant", "shared"), [("dmd2", "own rollouts", False), ("sid", "shared rollout", True)]
)
def test_some_are_shown_with_another_setting_beside_the_others(name, variant, shared):
    found = {cell.name: cell for cell in cells([name], (0,)) if cell.nfe == 4}
    usual, other = found[name], found[f"{name} ({variant})"]
    assert dict(other.settings) == {**usual.settings, "shared_rollout": shared}
    assert (steps_of(other) > steps_of(usual)) == shared
    assert equal_budget.code_of(other) != equal_budget.code_of(usual)


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


def test_what_is_meant_to_follow_another_student_shares_the_budget_with_it(monkeypatch):
    (chained,) = (cell for cell in cells(["adm"], (0,)) if cell.after)
    assert (chained.name, chained.key) == ("adm (after adm_pretraining)", "adm-1-0-after-adm_pretraining")
    assert equal_budget.code_of(chained) != equal_budget.code_of(Cell("adm", chained.settings, 1, 0))
    runs = []

    def begun(recipe):
        runs.append(start_run(recipe))
        return runs[-1]

    def short(run):
        run.training = run.training.model_copy(update={"steps": 1})
        return train(run)

    starts = []

    def followed(run, earlier):
        start_from(run, earlier)
        same = zip(run.student.parameters(), earlier.denoiser.parameters(), strict=True)
        starts.append(all(torch.equal(ours, theirs) for ours, theirs in same))

    monkeypatch.setattr(equal_budget, "start_run", begun)
    monkeypatch.setattr(equal_budget, "train", short)
    monkeypatch.setattr(equal_budget, "start_from", followed)
    monkeypatch.setattr(equal_budget, "PAIRS", {"count": 96, "steps": 2})
    monkeypatch.setattr(equal_budget, "SAMPLES", 60)
    row = equal_budget.measure(chained)
    first, second = (equal_budget.recipe_of(cell, equal_budget.BUDGET / 2) for cell in (first_of(chained), chained))
    assert [run.method.title for run in runs] == [load_method(name).title for name in ("adm_pretraining", "adm")]
    assert starts == [True]
    assert row["figures"]["frechet"] > 0
    spent = [
        recipe.training.steps * load_method(name).cost(run.settings) * recipe.training.batch_size
        for name, recipe, run in zip(("adm_pretraining", "adm"), (first, second), runs, strict=True)
    ]
    assert sum(spent) + 96 * 2 == pytest.approx(equal_budget.BUDGET, rel=0.01)


def first_of(chained):
    """The cell of the student that a chained one starts from."""
    return Cell(chained.after, equal_budget.ways(chained.after)[chained.nfe], chained.nfe, chained.seed)


def test_what_is_shipped_is_whole():
    known = {cell.key: cell.name for cell in cells()}
    for key, row in equal_budget.read_shipped().items():
        assert known[key] == row["method"]
        assert f"-{row['nfe']}-{row['seed']}" in key
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
