"""From a diffusers scheduler's config to the path and prediction type its network was trained with.

A config says two things: how data turn into noise, which is the network's and is read here, and how a pipeline samples
(spacing, solver, Karras or beta sigmas, clipping), which is not.
"""

import inspect
import json
import math
from typing import Any, get_args

import diffusers

from backend.networks import PredictionType
from backend.noise import FlowMatching, Path, VarianceExploding, VariancePreserving
from backend.teachers import TeacherError
from backend.teachers.noise_kinds import EDM, FLOW, TABLE_PREDICTIONS, TABLES, unknown_words

_TABLE_SETTINGS = (
    "num_train_timesteps",
    "beta_start",
    "beta_end",
    "beta_schedule",
    "trained_betas",
    "rescale_betas_zero_snr",
)


class _Config:
    """A config with its class's defaults for what it leaves out, and without what the class ignores."""

    def __init__(self, config: dict[str, Any], of: str) -> None:
        self.name = str(config.get("_class_name"))
        self.scheduler = getattr(diffusers, of)
        parameters = inspect.signature(self.scheduler.__init__).parameters.values()
        self.values = {p.name: p.default for p in parameters if p.default is not p.empty}
        self.values |= {key: value for key, value in config.items() if key in self.values}

    def number(self, key: str) -> float:
        value = self.values[key]
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise TeacherError(
                f"The scheduler's {key} is {json.dumps(value)} and must be a number; correct scheduler_config.json."
            )
        return float(value)

    def count(self, key: str) -> int:
        value = self.number(key)
        if value != int(value) or value < 2:
            raise TeacherError(f"The scheduler's {key} is {value:g}; correct scheduler_config.json to 2 or more steps.")
        return int(value)


def path_of(config: dict[str, Any], tokens: int | None = None) -> tuple[Path, PredictionType, float]:
    """The path, prediction type and sigma_data of a diffusers scheduler config, exactly on the scheduler's own grid.

    tokens: length of the sequence a transformer makes of a sample, on which the shift of some flow schedulers depends;
    None takes their `base_image_seq_len`. Raises `TeacherError` for a noise process that is unknown or impossible.
    """
    name = str(config.get("_class_name"))
    if name in EDM:
        return _edm(_Config(config, name))
    if name in FLOW:
        return _flow(_Config(config, name), tokens)
    if name in TABLES:
        known = _Config(config, TABLES[name])
        if known.values.get("use_flow_sigmas") or known.values.get("prediction_type") == "flow_prediction":
            return _flow_of_solver(known)
        return _table(known)
    raise TeacherError(unknown_words(name))


def _edm(config: _Config) -> tuple[Path, PredictionType, float]:
    kind = config.values["prediction_type"]
    if kind != "epsilon":
        raise TeacherError(
            f"{config.name} with prediction type {kind} is not supported; choose a teacher with its default, epsilon."
        )
    schedule = config.values["sigma_schedule"]
    if schedule not in ("karras", "exponential"):
        raise TeacherError(f"The sigma schedule {schedule!r} is unknown; it must be karras or exponential.")
    rho = config.number("rho") if schedule == "karras" else math.inf
    sigma_data = config.number("sigma_data")
    if sigma_data <= 0:
        raise TeacherError(f"The scheduler's sigma_data is {sigma_data:g} and must be above 0.")
    try:
        return VarianceExploding(config.number("sigma_min"), config.number("sigma_max"), rho), "edm", sigma_data
    except ValueError as error:
        raise TeacherError(f"The scheduler's noise range is impossible: {error}") from error


def _flow(config: _Config, tokens: int | None) -> tuple[Path, PredictionType, float]:
    if config.values.get("invert_sigmas"):
        raise TeacherError(
            f"{config.name} with invert_sigmas runs its clock backwards, which is not supported; "
            "choose a flow teacher without it."
        )
    shift = config.number("shift")
    if config.values.get("use_dynamic_shifting"):
        shift = _dynamic_shift(config, tokens)
    return _flow_path(shift, config.count("num_train_timesteps"))


def _dynamic_shift(config: _Config, tokens: int | None) -> float:
    """The shift at a sequence length: mu is linear in the length (FLUX's pipeline), shift is exp(mu), or mu itself."""
    low, high = config.number("base_image_seq_len"), config.number("max_image_seq_len")
    if low >= high:
        raise TeacherError(
            "The scheduler's base_image_seq_len must be below its max_image_seq_len; correct its config."
        )
    first, last = config.number("base_shift"), config.number("max_shift")
    length = low if tokens is None else tokens
    mu = first + (last - first) * (length - low) / (high - low)
    kind = config.values["time_shift_type"]
    if kind not in ("exponential", "linear"):
        raise TeacherError(f"The time shift type {kind!r} is unknown; it must be exponential or linear.")
    return math.exp(mu) if kind == "exponential" else mu


def _flow_of_solver(config: _Config) -> tuple[Path, PredictionType, float]:
    kind, flow = config.values["prediction_type"], bool(config.values.get("use_flow_sigmas"))
    if not flow or kind != "flow_prediction":
        raise TeacherError(
            f"{config.name} has prediction type {kind} with use_flow_sigmas {flow}, which contradict each other; "
            "a flow teacher has flow_prediction and use_flow_sigmas."
        )
    return _flow_path(config.number("flow_shift"), config.count("num_train_timesteps"))


def _flow_path(shift: float, steps: int) -> tuple[Path, PredictionType, float]:
    try:
        return FlowMatching(shift, steps), "flow", 0.5
    except ValueError as error:
        raise TeacherError(f"The scheduler's shift is {shift:g} and must be above 0.") from error


def _table(config: _Config) -> tuple[Path, PredictionType, float]:
    kind = config.values["prediction_type"]
    if kind not in TABLE_PREDICTIONS or kind not in get_args(PredictionType):
        raise TeacherError(f"Prediction type {kind!r} is unknown; it must be epsilon, v_prediction or sample.")
    if config.values.get("timestep_type", "discrete") != "discrete":
        raise TeacherError(
            f"{config.name} with continuous timesteps is not supported; choose a teacher with discrete ones."
        )
    if config.values["trained_betas"] is None:
        config.count("num_train_timesteps")
        config.number("beta_start")
        config.number("beta_end")
    # Only what makes the table: sampling options may need libraries or contradict each other, and do not bear on it.
    chosen = {key: config.values[key] for key in _TABLE_SETTINGS if key in config.values}
    try:
        table = config.scheduler.from_config(chosen).alphas_cumprod.double()
        if config.values.get("rescale_betas_zero_snr"):
            # What networks are trained with. For their solvers' sake some schedulers put 2^-24, which may be more than
            # the entry before it.
            table[-1] = 0
        path = VariancePreserving(table)
    # What diffusers' schedulers raise at betas and names of schedules that they do not know, each in its own way.
    except (ValueError, TypeError, RuntimeError, NotImplementedError) as error:
        raise TeacherError(
            f"{config.name} makes no noise schedule of its betas ({error}); correct scheduler_config.json."
        ) from error
    if kind == "epsilon" and float(table[-1]) < 1e-10:
        raise TeacherError(
            "The scheduler has zero terminal SNR, at which a network that predicts epsilon says nothing; "
            "use a teacher with v_prediction, or the scheduler it was trained with."
        )
    return path, kind, 0.5
