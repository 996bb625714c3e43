"""A project to try things on, and what its tests say to each other."""

import pytest

from backend.contract.project_file import ProjectFile, ProjectFileError
from backend.contract.recipe import Recipe

RECIPE = Recipe(teacher="digits", method="dmd2", settings={"gan_weight": 0.01})


@pytest.fixture
def path(tmp_path):
    ProjectFile.create(tmp_path / "a.distill").close()
    return tmp_path / "a.distill"


@pytest.fixture
def project(path):
    with ProjectFile.open(path) as project:
        yield project


def refused(kind, *arguments, **options):
    with pytest.raises(ProjectFileError) as refusal:
        kind(*arguments, **options)
    return str(refusal.value)


def weights(project, name, content=b"weights"):
    folder = project.files / "checkpoints" / name
    folder.mkdir(parents=True)
    (folder / "student.safetensors").write_bytes(content)
    return folder
