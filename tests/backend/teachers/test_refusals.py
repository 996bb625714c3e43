"""The table of misconfigurations, all in one process: what is said, of which value, and what needs no weights."""

from collections.abc import Callable
from pathlib import Path

import pytest

from backend import first_look, studio
from backend.contract import catalogue
from backend.contract.recipe import Recipe
from backend.describe import catalogue as describe_all
from backend.preflight import preflight

from .refusals import CASES, recipe


@pytest.fixture(scope="module")
def offered() -> catalogue.Catalogue:
    return describe_all()


@pytest.fixture(autouse=True)
def known(offered: catalogue.Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    """A catalogue that an earlier command has kept."""
    monkeypatch.setattr(catalogue, "load_cached", lambda key: offered)


@pytest.mark.parametrize("name", CASES)
def test_it_is_refused_or_counted_before_a_run_starts_and_said_of_its_value(
    name: str, tmp_path: Path, tiny_model: Callable[[str], Path]
) -> None:
    case = CASES[name]
    values = recipe(case, tmp_path / "case", tiny_model)
    told = {part: values.get(part) for part in ("teacher", "prompts", "data", "method")}
    found = first_look.problems(**told)
    assert bool(found) != case.weights
    if case.weights:
        studio.new(tmp_path / "lab.distill")
        looked = preflight(Recipe.from_values(values), tmp_path / "lab.distill", dry_run=False)
        assert looked.ok
        found = [one for one in looked.warnings if one.field == case.field]
    assert [one.field for one in found] == [case.field]
    assert case.words in found[0].words
    assert "\n" not in found[0].words


def test_there_are_as_many_as_were_promised() -> None:
    assert len(CASES) >= 40
    assert len(set(CASES.values())) == len(CASES)
