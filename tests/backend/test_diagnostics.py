"""Readings whose answer is known: of closed forms read rightly and wrongly, and of runs of a few steps."""

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch

from backend import faults
from backend.contract.recipe import Training
from backend.diagnostics import Diagnostics, guidance_reading, is_reading, linear_error, read_teacher, spread
from backend.methods import load_method
from backend.networks import Condition, Denoiser
from backend.networks.mlp import MLP
from backend.noise import FlowMatching
from backend.proofs.benches import Bench
from backend.samplers import times
from backend.teachers import Teacher
from backend.teachers.mixture_2d import MIXTURE, ClosedFormDenoiser, paths
from backend.train import LOOKED_AT_EVERY, Run, start, train


def bench(kind: str, classes: bool = False) -> Bench:
    """mixture-2d with random students, because fitting one takes seconds."""
    exact = ClosedFormDenoiser(MIXTURE, *paths()[kind], conditional=classes)
    labels = tuple("abcdefgh") if classes else ()
    torch.manual_seed(0)
    net = Denoiser(MLP(width=16, classes=len(labels)), exact.path, exact.prediction_type, exact.sigma_data)
    teacher = Teacher(kind, kind, exact.frozen(), net.copy, "0", labels=labels, draws=MIXTURE)
    return Bench(teacher, exact, MIXTURE)


def begin(method: str, teacher: Teacher, **settings: Any) -> Run:
    card = load_method(method)
    asked = Training(steps=3 * LOOKED_AT_EVERY, batch_size=8)
    return start(card, card.settings(**settings), asked, teacher, MIXTURE, torch.device("cpu"))


def real(count: int = 512) -> tuple[torch.Tensor, Condition]:
    return MIXTURE.draw(count, torch.Generator().manual_seed(1))[0], Condition.none(count)


@pytest.mark.parametrize("kind", paths())
def test_an_exact_teacher_denoises_as_it_says_at_the_noise_there_is(kind: str) -> None:
    found = read_teacher(bench(kind).exact, *real())
    assert found.likely == found.declared
    assert found.error == found.likely_error < 1
    assert found.gain < 1.01


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("read_as", ["epsilon", "v_prediction", "sample"])
def test_a_teacher_read_as_another_type_is_found_out(kind: str, read_as: Any) -> None:
    wrong = faults._misread(bench(kind), kind=read_as).denoiser
    found = read_teacher(wrong, *real())
    assert (found.declared, found.likely) == (read_as, kind)
    assert (found.error > 1.3 * found.likely_error) == (kind != read_as)


def test_a_teacher_of_other_betas_is_told_less_noise_than_there_is() -> None:
    """The declared path has less noise at a time than the one it was trained on."""
    there = bench("v_prediction")
    wrong = faults._misread(there, path=faults.COSINE).denoiser
    t = times(0.5, real()[0])[:1]
    assert float(wrong.path.ratio(t)) < float(there.exact.path.ratio(t))
    found = read_teacher(wrong, *real())
    assert found.gain > 1.005
    assert found.told < 0.75


@pytest.mark.parametrize("scale", [1.5, 4.0])
def test_the_guidance_that_is_asked_for_is_found(scale: float) -> None:
    found = guidance_reading(begin("dmd2", bench("edm", classes=True).teacher, guidance_scale=scale))
    assert found is not None
    assert found.asked == scale
    assert found.found == pytest.approx(scale, rel=1e-3)
    assert found.effect > 0.1


def test_guidance_that_is_left_out_or_does_nothing_is_found_out() -> None:
    run = begin("dmd2", bench("edm", classes=True).teacher, guidance_scale=3.0)
    faults._unguided(run)
    found = guidance_reading(run)
    assert found is not None
    assert found.found == pytest.approx(1, abs=1e-3)
    found = guidance_reading(begin("dmd2", faults._deaf(bench("edm", classes=True)), guidance_scale=3.0))
    assert found is not None
    assert found.effect == 0
    assert guidance_reading(begin("dmd2", bench("edm").teacher)) is None


def test_the_spread_is_the_distance_of_the_halves() -> None:
    one = torch.randn(4, 3, 2)
    assert spread(torch.cat([one, one + 0.5])) == pytest.approx(0.5)
    assert spread(torch.cat([one, one])) == 0


def test_the_best_linear_denoiser_of_half_signal_and_half_noise_errs_by_half_the_variance() -> None:
    x = torch.cat([torch.ones(8, 2), -torch.ones(8, 2)])  # variance 1
    assert linear_error(FlowMatching(), times(0.5, x), x) == pytest.approx(0.5)


def test_readings_leave_training_as_it_is_and_come_every_so_often() -> None:
    teacher = bench("flow").teacher

    def losses(looks: bool) -> list[dict[str, float]]:
        run = begin("dmd2", teacher)
        diagnostics, found = Diagnostics(run), []
        for progress in train(run):
            found.append({name: float(value) for name, value in progress.metrics.items()})  # type: ignore[arg-type]
            if looks and diagnostics.look():
                read.append(run.step)
        return found

    read: list[int] = []
    assert losses(looks=True) == losses(looks=False)
    assert read == [LOOKED_AT_EVERY + 1, 2 * LOOKED_AT_EVERY + 1]


def test_readings_are_of_what_a_run_has() -> None:
    run = begin("dmd2", bench("flow").teacher)
    diagnostics, found = Diagnostics(run), dict[str, float]()
    for _ in train(run):
        found |= diagnostics.look()
    scores = {f"{net}_on_{what}" for net in ("teacher", "fake_score") for what in ("student", "real")}
    assert found.keys() == {*scores, "spread", "out_of_range"}
    assert all(is_reading(name) for name in found)
    assert not is_reading("fake_score")


def test_the_size_of_a_step_is_told_and_that_of_none_is_0() -> None:
    """The first step of twice the rate is twice as long."""

    def steps(rate: float) -> list[dict[str, Any]]:
        run = begin("dmd2", bench("flow").teacher, learning_rate=rate)
        faults._rate("fake_score", 0)(run)
        return [dict(progress.metrics) for progress, _ in zip(train(run), range(2), strict=False)]

    first, second = steps(1e-4)
    assert first["student_step"] > 0
    assert float(steps(2e-4)[0]["student_step"]) == pytest.approx(2 * float(first["student_step"]), rel=1e-2)
    assert first["fake_score_step"] == 0
    assert "discriminator_step" not in first  # it is not trained
    assert "student_step" not in second


def test_a_term_pulls_at_the_samples_as_hard_as_its_formula_says() -> None:
    """Of 3 x² / 2 summed over elements and averaged over all of them, the gradient is 3 x whatever their number."""
    teacher = bench("flow").teacher
    run = begin("gdd", teacher)
    seen = []

    def square(nets: Any, batch: Any, s: Any) -> Any:
        for update in load_method("gdd").step(nets, batch, s):
            if update.sample is None:
                yield update
                continue
            seen.append(update.sample.detach())
            yield replace(update, losses={"square": 1.5 * update.sample.square().mean()})

    run.method = replace(run.method, step=square)
    metrics = [progress.metrics for progress, _ in zip(train(run), range(2), strict=False)]
    expected = float((3 * seen[0]).square().mean().sqrt())
    assert float(metrics[0]["square_on_sample"]) == pytest.approx(expected, rel=1e-5)  # type: ignore[arg-type]
    assert "square_on_sample" not in metrics[1]


def test_a_table_of_faults_is_kept_and_judged(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "STEPS", LOOKED_AT_EVERY + 1)
    monkeypatch.setattr(faults, "BENCHES", {"edm": partial(bench, "edm", classes=True)})
    case = replace(faults.FAULTS[4], bench="edm")
    assert case.sign == "guidance_off"
    first, second = (faults.row(case, tmp_path) for _ in range(2))
    assert first == second
    assert first["ok"]
    assert first["step"] == LOOKED_AT_EVERY + 1
    assert "found in the teacher's predictions 1;" in first["reading"]


@pytest.mark.long
def test_faults_are_named_and_sound_runs_left_alone(tmp_path: Any) -> None:
    """At least seven of the eight faults in every run that has them, and no alarm in any sound run."""
    rows = [faults.row(case, tmp_path) for case in (*faults.FAULTS, *faults.SOUND)]
    named = {row["fault"] for row in rows} - {row["fault"] for row in rows if not row["ok"]}
    assert "none" in named
    assert len(named) >= 8
