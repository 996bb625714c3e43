"""Figures come back with how they were made."""

from tests.backend.contract.conftest import RECIPE


def test_evaluations_come_back(project):
    run = project.add_run(RECIPE)
    project.add_evaluation(run, 100, {"network": "digits", "count": 1000}, {"frechet": 1.5})
    assert project.evaluations(run)[0].figures == {"frechet": 1.5}
