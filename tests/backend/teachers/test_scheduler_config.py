"""Scheduler configs to paths: exactly the scheduler's own grid, or a sentence."""

import math
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor

from backend.noise import FlowMatching, VarianceExploding, VariancePreserving
from backend.teachers import TeacherError
from backend.teachers.noise_kinds import clips
from backend.teachers.scheduler_config import path_of

torch.set_num_threads(1)

TABLE_SCHEDULERS = [
    "DDPMScheduler",
    "DDPMParallelScheduler",
    "DDIMScheduler",
    "DDIMParallelScheduler",
    "DDIMInverseScheduler",
    "PNDMScheduler",
    "EulerDiscreteScheduler",
    "EulerAncestralDiscreteScheduler",
    "HeunDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "LMSDiscreteScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverMultistepInverseScheduler",
    "DPMSolverSinglestepScheduler",
    "DEISMultistepScheduler",
    "UniPCMultistepScheduler",
    "SASolverScheduler",
    "LCMScheduler",
    "TCDScheduler",
]
WITH_ZERO_SNR = [
    "DDPMScheduler",
    "DDIMScheduler",
    "EulerDiscreteScheduler",
    "EulerAncestralDiscreteScheduler",
    "DPMSolverMultistepScheduler",
    "UniPCMultistepScheduler",
    "LCMScheduler",
    "TCDScheduler",
]
SOLVERS_WITH_FLOW = [
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "DEISMultistepScheduler",
    "UniPCMultistepScheduler",
    "SASolverScheduler",
]


def saved(name: str, **settings: Any) -> tuple[Any, dict[str, Any]]:
    """A scheduler and the config it would save."""
    scheduler = getattr(diffusers, name)(**settings)
    return scheduler, {"_class_name": name, "_diffusers_version": "0.42.1", **scheduler.config}


def on_its_grid(path: Any, alphas_cumprod: Tensor) -> None:
    index = torch.arange(len(alphas_cumprod), dtype=torch.float64)
    t = path.t_of_network_time(index)
    assert (path.alpha(t) - alphas_cumprod.double().sqrt()).abs().max() < 1e-12
    assert (path.sigma(t) - (1 - alphas_cumprod.double()).sqrt()).abs().max() < 1e-12
    assert (path.network_time(t) - index).abs().max() < 1e-9


@pytest.mark.parametrize("schedule", ["linear", "scaled_linear", "squaredcos_cap_v2"])
@pytest.mark.parametrize("name", TABLE_SCHEDULERS)
def test_tables_are_exactly_the_schedulers(name: str, schedule: str) -> None:
    scheduler, config = saved(name, beta_schedule=schedule, beta_start=0.001, beta_end=0.013, num_train_timesteps=400)
    path, kind, _ = path_of(config)
    assert isinstance(path, VariancePreserving)
    assert kind == "epsilon"
    on_its_grid(path, scheduler.alphas_cumprod)


@pytest.mark.parametrize("name", TABLE_SCHEDULERS)
def test_what_a_config_leaves_out_is_the_classs_default(name: str) -> None:
    scheduler, _ = saved(name)
    on_its_grid(path_of({"_class_name": name})[0], scheduler.alphas_cumprod)


@pytest.mark.parametrize(
    ("name", "schedule"), [("DDPMScheduler", "sigmoid"), ("DDPMScheduler", "laplace"), ("HeunDiscreteScheduler", "exp")]
)
def test_rarer_beta_schedules(name: str, schedule: str) -> None:
    scheduler, config = saved(name, beta_schedule=schedule)
    on_its_grid(path_of(config)[0], scheduler.alphas_cumprod)


@pytest.mark.parametrize("name", TABLE_SCHEDULERS)
def test_trained_betas(name: str) -> None:
    betas = [0.01 + 0.002 * i for i in range(50)]
    scheduler, config = saved(name, trained_betas=betas, num_train_timesteps=50)
    on_its_grid(path_of(config)[0], scheduler.alphas_cumprod)


@pytest.mark.parametrize("kind", ["v_prediction", "sample"])
@pytest.mark.parametrize("name", WITH_ZERO_SNR)
def test_zero_terminal_snr(name: str, kind: str) -> None:
    scheduler, config = saved(name, rescale_betas_zero_snr=True, prediction_type=kind)
    path, found, _ = path_of(config)
    assert found == kind
    assert float(scheduler.alphas_cumprod[-1]) in (0, 2**-24)  # the second so that its solvers need not divide by 0
    on_its_grid(path, torch.cat([scheduler.alphas_cumprod[:-1], torch.zeros(1)]))
    with pytest.raises(TeacherError, match="zero terminal SNR"):
        path_of({**config, "prediction_type": "epsilon"})


@pytest.mark.parametrize("name", ["PNDMScheduler", "LMSDiscreteScheduler", "HeunDiscreteScheduler"])
def test_what_a_scheduler_ignores_is_ignored(name: str) -> None:
    scheduler, config = saved(name)
    on_its_grid(path_of({**config, "rescale_betas_zero_snr": True})[0], scheduler.alphas_cumprod)


@pytest.mark.parametrize(
    "options",
    [
        {"use_karras_sigmas": True},
        {"use_beta_sigmas": True},
        {"use_exponential_sigmas": True},
        {"timestep_spacing": "leading", "steps_offset": 1},
        {"algorithm_type": "sde-dpmsolver++"},
        {"lambda_min_clipped": -5.1, "thresholding": True},
    ],
)
def test_how_a_pipeline_samples_is_no_part_of_the_path(options: dict[str, Any]) -> None:
    plain, _ = saved("DPMSolverMultistepScheduler")
    _, config = saved("DPMSolverMultistepScheduler", **options)
    on_its_grid(path_of(config)[0], plain.alphas_cumprod)


def test_a_scheduler_whose_library_is_missing_has_its_stand_ins_table() -> None:
    config = {"_class_name": "DPMSolverSDEScheduler", "beta_schedule": "scaled_linear"}
    scheduler, _ = saved("HeunDiscreteScheduler", beta_schedule="scaled_linear")
    on_its_grid(path_of(config)[0], scheduler.alphas_cumprod)


@pytest.mark.parametrize("name", ["EDMEulerScheduler", "EDMDPMSolverMultistepScheduler"])
@pytest.mark.parametrize("schedule", ["karras", "exponential"])
def test_edm(name: str, schedule: str) -> None:
    scheduler, config = saved(name, sigma_min=0.01, sigma_max=50.0, sigma_data=0.7, rho=5.0, sigma_schedule=schedule)
    path, kind, sigma_data = path_of(config)
    assert isinstance(path, VarianceExploding)
    assert (kind, sigma_data) == ("edm", 0.7)
    scheduler.set_timesteps(33)
    t = torch.tensor(path.grid(33), dtype=torch.float64)
    assert torch.allclose(path.sigma(t), scheduler.sigmas[:-1].double(), rtol=1e-6, atol=0)
    assert torch.allclose(path.network_time(t), scheduler.timesteps.double(), rtol=0, atol=1e-6)
    assert path_of({"_class_name": name})[0] == VarianceExploding()


@pytest.mark.parametrize("shift", [1.0, 3.0])
@pytest.mark.parametrize(
    "name", ["FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler", "FlowMatchLCMScheduler"]
)
def test_flow_with_a_static_shift(name: str, shift: float) -> None:
    scheduler, config = saved(name, shift=shift, num_train_timesteps=500)
    path, kind, _ = path_of(config)
    assert path == FlowMatching(shift, 500)
    assert kind == "flow"
    t = torch.arange(500, 0, -1).double() / 500
    assert (path.sigma(t) - scheduler.sigmas.double()).abs().max() < 2e-7
    assert (path.network_time(t) - scheduler.timesteps.double()).abs().max() < 1e-4


@pytest.mark.parametrize("kind", ["exponential", "linear"])
@pytest.mark.parametrize("tokens", [None, 256, 1024, 4096])
def test_flow_with_a_dynamic_shift(kind: str, tokens: int | None) -> None:
    scheduler, config = saved("FlowMatchEulerDiscreteScheduler", use_dynamic_shifting=True, time_shift_type=kind)
    path = path_of(config, tokens)[0]
    length = 256 if tokens is None else tokens
    mu = 0.5 + (1.15 - 0.5) * (length - 256) / (4096 - 256)  # calculate_shift of FLUX's pipeline
    scheduler.set_timesteps(sigmas=list(path.grid(8)), mu=mu)
    t = torch.tensor(path.grid(8), dtype=torch.float64)
    assert (path.sigma(t) - scheduler.sigmas[:-1].double()).abs().max() < 2e-7
    assert (path.network_time(t) - scheduler.timesteps.double()).abs().max() < 2e-4


@pytest.mark.parametrize("name", SOLVERS_WITH_FLOW)
def test_flow_by_a_general_solver(name: str) -> None:
    scheduler, config = saved(name, use_flow_sigmas=True, prediction_type="flow_prediction", flow_shift=3.0)
    path, kind, _ = path_of(config)
    assert path == FlowMatching(3.0)
    assert kind == "flow"
    scheduler.set_timesteps(10)
    sigmas = scheduler.sigmas[:-1].double()
    # Its timesteps are cut to whole numbers; its sigmas are not.
    assert (
        path.network_time(path.t_of_ratio(sigmas / (1 - sigmas))) - scheduler.timesteps.double()
    ).abs().max() <= 1.01
    with pytest.raises(TeacherError, match="contradict"):
        path_of({**config, "prediction_type": "epsilon"})
    with pytest.raises(TeacherError, match="contradict"):
        path_of({**config, "use_flow_sigmas": False})


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (
            {"_class_name": "CMStochasticIterativeScheduler"},
            "CMStochasticIterativeScheduler is of an unknown kind; choose",
        ),
        ({"_class_name": "ScoreSdeVeScheduler"}, "ScoreSdeVeScheduler is of an unknown kind"),
        ({"_class_name": "SCMScheduler"}, "unknown kind"),
        ({"_class_name": "os.system"}, "unknown kind"),
        ({}, "scheduler None is of an unknown kind"),
        ({"_class_name": "DDIMScheduler", "prediction_type": "score"}, "'score' is unknown; it must be epsilon"),
        ({"_class_name": "DDIMScheduler", "prediction_type": "edm"}, "'edm' is unknown"),
        ({"_class_name": "DDIMScheduler", "prediction_type": ["epsilon"]}, "is unknown"),
        ({"_class_name": "DDIMScheduler", "beta_schedule": "wavy"}, "no noise schedule of its betas .*wavy"),
        ({"_class_name": "DDIMScheduler", "beta_start": "0.1"}, 'beta_start is "0.1" and must be a number'),
        ({"_class_name": "DDIMScheduler", "beta_end": math.nan}, "beta_end is NaN and must be a number"),
        ({"_class_name": "DDIMScheduler", "beta_start": 0.0, "beta_end": 0.0}, "falling table"),
        ({"_class_name": "DDIMScheduler", "num_train_timesteps": 1}, "num_train_timesteps is 1; correct"),
        ({"_class_name": "DDIMScheduler", "num_train_timesteps": 10.5}, "num_train_timesteps is 10.5"),
        ({"_class_name": "DDIMScheduler", "trained_betas": ["a"]}, "no noise schedule of its betas"),
        ({"_class_name": "DDIMScheduler", "trained_betas": [0.1, -0.1]}, "falling table"),
        ({"_class_name": "EulerDiscreteScheduler", "timestep_type": "continuous"}, "continuous timesteps"),
        ({"_class_name": "EDMEulerScheduler", "prediction_type": "v_prediction"}, "v_prediction is not supported"),
        ({"_class_name": "EDMEulerScheduler", "sigma_schedule": "cubic"}, "'cubic' is unknown"),
        ({"_class_name": "EDMEulerScheduler", "sigma_min": 0.0}, "noise range is impossible"),
        ({"_class_name": "EDMEulerScheduler", "sigma_max": None}, "sigma_max is null and must be a number"),
        ({"_class_name": "EDMEulerScheduler", "sigma_data": 0}, "sigma_data is 0 and must be above 0"),
        ({"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 0}, "shift is 0 and must be above 0"),
        ({"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": True}, "shift is true and must be a number"),
        ({"_class_name": "FlowMatchEulerDiscreteScheduler", "invert_sigmas": True}, "clock backwards"),
        (
            {
                "_class_name": "FlowMatchEulerDiscreteScheduler",
                "use_dynamic_shifting": True,
                "base_image_seq_len": 4096,
            },
            "base_image_seq_len must be below",
        ),
        (
            {"_class_name": "FlowMatchEulerDiscreteScheduler", "use_dynamic_shifting": True, "time_shift_type": "odd"},
            "time shift type 'odd' is unknown",
        ),
    ],
)
def test_what_cannot_be_used_is_refused_in_a_sentence(config: dict[str, Any], words: str) -> None:
    with pytest.raises(TeacherError, match=words):
        path_of(config)


def test_clipping_is_noticed_and_its_default_known() -> None:
    assert clips({"_class_name": "DDPMScheduler"})
    assert clips({"_class_name": "DDIMScheduler", "clip_sample": True})
    assert clips({"_class_name": "DPMSolverMultistepScheduler", "thresholding": True})
    assert not clips({"_class_name": "DDIMScheduler", "clip_sample": False})
    assert not clips({"_class_name": "PNDMScheduler"})
    assert not clips({"_class_name": "EDMEulerScheduler"})
