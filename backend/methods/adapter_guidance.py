"""Efficient Distillation of Classifier-Free Guidance using Adapters (AGD), arXiv:2503.07274.

A guided teacher is evaluated twice at each step. Here the teacher stays as it is, and small adapters on it, told the
guidance scale, learn to add what guidance adds: one evaluation a step. They learn on the guided teacher's own
trajectories, where they will be used, and not on noised data; so no data is needed, and as the weights under them were
never changed, the same adapters serve other checkpoints of that teacher.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Self

import torch
from pydantic import ConfigDict, model_validator
from torch import Tensor
from torch.optim import Optimizer

from backend.contract.settings import Settings as BaseSettings
from backend.contract.settings import setting
from backend.methods import Batch, Method, Preset, Update
from backend.methods.guidance import require_in_range
from backend.networks import Condition, Denoiser, Guided
from backend.networks.gates import rank_within, with_gated_adapters
from backend.optimizers import adam
from backend.samplers import Sampler, initial, jump
from backend.teachers import Teacher


class Settings(BaseSettings):
    # Its students are adapters whatever the recipe says of them, and a run keeps this declaration.
    model_config = ConfigDict(json_schema_extra={"adapters": True})

    student_steps: int = setting(
        25, "Steps of the sampler, of the trajectories it learns on and of the student's", low=1, high=250, unit="steps"
    )
    adapter_share: float = setting(
        5.0, "Most parameters of the adapters, of the teacher's; few underfit high guidance", low=0.5, high=50, unit="%"
    )
    guidance_scale: float = setting(3.0, "Guidance at which the finished student is shown and exported", low=1, high=20)
    lowest_guidance: float = setting(1.0, "Least guidance that the adapters are told; 1 is none", low=1, high=20)
    highest_guidance: float = setting(6.0, "Most of it; a wide range spreads the adapters thin", low=1, high=20)
    learning_rate: float = setting(1e-3, "The adapters' learning rate", low=1e-7, high=1e-2)

    @model_validator(mode="after")
    def _lies_in_a_range(self) -> Self:
        require_in_range(self.guidance_scale, self.lowest_guidance, self.highest_guidance)
        return self


@dataclass
class Nets:
    teacher: Guided
    student: Denoiser  # the teacher's weights, and adapters that are told the guidance scale


def student(teacher: Teacher, s: Settings) -> Denoiser:
    base = teacher.feature_network()
    return with_gated_adapters(base, rank_within(base, s.adapter_share / 100))


def build(teacher: Teacher, s: Settings) -> Nets:
    return Nets(Guided(teacher.denoiser, None), student(teacher, s))


def optimizers(nets: Nets, s: Settings) -> Mapping[str, Optimizer]:
    return {"student": adam(nets.student, s.learning_rate)}


def sampler(s: Settings, net: Denoiser) -> Sampler:
    return Sampler("deterministic", net.path.grid(s.student_steps), s.guidance_scale)


def step(nets: Nets, batch: Batch, s: Settings) -> Iterator[Update]:
    told = batch.cond.with_part("guidance", batch.times(s.lowest_guidance, s.highest_guidance))
    states, times, answers = trajectories(nets.teacher, batch, told, s.student_steps)
    # Each update sees every sample once, each at another of its times.
    order, rows = torch.stack([batch.times() for _ in times]).argsort(0), torch.arange(len(told), device=batch.device)
    for chosen in order:
        noised, t, answer = states[chosen, rows], times[chosen, rows], answers[chosen, rows]
        error = nets.student(noised, t, told).output - answer
        yield Update(nets.student, {"guidance": error.square().mean()})


@torch.no_grad()
def trajectories(teacher: Guided, batch: Batch, told: Condition, steps: int) -> tuple[Tensor, Tensor, Tensor]:
    """The guided teacher's way from noise towards data, each sample's under its own scale, in `steps` evaluations.

    States (steps, B, ...), their times (steps, B), and the teacher's output at each. Times are 1 at first and then one
    in each of steps - 1 equal parts of [0, 1], so that they are even over all steps and no two ways are alike.
    """
    state, t = initial(batch.noise(), teacher.path, 1.0), torch.ones_like(batch.times())
    states, times, answers = [], [], []
    for left in reversed(range(steps)):
        prediction = teacher(state, t, told)
        states.append(state)
        times.append(t)
        answers.append(prediction.output)
        if left:
            t = (left - 1 + batch.times()) / (steps - 1)
            state = jump(prediction, teacher.path, t).to(state.dtype)
    return torch.stack(states), torch.stack(times), torch.stack(answers)


def cost(s: Settings) -> float:
    """Per step: at each of the trajectory's times the teacher with its condition and without, and an update of the
    adapters, through the network under them."""
    return s.student_steps * (2 + 2)


METHOD = Method(
    title="Guidance in adapters (AGD)",
    paper="arXiv:2503.07274",
    family="guidance and adapters",
    summary="Small adapters learn what guidance adds: half the cost at the same steps, the teacher untouched, no data.",
    settings=Settings,
    build=build,
    optimizers=optimizers,
    step=step,
    sampler=sampler,
    cost=cost,
    student=student,
    inputs=lambda s: ("guidance",),
    training={
        "steps": 120,
        "batch_size": 48,
        "ema_decay": 0.9,
        "gradient_clip": 10.0,
        "learning_rate_schedule": "cosine",
        "preview_every": 20,
        "checkpoint_every": 60,
    },
    presets={
        "standard": Preset("Scales 1 to 6", "For teachers of classes."),
        "prompts": Preset(
            "Scales 1 to 12",
            "For text to image in a latent space.",
            {"guidance_scale": 7.5, "highest_guidance": 12.0, "learning_rate": 1e-4},
            {"batch_size": 16},
        ),
        "smallest": Preset("Two percent", "Fewer than half the parameters.", {"adapter_share": 2.0}),
    },
    notes="A step is one trajectory of the whole batch and as many updates as it has steps. The adapters are low-rank, "
    "each channel multiplied by a learnt function of the scale, in place of the paper's networks of scale, time and "
    "condition: at one scale they are a plain LoRA, which other programs load. Trajectories are made as they are "
    "needed and not stored, by deterministic steps.",
)
