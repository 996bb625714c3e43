"""LoRA-Enhanced Distillation on Guided Diffusion Models, arXiv:2312.06899.

Guidance distillation whose student is the teacher itself with low-rank adapters: what is trained, and its moments and
average, are a small part of a large network, and the teacher's weights are in memory once. The teacher answers without
the adapters, with the condition and without; merged, they cost nothing when the student is used.
"""

from collections.abc import Iterator

from pydantic import ConfigDict

from backend.contract.settings import setting
from backend.methods import Batch, Method, Preset, Update, guidance
from backend.networks import Denoiser, Guided
from backend.networks.adapters import with_adapters
from backend.samplers import Sampler
from backend.teachers import Teacher


class Settings(guidance.Settings):
    # Its students are adapters whatever the recipe says of them, and a run keeps this declaration.
    model_config = ConfigDict(json_schema_extra={"adapters": True})

    rank: int = setting(16, "Rank of the adapters; few underfit high guidance", low=1, high=128)
    told: bool = setting(
        True, "The student is told any scale of the range; else it learns guidance_scale alone, as plain adapters"
    )
    learning_rate: float = setting(5e-4, "The adapters' learning rate", low=1e-7, high=1e-2)


def inputs(s: Settings) -> tuple[str, ...]:
    return ("guidance",) if s.told else ()


def student(teacher: Teacher, s: Settings) -> Denoiser:
    net = with_adapters(teacher.feature_network(), s.rank)
    return net.extended(*inputs(s)) if s.told else net


def build(teacher: Teacher, s: Settings) -> guidance.Nets:
    return guidance.Nets(Guided(teacher.denoiser, None if s.told else s.guidance_scale), student(teacher, s))


def sampler(s: Settings, net: Denoiser) -> Sampler:
    return Sampler("deterministic", net.path.grid(s.student_steps), s.guidance_scale if s.told else None)


def step(nets: guidance.Nets, batch: Batch, s: Settings) -> Iterator[Update]:
    if s.told:
        yield from guidance.step(nets, batch, s)
    else:
        yield Update(nets.student, {"guidance": guidance.error(nets, batch, batch.times(), batch.real[1], s)})


def cost(s: Settings) -> float:
    """Per step: an update of the adapters, through the network under them, and the teacher twice."""
    return 2 + 2


METHOD = Method(
    title="Guidance in low-rank adapters (LoRA-enhanced)",
    paper="arXiv:2312.06899",
    family="guidance and adapters",
    summary="Guidance distillation in a fraction of the memory: small adapters learn it on the frozen teacher.",
    settings=Settings,
    build=build,
    optimizers=guidance.optimizers,
    step=step,
    sampler=sampler,
    cost=cost,
    student=student,
    needs=lambda s: ("real data",),
    inputs=inputs,
    training={"steps": 3000, "batch_size": 48, "ema_decay": 0.99, "gradient_clip": 10.0},
    presets={
        "standard": Preset("Scales 1 to 5", "For pictures in pixels."),
        "latent": Preset(
            "Scales 2 to 14",
            "For text to image in a latent space.",
            {"guidance_scale": 7.5, "lowest_guidance": 2.0, "highest_guidance": 14.0, "learning_rate": 1e-4},
        ),
        "one-scale": Preset(
            "One scale alone",
            "Guidance 7.5, not to be changed later; plain adapters, which merge into any copy of the teacher.",
            {"told": False, "guidance_scale": 7.5, "highest_guidance": 15.0, "learning_rate": 1e-4},
        ),
    },
    notes="Only the paper's abstract was known to us: that adapters are on all layers, their rank and the range of "
    "scales are our reading of it. A student that is told its scale has a small network for the number beside them.",
)
