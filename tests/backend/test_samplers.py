"""Samplers against diffusers' schedulers, step by step, on a network whose ideal output is known in closed form.

The tolerances are diffusers' float32 tables; where a table can be made float64, so are they.
"""

from collections.abc import Callable
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor

from backend.networks import Condition
from backend.networks.denoiser import Prediction, PredictionType
from backend.noise import FlowMatching, Path, Trigonometric, VarianceExploding, VariancePreserving
from backend.samplers import (
    LEAST_ALPHA,
    Sampler,
    dpm_solver_pp_2m,
    even_levels,
    heun,
    initial,
    inverse_jump,
    jump,
    normal,
    rollout,
    sample,
    sample_dpm_solver_pp_2m,
    sample_heun,
    start_level,
    stochastic_jump,
    student_levels,
    teacher_sampler,
    times,
)
from backend.teachers.mixture_2d import ClosedFormDenoiser, ring
from backend.teachers.scheduler_config import path_of

torch.set_num_threads(1)

N = 32
NOISE = torch.randn(N, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
NONE = Condition.none(N)
# Wide modes, so that a trajectory bends all the way and a wrong step shows.
MIXTURE = ring(1.0, 0.25, (0.3, 0.3, 0.2, 0.2))
Answer = Callable[[Tensor, Tensor], Tensor]


def ideal(path: Path, kind: PredictionType) -> ClosedFormDenoiser:
    return ClosedFormDenoiser(MIXTURE, path, kind)


def made(name: str, **settings: Any) -> tuple[Any, ClosedFormDenoiser]:
    """A diffusers scheduler and the ideal network of its path."""
    if name.startswith("EDM"):
        settings["sigma_data"] = MIXTURE.sigma_data
    scheduler = getattr(diffusers, name)(**settings)
    path, kind, _ = path_of({"_class_name": name, **scheduler.config})
    return scheduler, ideal(path, kind)


def loop(scheduler: Any, net: ClosedFormDenoiser, start: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """A pipeline's loop over the scheduler's timesteps, by the ideal output where the scheduler thinks the state is."""
    state, extra = start, {} if generator is None else {"generator": generator}
    exploded = type(scheduler).__name__ in ("EulerDiscreteScheduler", "HeunDiscreteScheduler")
    for index, time in enumerate(scheduler.timesteps):
        if exploded:  # its state is in EDM's coordinates and its network sees it scaled
            x = scheduler.scale_model_input(state, time)
        else:
            x = state
            if hasattr(scheduler, "is_scale_input_called"):
                scheduler.scale_model_input(state, time)  # it insists
        if isinstance(net.path, VariancePreserving):
            t = net.path.t_of_network_time(time.double())
        else:
            # Not from the timesteps, which some solvers cut to whole numbers.
            sigma = scheduler.sigmas[scheduler.step_index if scheduler.step_index is not None else index].double()
            t = net.path.t_of_ratio(sigma / (1 - sigma) if isinstance(net.path, FlowMatching) else sigma)
        output = net.network.answer(x, t.expand(len(x)), NONE)
        state = scheduler.step(output, time, state, **extra).prev_sample
    return state


def levels_of(scheduler: Any, path: Path) -> tuple[float, ...]:
    """The distinct noise levels above 0 at which a scheduler with sigmas evaluates."""
    sigmas = torch.unique(scheduler.sigmas.double()).flip(0)
    sigmas = sigmas[sigmas > 0]
    ratios = sigmas / (1 - sigmas) if isinstance(path, FlowMatching) else sigmas
    return tuple(path.t_of_ratio(ratios).tolist())


def assert_close(ours: Tensor, theirs: Tensor, tolerance: float) -> None:
    assert ours.isfinite().all()
    assert (ours - theirs).abs().max() < tolerance


# First order: DDIM and Euler in every coordinates.


@pytest.mark.parametrize("nfe", [1, 2, 4, 10, 100])
@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("schedule", ["linear", "scaled_linear", "squaredcos_cap_v2"])
def test_teacher_sampler_is_ddim_with_trailing_spacing(schedule: str, kind: str, nfe: int) -> None:
    scheduler, _ = made(
        "DDIMScheduler", beta_schedule=schedule, prediction_type=kind, clip_sample=False, timestep_spacing="trailing"
    )
    scheduler.alphas_cumprod = scheduler.alphas_cumprod.double()
    path = VariancePreserving(scheduler.alphas_cumprod)
    net = ideal(path, kind)  # type: ignore[arg-type]
    scheduler.set_timesteps(nfe)
    ours = sample(net, teacher_sampler(nfe, path), NOISE, NONE, torch.Generator())
    assert_close(ours, loop(scheduler, net, NOISE), 1e-9)


@pytest.mark.parametrize("kind", ["v_prediction", "sample"])
def test_ddim_at_zero_terminal_snr(kind: PredictionType) -> None:
    scheduler, _ = made(
        "DDIMScheduler",
        rescale_betas_zero_snr=True,
        prediction_type=kind,
        clip_sample=False,
        timestep_spacing="trailing",
    )
    scheduler.alphas_cumprod = scheduler.alphas_cumprod.double()
    path = VariancePreserving(scheduler.alphas_cumprod)
    net = ideal(path, kind)
    for nfe in (1, 4, 10):
        scheduler.set_timesteps(nfe)
        ours = sample(net, teacher_sampler(nfe, path), NOISE, NONE, torch.Generator())
        assert_close(ours, loop(scheduler, net, NOISE), 1e-9)


def test_every_ddim_step_is_a_jump() -> None:
    scheduler, _ = made("DDIMScheduler", clip_sample=False, timestep_spacing="trailing")
    scheduler.alphas_cumprod = scheduler.alphas_cumprod.double()
    path = VariancePreserving(scheduler.alphas_cumprod)
    net = ideal(path, "epsilon")
    scheduler.set_timesteps(8)
    for now, after in zip(scheduler.timesteps[:-1], scheduler.timesteps[1:], strict=True):
        t, s = (path.t_of_network_time(time.double()).expand(N) for time in (now, after))
        prediction = net(NOISE, t, NONE)
        theirs = scheduler.step(prediction.output, now, NOISE).prev_sample
        assert_close(jump(prediction, path, s), theirs, 1e-10)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_euler_is_the_same_sampler_in_other_coordinates(kind: str) -> None:
    scheduler, net = made("EulerDiscreteScheduler", prediction_type=kind, timestep_spacing="trailing")
    for nfe in (1, 4, 20):
        scheduler.set_timesteps(nfe)
        start = NOISE * (scheduler.sigmas[0].double() ** 2 + 1).sqrt()
        ours = sample(net, teacher_sampler(nfe, net.path), NOISE, NONE, torch.Generator())
        assert_close(ours, loop(scheduler, net, start), 5e-5)


@pytest.mark.parametrize("nfe", [1, 2, 5, 40])
@pytest.mark.parametrize(("low", "high"), [(0.002, 80.0), (0.02, 20.0)])
def test_teacher_sampler_is_edm_euler(low: float, high: float, nfe: int) -> None:
    scheduler, net = made("EDMEulerScheduler", sigma_min=low, sigma_max=high)
    scheduler.set_timesteps(nfe)
    ours = sample(net, teacher_sampler(nfe, net.path), NOISE, NONE, torch.Generator())
    assert_close(ours, loop(scheduler, net, NOISE * high), 1e-5)


def test_even_levels_by_edm_euler() -> None:
    scheduler, net = made("EDMEulerScheduler")
    scheduler.set_timesteps(sigmas=1 - torch.tensor(even_levels(6), dtype=torch.float64))  # its ramp falls
    ours = sample(net, teacher_sampler(6), NOISE, NONE, torch.Generator())
    assert_close(ours, loop(scheduler, net, NOISE * 80), 1e-5)


@pytest.mark.parametrize("nfe", [1, 2, 5, 40])
@pytest.mark.parametrize("shift", [1.0, 3.0, 0.5])
def test_teacher_sampler_is_flow_match_euler(shift: float, nfe: int) -> None:
    scheduler, net = made("FlowMatchEulerDiscreteScheduler", shift=shift)
    scheduler.set_timesteps(sigmas=list(even_levels(nfe)))
    assert teacher_sampler(nfe, net.path) == teacher_sampler(nfe)
    assert_close(sample(net, teacher_sampler(nfe), NOISE, NONE, torch.Generator()), loop(scheduler, net, NOISE), 2e-6)


# Second order.


@pytest.mark.parametrize("nfe", [1, 2, 3, 8, 25])
@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_2m_is_dpm_solver_multistep(kind: str, nfe: int) -> None:
    scheduler, net = made(
        "DPMSolverMultistepScheduler",
        algorithm_type="dpmsolver++",
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        prediction_type=kind,
        timestep_spacing="trailing",
    )
    scheduler.set_timesteps(nfe)
    ours = sample_dpm_solver_pp_2m(net, net.path.grid(nfe), NOISE, NONE)
    assert_close(ours, loop(scheduler, net, NOISE), 5e-6)


@pytest.mark.parametrize("nfe", [1, 2, 3, 8, 25])
def test_2m_is_edm_dpm_solver(nfe: int) -> None:
    scheduler, net = made("EDMDPMSolverMultistepScheduler", sigma_min=0.02, sigma_max=20.0)
    scheduler.set_timesteps(nfe)
    assert_close(sample_dpm_solver_pp_2m(net, net.path.grid(nfe), NOISE, NONE), loop(scheduler, net, NOISE * 20), 1e-5)


@pytest.mark.parametrize("nfe", [2, 3, 8, 25])
@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_2m_is_dpm_solver_over_a_flow(shift: float, nfe: int) -> None:
    scheduler, net = made(
        "DPMSolverMultistepScheduler", use_flow_sigmas=True, prediction_type="flow_prediction", flow_shift=shift
    )
    scheduler.set_timesteps(nfe)
    levels = levels_of(scheduler, net.path)
    assert len(levels) == nfe
    assert_close(sample_dpm_solver_pp_2m(net, levels, NOISE, NONE), loop(scheduler, net, NOISE), 5e-6)


def test_2m_starts_from_pure_noise_of_zero_terminal_snr() -> None:
    """The first step is a jump whatever log SNR it starts from, and the second knows it."""
    for path, kind in [(FlowMatching(), "flow"), (Trigonometric(), "v_prediction")]:
        net = ideal(path, kind)  # type: ignore[arg-type]
        t, s, r = (times(level, NOISE) for level in (1.0, 0.7, 0.4))
        first = net(NOISE, t, NONE)
        state = dpm_solver_pp_2m(NOISE, first.x0, path, t, s)
        assert_close(state, jump(first, path, s), 1e-12)
        second = net(state, s, NONE)
        # An infinite step before has no slope to give, so that this one is of first order.
        assert_close(dpm_solver_pp_2m(state, second.x0, path, s, r, (t, first.x0)), jump(second, path, r), 1e-12)


@pytest.mark.parametrize("nfe", [1, 2, 3, 8, 25])
def test_heun_is_flow_match_heun(nfe: int) -> None:
    for shift in (1.0, 3.0):
        scheduler, net = made("FlowMatchHeunDiscreteScheduler", shift=shift)
        scheduler.set_timesteps(nfe)
        levels = levels_of(scheduler, net.path)
        assert len(scheduler.timesteps) == 2 * len(levels) - 1
        assert_close(sample_heun(net, levels, NOISE, NONE), loop(scheduler, net, NOISE), 1e-5)


@pytest.mark.parametrize("nfe", [2, 3, 8, 25])
def test_heun_is_that_of_edm_on_the_noise_levels_of_a_table(nfe: int) -> None:
    scheduler, of_table = made("HeunDiscreteScheduler", timestep_spacing="trailing")
    scheduler.set_timesteps(nfe)
    # One x0 for one noise level, whatever the coordinates; Heun's own are EDM's.
    net = ideal(VarianceExploding(0.001, 100.0), "edm")
    levels = levels_of(scheduler, net.path)
    ours = sample_heun(net, levels, NOISE, NONE)
    start = NOISE * net.path.sigma(torch.tensor(levels[0], dtype=torch.float64))
    assert_close(ours, loop(scheduler, of_table, start), 5e-6)


EVERY: list[tuple[Path, PredictionType]] = [
    (VarianceExploding(0.01, 10.0), "edm"),
    (path_of({"_class_name": "DDPMScheduler"})[0], "v_prediction"),
    (FlowMatching(), "flow"),
    (FlowMatching(3.0), "flow"),
    (Trigonometric(), "v_prediction"),
]


@pytest.mark.parametrize(("path", "kind"), EVERY, ids=lambda v: type(v).__name__ if isinstance(v, Path) else v)
def test_orders_are_what_they_are_called(path: Path, kind: PredictionType) -> None:
    """Over a fixed interval, halving the steps divides the error by 2 at first order and by 4 at second."""
    net = ideal(path, kind)
    start = initial(NOISE, path, 0.8)

    def reached(method: str, steps: int) -> Tensor:
        state, earlier = start, None
        for i in range(steps):
            t, s = (times(0.8 - 0.4 * j / steps, NOISE) for j in (i, i + 1))
            prediction = net(state, t, NONE)
            if method == "jump":
                state = jump(prediction, path, s)
            elif method == "heun":
                state = heun(net, state, t, s, NONE)
            else:
                state = dpm_solver_pp_2m(state, prediction.x0, path, t, s, earlier)
                earlier = (t, prediction.x0)
        return state

    # 1,024 and not a whole number per index of the table, whose kinks cost smoothness there.
    exact = reached("heun", 1024)
    for method, order in [("jump", 1), ("heun", 2), ("2m", 2)]:
        errors = [(reached(method, steps) - exact).norm().item() for steps in (24, 48)]
        assert order - 0.35 < torch.tensor(errors[0] / errors[1]).log2().item() < order + 0.6, method


# Renoising.


def test_renoising_is_lcm_with_the_same_generator() -> None:
    scheduler, net = made("LCMScheduler")
    timesteps = [999, 749, 499, 249]
    scheduler.set_timesteps(timesteps=timesteps)
    noise = NOISE.float()
    ours = sample(
        net, Sampler("renoise", tuple(t / 999 for t in timesteps)), noise, NONE, torch.Generator().manual_seed(5)
    )
    theirs = loop(scheduler, net, noise, torch.Generator().manual_seed(5))
    assert_close(ours, theirs, 2e-6)


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_renoising_is_flow_match_lcm_with_the_same_generator(shift: float) -> None:
    scheduler, net = made("FlowMatchLCMScheduler", shift=shift)
    scheduler.set_timesteps(sigmas=list(even_levels(4)))
    noise = NOISE.float()
    ours = sample(net, Sampler("renoise", even_levels(4)), noise, NONE, torch.Generator().manual_seed(5))
    assert_close(ours, loop(scheduler, net, noise, torch.Generator().manual_seed(5)), 1e-6)


# What samplers are as data, and how training rolls them out.


@pytest.mark.parametrize("levels", [(), (0.5, 0.5), (0.2, 0.5), (1.1, 0.5), (0.5, -0.1), (float("nan"),)])
def test_levels_must_fall(levels: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="must fall, from at most 1 to at least 0"):
        Sampler("renoise", levels)


def test_levels_of_a_student_are_on_its_schedulers_grid() -> None:
    assert student_levels(FlowMatching(), 4) == even_levels(4)
    assert student_levels(FlowMatching(), 2, 0.8) == (0.8, 0.4)
    table = path_of({"_class_name": "DDPMScheduler"})[0]
    assert student_levels(table, 4, 0.8) == (799 / 999, 599 / 999, 400 / 999, 200 / 999)


@pytest.mark.parametrize("kind", ["v_prediction", "sample", "epsilon"])
def test_a_student_starts_where_its_clean_sample_is_sound(kind: str) -> None:
    _, net = made("DDPMScheduler", prediction_type=kind)
    assert start_level(net, 0.9) == 0.9
    level = start_level(net)
    if kind != "epsilon":
        assert level == 1
        return
    assert level == net.path.on_grid(level)
    alpha, above = (float(net.path.alpha(torch.tensor(t, dtype=torch.float64))) for t in (level, level + 2 / 999))
    assert above < LEAST_ALPHA <= alpha + 1e-3


def test_a_sampler_survives_json() -> None:
    sampler = Sampler("renoise", (1.0, 0.4, 0.0))
    assert Sampler.from_json(sampler.to_json()) == sampler
    assert sampler.nfe == 3


def test_the_initial_state_is_scaled_as_diffusers_scales_it() -> None:
    noise = torch.ones(1, 2)
    assert initial(noise, EVERY[0][0], 1.0)[0, 0] == pytest.approx(10)
    for path, _ in EVERY[1:]:
        assert torch.equal(initial(noise, path, 1.0), noise)


@pytest.mark.parametrize("kind", ["renoise", "deterministic"])
def test_the_last_rollout_is_the_sample_and_earlier_ones_lie_on_its_way(kind: Any) -> None:
    net = ideal(FlowMatching(), "flow")
    sampler = Sampler(kind, (1.0, 0.6, 0.3))
    whole = sample(net, sampler, NOISE, NONE, torch.Generator().manual_seed(1))
    assert torch.equal(rollout(net, sampler, 2, NOISE, NONE, torch.Generator().manual_seed(1)), whole)
    one = Sampler(kind, (1.0,))
    first = rollout(net, sampler, 0, NOISE, NONE, torch.Generator())
    assert torch.equal(first, sample(net, one, NOISE, NONE, torch.Generator()))


def test_a_rollout_has_the_gradient_of_its_last_evaluation_alone() -> None:
    calls: list[bool] = []

    class Scaled(ClosedFormDenoiser):
        gain: Tensor

        def forward(self, noised: Tensor, t: Tensor, cond: Condition) -> Any:
            calls.append(torch.is_grad_enabled())
            prediction = super().forward(noised, t, cond)
            prediction.output = prediction.output * self.gain
            return prediction

    net = Scaled(MIXTURE, FlowMatching(), "flow")
    net.gain = torch.ones((), dtype=torch.float64, requires_grad=True)
    sampler = Sampler("deterministic", (1.0, 0.6, 0.3))
    x = rollout(net, sampler, 2, NOISE, NONE, torch.Generator())
    assert calls == [False, False, True]
    (gradient,) = torch.autograd.grad(x.sum(), net.gain)
    # x0 = noised - sigma output, so its derivative in the gain is -sigma output, of the last state alone.
    state = NOISE
    for t, s in [(1.0, 0.6), (0.6, 0.3)]:
        state = jump(ideal(FlowMatching(), "flow")(state, times(t, state), NONE), FlowMatching(), times(s, state))
    expected = -0.3 * ideal(FlowMatching(), "flow")(state, times(0.3, state), NONE).output.sum()
    assert gradient == pytest.approx(float(expected), rel=1e-9)


@pytest.mark.parametrize(("path", "kind"), EVERY, ids=lambda v: type(v).__name__ if isinstance(v, Path) else v)
def test_an_inverse_jump_undoes_a_jump(path: Path, kind: PredictionType) -> None:
    net = ideal(path, kind)
    for t, s in [(1.0, 0.5), (0.7, 0.2), (0.3, 0.0)]:
        at, to = times(t, NOISE), times(s, NOISE)
        state = initial(NOISE, path, t)
        prediction = net(state, at, NONE)
        reached = jump(prediction, path, to)
        level, reached_level = (path.alpha(at), path.sigma(at)), (path.alpha(to), path.sigma(to))
        assert_close(inverse_jump(state, level, reached, reached_level), prediction.x0, 1e-9)


def test_noise_does_not_depend_on_the_dtype_or_device_asked_for() -> None:
    expected = torch.randn(3, 2, generator=torch.Generator().manual_seed(2))
    assert torch.equal(normal((3, 2), torch.Generator().manual_seed(2)), expected)


@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
def test_a_stochastic_jump_is_ddim_with_eta(eta: float) -> None:
    scheduler = diffusers.DDIMScheduler(timestep_spacing="trailing", clip_sample=False)
    scheduler.alphas_cumprod = scheduler.alphas_cumprod.double()
    path = VariancePreserving(scheduler.alphas_cumprod)
    scheduler.set_timesteps(10)
    x, output, fresh = torch.randn(3, 2, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    t, s = (path.t_of_ratio(((1 - a) / a).sqrt()).expand(2) for a in scheduler.alphas_cumprod[[599, 499]])
    ours = stochastic_jump(Prediction(x, output, t, path, "epsilon"), path, t, s, eta, fresh)
    theirs = scheduler.step(output, 599, x, eta=eta, variance_noise=fresh).prev_sample
    assert_close(ours, theirs, 1e-9)
