"""Samples and figures: the same for the same seed, and never felt by training."""

from dataclasses import replace

import pytest
import torch

from backend import judge
from backend.evaluate import Figures
from backend.samplers import Sampler, teacher_sampler
from backend.teachers import load_teacher

RENOISE = Sampler("renoise", (1.0, 0.5))


@pytest.fixture(scope="module")
def mixture():
    return load_teacher("mixture-2d")


def test_drawing_depends_on_the_seed_alone_and_leaves_the_global_random_state(mixture):
    net, cond = mixture.denoiser, mixture.each_condition(20)
    before = torch.get_rng_state()
    one, again, other = (judge.draw(net, RENOISE, mixture, cond, seed) for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_more_samples_begin_with_the_same_ones(mixture):
    few = judge.draw_many(mixture.denoiser, RENOISE, mixture, judge.BATCH, 3)
    many = judge.draw_many(mixture.denoiser, RENOISE, mixture, judge.BATCH + 30, 3)
    assert torch.equal(many[: judge.BATCH], few)
    assert len(many) == judge.BATCH + 30
    assert not torch.equal(many[judge.BATCH :], few[:30])


def test_the_exact_denoiser_reaches_its_own_mixture(mixture):
    found = judge.figures(mixture.denoiser, teacher_sampler(50), mixture, 500)
    assert found is not None
    assert (found.measured_in, found.count, found.nfe) == ("plane", 500, 50)
    assert found.values["recall"] == 1
    fine, crude = judge.score(found), judge.score(judge.figures(mixture.denoiser, teacher_sampler(1), mixture, 500))
    assert fine is not None
    assert crude is not None
    assert fine == ("sliced_wasserstein", found.values["sliced_wasserstein"])
    assert fine[1] < 0.5 * crude[1]


def test_digits_are_measured_and_strangers_are_not(lab):
    teacher = load_teacher(str(lab.teacher))
    found = judge.figures(teacher.denoiser, teacher_sampler(1), teacher, 60)
    assert judge.can_measure(teacher)
    assert found is not None
    assert judge.score(found) == ("frechet", found.values["frechet"])
    stranger = replace(teacher, data=None)
    assert not judge.can_measure(stranger)
    assert judge.figures(teacher.denoiser, teacher_sampler(1), stranger, 60) is None
    assert judge.score(None) is None


def test_a_figure_without_a_value_ranks_nothing():
    assert judge.score(Figures({"frechet": None}, "digits-48", "", "", 1, 0, 1)) is None


def test_the_teachers_own_figures_are_read_where_they_have_our_form(mixture):
    assert judge.stored_figures(load_teacher("digits"))["class_std"] == pytest.approx(0.25, abs=0.01)
    for strange in ({}, {"nfe": 3}, {"nfe": {"50": [1]}}, {"fid": 2.0}):
        assert judge.stored_figures(replace(mixture, figures=strange)) == {}
