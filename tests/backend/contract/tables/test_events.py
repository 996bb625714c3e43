"""What happened is read in its order, from where one left off."""

from tests.backend.contract.conftest import RECIPE


def test_events_come_back_after_the_one_last_seen(project):
    run = project.add_run(RECIPE)
    first = project.add_event(run, "warning", "The loss rises.", step=3, data={"loss": 2.0}, at=5.0)
    project.add_event(run, "info", "Better.")
    warning = project.events_after(run)[0]
    assert (warning.kind, warning.step, warning.data) == ("warning", 3, {"loss": 2.0})
    assert [row.text for row in project.events_after(run, first)] == ["Better."]


def test_the_newest_event_of_a_kind_is_that_of_any_run(project):
    first, second = project.add_run(RECIPE), project.add_run(RECIPE)
    assert project.newest_event("info") is None
    project.add_event(second, "info", "Begun.")
    project.add_event(first, "info", "Ended.")
    project.add_event(second, "warning", "The loss rises.")
    found = project.newest_event("info")
    assert (found.run, found.text) == (first, "Ended.")
