"""DMD2: Improved Distribution Matching Distillation for Fast Image Synthesis, arXiv:2405.14867.

The student's samples, noised, are pushed along the difference between the teacher's score and that of a fake score
network, which is trained all the while on the student's samples (two time-scales: it learns more often). A small GAN
term on real data, with the fake score network's features as discriminator, lets the student pass the teacher.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from backend import losses
from backend.contract.settings import Settings as BaseSettings
from backend.contract.settings import setting
from backend.methods import Batch, FirstLevel, Method, Need, Preset, Update
from backend.networks import Condition, Denoiser, Guided
from backend.networks.heads import Heads, example_features
from backend.optimizers import adams
from backend.samplers import Sampler, rollout, start_level, student_levels
from backend.teachers import Teacher


class Settings(BaseSettings):
    student_steps: int = setting(1, "Network evaluations of the finished student", low=1, high=8, unit="steps")
    first_level: FirstLevel = 0.0
    fake_score_updates: int = setting(1, "Fake score updates per student update; more steps want more", low=1, high=20)
    shared_rollout: bool = setting(
        True, "Whether the fake score learns from the samples of the student's turn, or from new ones", advanced=True
    )
    learning_rate: float = setting(2e-4, "Student's learning rate", low=1e-7, high=1e-2)
    fake_score_learning_rate: float = setting(4e-4, "Fake score network's learning rate", low=1e-7, high=1e-2)
    guidance_scale: float = setting(1.0, "Guidance of the teacher, folded into the student; 1 is none", low=1, high=20)
    gan_weight: float = setting(0.0, "Weight of the adversarial loss on real data; 0 leaves it out", low=0, high=1)
    discriminator_weight: float = setting(
        1e-2, "Weight of the discriminator's loss beside the fake score's", low=0, high=1, advanced=True
    )
    embedding_weight: float = setting(
        0.0, "Weight of the mean difference from real data in random features; 0 leaves it out", low=0, high=1
    )
    warm_up_steps: int = setting(
        0,
        "First steps, in which the student alone learns noise/sample pairs of the teacher; 0 leaves them out",
        low=0,
        unit="steps",
        advanced=True,
    )
    group_size: int = setting(
        1,
        "Samples that share a condition and the noise at which scores are compared, and are normalised as one (R_dm)",
        low=1,
        high=16,
        advanced=True,
    )
    lowest_time: float = setting(0.02, "Least noise at which scores are compared", low=0, high=0.5, advanced=True)
    highest_time: float = setting(0.98, "Most noise at which scores are compared", low=0.5, high=1, advanced=True)


@dataclass
class Nets:
    teacher: Guided
    student: Denoiser
    fake_score: Denoiser
    discriminator: nn.Module

    def judged(self, maps: list[Tensor], cond: Condition) -> Tensor:
        """The discriminator's logits (B,) from the fake score's feature maps."""
        return self.discriminator(maps[-1:])  # type: ignore[no-any-return]


def build(teacher: Teacher, s: Settings) -> Nets:
    fake_score = teacher.fake_score()
    heads = Heads(example_features(fake_score, teacher.each_condition(2))[-1:])
    return Nets(Guided(teacher.denoiser, s.guidance_scale), teacher.trainable(), fake_score, heads)


# No momentum: each of them follows the others.
optimizers = adams((0.0, 0.999), discriminator="fake_score_learning_rate")


def sampler(s: Settings, net: Denoiser) -> Sampler:
    return Sampler("renoise", student_levels(net.path, s.student_steps, start_level(net, s.first_level)))


def step(nets: Nets, batch: Batch, s: Settings) -> Iterator[Update]:
    if batch.step < s.warm_up_steps:
        yield warm_up(nets, batch, s)
        return
    batch = replace(batch, cond=batch.cond[firsts(batch, s)]) if s.group_size > 1 else batch
    student_turn = batch.step % s.fake_score_updates == 0
    # Backward simulation: the student's own trajectory up to one of its levels, the same for the whole batch.
    with torch.set_grad_enabled(student_turn):
        x = made(nets, batch, s)
    # One rollout serves both turns. Of several steps it shows one, and a fake score that was just taught another step's
    # samples learns these first: of `digits` in four steps, the Frechet distance is then 0.16 in place of 0.89.
    turns = [students_turn, fake_scores_turn] if student_turn else [fake_scores_turn]
    for turn in reversed(turns) if s.student_steps > 1 else turns:
        yield turn(nets, x, batch, s)


def made(nets: Nets, batch: Batch, s: Settings) -> Tensor:
    """Student samples (B, ...) of one of its steps."""
    plan = sampler(s, nets.student)
    return rollout(nets.student, plan, batch.index(plan.nfe), batch.noise(), batch.cond, batch.generator)


def students_turn(nets: Nets, x: Tensor, batch: Batch, s: Settings) -> Update:
    """The student's samples x (B, ...), with gradient, go where the teacher's score leads and the fake one does not."""
    terms, metrics = matching(nets, x, batch, s)
    if s.embedding_weight:
        terms["embedding"] = s.embedding_weight * losses.embedding(x, batch.cond, *batch.real, batch.generator)
    return Update(nets.student, terms, metrics, sample=x)


def fake_scores_turn(nets: Nets, x: Tensor, batch: Batch, s: Settings) -> Update:
    """The fake score learns what the student just made, x (B, ...); the discriminator tells that from real data."""
    with torch.no_grad():
        x = x.detach() if s.shared_rollout or not x.requires_grad else made(nets, batch, s)
    t, noise = batch.times(), batch.noise()
    noised = nets.fake_score.path.noised(x, noise, t)
    if not s.gan_weight:
        prediction = nets.fake_score(noised, t, batch.cond)
        return Update(nets.fake_score, {"fake_score": losses.denoising(prediction, x, noise)})
    prediction, maps = nets.fake_score.with_features(noised, t, batch.cond)
    terms = {"fake_score": losses.denoising(prediction, x, noise)}
    on_real, on_fake = judged_real(nets, batch), nets.judged(maps, batch.cond)
    terms["discriminator"] = s.discriminator_weight * losses.discriminator_logistic(on_real, on_fake)
    return Update((nets.fake_score, nets.discriminator), terms, losses.discriminator_metrics(on_real, on_fake))


def warm_up(nets: Nets, batch: Batch, s: Settings) -> Update:
    """The student's first step learns where the teacher's deterministic sampler leads (SDXL in one step)."""
    noise, answer, cond = batch.pairs
    x = rollout(nets.student, sampler(s, nets.student), 0, noise, cond, batch.generator)
    return Update(nets.student, {"pairs": (x - answer).square().mean()})


def matching(nets: Nets, x: Tensor, batch: Batch, s: Settings) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The distribution matching term (eq. 3), with the adversarial one from the same pass of the fake score.

    Beside them what the term itself hides.
    """
    t = batch.times(s.lowest_time, s.highest_time)[firsts(batch, s)]
    noised = nets.teacher.path.noised(x, batch.noise(), t)
    terms = {}
    if s.gan_weight:
        prediction, maps = nets.fake_score.with_features(noised, t, batch.cond, prediction_in_graph=False)
        terms["gan"] = s.gan_weight * losses.generator_logistic(nets.judged(maps, batch.cond))
    with torch.no_grad():
        real = nets.teacher(noised, t, batch.cond).x0
        fake = (prediction if s.gan_weight else nets.fake_score(noised, t, batch.cond)).x0
    matching = losses.distribution_matching(x, real, fake, s.group_size)
    return {"matching": matching, **terms}, losses.matching_metrics(x, real, fake)


def firsts(batch: Batch, s: Settings) -> Tensor:
    """For each sample of the batch the number of the first of its group, (B,); its own where groups are of one."""
    return torch.arange(len(batch.cond), device=batch.device) // s.group_size * s.group_size


def judged_real(nets: Nets, batch: Batch) -> Tensor:
    """The discriminator's logits (B,) of real data, noised to all levels."""
    (x, cond), t = batch.real, batch.times()
    return nets.judged(nets.fake_score.features(nets.fake_score.path.noised(x, batch.noise(), t), t, cond), cond)


def needs(s: Settings) -> tuple[Need, ...]:
    real: tuple[Need, ...] = ("real data",) if s.gan_weight or s.embedding_weight else ()
    return (*real, "pairs") if s.warm_up_steps else real


def accumulates(s: Settings) -> bool:
    """All terms are means over samples but the embedding's, the difference of means over the whole batch, squared."""
    return not s.embedding_weight


def cost(s: Settings) -> float:
    """Per step: rollout and fake score always, the student's turn, and of the adversarial term what it adds: half a
    network back to the sample in that turn, and half a network on real data. The rest it has from the others' passes.
    A rollout of the fake score's own in the step of the student's turn.

    A step of the warm-up costs 3.
    """
    guided = 2 if s.guidance_scale != 1 else 1
    student = (2 + guided + 1 + bool(s.gan_weight) / 2) / s.fake_score_updates
    rollout = 1 + (s.student_steps - 1) / 2
    own = 0 if s.shared_rollout else rollout / s.fake_score_updates
    return rollout + own + student + 3 + 1.5 * bool(s.gan_weight)


METHOD = Method(
    title="Distribution matching (DMD2)",
    paper="arXiv:2405.14867",
    family="distribution matching",
    summary="Matches the distribution of the student's samples to the teacher's through two scores; the usual choice.",
    settings=Settings,
    build=build,
    optimizers=optimizers,
    step=step,
    sampler=sampler,
    cost=cost,
    needs=needs,
    accumulates=accumulates,
    training={"steps": 900, "batch_size": 48, "ema_decay": 0.99, "gradient_clip": 10.0, "preview_every": 100},
    presets={
        "one-step": Preset("One step (fast)", "One network evaluation for a picture; no real data needed."),
        "four-steps": Preset(
            "Four steps",
            "Four network evaluations for a picture; the fake score learns twice for each step of the student.",
            {"student_steps": 4, "fake_score_updates": 2},
            {"steps": 1800},
        ),
        "gan": Preset(
            "With real data (GAN)",
            "One step, and a discriminator on real data, by which the student can pass the teacher.",
            {"gan_weight": 0.03, "discriminator_weight": 0.03},
        ),
        "pairs": Preset(
            "With pairs first",
            "One step, begun with noise/image pairs of the teacher, for teachers whose first step is far off.",
            {"warm_up_steps": 200},
        ),
    },
    notes="Student and fake score are averaged and updated from one rollout; the paper keeps no average. The "
    "discriminator reads the fake score's passes for the other terms, where the authors make passes of its own. "
    "Its warm-up compares by mean squares, not by LPIPS.",
)
