"""What the backend says it offers."""

import json

import pytest

from backend import describe
from backend.contract.catalogue import Catalogue, TeacherCard
from backend.contract.recipe import RecipeError, Training
from backend.methods import load_method, method_names
from backend.teachers import TeacherError, quick
from backend.teachers.quick import measured


def test_the_catalogue_holds_everything_and_survives_json():
    made = describe.catalogue()
    assert [card.key for card in made.methods] == method_names()
    assert made.teacher("mixture-2d") is not None
    assert made.devices[-1].kind == "cpu"
    assert made.devices[-1].memory > 0
    assert Catalogue.from_json(made.to_json()) == made


def test_a_method_says_what_it_needs_and_costs():
    card = describe.method("consistency")
    assert (card.needs, card.cost) == (("real data",), 6.0)
    assert card.defaults["training"]["batch_size"] == 48
    with pytest.raises(RecipeError, match="did you mean consistency"):
        describe.method("consistancy")


def test_a_broken_method_does_not_hide_the_others(monkeypatch):
    def load(name):
        if name == "gdd":
            raise ImportError("No module named 'nothing'")
        return load_method(name)

    monkeypatch.setattr(describe, "load_method", load)
    good, broken = describe.methods()
    assert [card.key for card in good] == [name for name in method_names() if name != "gdd"]
    assert [(fault.key, fault.error) for fault in broken] == [("gdd", "ImportError: No module named 'nothing'")]


def test_a_bundled_teacher_that_is_damaged_says_so(monkeypatch, tmp_path):
    def missing(where):
        raise TeacherError(f"{where} is missing; install the program again.")

    monkeypatch.setattr(quick, "folder_of", missing)
    cards = {card.key: card for card in describe.bundled_teachers()}
    assert cards["mixture-2d"].problem == ""
    assert cards["digits"].problem == "digits is missing; install the program again."


def test_a_folder_tells_shape_classes_and_figures(tiny_teacher):
    folder = tiny_teacher("digits-eps", title="Mine", licence="CC0")
    (folder / "figures.json").write_text(json.dumps({"nfe": {"50": {"frechet": 1.5}}}))
    card = describe.teacher_card(str(folder))
    assert (card.title, card.licence, card.shape, card.prediction_type) == ("Mine", "CC0", (1, 16, 16), "epsilon")
    assert (card.condition, card.classes, card.labels[:2], card.data) == ("class", 10, ("0", "1"), "digits")
    assert card.figures == {"frechet_50_nfe": 1.5}
    assert card.source == str(folder)


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"nfe": 3}', b'{"nfe": {"1": {}}}', b"\xff", b'{"nfe": {"1": 2}}'])
def test_figures_of_another_form_are_left_out(tmp_path, content):
    (tmp_path / "figures.json").write_bytes(content)
    assert measured(tmp_path / "figures.json") == {}


def teacher(**about):
    return TeacherCard(key="x", title="X", summary="", source="x", **about)


def test_methods_are_sorted_by_whether_data_must_be_brought():
    bare = teacher(condition="text", unconditional=True)
    needing = [card.key for card in describe.methods()[0] if "real data" in card.needs]
    found = describe.methods_for(bare)
    assert found["methods_with_data"] == needing
    assert found["methods_refusing"] == []
    assert sorted(found["methods"] + needing) == method_names()
    assert describe.methods_for(bare.model_copy(update={"data": "digits"}))["methods"] == method_names()


def test_methods_that_are_guided_or_share_classes_out_refuse_teachers_without():
    guided = {"adapter_guidance", "guidance", "snoopi", "swiftbrush"}
    unconditional = set(describe.methods_for(teacher(data="x"))["methods_refusing"])
    of_classes = set(describe.methods_for(teacher(data="x", condition="class", classes=10))["methods_refusing"])
    assert unconditional >= {*guided, "msd"}
    assert guided <= of_classes
    assert "msd" not in of_classes
    free = {"dmd2", "consistency", "progressive", "gdd", "reflow", "tdm", "scm", "meanflow", "ctm"}
    assert not free & (unconditional | of_classes)


@pytest.mark.parametrize("name", method_names())
def test_presets_are_recipes_that_can_be_asked_for(name):
    card, method = describe.method(name), load_method(name)
    for preset in card.presets:
        chosen = method.settings.model_validate(preset.settings)
        Training.model_validate({**method.training, **preset.training})
        assert all(getattr(method.settings(), key) != value for key, value in preset.settings.items())
        assert (preset.cost, preset.needs) == (method.cost(chosen), method.needs(chosen))


def test_bundled_methods_have_presets_of_which_one_is_the_default():
    for name in ("consistency", "dmd2", "gdd", "progressive"):
        presets = describe.method(name).presets
        assert 2 <= len(presets) <= 6
        assert [preset.key for preset in presets if not preset.settings and not preset.training] == [presets[0].key]


def test_a_need_that_a_setting_brings_is_found():
    assert describe.method("dmd2").needs_when == {
        "gan_weight": ("real data",),
        "embedding_weight": ("real data",),
        "warm_up_steps": ("pairs",),
    }
    assert describe.method("gdd").needs_when == {}
