"""What belongs together in a recipe, and what is seen to be wrong without asking the backend."""

from pathlib import Path
from typing import Any

import pytest

from app.drafts import with_change
from app.wizard import choices
from app.wizard.choices import Problem
from backend.contract.recipe import Recipe

from ..scripted import CATALOGUE

FRESH = choices.fresh(CATALOGUE)
DIGITS = CATALOGUE.teacher("digits")
MINE = DIGITS.model_copy(update={"key": "/mine", "data": ""}) if DIGITS else None


def wrong(change: dict[str, Any], teacher: Any = DIGITS, refusal: str = "") -> list[Problem]:
    return choices.problems(with_change(FRESH, change), CATALOGUE, teacher, refusal)


def test_a_fresh_recipe_is_whole_and_can_be_started():
    assert wrong({}) == []
    recipe = choices.recipe_of(FRESH, CATALOGUE)
    assert (recipe.teacher, recipe.method, recipe.training.steps) == ("digits", "dmd2", 900)
    card = CATALOGUE.method("dmd2")
    assert card is not None
    assert set(recipe.settings) == set(card.settings["properties"])
    assert choices.differences(FRESH, CATALOGUE) == []


def test_a_recipe_of_any_form_becomes_whole():
    few = {"teacher": "digits", "method": "gdd", "settings": {"noise_levels": 3}, "training": {"steps": 7}}
    values = choices.whole(few, CATALOGUE)
    assert values["settings"]["penalty_weight"] == 1.0
    assert (values["settings"]["noise_levels"], values["training"]["steps"]) == (3, 7)
    assert values["training"]["batch_size"] == 48
    assert Recipe.from_values(few).teacher == choices.recipe_of(values, CATALOGUE).teacher


def test_prompts_stay_with_a_recipe_and_fit_its_teacher(tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("a red ball")
    values = choices.whole({"teacher": "digits", "prompts": str(names)}, CATALOGUE)
    assert values["prompts"] == str(names)
    assert DIGITS is not None
    told = DIGITS.model_copy(update={"condition": "text"})
    assert choices.problems(values, CATALOGUE, told) == []
    (found,) = choices.problems(values, CATALOGUE, DIGITS)
    assert (found.page, found.name) == ("data", "prompts")
    assert found.words == f"Digits takes no prompts, so {names} would not be used; leave the field empty."


def test_prompts_that_cannot_be_used_are_said_beside_their_field(tmp_path):
    assert DIGITS is not None
    told, names = DIGITS.model_copy(update={"condition": "text"}), tmp_path / "names.txt"
    for content, words in (
        (b"", "holds no prompt; write one a line."),
        ("ein B\u00e4r".encode("latin-1"), "is not UTF-8 text (line 1); save it as UTF-8."),
        ("a bear".encode("utf-16"), "is UTF-16 text; save it as UTF-8."),
    ):
        names.write_bytes(content)
        (found,) = wrong({"prompts": str(names)}, told)
        assert (found.page, found.name) == ("data", "prompts")
        assert found.words == f"{names} {words}"
    names.write_bytes(b"a red ball")  # the file is looked at again
    assert wrong({"prompts": str(names)}, told) == []


def test_the_guidance_of_a_teacher_comes_with_it_and_goes_with_it():
    assert DIGITS is not None
    guided = DIGITS.model_copy(update={"key": "guided", "guidance_scale": 3.0})
    both = CATALOGUE.model_copy(update={"teachers": (*CATALOGUE.teachers, guided)})
    values = with_change(FRESH, choices.choose_teacher(FRESH, both, guided))
    assert (values["teacher"], values["settings"]["guidance_scale"]) == ("guided", 3.0)
    card = both.method("dmd2")
    assert card is not None
    four = next(preset for preset in card.presets if preset.key == "four-steps")
    change = choices.choose_preset(card, four, guided)
    assert (change["settings"]["guidance_scale"], change["settings"]["student_steps"]) == (3.0, 4)
    assert choices.preset_in(card, with_change(values, change), guided) == "four-steps"
    assert choices.choose_method(values, both, "dmd2", guided)["settings"]["guidance_scale"] == 3.0
    back = with_change(values, choices.choose_teacher(values, both, DIGITS))
    assert back["settings"]["guidance_scale"] == 1.0
    own = with_change(values, {"settings.guidance_scale": 5.0})
    assert "settings.guidance_scale" not in choices.choose_teacher(own, both, DIGITS)


def test_another_method_brings_what_suits_it_and_leaves_what_was_chosen():
    values = with_change(FRESH, {"training.batch_size": 7})
    after = with_change(values, choices.choose_method(values, CATALOGUE, "consistency"))
    assert after["training"]["batch_size"] == 7
    assert (after["training"]["steps"], after["training"]["ema_decay"]) == (2000, 0.995)
    assert after["training"]["preview_every"] == 250  # dmd2's own 100 goes with it
    assert "discretisation" in after["settings"]
    assert "gan_weight" not in after["settings"]


@pytest.mark.parametrize("card", CATALOGUE.methods, ids=lambda card: card.key)
def test_every_preset_is_recognised_and_gives_a_recipe(card):
    values = with_change(FRESH, choices.choose_method(FRESH, CATALOGUE, card.key))
    for preset in card.presets:
        values = with_change(values, {"settings.learning_rate": 1e-5})
        assert choices.preset_in(card, values) == ""
        values = with_change(values, choices.choose_preset(card, preset))
        assert choices.preset_in(card, values) == preset.key
        assert choices.problems(values, CATALOGUE, DIGITS) == []
        assert choices.recipe_of(values, CATALOGUE).settings == {**choices.defaults_of(card), **preset.settings}


def test_real_data_are_asked_for_where_there_are_none(tmp_path: Path):
    gan = {"settings.gan_weight": 0.1}
    assert wrong(gan) == []
    assert wrong({}, MINE) == []
    (found,) = wrong(gan, MINE)
    assert (found.page, found.name) == ("data", "data")
    assert found.words == (
        "Distribution matching (DMD2) needs real data with these settings; choose a folder of pictures."
    )
    (tmp_path / "pictures.zip").write_bytes(b"")
    assert wrong({**gan, "data": str(tmp_path)}, MINE) == wrong({**gan, "data": f"{tmp_path}/pictures.zip"}, MINE) == []
    (found,) = wrong({**gan, "data": str(tmp_path / "gone")}, MINE)
    assert found.words.endswith("gone is no folder and no zip; choose one that holds pictures.")
    assert wrong({**gan, "data": ""}, DIGITS)[0].page == "data"


@pytest.mark.parametrize(
    ("change", "page", "words"),
    [
        ({"teacher": " "}, "teacher", "No teacher is chosen; choose one, or name a folder."),
        ({"settings.gan_weight": 7}, "method", "GAN weight is 7, above its highest value 1; choose between 0 and 1."),
        ({"settings.gan_wieght": 1}, "method", "gan_wieght is unknown here; did you mean gan_weight?"),
        ({"method": "gone"}, "method", "The method gone is not there; choose another."),
        ({"training.steps": 0}, "training", "Steps is 0, below its lowest value 1; choose 1 or more steps."),
        ({"training.threads": "x"}, "compute", 'Threads is "x", not a whole number; choose 0 or more.'),
        ({"training.device": "cuda"}, "compute", "This machine has no cuda device; choose cpu or auto."),
        (
            {"student.start": "somewhere"},
            "student",
            "The start of the student names no checkpoint; choose one of the runs, or the teacher's weights.",
        ),
    ],
)
def test_what_is_wrong_is_said_on_its_page(change, page, words):
    (found,) = wrong(change)
    assert (found.page, found.words) == (page, words)
    assert found.name in change


@pytest.mark.parametrize(
    ("kind", "earlier", "words"),
    [
        ("lora", {"teacher": "digits", "kind": "lora"}, None),
        ("full", {"teacher": "/mine", "kind": "full"}, None),
        (
            "lora",
            {"teacher": "/mine", "kind": "lora"},
            "Run 3's student is adapters on another teacher, /mine; choose a run of this one.",
        ),
        ("lora", {"teacher": "/mine", "kind": "full"}, None),  # the check before the start knows more of that
    ],
)
def test_adapters_that_mean_nothing_here_are_refused_beside_the_start(kind, earlier, words):
    values = with_change(FRESH, {"student.start": "run:3@best", "student.kind": kind})
    runs = (choices.Candidate(2, "two", "dmd2", "digits", 5), choices.Candidate(3, "three", "dmd2", best=5, **earlier))
    wanted = [Problem("student", "student.start", words)] if words else []
    assert choices.problems(values, CATALOGUE, DIGITS, candidates=runs) == wanted


def test_a_refused_teacher_is_said_where_it_is_named():
    (found,) = wrong({"teacher": "/mine"}, None, "mine is no model; choose a diffusers folder.")
    assert (found.page, found.words) == ("teacher", "mine is no model; choose a diffusers folder.")


@pytest.mark.parametrize(
    ("field", "page"),
    [
        ("teacher", "teacher"),
        ("data", "data"),
        ("prompts", "data"),
        ("pairs.source", "data"),
        ("method", "method"),
        ("settings", "method"),
        ("settings.guidance_scale", "method"),
        ("settings.steps", "method"),
        ("student.rank", "student"),
        ("student.start", "student"),
        ("training.steps", "training"),
        ("training.keep_checkpoints", "training"),
        ("training.device", "compute"),
        ("training.precision", "compute"),
        ("kind", "review"),
        ("", "review"),
    ],
)
def test_what_preflight_finds_is_on_the_page_that_holds_its_field(field, page):
    assert choices.page_of(field) == page
    found = [{"kind": "warning", "field": field, "words": "A checkpoint of no data."}]
    (problem,) = choices.found_by_check({"findings": found})
    assert (problem.page, problem.name, problem.blocks) == (page, field, False)


def test_every_value_of_a_recipe_is_on_a_page_of_its_own():
    recipe = Recipe(teacher="digits", method="dmd2").model_dump(mode="json")
    for name in set(recipe) - {"version", "kind"}:
        inside = [f"{name}.{key}" for key in recipe[name]] if isinstance(recipe[name], dict) else []
        assert all(choices.page_of(field) != "review" for field in (name, *inside))


def test_what_differs_from_the_defaults_is_listed():
    values = with_change(FRESH, {"settings.gan_weight": 0.03, "training.steps": 50, "training.threads": 2})
    found = [(one.page, one.label, one.value, one.default) for one in choices.differences(values, CATALOGUE)]
    assert found == [
        ("method", "GAN weight", "0.03", "0"),
        ("training", "Steps", "50", "900"),
        ("compute", "Threads", "2", "0"),
    ]


def test_a_draft_of_an_earlier_version_gets_what_it_leaves_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    old = with_change(FRESH, {"settings": {"gan_weight": 0.5}, "training": {"steps": 3}})
    recipe = choices.recipe_of(old, CATALOGUE)
    assert recipe.settings["student_steps"] == 1
    assert (recipe.settings["gan_weight"], recipe.training.batch_size) == (0.5, 48)
    assert choices.problems(with_change(old, {"method": "gone"}), CATALOGUE, DIGITS)[0].page == "method"


def test_folders_are_named_from_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "models" / "mine").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert choices.in_full("models/mine") == str(tmp_path / "models" / "mine")
    assert choices.in_full("~/models/mine") == str(tmp_path / "models" / "mine")
    for kept in ("digits", "models", "someone/gone", "mixture-2d:flow", None):
        assert choices.in_full(kept) == kept


@pytest.mark.parametrize(
    ("name", "value", "page"),
    [("student.rank", 0, "student"), ("pairs.count", 1, "data"), ("pairs.steps", "many", "data")],
)
def test_what_is_wrong_in_a_small_part_stands_on_its_page(name: str, value: object, page: str) -> None:
    values = choices.fresh(CATALOGUE)
    part, _, key = name.partition(".")
    values[part] = {**values[part], key: value}
    (problem,) = choices.problems(values, CATALOGUE, CATALOGUE.teacher("digits"))
    assert (problem.page, problem.name) == (page, name)


def test_a_preset_may_choose_adapters_and_another_takes_that_back() -> None:
    card = CATALOGUE.method("dmd2")
    assert card is not None
    plain, small = card.presets[0], card.presets[1].model_copy(update={"student": {"kind": "lora"}})
    card = card.model_copy(update={"presets": (plain, small)})
    assert choices.choose_preset(card, small)["student.kind"] == "lora"
    assert choices.choose_preset(card, plain)["student.kind"] == "full"
