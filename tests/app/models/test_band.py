"""What a run's curves can be held against, and where a band lies on a plot."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.models import band, curve_view, plot_words
from app.models.band import Bands, Offers, Reference, Shade, placed
from app.models.curve_data import Question, look_up
from app.models.curve_view import Span
from backend.contract import bands
from backend.contract.bands import Band, Shipped
from backend.contract.project_file import ProjectFile
from backend.contract.recipe import Recipe

from ..conftest import RECIPE, fill

DECLARATION = {"properties": {"gan_weight": {"default": 0.0}, "student_steps": {"default": 1}}}
STEADY = Band(np.array([0.0, 100.0, 200.0]), np.array([1.0, -1.0, 1.0]), np.array([10.0, 10.0, 100.0]))


@pytest.fixture
def project(tmp_path: Path) -> Iterator[ProjectFile]:
    with ProjectFile.create(tmp_path / "lab.distill") as made:
        yield made


def added(project: ProjectFile, name: str, declaration: Any = None, **changes: Any) -> int:
    return project.add_run(Recipe.from_values({**RECIPE, **changes}), name=name, declaration=declaration)


def offered(project: ProjectFile, run: int) -> Offers:
    found = band.offers(project, project.runs(), run)
    assert found is not None
    return found


def ship(folder: Path, **changes: Any) -> Shipped:
    values = {
        "method": "dmd2",
        "preset": "one",
        "teacher": "digits",
        "teacher_hash": "abc",
        "settings": {"gan_weight": 0.0, "student_steps": 1},
        "student": Recipe.from_values(RECIPE).student.model_dump(mode="json"),
        "training": {"steps": 900, "batch_size": 16},
        "score": ("preview_frechet", 0.4),
        "code": "def",
        "bands": {"matching": STEADY},
    }
    made = Shipped(**(values | changes))
    (folder / f"{made.method}.json").write_text(made.to_json())
    return made


def test_runs_of_the_same_method_and_teacher_are_offered_those_that_ended_first(project: ProjectFile) -> None:
    own = added(project, "own")
    others = [added(project, name) for name in ("old", "new", "live", "queued")]
    other_method, other_teacher = added(project, "sid", method="sid"), added(project, "emoji", teacher="emoji")
    for run in (*others[:2], other_method, other_teacher):
        fill(project, run, steps=20, previews=1)
    fill(project, others[2], steps=20, previews=1, finished=False)
    assert offered(project, own) == Offers(own, "dmd2", ((others[1], "new"), (others[0], "old"), (others[2], "live")))
    assert band.offers(project, project.runs(), 99) is None


def test_teachers_are_told_apart_by_their_weights_where_these_are_known(project: ProjectFile) -> None:
    runs = [added(project, "own"), added(project, "same", teacher="/a/copy"), added(project, "changed")]
    for run, digest in zip(runs, ("abc", "abc", "def"), strict=True):
        fill(project, run, steps=20, previews=1)
        project.set_hashes(run, teacher_hash=digest, data_hash=None)
    assert [name for _, name in offered(project, runs[0]).runs] == ["same"]


@pytest.mark.parametrize(
    ("changes", "is_offered", "fits"),
    [
        ({}, True, True),
        ({"settings": {"gan_weight": 0}}, True, True),
        ({"data": "digits"}, True, True),
        ({"training": {"steps": 90, "batch_size": 8, "accumulation": 2}}, True, True),
        ({"training": {"steps": 400, "batch_size": 32}}, True, False),
        ({"settings": {"gan_weight": 0.1}}, False, False),
        ({"data": "digits-all"}, False, False),
        ({"student": {"kind": "lora"}}, False, False),
        ({"teacher": "digits-flow"}, False, False),
        ({"method": "sid"}, False, False),
    ],
)
def test_a_shipped_band_is_offered_to_runs_of_the_preset_alone(
    project: ProjectFile,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    is_offered: bool,
    fits: bool,
) -> None:
    monkeypatch.setattr(bands, "FOLDER", tmp_path)
    ship(tmp_path)
    found = offered(project, added(project, "own", DECLARATION, **changes))
    assert (bool(found.shipped), found.fits) == (is_offered, fits)


def test_what_a_later_program_adds_does_not_keep_a_shipped_band_away(
    project: ProjectFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bands, "FOLDER", tmp_path)
    ship(tmp_path, settings={"student_steps": 1})
    assert offered(project, added(project, "own", DECLARATION)).fits
    assert not offered(project, added(project, "other", DECLARATION, settings={"gan_weight": 0.1})).shipped


def question(run: int, reference: Reference | None, **changes: Any) -> Question:
    asked = {"span": None, "facts": True} | changes
    chosen = frozenset({"matching", "preview_frechet"})
    known = chosen | {"fake_score", "student_gradient_norm"}
    return Question((run,), "step", chosen, known, pixels=200, reference=reference, **asked)


def test_a_band_is_of_the_whole_run_whatever_is_in_sight(project: ProjectFile) -> None:
    own, other = added(project, "own"), added(project, "other")
    fill(project, own, steps=60, previews=2)
    fill(project, other, steps=400)
    whole = look_up(project, question(own, Reference("dmd2", other))).bands
    near = look_up(project, question(own, Reference("dmd2", other), span=Span(10, 20))).bands
    assert whole is not None
    assert near is not None
    assert (whole.name, set(whole.bands)) == ("other", {"matching", "preview_frechet"})
    for name, one in whole.bands.items():
        assert one.to_json() == near.bands[name].to_json()
    assert whole.bands["matching"].steps[-1] == 400
    series = project.find_series(other, "matching")
    assert series is not None
    points = project.points(series)
    low, high = whole.bands["matching"].at(points.steps.astype(float))
    assert ((points.values >= low) & (points.values <= high)).mean() >= 0.85
    assert look_up(project, question(own, None)).bands is None


def test_bands_that_are_held_are_made_again_with_the_facts_alone(project: ProjectFile) -> None:
    own = added(project, "own")
    fill(project, own, steps=60, previews=2)
    held = frozenset({"matching"})
    for facts, names in ((False, {"preview_frechet"}), (True, {"matching", "preview_frechet"})):
        found = look_up(project, question(own, Reference("dmd2", own), facts=facts, held=held)).bands
        assert found is not None
        assert set(found.bands) == names


def test_a_shipped_band_is_read(project: ProjectFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bands, "FOLDER", tmp_path)
    own = added(project, "own")
    fill(project, own, steps=60, previews=2)
    found = look_up(project, question(own, Reference("dmd2"))).bands
    assert found is not None
    assert not found.bands
    ship(tmp_path)
    found = look_up(project, question(own, Reference("dmd2"))).bands
    assert found is not None
    assert found.bands["matching"].high.tolist() == STEADY.high.tolist()
    assert plot_words.band_words(found, str) == "band: 90 % of a sound run of this preset"
    assert plot_words.band_words(Bands(Reference("dmd2", 3), "a", {}), str) == "band: 90 % of run 3 'a'"


def test_a_band_lies_where_the_steps_of_the_run_that_is_shown_do() -> None:
    steps, x = np.array([0.0, 50.0, 150.0]), np.array([0.0, 500.0, 700.0])
    whole = placed(STEADY, "step", steps, x, False)
    assert whole.x.tolist() == [0, 100, 200]
    other = placed(STEADY, "images", steps, x, False)  # cut where the run that is shown has come to
    assert other.x.tolist() == [0, 600, 700]
    assert other.low.tolist() == [1, -1, 0]
    assert other.high.tolist() == [10, 10, 55]
    assert not len(placed(STEADY, "images", np.empty(0), np.empty(0), False).x)
    assert not len(placed(STEADY, "images", np.array([300.0, 400.0]), np.array([0.0, 1.0]), False).x)


def test_on_a_logarithmic_axis_what_is_not_positive_goes_to_the_foot() -> None:
    shade = placed(STEADY, "step", np.empty(0), np.empty(0), True)
    assert shade.low.tolist() == [0, -np.inf, 0]
    assert shade.high.tolist() == [1, 1, 2]
    seen = shade.within(Span(50, 150))
    assert seen.x.tolist() == [50, 100, 150]
    assert np.isneginf(seen.low).all()
    assert seen.high.tolist() == [1, 1, 1.5]


def test_a_shade_goes_from_edge_to_edge_of_what_is_in_sight() -> None:
    shade = Shade(np.array([0.0, 10.0]), np.array([0.0, 1.0]), np.array([2.0, 3.0]))
    assert shade.within(Span(4, 6)).low.tolist() == pytest.approx([0.4, 0.6])
    assert shade.within(Span(-5, 5)).x.tolist() == [0, 5]
    assert not len(shade.within(Span(11, 20)).x)
    one = Shade(np.array([3.0]), np.array([0.0]), np.array([1.0]))
    assert one.within(Span(0, 5)).high.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("low", "high", "found"),
    [
        (2, 8, (0, 10)),
        (-5, 10, (-5, 10)),
        (-5, 15, (-5, 15)),
        (-100, 5, (-10, 10)),
        (-30, 20, (-7.5, 12.5)),
    ],
)
def test_a_band_widens_the_range_of_lines_to_twice_at_most(low: float, high: float, found: tuple[float, float]) -> None:
    assert curve_view.widened(Span(0, 10), low, high) == Span(*found)


@pytest.mark.parametrize(
    ("step", "value", "place"),
    [(0, 5.0, "inside"), (0, 11.0, "above"), (0, 0.5, "below"), (201, 5.0, None), (0, float("nan"), None)],
)
def test_it_is_known_where_a_value_lies(step: int, value: float, place: str | None) -> None:
    assert band.place_of(STEADY, step, value) == place


def test_the_demo_is_held_against_a_run_of_its_own(project: ProjectFile) -> None:
    recipe = Recipe.from_json((bands.FOLDER.parent / "recipes" / "digits-demo.json").read_bytes())
    run = project.add_run(recipe)
    found = band.offers(project, project.runs(), run)
    assert found is not None
    assert (found.shipped, found.fits) == ("demo", True)
