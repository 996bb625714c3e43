"""The views are what they say, at levels that suit the path, and training does not notice them."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from backend import train
from backend.assembly import start_run
from backend.contract.recipe import Recipe
from backend.contract.rows import VIEWS
from backend.methods import method_names
from backend.noise import FlowMatching, VarianceExploding, VariancePreserving, linear_betas
from backend.noise import Path as NoisePath
from backend.teachers import load_teacher
from backend.triptych import SHARES, levels, triptych


def start(teacher: str | Path, method: str = "dmd2", **settings: Any) -> train.Run:
    training = {"steps": 5, "batch_size": 2, "threads": 1}
    pairs = {"count": 4, "steps": 2}
    asked = {"teacher": str(teacher), "method": method, "settings": settings, "training": training, "pairs": pairs}
    return start_run(Recipe.from_values(asked))


def difference(one: Image.Image, other: Image.Image) -> float:
    ours, theirs = (torch.tensor(list(image.convert("L").tobytes())).float() for image in (one, other))
    return float((ours - theirs).abs().mean())


@pytest.mark.parametrize(
    "path",
    [VarianceExploding(), VariancePreserving.of_betas(linear_betas()), FlowMatching()],
    ids=lambda p: type(p).__name__,
)
def test_the_levels_are_those_shares_of_noise_on_every_path(path: NoisePath) -> None:
    t = torch.tensor(levels(path), dtype=torch.float64)
    share = path.sigma(t) / (path.sigma(t) + path.alpha(t))
    assert len(t) == len(SHARES)
    assert bool((t.diff() > 0).all())
    assert share.tolist() == pytest.approx(SHARES, abs=2e-3)


def test_a_level_that_a_path_does_not_reach_is_left_out() -> None:
    assert len(levels(VarianceExploding(sigma_max=3.0))) == len(SHARES) - 2


def test_every_view_has_a_row_at_every_level(tiny_teacher: Callable[..., Path]) -> None:
    rows = list(triptych(start(tiny_teacher())))
    assert [(row.position, row.kind) for row in rows] == [(i, kind) for i in range(5) for kind in VIEWS]
    assert {row.image.size for row in rows} == {(160, 16)}
    assert len({row.t for row in rows}) == 5


def test_the_student_is_the_same_at_every_level_and_the_fake_score_begins_as_the_teacher(
    tiny_teacher: Callable[..., Path],
) -> None:
    rows = {(row.kind, row.position): row.image for row in triptych(start(tiny_teacher()))}
    for level in range(5):
        assert difference(rows["student_view", level], rows["student_view", 0]) == 0
        assert difference(rows["teacher_view", level], rows["fake_score_view", level]) == 0
    blurred = [difference(rows["noised_view", level], rows["student_view", level]) for level in range(5)]
    assert blurred == sorted(blurred)


def test_guidance_shows_in_the_teachers_view_alone(tiny_teacher: Callable[..., Path]) -> None:
    folder = tiny_teacher()
    plain, guided = (
        {(row.kind, row.position): row.image for row in triptych(start(folder, guidance_scale=scale))}
        for scale in (1, 8)
    )
    assert [difference(plain["fake_score_view", i], guided["fake_score_view", i]) for i in range(5)] == [0] * 5
    assert difference(plain["teacher_view", 4], guided["teacher_view", 4]) > 0


@pytest.mark.parametrize("method", ["gdd", "progressive", "consistency"])
def test_a_method_without_a_fake_score_network_has_no_view_of_it(
    method: str, tiny_teacher: Callable[..., Path]
) -> None:
    assert {row.kind for row in triptych(start(tiny_teacher(), method))} == set(VIEWS[:-1])


@pytest.mark.parametrize("name", method_names())
def test_every_method_can_be_looked_at(name: str, tiny_teacher: Callable[..., Path]) -> None:
    kinds = {row.kind for row in triptych(start(tiny_teacher(), name))}
    assert kinds >= set(VIEWS) - {"fake_score_view"}


def test_a_fake_score_that_is_told_the_steps_length_is_told_that_of_the_step_around_each_level(
    tiny_teacher: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = start(tiny_teacher(), "tdm", several_budgets=True)
    told: list[float] = []
    ask = type(run.nets.fake_score).forward

    def asked(net: Any, noised: torch.Tensor, t: torch.Tensor, cond: Any) -> Any:
        if net is run.nets.fake_score:
            told.append(cond.part("step_length")[0].item())
        return ask(net, noised, t, cond)

    monkeypatch.setattr(type(run.nets.fake_score), "forward", asked)
    rows = list(triptych(run))
    ends = (*run.sampler.levels, 0.0)
    expected = [next(a - b for a, b in itertools.pairwise(ends) if a >= row.t >= b) for row in rows[::4]]
    assert told == pytest.approx(expected)


def test_a_guidance_that_the_student_is_told_is_its_teachers(tiny_teacher: Callable[..., Path]) -> None:
    plain, strong = (
        {
            (row.kind, row.position): row.image
            for row in triptych(start(tiny_teacher(), "guidance", guidance_scale=scale))
        }
        for scale in (1.0, 5.0)
    )
    assert difference(plain["student_view", 2], strong["student_view", 2]) == 0  # it has not learnt yet what it is told
    assert difference(plain["teacher_view", 2], strong["teacher_view", 2]) > 1


def test_points_are_scattered() -> None:
    mixture = load_teacher("mixture-2d")
    run = start(mixture.key)
    assert {row.image.size for row in triptych(run)} == {(256, 256)}


def test_training_goes_on_as_if_nobody_had_looked(tiny_teacher: Callable[..., Path]) -> None:
    folder = tiny_teacher()
    watched, alone = (start(folder, gan_weight=0.1) for _ in range(2))
    torch.manual_seed(3)
    seen = [float(step.metrics["fake_score"]) for step in train.train(watched) if list(triptych(watched))]  # type: ignore[arg-type]
    after = torch.rand(2)
    torch.manual_seed(3)
    unseen = [float(step.metrics["fake_score"]) for step in train.train(alone)]  # type: ignore[arg-type]
    assert seen == unseen
    assert torch.equal(after, torch.rand(2))
    assert watched.generator.get_state().equal(alone.generator.get_state())
