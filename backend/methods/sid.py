"""SiD: Few-Step Diffusion via Score identity Distillation, arXiv:2505.12674 (on 2404.04057, 2406.01561, 2410.14919).

The Fisher divergence between the noised student and the teacher is an average of teacher minus fake score, times fake
score minus sample. So written it needs no score of the student that is differentiated in the student's weights, and
its gradient goes through both networks. A uniform mixture over the student's steps is what is matched.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Self

import torch
from pydantic import model_validator
from torch import Tensor
from torch.nn import functional

from backend import losses
from backend.contract.recipe import RecipeError
from backend.contract.settings import Settings as BaseSettings
from backend.contract.settings import setting
from backend.methods import Batch, Method, Preset, StartLevel, Update
from backend.networks import Condition, Denoiser, Guided, Prediction
from backend.optimizers import adams
from backend.samplers import Sampler, rollout, student_levels
from backend.teachers import Teacher

START_RATIO = 2.5
"""Noise over data at the student's start: sigma of EDM networks, and about that of Stable Diffusion's index 625."""
ANTI_SCALE = -1.0
"""Guidance of the fake score under Anti-CFG, which the paper calls negative and does not put a number to."""
DROPPED = 10
"""One condition of so many is left out while a guided fake score learns."""
LARGEST_LOGIT = 10.0


class Settings(BaseSettings):
    student_steps: int = setting(1, "Network evaluations of the finished student", low=1, high=8, unit="steps")
    first_level: StartLevel = setting(
        0.0,
        "Time t at which the student starts; 0 is where noise is 2.5 times data, and with flow teachers 1",
        low=0,
        high=1,
        advanced=True,
    )
    alpha: float = setting(
        1.0, "How much of the squared score difference is taken out of the loss; 1 to 1.2 suits pictures", low=0, high=2
    )
    shared_rollout: bool = setting(
        False, "Whether both turns have the samples of one rollout, which saves one, or each its own", advanced=True
    )
    learning_rate: float = setting(1e-4, "Student's learning rate", low=1e-7, high=1e-2)
    fake_score_learning_rate: float = setting(2e-4, "Fake score network's learning rate", low=1e-7, high=1e-2)
    guidance: Literal["long-short", "zero", "anti"] = setting(
        "long-short",
        "long-short guides teacher and fake score alike; zero takes the fake score's condition, anti turns it round: "
        "more variety",
    )
    guidance_scale: float = setting(1.0, "Scale of long-short guidance; 1 is none", low=1, high=20)
    weighting: Literal["residual", "signal"] = setting(
        "residual",
        "What a sample counts: residual divides by the teacher's error, signal multiplies by alpha(t)",
        advanced=True,
    )
    gan_weight: float = setting(
        0.0, "Share of the adversarial loss on real data in the student's; 0 leaves it out", low=0, high=0.9
    )
    noise_mean: float = setting(
        -1.2, "Mean logarithm of noise over data at which scores are compared", low=-3, high=3, advanced=True
    )
    noise_spread: float = setting(1.2, "Spread of that logarithm", low=0.1, high=3, advanced=True)

    @model_validator(mode="after")
    def _one_policy(self) -> Self:
        if self.guidance != "long-short" and self.guidance_scale != 1:
            raise ValueError(
                f"guidance_scale is {self.guidance_scale:g}, which guidance {self.guidance} does not use; "
                "set it to 1, or guidance to long-short."
            )
        return self


@dataclass
class Nets:
    teacher: Guided
    student: Denoiser
    fake_score: Denoiser


def build(teacher: Teacher, s: Settings) -> Nets:
    if s.guidance != "long-short" and teacher.denoiser.null(teacher.each_condition(1)) is None:
        raise RecipeError("This teacher has no unconditional mode; set guidance to long-short, with a scale of 1.")
    return Nets(Guided(teacher.denoiser, s.guidance_scale), teacher.trainable(), teacher.fake_score())


optimizers = adams((0.0, 0.999))  # no momentum: each of them follows the other


def sampler(s: Settings, net: Denoiser) -> Sampler:
    return Sampler("renoise", student_levels(net.path, s.student_steps, first_level(s, net)))


def first_level(s: Settings, net: Denoiser) -> float:
    if s.first_level or net.prediction_type == "flow":
        return s.first_level or 1.0
    return net.path.on_grid(float(net.path.t_of_ratio(torch.tensor(START_RATIO, dtype=torch.float64))))


def step(nets: Nets, batch: Batch, s: Settings) -> Iterator[Update]:
    plan = sampler(s, nets.student)
    last = batch.index(plan.nfe)  # of the mixture, the same for the whole batch and for both turns
    with torch.set_grad_enabled(s.shared_rollout):
        x = rollout(nets.student, plan, last, batch.noise(), batch.cond, batch.generator)
    yield fake_score_update(nets, x.detach(), batch, s)

    if not s.shared_rollout:
        x = rollout(nets.student, plan, last, batch.noise(), batch.cond, batch.generator)
    t = compared_times(nets, batch, s)
    noised = nets.teacher.path.noised(x, batch.noise(), t)
    real, fake = nets.teacher(noised, t, batch.cond), guided_fake(nets, noised, t, batch.cond, s)
    weight = weights(x, real, s)
    terms = {"score_identity": (1 - s.gan_weight) * losses.score_identity(x, real.x0, fake.x0, s.alpha, weight)}
    if s.gan_weight:
        wanted = functional.softplus(-logits(nets, noised, t, batch.cond).float())
        terms["gan"] = s.gan_weight * (weight * losses.sample_mean(wanted)).mean()
    metrics = {"score_difference": (fake.x0 - real.x0).detach().abs().mean()}
    yield Update(nets.student, terms, metrics, sample=x)


def compared_times(nets: Nets, batch: Batch, s: Settings) -> Tensor:
    """Times (B,) at which noise over data is log-normal.

    Evenly in t the loss is mostly noise in the plane: mode weights were 0.43 off after 1,500 steps, and so 0.14.
    """
    normal = torch.special.ndtri(batch.times())
    return nets.teacher.path.t_of_ratio((s.noise_mean + s.noise_spread * normal).exp())


def fake_score_update(nets: Nets, x: Tensor, batch: Batch, s: Settings) -> Update:
    """What the fake score learns of the student's samples, guided as it will be asked, and to tell them from real."""
    t, noise, cond = batch.times(), batch.noise(), batch.cond
    if fake_scale(s) not in (0, 1):
        null = nets.fake_score.null(cond)
        assert null is not None  # or the teacher could not be guided
        cond = cond.replaced(batch.indices(DROPPED) == 0, null)
    path = nets.fake_score.path
    noised = path.noised(x, noise, t)
    terms = {"fake_score": losses.denoising(guided_fake(nets, noised, t, cond, s), x, noise)}
    if not s.gan_weight:
        return Update(nets.fake_score, terms)
    real, real_cond = batch.real
    on_real, on_fake = logits(nets, path.noised(real, noise, t), t, real_cond), logits(nets, noised, t, batch.cond)
    terms["discriminator"] = losses.discriminator_logistic(on_real, on_fake)
    return Update(nets.fake_score, terms, losses.discriminator_metrics(on_real, on_fake))


def fake_scale(s: Settings) -> float:
    """The guidance scale under which the fake score learns and is asked."""
    return {"long-short": s.guidance_scale, "zero": 0.0, "anti": ANTI_SCALE}[s.guidance]


def guided_fake(nets: Nets, noised: Tensor, t: Tensor, cond: Condition, s: Settings) -> Prediction:
    """The fake score under the guidance policy; with scale 0 it is asked without its condition, and once."""
    if s.guidance == "zero":
        null = nets.fake_score.null(cond)
        assert null is not None  # `build` refuses
        return nets.fake_score(noised, t, null)  # type: ignore[no-any-return]
    return Guided(nets.fake_score, fake_scale(s))(noised, t, cond)  # type: ignore[no-any-return]


def weights(x: Tensor, real: Prediction, s: Settings) -> Tensor:
    """What each sample counts in the student's loss, (B,), without gradient."""
    with torch.no_grad():
        if s.weighting == "residual":
            return 1 / losses.sample_mean((x - real.x0).abs().float()).clamp(min=1e-5)
        return real.alpha.float()


def logits(nets: Nets, noised: Tensor, t: Tensor, cond: Condition) -> Tensor:
    """The discriminator without parameters: the channel mean of the fake score's last encoder map, (B, places)."""
    places = nets.fake_score.features(noised, t, cond)[-1].mean(1).reshape(len(noised), -1)
    return places.clamp(-LARGEST_LOGIT, LARGEST_LOGIT)


def cost(s: Settings) -> float:
    """Per step: a rollout for each turn or one, the fake score's turn, and both scores back to the student's sample."""
    guided = 2 if s.guidance_scale != 1 else 1
    fake = 2 if fake_scale(s) not in (0, 1) else 1
    student = 3 + 2 * (guided + fake) + bool(s.gan_weight)
    rolled = (s.student_steps - 1) / 2 if s.shared_rollout else s.student_steps
    return rolled + student + 3 * fake + 3 * bool(s.gan_weight)


METHOD = Method(
    title="Score identity (SiD)",
    paper="arXiv:2505.12674",
    family="distribution matching",
    summary="Matches distributions by the Fisher divergence; much from each step, at the memory of three networks.",
    settings=Settings,
    build=build,
    optimizers=optimizers,
    step=step,
    sampler=sampler,
    cost=cost,
    needs=lambda s: ("real data",) if s.gan_weight else (),
    training={"steps": 800, "batch_size": 48, "ema_decay": 0.99, "gradient_clip": 10.0, "preview_every": 100},
    presets={
        "one-step": Preset("One step (fast)", "One network evaluation for a picture; no real data needed."),
        "four-steps": Preset(
            "Four steps",
            "Four network evaluations for a picture, or fewer: each step is trained to end at pictures.",
            {"student_steps": 4},
            {"steps": 1600},
        ),
        "long-short": Preset(
            "Guided, long and short (LSG)",
            "Teacher and fake score are guided alike: sharp, and close to the prompt.",
            {"guidance_scale": 4.5},
        ),
        "zero-cfg": Preset(
            "Zero-CFG",
            "The fake score takes no condition, which guides by itself: more variety than a scale.",
            {"guidance": "zero"},
        ),
        "anti-cfg": Preset(
            "Anti-CFG", "The fake score's condition is turned round: stronger than Zero-CFG.", {"guidance": "anti"}
        ),
        "gan": Preset(
            "With real data (GAN)",
            "Half of the student's loss is that of a discriminator without parameters.",
            {"gan_weight": 0.5},
        ),
    },
    notes="Both networks learn from the first step on, also with the adversarial term; losses are means, not sums. The "
    "fake score's noise is even in t, as the teacher's own output weighs it, and that of the student's turn is "
    "log-normal; published for EDM networks are the reverse, even in t up to 0.8 and log-normal, with which the mode "
    "weights of eight unequal modes are 0.16 off, and so 0.13.",
)
