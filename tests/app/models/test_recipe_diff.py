"""What differs between recipes: every difference, no more, and quickly enough to type in."""

from dataclasses import dataclass, field
from typing import Any

from app.models.recipe_diff import ABSENT, differences, flattened, same, words_of


@dataclass
class Made:
    recipe: dict[str, Any]
    declaration: dict[str, Any] = field(default_factory=dict)


DECLARED = {"properties": {"gan_weight": {"default": 0.001, "description": "Weight of the adversarial loss"}}}


def test_what_differs_is_found_by_its_dotted_name():
    one = Made({"method": "dmd2", "settings": {"gan_weight": 0.001}, "training": {"steps": 10}}, DECLARED)
    two = Made({"method": "dmd2", "settings": {"gan_weight": 0.03}, "training": {"steps": 10}}, DECLARED)
    rows = {row.name: row for row in differences([one, two])}
    assert {name for name, row in rows.items() if row.differs} == {"settings.gan_weight"}
    row = rows["settings.gan_weight"]
    assert (row.values, row.defaults, row.words) == (
        (0.001, 0.03),
        (True, False),
        "Weight of the adversarial loss",
    )


def test_a_default_is_that_of_the_runs_own_time():
    old = Made({"settings": {"gan_weight": 0.5}}, {"properties": {"gan_weight": {"default": 0.5}}})
    new = Made({"settings": {"gan_weight": 0.5}}, {"properties": {"gan_weight": {"default": 0.1}}})
    assert differences([old, new])[0].defaults == (True, False)


def test_what_only_one_recipe_has_differs():
    row = next(row for row in differences([Made({"settings": {"a": 1}}), Made({"settings": {}})]))
    assert row.differs
    assert row.values == (1, ABSENT)
    assert words_of(row.values[1]) == ""


def test_values_that_mean_the_same_are_the_same():
    assert same(1, 1.0)
    assert not same(True, 1)
    assert not same(None, ABSENT)
    assert not same("1", 1)


def test_parts_come_in_the_order_of_the_wizard():
    names = [row.name for row in differences([Made({"training": {"steps": 1}, "settings": {"a": 2}, "teacher": "x"})])]
    assert names == ["teacher", "settings.a", "training.steps"]


def test_training_has_its_defaults_too():
    rows = {row.name: row for row in differences([Made({"training": {"steps": 2000, "seed": 4}})])}
    assert (rows["training.steps"].defaults, rows["training.seed"].defaults) == ((True,), (False,))


def test_every_difference_among_two_hundred_keys_is_found():
    a: dict[str, Any] = {"settings": {f"group{i % 10}": {} for i in range(10)}}
    for number in range(200):
        a["settings"][f"group{number % 10}"][f"key{number}"] = number
    b = {"settings": {name: dict(group) for name, group in a["settings"].items()}}
    changed = {f"settings.group{n % 10}.key{n}" for n in range(0, 200, 7)}
    for name in changed:
        _, group, key = name.split(".")
        b["settings"][group][key] = -1
    rows = differences([Made(a), Made(b)])
    assert len(rows) == 200
    assert {row.name for row in rows if row.differs} == changed


def test_lists_are_values_and_empty_parts_are_nothing():
    assert dict(flattened({"a": {"b": [1, {"c": 2}]}, "d": {}})) == {"a.b": [1, {"c": 2}]}
    assert words_of([1, 2]) == "[1, 2]"
    assert words_of(None) == "-"
