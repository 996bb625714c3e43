"""What left the project is on record."""

from tests.backend.contract.conftest import RECIPE


def test_exports_come_back(project):
    run = project.add_run(RECIPE)
    project.add_export(run, "diffusers", "/out", "abc", {"agrees": True})
    assert project.exports(run)[0].verification == {"agrees": True}
