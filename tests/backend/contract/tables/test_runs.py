"""What a run was asked to be stays as it was asked, and a person finds it."""

import pytest

from backend.contract.project_file import NotInProject
from tests.backend.contract.conftest import RECIPE, refused


def test_a_declaration_is_stored_where_there_is_none_and_never_replaced(project):
    run = project.add_run(RECIPE)
    project.set_declaration(run, {"title": "then"})
    project.set_declaration(run, {"title": "now"})
    assert project.run(run).declaration == {"title": "then"}


def test_a_run_keeps_what_it_was_asked_to_be(project):
    run = project.add_run(RECIPE, declaration={"properties": {}}, teacher_hash="abc", consumes={"store": "def"})
    second = project.add_run(RECIPE, name="again")
    project.set_notes(second, "Ünicode")
    project.set_tags(second, ["a", "b"])
    project.rename_run(second, "renamed")
    project.set_hashes(second, teacher_hash="t", data_hash="d")
    found = project.runs()
    assert [row.name for row in found] == ["dmd2-1", "renamed"]
    assert project.recipe(run) == RECIPE
    assert (found[0].recipe_hash, found[0].consumes, found[0].teacher_hash) == (RECIPE.hash(), {"store": "def"}, "abc")
    assert (found[1].notes, found[1].tags, found[1].data_hash) == ("Ünicode", ("a", "b"), "d")
    assert project.find_run("renamed").id == project.find_run("2").id == second
    assert refused(project.find_run, "nobody") == "There is no run nobody in a.distill; see `distill runs`."
    project.rename_run(run, "renamed")
    assert refused(project.find_run, "renamed") == "2 runs are named renamed; give the number of one."
    with pytest.raises(NotInProject):
        project.set_notes(99, "")
