"""The kinds of noise that diffusers' schedulers stand for, by their names and configs alone, without torch."""

from collections.abc import Mapping
from typing import Any

from backend.teachers import TeacherError

# Each has a table `alphas_cumprod`. Where the scheduler itself needs a library that is not ours, one with the same
# table and the same defaults stands in for it.
TABLES = {
    "DDPMScheduler": "DDPMScheduler",
    "DDPMParallelScheduler": "DDPMParallelScheduler",
    "DDIMScheduler": "DDIMScheduler",
    "DDIMParallelScheduler": "DDIMParallelScheduler",
    "DDIMInverseScheduler": "DDIMInverseScheduler",
    "PNDMScheduler": "PNDMScheduler",
    "EulerDiscreteScheduler": "EulerDiscreteScheduler",
    "EulerAncestralDiscreteScheduler": "EulerAncestralDiscreteScheduler",
    "HeunDiscreteScheduler": "HeunDiscreteScheduler",
    "KDPM2DiscreteScheduler": "KDPM2DiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler": "KDPM2AncestralDiscreteScheduler",
    "LMSDiscreteScheduler": "PNDMScheduler",  # scipy
    "DPMSolverMultistepScheduler": "DPMSolverMultistepScheduler",
    "DPMSolverMultistepInverseScheduler": "DPMSolverMultistepInverseScheduler",
    "DPMSolverSinglestepScheduler": "DPMSolverSinglestepScheduler",
    "DPMSolverSDEScheduler": "HeunDiscreteScheduler",  # torchsde
    "DEISMultistepScheduler": "DEISMultistepScheduler",
    "UniPCMultistepScheduler": "UniPCMultistepScheduler",
    "SASolverScheduler": "SASolverScheduler",
    "LCMScheduler": "LCMScheduler",
    "TCDScheduler": "TCDScheduler",
}
EDM = ("EDMEulerScheduler", "EDMDPMSolverMultistepScheduler")
FLOW = ("FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler", "FlowMatchLCMScheduler")
TABLE_PREDICTIONS = ("epsilon", "v_prediction", "sample")
_CLIPPING = {
    "DDPMScheduler": True,
    "DDPMParallelScheduler": True,
    "DDIMScheduler": True,
    "DDIMParallelScheduler": True,
    "DDIMInverseScheduler": True,
    "LCMScheduler": False,
    "TCDScheduler": False,
}
"""Schedulers that can clip every predicted sample, and whether they do where a config says nothing."""
_THRESHOLDING = ("DPMSolver", "DEIS", "UniPC", "SASolver", *_CLIPPING)


def noise_of(config: Mapping[str, Any]) -> tuple[str, str]:
    """The name of the path (`noise`) and the prediction type that a scheduler's config stands for.

    Less than `scheduler_config.path_of` checks, which makes the path itself. Raises `TeacherError` for other kinds.
    """
    name, kind = str(config.get("_class_name")), config.get("prediction_type", "epsilon")
    if name in EDM:
        return "VarianceExploding", "edm"
    if name in FLOW:
        return "FlowMatching", "flow"
    if name not in TABLES:
        raise TeacherError(unknown_words(name))
    if config.get("use_flow_sigmas") or kind == "flow_prediction":
        return "FlowMatching", "flow"
    if kind not in TABLE_PREDICTIONS:
        raise TeacherError(f"Prediction type {kind!r} is unknown; it must be epsilon, v_prediction or sample.")
    if config.get("rescale_betas_zero_snr") and kind == "epsilon":
        raise TeacherError(
            "The scheduler has zero terminal SNR, at which a network that predicts epsilon says nothing; "
            "use a teacher with v_prediction, or the scheduler it was trained with."
        )
    return "VariancePreserving", str(kind)


def unknown_words(name: str) -> str:
    """The sentence for a scheduler that no path is known for."""
    return f"The scheduler {name} is of an unknown kind; choose a teacher with a DDPM, EDM or flow scheduler."


def clips(config: Mapping[str, Any]) -> bool:
    """Whether the scheduler clips what the network predicts, so that its own pipeline makes other pictures."""
    name = str(config.get("_class_name"))
    if name in _CLIPPING and config.get("clip_sample", _CLIPPING[name]):
        return True
    return bool(name.startswith(_THRESHOLDING) and config.get("thresholding"))


def notes_on(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Sentences a person should know of a scheduler before choosing its model."""
    if not clips(config):
        return ()
    return (
        "Its scheduler clips every predicted sample, which is no part of the network: here it is sampled without, "
        "so its pictures differ a little from its own pipeline's.",
    )
