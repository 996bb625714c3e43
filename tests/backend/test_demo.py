"""The demo is a recipe in a file, which the window's button starts as well."""

import json

from backend import studio
from backend.contract.recipe import Recipe, Training
from backend.demo import RECIPE
from backend.methods import load_method


def test_the_file_says_every_setting() -> None:
    """The window adds the run as it is read, without the method: a default of tomorrow must not change the demo."""
    written = json.loads(RECIPE.read_text())
    method = load_method(written["method"])
    assert written["settings"] == method.settings.model_validate(written["settings"]).model_dump(mode="json")
    assert written["training"] == Training.model_validate(written["training"]).model_dump(mode="json")
    assert written == Recipe.from_values(written).model_dump(mode="json")


def test_window_and_command_line_ask_for_the_same_run() -> None:
    assert studio.recipe_of(RECIPE, None, None, None, {}, {}) == Recipe.from_json(RECIPE.read_bytes())
