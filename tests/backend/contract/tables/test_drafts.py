"""The draft of the next run comes back, in another process as well."""

from backend.contract.project_file import ProjectFile


def test_the_draft_of_the_next_run_is_kept_with_its_position(project, path):
    assert project.draft() is None
    project.save_draft([{"teacher": "digits"}, {"teacher": "mine"}], 1)
    project.save_draft([{"teacher": "digits"}, {"teacher": "mine"}, {"teacher": "é"}], 2)
    with ProjectFile.open(path, readonly=True) as other:
        assert other.draft() == ([{"teacher": "digits"}, {"teacher": "mine"}, {"teacher": "é"}], 2)
