"""On Distillation of Guided Diffusion Models, arXiv:2210.03142, the first stage.

A guided teacher is evaluated twice at each step, with its condition and without. The student is told the guidance
scale beside the time and learns to answer in one evaluation what the teacher answers in two, for a whole range of
scales: one network, half the cost, any sampler. The paper's second stage, fewer steps, is progressive distillation
from such a student (`progressive` with a range of its own).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Self

import torch
from pydantic import model_validator
from torch import Tensor

from backend import losses
from backend.contract.settings import Settings as BaseSettings
from backend.contract.settings import setting
from backend.methods import Batch, Method, Preset, Update
from backend.networks import Condition, Denoiser, Guided, Prediction
from backend.noise import per_sample
from backend.optimizers import adams
from backend.samplers import Sampler
from backend.teachers import Teacher


class Settings(BaseSettings):
    student_steps: int = setting(25, "Steps of the sampler that uses the student", low=1, high=250, unit="steps")
    guidance_scale: float = setting(3.0, "Guidance at which the finished student is shown and exported", low=1, high=20)
    lowest_guidance: float = setting(1.0, "Least guidance that the student can be told; 1 is none", low=1, high=20)
    highest_guidance: float = setting(5.0, "Most of it; a wide range spreads the student thin", low=1, high=20)
    weighting: Literal["output", "truncated-snr"] = setting(
        "output", "Of the error over time: as the network was trained, or the paper's for pixels, max(SNR, 1) on x0"
    )
    learning_rate: float = setting(2e-4, "Student's learning rate", low=1e-7, high=1e-2)

    @model_validator(mode="after")
    def _lies_in_a_range(self) -> Self:
        require_in_range(self.guidance_scale, self.lowest_guidance, self.highest_guidance)
        return self


def require_in_range(scale: float, lowest: float, highest: float) -> None:
    """Raise ValueError where the guidance that is shown is none of those that are learnt, or these are no range."""
    if not lowest < highest:
        raise ValueError(
            f"lowest_guidance is {lowest:g} and highest_guidance {highest:g}; give a range, the lowest first."
        )
    if not lowest <= scale <= highest:
        raise ValueError(
            f"guidance_scale is {scale:g}, which the student does not learn; choose it from {lowest:g} to "
            f"{highest:g}, or widen that range."
        )


@dataclass
class Nets:
    teacher: Guided
    student: Denoiser  # told the guidance scale


def build(teacher: Teacher, s: Settings) -> Nets:
    return Nets(Guided(teacher.denoiser, None), teacher.trainable().extended("guidance"))


optimizers = adams()


def sampler(s: Settings, net: Denoiser) -> Sampler:
    return Sampler("deterministic", net.path.grid(s.student_steps), s.guidance_scale)


def step(nets: Nets, batch: Batch, s: Settings) -> Iterator[Update]:
    t = batch.times()
    told = batch.real[1].with_part("guidance", batch.times(s.lowest_guidance, s.highest_guidance))
    yield Update(nets.student, {"guidance": error(nets, batch, t, told, s)})


def error(nets: Nets, batch: Batch, t: Tensor, cond: Condition, s: Settings) -> Tensor:
    """How far the student is from the guided teacher on the real samples noised to times t (B,), a scalar."""
    noised = nets.student.path.noised(batch.real[0], batch.noise(), t)
    with torch.no_grad():
        answer = nets.teacher(noised, t, cond)
    return difference(nets.student(noised, t, cond), answer, s)


def difference(prediction: Prediction, answer: Prediction, s: Settings) -> Tensor:
    """Weighted mean square difference of two predictions for the same noised samples, a scalar (eq. 4)."""
    if s.weighting == "output":
        return (prediction.output - answer.output).square().mean()
    weight = per_sample(losses.truncated_snr(prediction.alpha, prediction.sigma), answer.x0)
    return (weight * (prediction.x0 - answer.x0).square()).mean()


def cost(s: Settings) -> float:
    """Per step: the student's update, and the teacher with its condition and without."""
    return 3 + 2


METHOD = Method(
    title="Guidance distillation",
    paper="arXiv:2210.03142",
    family="guidance and adapters",
    summary="Tells the student the guidance scale, so that guided samples cost half; the number of steps stays.",
    settings=Settings,
    build=build,
    optimizers=optimizers,
    step=step,
    sampler=sampler,
    cost=cost,
    needs=lambda s: ("real data",),
    inputs=lambda s: ("guidance",),
    training={"steps": 2000, "batch_size": 48, "ema_decay": 0.99, "gradient_clip": 10.0},
    presets={
        "standard": Preset("Scales 1 to 5", "For pictures in pixels."),
        "latent": Preset(
            "Scales 2 to 14",
            "For text to image in a latent space.",
            {"guidance_scale": 7.5, "lowest_guidance": 2.0, "highest_guidance": 14.0},
        ),
        "adapters": Preset(
            "Adapters (LoRA)",
            "Trains small adapters on the frozen teacher, in a fraction of the memory.",
            {"learning_rate": 1e-3},
            student={"kind": "lora", "rank": 16},
        ),
    },
    notes="Scales are those of diffusers, 1 for none, one more than the paper's w. The number is embedded by a small "
    "network that starts at 0, and times are even in t.",
)
