"""The bands that ship: what is trained for them, and what is written."""

import sys

import pytest

from backend.bundled import reference_curves
from backend.contract import bands
from backend.contract.errors import UserError
from backend.methods import load_method


@pytest.mark.parametrize("name", ["gdd", "dmd2", "tdm"])
def test_the_first_preset_is_trained_with_its_batch_and_steps(name):
    method = load_method(name)
    preset = next(iter(method.presets.values()))
    recipe = reference_curves.recipe_of(name)
    wanted = {**method.training, **preset.training}
    assert (recipe.training.steps, recipe.training.batch_size) == (wanted["steps"], wanted["batch_size"])
    assert recipe.settings == method.settings.model_validate(dict(preset.settings)).model_dump(mode="json")
    assert recipe.training.steps // recipe.training.preview_every >= reference_curves.PREVIEWS


def test_a_run_becomes_a_file_with_a_band_for_each_curve_but_those_of_the_machine(tmp_path, monkeypatch, capsys):
    whole = reference_curves.recipe_of
    short = {"steps": 2, "batch_size": 2, "preview_every": 0}

    def shortened(name):
        if name == "sid":
            raise UserError("It cannot.")
        recipe = whole(name)
        return recipe.model_copy(update={"training": recipe.training.model_copy(update=short)})

    monkeypatch.setattr(reference_curves, "recipe_of", shortened)
    monkeypatch.setattr(bands, "FOLDER", tmp_path / "curves")
    monkeypatch.setattr(sys, "argv", ["reference_curves", "sid", "gdd"])
    reference_curves.main()
    refused, made = capsys.readouterr().out.splitlines()
    assert refused == "sid: It cannot."
    assert made.startswith("gdd: ")
    assert [file.name for file in (tmp_path / "curves").iterdir()] == ["gdd.json"]
    found = bands.read_shipped("gdd")
    assert found is not None
    assert (found.method, found.preset, found.teacher) == ("gdd", "all", "digits")
    assert {"gan", "discriminator"} <= set(found.bands)
    assert "memory_mib" not in found.bands
