"""Where a picture lies, and that it comes back."""

from backend.contract.tables.samples import PICTURE_BYTES_LIMIT
from tests.backend.contract.conftest import RECIPE, refused


def test_small_pictures_lie_in_the_database_and_large_ones_beside_it(project):
    run = project.add_run(RECIPE)
    small, large = b"s" * PICTURE_BYTES_LIMIT, b"l" * (PICTURE_BYTES_LIMIT + 1)
    project.add_sample(run, step=1, kind="preview", position=0, image=small, thumbnail=b"t", label="three", seed=7)
    project.add_sample(run, step=1, kind="preview", position=1, image=large, scores={"clip": 0.5})
    first, second = project.samples_after(run)
    assert (first.path, first.label, first.seed) == (None, "three", 7)
    assert (project.image(first), project.thumbnail(first)) == (small, b"t")
    assert (project.image(second), project.thumbnail(second)) == (large, large)
    assert second.path is not None
    assert (project.files / second.path).read_bytes() == large
    assert project.samples_after(run, first.id) == [second]
    assert project.check() == []
    (project.files / second.path).unlink()
    assert "is missing from a.files" in refused(project.image, second)
