import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.contract.recipe import Recipe, RecipeError, Student, Training

RECIPE = Recipe(teacher="digits", method="dmd2", settings={"gan_weight": 0.01})


@given(
    st.dictionaries(
        st.text(min_size=1),
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    ),
    st.integers(1, 10**6),
)
def test_json_gives_the_same_recipe_and_hash_back(settings, steps):
    recipe = Recipe(teacher="digits", method="dmd2", settings=settings, training=Training(steps=steps))
    again = Recipe.from_json(recipe.to_json())
    assert again == recipe
    assert again.hash() == recipe.hash()


def test_hash_is_of_what_is_asked_not_of_how_it_is_written():
    shuffled = json.dumps(dict(reversed(json.loads(RECIPE.to_json()).items())))
    assert Recipe.from_json(shuffled).hash() == RECIPE.hash()
    whole = [RECIPE.model_copy(update={"settings": {"gan_weight": one}}).hash() for one in (1, 1.0)]
    assert whole[0] == whole[1]
    longer = RECIPE.model_copy(update={"training": Training(steps=7)})
    assert longer.hash() != RECIPE.hash()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"version": 2}, "The recipe has form 2 and this program knows up to 1; update the program to use it."),
        ({"teachr": "digits"}, "teachr is unknown here; did you mean teacher?"),
        ({"training": {"steps": "long"}}, 'training.steps is "long", not a whole number; choose 1 or more steps.'),
        ({"training": {"step": 3}}, "training.step is unknown here; did you mean training.steps?"),
        ({"training": 3}, "training is 3, not a group of names and values; give a value of the right kind."),
        (
            {"kind": "bake"},
            'kind is "bake", not one of its choices; choose train, store, tensors, sampling or evaluate.',
        ),
        ({"teacher": " "}, "teacher is empty; name one."),
        (
            {"student": {"start": "run:3"}},
            "student.start is 'run:3', which names no checkpoint; "
            "leave it empty or write run:ID@STEP, run:ID@best or run:ID@last.",
        ),
    ],
)
def test_a_bad_recipe_is_refused_in_one_sentence(changes, sentence):
    with pytest.raises(RecipeError) as refusal:
        Recipe.from_json(json.dumps({"teacher": "digits", "method": "dmd2"} | changes))
    assert str(refusal.value) == sentence


@pytest.mark.parametrize(
    ("text", "beginning"),
    [
        ('{"teacher": ', "The recipe is not readable JSON: "),
        ("[]", "The recipe is not a JSON object; "),
        (b'{"teacher": "\xff"}', "The recipe is not UTF-8 text; "),
        ("{}", "teacher is missing; give a text. method is missing; give a text."),
    ],
)
def test_a_text_that_is_no_recipe_is_refused(text, beginning):
    with pytest.raises(RecipeError) as refusal:
        Recipe.from_json(text)
    assert str(refusal.value).startswith(beginning)


def test_a_student_can_start_from_another_run():
    assert Student().start_checkpoint() is None
    assert Student(start="run:12@best").start_checkpoint() == (12, "best")
    assert Student(start="run:12@500").start_checkpoint() == (12, "500")
