"""A comparison without widgets: the shared camera, the grid, what arrows do, where comparisons are kept."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.models.comparison import (
    Camera,
    ComparisonError,
    Conditions,
    Grid,
    Pick,
    RunChoice,
    Wanted,
    arrange,
    arrow_means,
    choices,
    common_teacher,
    condition_words,
    forget_old,
    is_beside,
    place_of,
    read,
    sample_words,
    seconds_words,
    speed_words,
    step_sample,
    ticks,
)
from backend.contract.project_file import ProjectFile
from tests.app.parts import write_pictures

near = st.floats(-500, 500)
PANE = (320.0, 200.0)


@given(near, near, st.floats(0.1, 20), near, near)
def test_to_view_and_back_is_the_same_point(x: float, y: float, scale: float, px: float, py: float) -> None:
    camera = Camera(x, y, scale)
    assert camera.to_content(*camera.to_view(px, py, PANE), PANE) == pytest.approx((px, py), abs=1e-6)


@given(st.floats(0.5, 3), st.floats(0, 320), st.floats(0, 200))
def test_zoom_keeps_the_point_under_the_mouse(factor: float, x: float, y: float) -> None:
    camera = Camera(40, 30, 2)
    nearer = camera.zoomed(factor, (x, y), PANE)
    assert nearer.scale == pytest.approx(2 * factor)
    assert nearer.to_content(x, y, PANE) == pytest.approx(camera.to_content(x, y, PANE), abs=1e-6)


def test_fit_shows_all_with_a_margin_in_the_middle() -> None:
    camera = Camera.fit((100, 100), PANE, margin=10)
    assert camera == Camera(50, 50, 1.8)
    assert camera.to_view(0, 0, PANE) == pytest.approx((70, 10))
    assert camera.to_view(100, 100, PANE) == pytest.approx((250, 190))


def test_a_drag_moves_the_content_with_the_mouse_and_never_out_of_sight() -> None:
    camera = Camera(50, 50, 2)
    assert camera.panned(20, -10, (100, 100)) == Camera(40, 55, 2)
    assert camera.panned(9999, 9999, (100, 100)) == Camera(0, 0, 2)


def test_zoom_has_ends() -> None:
    camera = Camera(0, 0, 1)
    assert camera.zoomed(1e9, (0, 0), PANE).scale == 200
    assert camera.zoomed(1e-9, (0, 0), PANE).scale == 0.02


def test_the_tile_at_a_point() -> None:
    grid = Grid(count=13, columns=10, width=16, height=16, gap=2)
    assert list(grid.size) == [178, 34]
    assert grid.origin(12) == (36, 18)
    assert [grid.at(*grid.origin(i)) for i in range(13)] == list(range(13))
    outside = {"in a gap": (17, 3), "after the last": (55, 19), "left": (-1, 3), "right": (181, 3)}
    assert {where: grid.at(*point) for where, point in outside.items()} == dict.fromkeys(outside)


def test_panes_stand_where_they_are_biggest() -> None:
    assert arrange(3, (178, 70), (860, 600), 60) == 2
    assert arrange(3, (100, 100), (1200, 400), 60) == 3
    assert arrange(2, (400, 50), (800, 800), 60) == 1
    assert arrange(1, (100, 100), (300, 300), 60) == 1


def test_words_stand_beside_panes_where_that_makes_these_bigger() -> None:
    assert is_beside(3, (178, 70), (860, 600), 60, 224)  # three rows leave no corner empty
    assert not is_beside(3, (100, 100), (1200, 400), 60, 224)
    assert not is_beside(1, (178, 70), (860, 600), 60, 224)


def test_arrows_move_what_there_is_to_move() -> None:
    assert arrow_means("wipe", fitted=True, sideways=True, points=False) == "divider"
    assert arrow_means("wipe", fitted=True, sideways=False, points=False) == "sample"
    assert arrow_means("side", fitted=True, sideways=True, points=False) == "sample"
    assert arrow_means("side", fitted=False, sideways=True, points=False) == "pan"
    assert arrow_means("blink", fitted=True, sideways=True, points=True) == "pan"


def test_samples_are_stepped_through_and_end() -> None:
    assert step_sample(3, "right", 40, 10) == 4
    assert step_sample(3, "down", 40, 10) == 13
    assert step_sample(3, "up", 40, 10) == 3
    assert step_sample(39, "right", 40, 10) == 39


@given(st.floats(-1e3, 1e3), st.floats(1e-3, 1e3), st.integers(1, 12))
def test_ticks_are_few_even_and_inside(low: float, span: float, most: int) -> None:
    found = ticks(low, low + span, most)
    assert len(found) <= most + 1
    assert all(low - 1e-6 * span <= value <= low + span * (1 + 1e-6) for value in found)
    assert found == sorted(found)


def test_ticks_are_round() -> None:
    assert ticks(-1.6, 1.6, 7) == [-1.5, -1, -0.5, 0, 0.5, 1, 1.5]
    assert ticks(1, 1, 5) == []


def test_numbers_in_words() -> None:
    assert [seconds_words(s) for s in (2.5, 0.0328, 0.000657, 3e-9)] == ["2.5 s", "32.8 ms", "657 µs", "3 ns"]
    assert [speed_words(s) for s in (1.04, 9.44, 49.6)] == ["1.0×", "9.4×", "50×"]


def test_a_picture_is_named_by_its_prompt_or_class() -> None:
    prompts, classes = Conditions("prompt", ("honeybee", "the sea {at} night")), Conditions("class", ("0", "1"))
    assert condition_words(prompts, 1, str) == "Prompt: the sea {at} night"
    assert sample_words(prompts, 0, str) == "Prompt of sample 1 of 2: honeybee"
    assert condition_words(classes, 1, str) == "Class: 1"
    assert sample_words(classes, 1, str) == "Class of sample 2 of 2: 1"


def test_what_the_pictures_answer_is_read(tmp_path: Path) -> None:
    write_pictures(tmp_path / "asked", conditions={"kind": "prompt", "names": ["honeybee"] * 20})
    write_pictures(tmp_path / "free", conditions=None)
    asked, free = read(tmp_path / "asked"), read(tmp_path / "free")
    assert asked is not None
    assert free is not None
    assert asked.conditions == Conditions("prompt", ("honeybee",) * 20)
    assert free.conditions is None


def test_runs_of_other_teachers_are_noticed() -> None:
    runs = [RunChoice(1, "a", "digits", ()), RunChoice(2, "b", "mixture-2d", ()), RunChoice(3, "c", "digits", ())]
    assert common_teacher([Pick(1), Pick(3, "last")], runs)
    assert not common_teacher([Pick(1), Pick(2)], runs)


def test_best_and_its_step_have_one_place_and_anything_else_another(project_path: Path) -> None:
    with ProjectFile.open(project_path, readonly=True) as project:
        assert [run.checkpoints for run in choices(project)] == [((400, True),), ((400, True),)]
        assert [run.name for run in choices(project)] == ["second", "first"]
        best = place_of(project, Wanted((Pick(1, "best"),), 7, 50))
        assert best == place_of(project, Wanted((Pick(1, "400"),), 7, 50))
        assert best.names == ("1@400",)
        others = [
            Wanted((Pick(2),), 7, 50),
            Wanted((Pick(1),), 8, 50),
            Wanted((Pick(1),), 7, 20),
            Wanted((Pick(1), Pick(2)), 7, 50),
            Wanted((Pick(1),), 7, 50, only=("3",)),
            Wanted((Pick(1),), 7, 50, only=("3", "4")),
        ]
        assert len({place_of(project, wanted).folder for wanted in others} | {best.folder}) == 7
        assert best.folder.parent == project.files / "compare"


def test_only_the_newest_comparisons_are_kept(tmp_path: Path) -> None:
    for age in range(4):
        (tmp_path / f"c{age}").mkdir()
        os.utime(tmp_path / f"c{age}", (1000 - age, 1000 - age))
    forget_old(tmp_path, keep=2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c0", "c1"]


def test_what_was_not_finished_is_not_there_and_what_is_damaged_says_so(tmp_path: Path) -> None:
    assert read(tmp_path) is None
    (tmp_path / "index.json").write_text("{")
    with pytest.raises(ComparisonError, match="cannot be read; delete that folder and draw again"):
        read(tmp_path)
    (tmp_path / "index.json").write_text(json.dumps({"form": 0}))
    assert read(tmp_path) is None
