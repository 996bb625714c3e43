"""What a field of a schema is called, takes and refuses, against the settings' own validation."""

import pytest
from pydantic import ValidationError

from app.models.fields import Field, field_of, fields_of, label_of, matches
from backend.contract.recipe import Student, Training
from backend.contract.settings import Settings, problems, setting


class Example(Settings):
    student_steps: int = setting(1, "Evaluations", low=1, high=8, unit="steps")
    learning_rate: float = setting(2e-4, "Rate", low=1e-7, high=1e-2)
    clip: float = setting(1.0, "Norm", low=0)
    few: int = setting(3, "Few", high=9, unit="points")
    kind: str = setting("a", "Kind", choices=["a", "b", "c"])
    flag: bool = setting(False, "Flag", advanced=True)


FIELDS = {field.name: field for field in fields_of(Example.model_json_schema())}


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("student_steps", "4", 4),
        ("student_steps", " 4.0 ", 4),
        ("student_steps", "1e1", 10),
        ("student_steps", "1,000", 1000),
        ("student_steps", "4.5", "4.5"),
        ("student_steps", "four", "four"),
        ("student_steps", "", ""),
        ("learning_rate", "1e-4", 1e-4),
        ("learning_rate", "0,5", 0.5),
        ("learning_rate", "1,5e-3", 0.0015),
        ("learning_rate", "1,000", "1,000"),  # a thousand or one: not guessed
        ("learning_rate", "inf", "inf"),
        ("learning_rate", "nan", "nan"),
    ],
)
def test_what_a_person_writes_is_a_value_or_stays_as_it_was_written(name, text, value):
    found = FIELDS[name].parse(text)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize("value", [2e-4, 1e-7, 0.1234567890123, 1 / 3, 1e-2, 48.0, 3])
def test_a_number_is_shown_without_rounding(value):
    field = FIELDS["learning_rate"]
    assert field.parse(field.show(value)) == value


@pytest.mark.parametrize(
    "values",
    [
        {"student_steps": 0},
        {"student_steps": 9},
        {"student_steps": "x"},
        {"student_steps": 1.5},
        {"learning_rate": 1.0},
        {"learning_rate": "fast"},
        {"clip": -1.0},
        {"few": 10},
        {"kind": "z"},
        {"flag": 7},
    ],
)
def test_the_sentence_is_the_backends_with_the_fields_name_in_words(values):
    ((name, value),) = values.items()
    (theirs,) = problems(Example, values)
    assert FIELDS[name].problem(value) == theirs.replace(name, label_of(name), 1)


def test_the_defaults_are_right():
    for model in (Example, Training, Student):
        made = model()
        for field in fields_of(model.model_json_schema()):
            assert field.problem(getattr(made, field.name)) == ""


def test_every_training_value_that_is_refused_here_is_refused_there():
    for field in fields_of(Training.model_json_schema()):
        for value in (-1, 0, 1, 0.5, 2**40, "auto", "cosine", None, True):
            refused = bool(field.problem(value))
            # pydantic reads True as 1 and 1 as True, and a form never writes them
            if isinstance(value, bool) or value is None or field.kind == "bool":
                continue
            try:
                Training.model_validate({field.name: value})
            except ValidationError:
                assert refused, (field.name, value)
            else:
                assert not refused, (field.name, value)


def test_nodes_of_every_kind():
    student = {field.name: field for field in fields_of(Student.model_json_schema())}
    assert (student["start"].kind, student["start"].optional, student["start"].parse(" ")) == ("text", True, None)
    assert student["kind"].choices == ("full", "lora")
    referred = field_of("colour", {"$ref": "#/$defs/C"}, {"C": {"enum": ["red", "blue"], "type": "string"}})
    assert referred.problem("green") == 'Colour is "green", not one of its choices; choose red or blue.'
    assert field_of("odd", {"type": "array"}).kind == "text"
    assert FIELDS["flag"].advanced
    assert FIELDS["student_steps"].range_words() == "1 to 8 steps"


def test_the_search_looks_at_names_and_words():
    field = Field("gan_weight", label_of("gan_weight"), "float", "Weight of the adversarial loss")
    assert field.label == "GAN weight"
    assert matches(field, "ADVERS weight")
    assert not matches(field, "adversarial rate")
