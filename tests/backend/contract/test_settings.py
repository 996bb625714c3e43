from typing import Literal

import pytest

from backend.contract.settings import Settings, SettingsError, parse_assignments, problems, setting


class Inner(Settings):
    depth: int = setting(2, "How deep", low=1, high=4)


class Example(Settings):
    gan_weight: float = setting(1e-3, "Weight of the adversarial loss", low=0, high=1)
    steps: int = setting(100, "How long", low=1, unit="steps")
    levels: int | None = setting(None, "How many levels", high=10, advanced=True)
    weighting: str = setting("snr", "How steps are weighed", choices=("snr", "uniform"))
    device: Literal["cpu", "cuda"] = setting("cpu", "Where")
    is_paired: bool = setting(False, "Whether pairs are used")
    title: str = setting("", "A name")
    inner: Inner = setting(Inner(), "A group")


def test_schema_carries_words_unit_range_choices_and_advanced():
    schema = Example.model_json_schema()["properties"]
    assert schema["gan_weight"]["description"] == "Weight of the adversarial loss"
    assert (schema["gan_weight"]["minimum"], schema["gan_weight"]["maximum"]) == (0, 1)
    assert schema["gan_weight"]["default"] == 1e-3
    assert schema["steps"]["unit"] == "steps"
    assert schema["weighting"]["enum"] == ["snr", "uniform"]
    assert [name for name, node in schema.items() if node.get("advanced")] == ["levels"]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"gan_weight": 3}, "gan_weight is 3, above its highest value 1; choose between 0 and 1."),
        ({"gan_weight": -1}, "gan_weight is -1, below its lowest value 0; choose between 0 and 1."),
        ({"gan_weight": float("nan")}, "gan_weight is NaN, not a finite number; choose between 0 and 1."),
        ({"gan_weight": "much"}, 'gan_weight is "much", not a number; choose between 0 and 1.'),
        ({"steps": 0}, "steps is 0, below its lowest value 1; choose 1 or more steps."),
        ({"steps": 2.5}, "steps is 2.5, not a whole number; choose 1 or more steps."),
        ({"levels": 11}, "levels is 11, above its highest value 10; choose 10 or less."),
        ({"weighting": "min"}, 'weighting is "min", not one of its choices; choose snr or uniform.'),
        ({"device": "gpu"}, 'device is "gpu", not one of its choices; choose cpu or cuda.'),
        ({"is_paired": "perhaps"}, 'is_paired is "perhaps", neither true nor false; give true or false.'),
        ({"title": []}, "title is [], not a text; give a text."),
        ({"inner": {"depth": 9}}, "inner.depth is 9, above its highest value 4; choose between 1 and 4."),
        ({"inner": {"dept": 3}}, "inner.dept is unknown here; did you mean inner.depth?"),
        ({"gan_wieght": 1}, "gan_wieght is unknown here; did you mean gan_weight?"),
    ],
)
def test_a_problem_is_one_sentence_that_says_what_to_do(values, sentence):
    assert problems(Example, values) == [sentence]


def test_every_problem_is_named_and_valid_values_have_none():
    assert len(problems(Example, {"steps": 0, "zzz": 1, "gan_weight": 2})) == 3
    assert problems(Example, {"steps": 5, "title": 7}) == []


def test_a_default_outside_its_own_range_is_found():
    class Wrong(Settings):
        rate: float = setting(2.0, "Rate", high=1)

    assert problems(Wrong, {}) == ["rate is 2.0, above its highest value 1; choose 1 or less."]


def test_assignments_are_json_where_they_can_be():
    given = parse_assignments(["a=0.01", "b = snr", "c=true", "d=[1, 2]", "e=x=y", "f="])
    assert given == {"a": 0.01, "b": "snr", "c": True, "d": [1, 2], "e": "x=y", "f": ""}


@pytest.mark.parametrize(
    ("assignments", "sentence"),
    [
        (["steps"], "'steps' sets nothing; write it as name=value."),
        (["=3"], "'=3' sets nothing; write it as name=value."),
        (["a=1", "a=2"], "a is set twice; give it one value."),
    ],
)
def test_a_bad_assignment_is_refused(assignments, sentence):
    with pytest.raises(SettingsError) as refusal:
        parse_assignments(assignments)
    assert str(refusal.value) == sentence
