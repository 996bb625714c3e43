"""How plain diffusers must use a student to make the same pictures: which scheduler, with what settings and steps.

| path        | renoise, or one step                | deterministic                         |
|-------------|-------------------------------------|---------------------------------------|
| EDM         | ConsistencyModelPipeline            | EDMEulerScheduler                     |
| VP          | LCMScheduler                        | DDIMScheduler                         |
| flow        | FlowMatchLCMScheduler               | FlowMatchEulerDiscreteScheduler       |

Four forms of use: a `pipeline` call; the usual loop over a `scheduler`; the `formula`, which spells the same steps out
in numbers; and `momentum`, whose steps integrate a velocity. The formula is exact for every path and level, so it takes
over where a scheduler cannot hold the student's levels or would lose digits, and where the network is not the same at
every step (`by_step`); the folder's scheduler is then the nearest one, for other programs.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any, Literal

import diffusers
import torch
from diffusers import DDIMScheduler, UNet2DModel
from torch import Tensor, nn

from backend.exports import ExportError
from backend.exports.consistency import ClockError, consistency_time, integer_grid
from backend.networks import Denoiser, Prediction
from backend.networks.told import module_of
from backend.networks.unet2d_condition import UNet2DCondition
from backend.noise import FlowMatching, VarianceExploding, VariancePreserving
from backend.samplers import Sampler

Form = Literal["pipeline", "scheduler", "formula", "momentum"]
LastLayer = Literal["", "conv_out", "proj_out_2", "proj_out"]
Numbers = dict[str, Any]  # settings of a scheduler, as its JSON holds them

Scheduler = Literal[
    "CMStochasticIterativeScheduler",
    "DDIMScheduler",
    "EDMEulerScheduler",
    "FlowMatchEulerDiscreteScheduler",
    "FlowMatchLCMScheduler",
    "LCMScheduler",
]
Arguments = dict[Literal["num_inference_steps", "timesteps", "sigmas"], int | list[int] | list[float]]

# x0 = (x - sigma noise)/alpha multiplies float32's rounding of x by 1/alpha, so that two orders of the same operations
# differ, measured by 4e-7/alpha: 5e-6 at a gain of 12, 5e-5 at 157, the end of DDPM's schedule. Above this gain
# that comes near 1e-5, and the formula, which keeps the preview's order, is used instead.
ROUNDING = 4e-7
LARGEST_GAIN = 15.0


@dataclass(frozen=True)
class Step:
    """One evaluation in numbers: x0 and noise as sums of state and output, and the next state as a sum of those two.

    time: what the network is told. scale: of its input. next: None after the last.
    """

    time: float
    scale: float
    x0: tuple[float, float]
    noise: tuple[float, float]
    next: tuple[float, float] | None


@dataclass(frozen=True)
class Integral:
    """The ends of a step for a mixture of velocities: times of flow matching, and what its states are multiplied by."""

    start: float
    end: float
    start_scale: float
    end_scale: float


@dataclass(frozen=True)
class Usage:
    """Everything that plain diffusers needs to use the student; it is data and travels in the export.

    arguments: of `set_timesteps`. start: factor of the first noise. fresh: whether a step draws new noise.
    note: why it is not a simpler form, a clause, empty where it is. changes: whether each step has weights of its own
    for some of the network's. networks: of several, the number of each step's. integrals, last: each step's ends, and
    the layer beside which the mixture of velocities is made.
    """

    form: Form
    scheduler: Scheduler
    settings: Numbers
    arguments: Arguments
    start: float
    fresh: bool
    steps: tuple[Step, ...]
    note: str = ""
    changes: bool = False
    networks: tuple[int, ...] = ()
    integrals: tuple[Integral, ...] = ()
    last: LastLayer = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def new_scheduler(self) -> Any:
        """The diffusers scheduler with its settings."""
        return getattr(diffusers, self.scheduler)(**self.settings)


def usage_of(student: Denoiser, sampler: Sampler, untouched: bool = False) -> tuple[Usage, nn.Module]:
    """The simplest exact use of a student, and the network it is for, moved to another clock where that is needed.

    untouched: it must not be moved, as where adapters alone leave and the network is the teacher's own. Raises
    `ExportError` where diffusers has no scheduler for the student's path.
    """
    unet = module_of(student.network)
    path, kind = student.path, student.prediction_type
    if isinstance(path, VarianceExploding):
        return _edm(student, path, sampler, unet, untouched)
    if isinstance(path, VariancePreserving) and kind in ("epsilon", "v_prediction", "sample"):
        return _variance_preserving(student, path, sampler), unet
    if isinstance(path, FlowMatching) and kind == "flow":
        return _flow(student, path, sampler), unet
    raise ExportError(
        f"diffusers has no scheduler for a {type(path).__name__} student that predicts {kind}; "
        "export its weights as safetensors."
    )


def _usage(student: Denoiser, sampler: Sampler, scheduler: Scheduler, settings: Numbers, arguments: Arguments) -> Usage:
    start = student.path.start_scale(torch.tensor(sampler.levels[0], dtype=torch.float64))
    return Usage(
        "scheduler",
        scheduler,
        settings,
        arguments,
        float(start),
        sampler.kind == "renoise" and sampler.nfe > 1,
        formula(student, sampler),
    )


def formula(student: Denoiser, sampler: Sampler) -> tuple[Step, ...]:
    """The sampler's steps in numbers, read off the same `Prediction` that makes the previews."""

    def sums(view: str, t: Tensor) -> tuple[float, float]:
        one, zero = torch.ones(1, 1, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)
        kind, sigma_data = student.prediction_type, student.sigma_data
        of_state = getattr(Prediction(one, zero, t, path, kind, sigma_data), view)
        of_output = getattr(Prediction(zero, one, t, path, kind, sigma_data), view)
        return float(of_state), float(of_output)

    path, steps = student.path, []
    for level, after in zip(sampler.levels, [*sampler.levels[1:], None], strict=True):
        t = torch.tensor([level], dtype=torch.float64)
        edm = student.prediction_type == "edm"
        scale = (path.sigma(t) ** 2 + student.sigma_data**2).rsqrt() if edm else torch.ones(1)
        s = None if after is None else torch.tensor(after, dtype=torch.float64)
        following = None if s is None else (float(path.alpha(s)), float(path.sigma(s)))
        steps.append(Step(float(path.network_time(t)), float(scale), sums("x0", t), sums("noise", t), following))
    return tuple(steps)


def _edm(
    student: Denoiser, path: VarianceExploding, sampler: Sampler, unet: nn.Module, untouched: bool
) -> tuple[Usage, nn.Module]:
    exponential = math.isinf(path.rho)
    settings: Numbers = {"sigma_min": path.sigma_min, "sigma_max": path.sigma_max, "sigma_data": student.sigma_data}
    settings |= {"sigma_schedule": "exponential"} if exponential else {"rho": path.rho}
    ramp = [1 - level for level in sampler.levels]  # what EDMEulerScheduler calls sigmas
    loop = _usage(student, sampler, "EDMEulerScheduler", settings, {"sigmas": ramp})
    if sampler.kind == "deterministic" and sampler.nfe > 1:
        if exponential:
            note = "EDMEulerScheduler takes no levels on its exponential schedule"
            return replace(loop, form="formula", note=note), unet
        return loop, unet
    try:
        if untouched:
            raise ClockError("its weights would have to be moved to another clock")
        return _consistency(student, path, sampler, unet)
    except ClockError as error:
        note = f"ConsistencyModelPipeline does not fit this student: {error}"
        return replace(loop, form="formula", note=note), unet


def _consistency(
    student: Denoiser, path: VarianceExploding, sampler: Sampler, unet: nn.Module
) -> tuple[Usage, nn.Module]:
    if not isinstance(unet, UNet2DModel):
        raise ClockError("its network is no pixel U-Net")
    if not isinstance(unet.config.sample_size, int):
        raise ClockError("its pictures are not square")
    sigmas = path.sigma(torch.tensor(sampler.levels, dtype=torch.float64)).tolist()
    rho = 7.0 if math.isinf(path.rho) else path.rho
    grid = integer_grid(sigmas, rho)
    if grid is None:
        raise ClockError("its noise levels are on no grid of whole numbers")
    settings = {
        "num_train_timesteps": grid[0],
        "sigma_min": 0.0,
        "sigma_max": sigmas[0],
        "sigma_data": student.sigma_data,
        "rho": rho,
        "clip_denoised": False,  # the pipeline clips the finished picture; the student's own x0 is not clipped
    }
    # The pipeline wants falling numbers and reverses them: 0 is sigma_max.
    usage = _usage(student, sampler, "CMStochasticIterativeScheduler", settings, {"timesteps": grid[1][::-1]})
    return replace(usage, form="pipeline"), consistency_time(unet)


def _variance_preserving(student: Denoiser, path: VariancePreserving, sampler: Sampler) -> Usage:
    exact = [level * (path.steps - 1) for level in sampler.levels]
    timesteps = [round(index) for index in exact]
    settings = {**betas_of(path), "prediction_type": student.prediction_type, "clip_sample": False}
    if isinstance(student.network, UNet2DCondition):
        settings["steps_offset"] = 1  # without meaning here; its pipeline warns of any other
    if sampler.kind == "deterministic" and sampler.nfe > 1:
        settings |= {"timestep_spacing": "trailing", "set_alpha_to_one": True}
        usage = _usage(student, sampler, "DDIMScheduler", settings, {"num_inference_steps": sampler.nfe})
        stride = path.steps // sampler.nfe  # what DDIMScheduler goes back by, wherever its next timestep is
        scheduler = usage.new_scheduler()
        scheduler.set_timesteps(sampler.nfe)
        held = scheduler.timesteps.tolist() == timesteps
        held = held and all(a - stride == b for a, b in pairwise(timesteps))
        held = held and timesteps[-1] < stride
    else:
        # The scaling pushes LCM's boundary condition (c_skip = 1e-8 instead of 0) out of float32's sight.
        settings |= {"original_inference_steps": path.steps, "timestep_scaling": 1e4}
        usage = _usage(student, sampler, "LCMScheduler", settings, {"timesteps": timesteps})
        held = timesteps[-1] > 0
    if not held or max(abs(a - b) for a, b in zip(exact, timesteps, strict=True)) > 1e-6:
        return replace(usage, form="formula", note=f"{usage.scheduler} has no steps at this student's levels")
    gain = 1 / float(path.alpha(torch.tensor(sampler.levels[0], dtype=torch.float64)).clamp(min=1e-6))
    if student.prediction_type == "epsilon" and gain > LARGEST_GAIN:
        note = (
            f"the first level divides by alpha = {1 / gain:.4f}, and in float32 {usage.scheduler} with "
            f"{_call(usage.arguments)} rounds that to about {ROUNDING * gain:.0e}"
        )
        return replace(usage, form="formula", note=note)
    return usage


def _call(arguments: Arguments) -> str:
    return f"set_timesteps({', '.join(f'{name}={value}' for name, value in arguments.items())})"


def _flow(student: Denoiser, path: FlowMatching, sampler: Sampler) -> Usage:
    fresh = sampler.kind == "renoise" and sampler.nfe > 1
    scheduler: Scheduler = "FlowMatchLCMScheduler" if fresh else "FlowMatchEulerDiscreteScheduler"
    levels = torch.tensor(sampler.levels, dtype=torch.float64)
    # Levels are what the scheduler's sigmas are before its shift. The times are given too, because shifting in
    # float32 and multiplying by 1000 would tell the network another time than in training.
    arguments: Arguments = {"sigmas": levels.tolist(), "timesteps": path.network_time(levels).tolist()}
    settings = {"num_train_timesteps": path.steps, "shift": path.shift}
    return _usage(student, sampler, scheduler, settings, arguments)


def betas_of(path: VariancePreserving) -> Numbers:
    """Settings with which diffusers' schedulers have the path's table: a named schedule, or the betas themselves."""
    table = path.alphas_cumprod.double().cpu()
    first = float(1 - table[0])
    last = float(1 - table[-1] / table[-2])
    named: list[Numbers] = [{"beta_schedule": "squaredcos_cap_v2"}]
    for schedule in ("linear", "scaled_linear"):
        # Zero terminal SNR hides the last beta, so the two schedules in use are tried by their known ends as well.
        for start, end in ((first, last), (1e-4, 0.02), (0.00085, 0.012)):
            named.append({"beta_schedule": schedule, "beta_start": _short(start), "beta_end": _short(end)})
    for settings in named:
        for zero in (False, True):
            candidate = {"num_train_timesteps": path.steps, **settings, "rescale_betas_zero_snr": zero}
            if _same_table(candidate, table):
                return candidate
    settings = {"num_train_timesteps": path.steps, "trained_betas": _betas(table)}
    if not _same_table(settings, table):
        raise ExportError(
            "The teacher's noise table is finer than diffusers' float32 schedulers hold; export as safetensors."
        )
    return settings


def _same_table(settings: Numbers, table: Tensor) -> bool:
    made = DDIMScheduler(**settings).alphas_cumprod.double()
    return bool(torch.allclose(made, table, rtol=3e-6, atol=1e-10))


def _short(number: float) -> float:
    return float(f"{number:.4g}")


def _betas(table: Tensor) -> Sequence[float]:
    """Betas whose float32 products follow the table: each corrects the rounding of those before."""
    betas: list[float] = []
    product = 1.0
    for wanted in table.tolist():
        beta = torch.tensor(1 - wanted / product).item()
        product *= (1 - torch.tensor(beta)).item()
        betas.append(beta)
    return betas
