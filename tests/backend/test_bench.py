"""That every table is measured, on runs too short for the figures to mean anything."""

import time

import pytest
import torch
from diffusers import UNet2DModel

from backend import bench, losses
from backend.assembly import start_run
from backend.bench_tables import quality_table
from backend.networks import random_features
from backend.teachers import mixture_2d


def test_the_share_outside_the_networks_is_what_is_not_spent_in_their_forwards_and_backwards(monkeypatch):
    """By a clock that stands but for three seconds in each forward, five in each backward, and two in each loss."""
    clock, spent = [0.0], {"networks": 0.0, "elsewhere": 0.0}

    def slow(call, seconds, where):
        def taking(*given, **named):
            clock[0] += seconds
            spent[where] += seconds
            return call(*given, **named)

        return taking

    def begin(recipe):
        run = start_run(recipe)
        spent["networks"] = 0.0  # what the networks were looked at for while they were built is no part of a step
        return run

    monkeypatch.setattr(bench, "start_run", begin)
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(UNet2DModel, "forward", slow(UNet2DModel.forward, 3, "networks"))
    monkeypatch.setattr(torch.autograd, "grad", slow(torch.autograd.grad, 5, "networks"))
    monkeypatch.setattr(losses, "generator_logistic", slow(losses.generator_logistic, 2, "elsewhere"))
    row = bench.step_overhead("gdd", steps=1, warm_up=0, batch_size=2)
    assert spent["networks"] >= 3 + 2 * 5  # at the least the student's forward, and two networks' backwards
    assert spent["elsewhere"] == 2
    assert row["seconds_per_step"] == sum(spent.values())
    assert row["share_outside_networks"] == spent["elsewhere"] / sum(spent.values())


def test_what_random_networks_take_is_no_time_outside_networks(monkeypatch):
    """A clock that runs only in their forward, whose making counts as outside."""
    clock = [0.0]

    def looks(x):
        clock[0] += 3
        return x.flatten(1)

    def new(*asked):
        clock[0] += 2
        return looks

    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(random_features, "random_features", new)
    row = bench.step_overhead("embedding_loss", steps=1, warm_up=0, batch_size=2)
    made = losses.EMBEDDINGS
    assert row["seconds_per_step"] == made * (2 + 2 * 3)  # of samples and of data
    assert row["share_outside_networks"] == 2 / (2 + 2 * 3)


def test_of_calls_within_calls_the_outer_one_is_timed(monkeypatch):
    """A clock that shows a second more at each look: the outer call takes what lies between its two looks."""
    seconds = iter(range(100))
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(seconds)))
    watch = bench.Stopwatch()
    inner = watch.timed(lambda: None)
    watch.timed(lambda: [inner(), time.perf_counter(), inner()])()
    assert watch.seconds == 2
    inner()
    assert watch.seconds == 3


def test_pairs_for_a_measured_step_are_few(monkeypatch):
    asked = []

    def begin(recipe):
        asked.append(start_run(recipe))
        return asked[-1]

    monkeypatch.setattr(bench, "start_run", begin)
    bench.step_overhead("knowledge", steps=1, warm_up=1, batch_size=2)
    pairs = asked[0].pairs
    assert pairs is not None
    assert len(pairs.noise) == 4


def test_every_row_that_was_recorded_while_measuring_is_kept():
    row = bench.recording_cost(pairs=1, seconds=0.6)
    assert row["rows_kept"] == row["rows_recorded"] > 0
    assert 0 < row["calls_share"] < 1


@pytest.mark.parametrize(("teacher", "figure"), [("digits", "frechet"), ("mixture-2d", "sliced_wasserstein")])
def test_a_method_is_trained_and_measured_beside_its_teacher(teacher, figure, monkeypatch):
    monkeypatch.setattr(bench, "QUALITY_SAMPLES", 60)
    row = bench.quality("gdd", teacher, steps=1)
    assert (row["on"], row["steps"], row["nfe"]) == (teacher, 1, 1)
    assert row["teacher"][figure] < row["teacher_at_student_nfe"][figure]
    assert row["student"][figure] == pytest.approx(row["teacher_at_student_nfe"][figure], rel=0.2)  # one step from it


def test_a_run_that_fails_costs_its_own_row_alone(monkeypatch):
    monkeypatch.setattr(losses, "generator_logistic", lambda on_fake: (on_fake * torch.nan).mean())
    fit = mixture_2d.fit
    monkeypatch.setattr(mixture_2d, "fit", lambda exact, seed: fit(exact, seed, steps=1))  # it fails, however good
    row = bench.quality("gdd", "mixture-2d", steps=1)
    assert "was not finite at step 1" in row["problem"]
    cells, heads = quality_table([row])
    assert dict(zip(heads, cells[0], strict=True))["student"] == "-"


def test_only_the_tables_asked_for_are_measured():
    assert bench.bench((), quick=True, report=print).keys() == {"threads"}
