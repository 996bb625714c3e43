"""Paths: exact inverses over the whole range, and diffusers' own numbers on diffusers' own grids. All in float64."""

import copy
import math
import pickle

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    EDMEulerScheduler,
    FlowMatchEulerDiscreteScheduler,
    HeunDiscreteScheduler,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from backend import noise
from backend.noise import FlowMatching, Path, Trigonometric, VarianceExploding, VariancePreserving

torch.set_num_threads(1)

BETAS = {
    "linear": noise.linear_betas(),
    "scaled_linear": noise.scaled_linear_betas(),
    "squaredcos_cap_v2": noise.cosine_betas(),
    "sigmoid": noise.sigmoid_betas(),
    "laplace": noise.laplace_betas(),
    "exp": noise.exponential_betas(),
}


def table(betas: Tensor) -> Tensor:
    return (1 - betas).cumprod(0)


PATHS: dict[str, Path] = {
    **{f"vp-{name}": VariancePreserving.of_betas(betas) for name, betas in BETAS.items()},
    **{f"vp-{name}-zero-snr": VariancePreserving(noise.zero_terminal_snr(table(b))) for name, b in BETAS.items()},
    "vp-two-steps": VariancePreserving(torch.tensor([0.9, 0.1])),
    "ve": VarianceExploding(),
    "ve-digits": VarianceExploding(0.02, 20.0),
    "ve-rho-1": VarianceExploding(rho=1.0),
    "ve-geometric": VarianceExploding(rho=math.inf),
    "flow": FlowMatching(),
    "flow-shift-3": FlowMatching(3.0),
    "flow-shift-12": FlowMatching(12.0),
    "flow-shift-half": FlowMatching(0.5),
    "trigonometric": Trigonometric(),
}
GRID = torch.cat([torch.linspace(0, 1, 4001), torch.logspace(-8, -1, 50), 1 - torch.logspace(-8, -1, 50)]).double()
GRID = GRID.sort().values

every_path = pytest.mark.parametrize("path", PATHS.values(), ids=PATHS.keys())
times = st.lists(st.floats(0, 1, allow_subnormal=False), min_size=1, max_size=20)
reproducible = settings(derandomize=True, deadline=None, max_examples=60)


@every_path
@reproducible
@given(times)
def test_ratio_log_snr_and_network_time_lead_back_to_t(path: Path, drawn: list[float]) -> None:
    t = torch.tensor([0.0, *drawn, 1.0], dtype=torch.float64)
    assert torch.allclose(path.t_of_ratio(path.ratio(t)), t, rtol=0, atol=1e-6)
    assert torch.allclose(path.t_of_log_snr(path.log_snr(t)), t, rtol=0, atol=1e-6)
    assert torch.allclose(path.t_of_network_time(path.network_time(t)), t, rtol=0, atol=1e-6)


@every_path
def test_conversions_hold_on_a_dense_grid_and_at_both_ends(path: Path) -> None:
    for back in (
        path.t_of_ratio(path.ratio(GRID)),
        path.t_of_log_snr(path.log_snr(GRID)),
        path.t_of_network_time(path.network_time(GRID)),
    ):
        assert (back - GRID).abs().max() < 1e-6
        assert back.dtype == torch.float64
        assert not back.isnan().any()


@every_path
def test_noise_grows_and_signal_falls(path: Path) -> None:
    t = torch.linspace(0, 1, 4001, dtype=torch.float64)
    assert (path.ratio(t).diff() > 0).all()
    assert (path.sigma(t).diff() > 0).all()
    assert (path.alpha(t).diff() <= 0).all()
    assert (path.network_time(t).diff() > 0).all()
    assert (path.sigma(t) >= 0).all()
    assert (path.alpha(t) >= 0).all()
    assert (path.alpha(t) <= 1).all()


@every_path
def test_ratios_outside_the_range_are_taken_to_its_ends(path: Path) -> None:
    ends = path.t_of_ratio(torch.tensor([0.0, math.inf], dtype=torch.float64))
    assert torch.equal(ends, torch.tensor([0.0, 1.0], dtype=torch.float64))


@every_path
def test_noised_is_alpha_x0_plus_sigma_noise_for_any_number_of_axes(path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    for shape in [(5,), (5, 2), (5, 3, 4, 4), (5, 1, 2, 3, 4)]:
        x0, unit = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2))
        t = torch.rand(5, generator=generator, dtype=torch.float64)
        noised = path.noised(x0, unit, t)
        for i in range(5):
            expected = path.alpha(t[i]) * x0[i] + path.sigma(t[i]) * unit[i]
            assert torch.allclose(noised[i], expected, rtol=1e-14, atol=1e-14)


@every_path
def test_dtype_and_shape_are_those_of_t(path: Path) -> None:
    for t in (torch.tensor(0.3), torch.full((2, 3), 0.3), torch.full((4,), 0.3, dtype=torch.float64)):
        values = path.alpha(t), path.sigma(t), path.ratio(t), path.log_snr(t), path.network_time(t), path.start_scale(t)
        for value in (*values, *path.velocity_weights(t), path.t_of_ratio(path.ratio(t))):
            assert value.dtype == t.dtype
            assert value.shape == t.shape


@every_path
def test_velocity_is_the_derivative_along_the_natural_clock(path: Path) -> None:
    if isinstance(path, VariancePreserving):
        t = (torch.arange(path.steps - 1, dtype=torch.float64) + 0.5) / (path.steps - 1)  # between the table's kinks
        h = 0.01 / path.steps
    else:
        t, h = torch.linspace(0.01, 0.99, 99, dtype=torch.float64), 1e-6
    low, high = t - h, t + h

    def clock(t: Tensor) -> Tensor:
        return path.sigma(t) if isinstance(path, VarianceExploding | FlowMatching) else path.ratio(t).atan()

    passed = clock(high) - clock(low)
    a, b = path.velocity_weights(t)
    assert torch.allclose((path.alpha(high) - path.alpha(low)) / passed, a, rtol=0, atol=1e-5)
    assert torch.allclose((path.sigma(high) - path.sigma(low)) / passed, b, rtol=0, atol=1e-5)


@every_path
def test_by_the_natural_clock_the_ratios_rate_is_one_over_alpha_squared(path: Path) -> None:
    t = GRID
    a, b = path.velocity_weights(t)
    torch.testing.assert_close(path.alpha(t) * b - path.sigma(t) * a, torch.ones_like(t), rtol=1e-9, atol=0)


@every_path
def test_velocity_is_its_weights_of_x0_and_noise_and_flow_time_that_of_the_same_ratio(path: Path) -> None:
    t = torch.linspace(0, 1, 7, dtype=torch.float64)
    x0, unit = torch.randn(2, 7, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    a, b = (weight[:, None, None] for weight in path.velocity_weights(t))
    assert torch.equal(path.velocity(x0, unit, t), a * x0 + b * unit)
    flow = FlowMatching()
    torch.testing.assert_close(path.flow_time(t), flow.sigma(flow.t_of_ratio(path.ratio(t))), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["flow", "trigonometric", "vp-linear-zero-snr", "vp-squaredcos_cap_v2-zero-snr"])
def test_pure_noise_is_pure(name: str) -> None:
    end = torch.ones(1, dtype=torch.float64)
    path = PATHS[name]
    assert path.alpha(end) == 0
    assert path.sigma(end) == 1
    assert path.ratio(end) == math.inf


@pytest.mark.parametrize("name", ["vp-linear", "vp-squaredcos_cap_v2", "trigonometric", "vp-sigmoid-zero-snr"])
def test_float32_keeps_alpha_precise_where_it_is_small(name: str) -> None:
    path, t = PATHS[name], torch.linspace(0.9, 0.9995, 200, dtype=torch.float64)
    # t itself is rounded, so the exact answer is taken at the rounded t; the rest is relative rounding of alpha.
    single = path.alpha(t.float())
    assert torch.allclose(single.double(), path.alpha(t.float().double()), rtol=2e-3, atol=1e-8)


@every_path
def test_a_level_is_alpha_and_sigma_also_after_the_times_were_written_to(path: Path) -> None:
    t = torch.tensor([0.2, 0.7], dtype=torch.float64)
    for _ in range(2):
        assert all(torch.equal(a, b) for a, b in zip(path.level(t), path.level(t.clone()), strict=True))
        assert [path.alpha(t).tolist(), path.sigma(t).tolist()] == [part.tolist() for part in path.level(t)]
        t.mul_(0.5)
    others = [other.level(t) for other in PATHS.values()]
    for other, found in zip(PATHS.values(), others, strict=True):  # of the very same times
        assert all(torch.equal(a, b) for a, b in zip(found, other.level(t.clone()), strict=True))


@every_path
def test_a_level_of_times_with_a_gradient_has_a_graph_of_its_own_each_time(path: Path) -> None:
    t = torch.tensor([0.2, 0.7], dtype=torch.float64, requires_grad=True)
    with torch.no_grad():
        path.level(t)
    slopes = [torch.autograd.grad(path.level(t)[1].sum(), t)[0] for _ in range(2)]
    assert torch.equal(*slopes)
    assert (slopes[0] > 0).all()
    by_jvp: Tensor = torch.func.jvp(lambda u: path.level(u)[1], (t.detach(),), (torch.ones(2).double(),))[1]
    torch.testing.assert_close(by_jvp, slopes[0])


def test_a_copy_of_a_network_has_the_same_path() -> None:
    path = PATHS["vp-linear"]
    assert copy.deepcopy({"path": path})["path"] is path
    assert pickle.loads(pickle.dumps(path)) == path


def test_paths_compare_by_what_they_are() -> None:
    linear = VariancePreserving.of_betas(BETAS["linear"])
    assert linear == VariancePreserving.of_betas(BETAS["linear"].clone())
    assert hash(linear) == hash(VariancePreserving.of_betas(BETAS["linear"].clone()))
    assert linear != VariancePreserving.of_betas(BETAS["sigmoid"])
    assert linear != VariancePreserving.of_betas(noise.linear_betas(500))
    assert linear != Trigonometric()
    assert FlowMatching(3.0) == FlowMatching(3.0)


@pytest.mark.parametrize(
    "alphas_cumprod",
    [[0.9], [0.9, 0.9], [0.1, 0.9], [1.0, 0.5], [0.5, -0.1], [0.9, math.nan], [[0.9, 0.1]]],
)
def test_bad_tables_are_refused(alphas_cumprod: list[float]) -> None:
    with pytest.raises(ValueError, match="falling table"):
        VariancePreserving(torch.tensor(alphas_cumprod))


def test_bad_ranges_are_refused() -> None:
    for low, high, rho in [
        (0.0, 1.0, 7.0),
        (2.0, 1.0, 7.0),
        (0.1, math.inf, 7.0),
        (0.1, 1.0, 0.0),
        (0.1, 1.0, math.nan),
    ]:
        with pytest.raises(ValueError, match="sigma_min < sigma_max"):
            VarianceExploding(low, high, rho)
    for shift in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="shift above 0"):
            FlowMatching(shift)


# diffusers' numbers. Its tables are float32: one of its roundings is 6e-8, and a thousand of them lie in a cumprod.


@pytest.mark.parametrize("name", ["linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid", "laplace"])
def test_beta_schedules_are_those_of_ddpm(name: str) -> None:
    for steps in (1000, 37):
        scheduler = DDPMScheduler(num_train_timesteps=steps, beta_schedule=name, beta_start=0.001, beta_end=0.015)
        ranged = {
            "linear": noise.linear_betas,
            "scaled_linear": noise.scaled_linear_betas,
            "sigmoid": noise.sigmoid_betas,
        }
        fixed = {"squaredcos_cap_v2": noise.cosine_betas, "laplace": noise.laplace_betas}
        betas = ranged[name](steps, 0.001, 0.015) if name in ranged else fixed[name](steps)
        assert (betas - scheduler.betas.double()).abs().max() < 5e-8
        assert (table(betas) - scheduler.alphas_cumprod.double()).abs().max() < 1e-6


def test_the_exponential_schedule_is_that_of_heun() -> None:
    assert (noise.exponential_betas() - HeunDiscreteScheduler(beta_schedule="exp").betas.double()).abs().max() < 5e-8


def test_defaults_are_ddpm_and_latent_diffusion() -> None:
    assert (noise.linear_betas() - DDPMScheduler().betas.double()).abs().max() < 5e-8
    stable = DDIMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)
    assert (noise.scaled_linear_betas() - stable.betas.double()).abs().max() < 5e-8


@pytest.mark.parametrize("name", ["linear", "scaled_linear", "squaredcos_cap_v2"])
def test_zero_terminal_snr_is_that_of_ddim(name: str) -> None:
    plain = DDIMScheduler(beta_schedule=name)
    zero = DDIMScheduler(beta_schedule=name, rescale_betas_zero_snr=True)
    ours = noise.zero_terminal_snr(plain.alphas_cumprod)
    assert ours[-1] == 0
    assert ours[0] == pytest.approx(float(plain.alphas_cumprod[0]), abs=1e-12)
    assert (ours - zero.alphas_cumprod.double()).abs().max() < 2e-6


@pytest.mark.parametrize("zero_snr", [False, True])
@pytest.mark.parametrize("name", ["linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid", "laplace"])
def test_noising_and_velocity_are_ddpms_on_every_index(name: str, zero_snr: bool) -> None:
    scheduler = DDPMScheduler(beta_schedule=name, rescale_betas_zero_snr=zero_snr)
    scheduler.alphas_cumprod = scheduler.alphas_cumprod.double()
    path = VariancePreserving(scheduler.alphas_cumprod)
    generator = torch.Generator().manual_seed(1)
    x0, unit = (torch.randn(1000, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    index = torch.arange(1000)
    t = path.t_of_network_time(index.double())
    assert (path.noised(x0, unit, t) - scheduler.add_noise(x0, unit, index)).abs().max() < 1e-12
    a, b = path.velocity_weights(t)
    velocity = a[:, None] * x0 + b[:, None] * unit
    assert (velocity - scheduler.get_velocity(x0, unit, index)).abs().max() < 1e-12


@pytest.mark.parametrize("shift", [1.0, 3.0, 0.5])
def test_flow_is_flow_match_eulers_on_its_grid(shift: float) -> None:
    scheduler = FlowMatchEulerDiscreteScheduler(shift=shift)
    path, t = FlowMatching(shift), torch.arange(1000, 0, -1).double() / 1000
    assert (path.sigma(t) - scheduler.sigmas.double()).abs().max() < 2e-7
    assert (path.network_time(t) - scheduler.timesteps.double()).abs().max() < 2e-4  # 1000 float32 roundings of sigma
    x0, unit = torch.randn(2, 1000, 3, generator=torch.Generator().manual_seed(2))
    theirs = scheduler.scale_noise(x0, scheduler.timesteps, unit)
    assert (path.noised(x0, unit, t) - theirs).abs().max() < 2e-6


@pytest.mark.parametrize(("schedule", "rho"), [("karras", 7.0), ("karras", 3.0), ("exponential", math.inf)])
def test_exploding_sigmas_are_edms(schedule: str, rho: float) -> None:
    scheduler = EDMEulerScheduler(sigma_schedule=schedule, rho=7.0 if math.isinf(rho) else rho)
    path = VarianceExploding(rho=rho)
    for steps in (1, 2, 5, 40):
        if schedule == "exponential" and steps == 1:
            continue  # linspace of one point: diffusers starts at sigma_min, which is no sampling
        scheduler.set_timesteps(steps)
        t = torch.tensor(path.grid(steps), dtype=torch.float64)
        assert torch.allclose(path.sigma(t), scheduler.sigmas[:-1].double(), rtol=1e-6, atol=0)
        assert torch.allclose(path.network_time(t), scheduler.timesteps.double(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 7, 20, 50, 1000])
def test_grid_of_a_table_is_trailing_spacing(steps: int) -> None:
    scheduler = DDIMScheduler(timestep_spacing="trailing")
    scheduler.set_timesteps(steps)
    path = PATHS["vp-linear"]
    indices = path.network_time(torch.tensor(path.grid(steps), dtype=torch.float64))
    np.testing.assert_allclose(indices.numpy(), scheduler.timesteps.numpy(), atol=1e-9)


def test_grid_of_a_flow_are_the_sigmas_that_pipelines_pass() -> None:
    np.testing.assert_allclose(FlowMatching(3.0).grid(4), np.linspace(1, 1 / 4, 4), atol=1e-15)
    assert FlowMatching().grid(1) == (1.0,)


def test_the_nearest_time_that_a_scheduler_can_be_set_to() -> None:
    path = PATHS["vp-linear"]
    for t in (0.0, 0.1234, 0.25, 0.7501, 1.0):
        index = path.on_grid(t) * 999
        assert index == pytest.approx(round(index), abs=1e-9)
        assert abs(index - t * 999) <= 0.5 + 1e-9
    for name in ("ve", "flow-shift-3", "trigonometric"):
        assert PATHS[name].on_grid(0.1234) == 0.1234
