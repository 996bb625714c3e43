"""f-distill: One-step Diffusion Models with f-Divergence Distribution Matching, arXiv:2502.15681.

Of any f-divergence the gradient is the score difference of DMD times a weight h(r) = r² f''(r), r being how much
denser the teacher's data is than the student's samples. The discriminator knows r. The reverse Kullback-Leibler
divergence (h = 1) clings to single modes; others cover all of them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Self

import torch
from pydantic import model_validator
from torch import Tensor, nn

from backend import losses
from backend.contract.settings import Settings as BaseSettings
from backend.contract.settings import setting
from backend.methods import Batch, FirstLevel, Method, Preset, Update
from backend.networks import Condition, Denoiser, Guided
from backend.networks.heads import Heads, example_features
from backend.noise import per_sample
from backend.optimizers import adams
from backend.samplers import Sampler, rollout, start_level, student_levels
from backend.teachers import Teacher

LARGEST_LOGIT = 10.0
Divergence = Literal[
    "reverse-kl", "softened-reverse-kl", "neyman", "jensen-shannon", "squared-hellinger", "forward-kl", "jeffreys"
]
WEIGHTS: Mapping[Divergence, Callable[[Tensor], Tensor]] = {
    "reverse-kl": torch.ones_like,
    "softened-reverse-kl": lambda r: 1 / (1 + r),
    "neyman": lambda r: 1 / r,
    "jensen-shannon": lambda r: r / (1 + r),
    "squared-hellinger": torch.sqrt,
    "forward-kl": lambda r: r,
    "jeffreys": lambda r: 1 + r,
}
"""h(r) = r² f''(r) of each divergence up to a constant factor, r = real over fake density (table 1)."""


class Settings(BaseSettings):
    divergence: Divergence = setting(
        "jensen-shannon",
        "What is made small: from neyman and reverse-kl, which keep to modes, to forward-kl, which covers all of them",
    )
    first_level: FirstLevel = 0.0
    fake_score_updates: int = setting(1, "Fake score updates per student update", low=1, high=20)
    learning_rate: float = setting(2e-4, "Student's learning rate", low=1e-7, high=1e-2)
    fake_score_learning_rate: float = setting(4e-4, "Fake score network's learning rate", low=1e-7, high=1e-2)
    discriminator_learning_rate: float = setting(1e-3, "Discriminator's learning rate", low=1e-7, high=1e-2)
    guidance_scale: float = setting(1.0, "Guidance of the teacher, folded into the student; 1 is none", low=1, high=20)
    gan_weight: float = setting(
        0.01, "Weight of the adversarial loss; 0 uses the discriminator for h(r) alone", low=0, high=1
    )
    warm_up_steps: int = setting(
        100, "First steps without h(r), in which the discriminator learns", low=0, unit="steps"
    )
    smallest_ratio: float = setting(0.1, "Smaller density ratios count as this one", low=0.01, high=1, advanced=True)
    largest_ratio: float = setting(20.0, "Larger density ratios count as this one", low=1, high=100, advanced=True)
    bins: int = setting(10, "Ranges of noise that each have a mean ratio of their own", low=1, high=50, advanced=True)
    bin_decay: float = setting(
        0.5, "Share kept at each step of a range's mean ratio; 0 is this step's", low=0, high=0.99, advanced=True
    )
    lowest_time: float = setting(0.02, "Least noise at which scores are compared", low=0, high=0.5, advanced=True)
    highest_time: float = setting(0.98, "Most noise at which scores are compared", low=0.5, high=1, advanced=True)

    @model_validator(mode="after")
    def _some_room(self) -> Self:
        if self.smallest_ratio == self.largest_ratio:
            raise ValueError("smallest_ratio and largest_ratio are both 1, which makes all divergences one; part them.")
        if self.lowest_time == self.highest_time:
            raise ValueError("lowest_time and highest_time are both 0.5, which is one noise alone; part them.")
        return self


class Discriminator(nn.Module):
    """Heads on the teacher's feature maps, and the mean density ratio at each range of noise.

    A logit is the logarithm of real over fake density.
    """

    def __init__(self, features: Sequence[Tensor], bins: int) -> None:
        super().__init__()
        self.heads = Heads(features)
        self.means: Tensor
        self.register_buffer("means", torch.zeros(bins))  # 0: none yet

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        return self.heads(features)  # type: ignore[no-any-return]

    @torch.no_grad()
    def evened(self, ratio: Tensor, place: Tensor, decay: float) -> Tensor:
        """ratio (B,) over the running mean of its range, which first takes these in. place: (B,) in [0, 1]."""
        bins = len(self.means)
        which = (place * bins).long().clamp(0, bins - 1)
        count = torch.zeros_like(self.means).index_add_(0, which, torch.ones_like(ratio))
        mean = torch.zeros_like(self.means).index_add_(0, which, ratio) / count.clamp(min=1)
        kept = torch.where(self.means == 0, mean, decay * self.means + (1 - decay) * mean)
        self.means.copy_(torch.where(count == 0, self.means, kept))
        return ratio / self.means[which]


@dataclass
class Nets:
    teacher: Guided
    features: Denoiser  # the teacher, asked for its feature maps alone
    student: Denoiser
    fake_score: Denoiser
    discriminator: Discriminator


def build(teacher: Teacher, s: Settings) -> Nets:
    features = teacher.feature_network()
    discriminator = Discriminator(example_features(features, teacher.each_condition(2)), s.bins)
    guided = Guided(teacher.denoiser, s.guidance_scale)
    return Nets(guided, features, teacher.trainable(), teacher.fake_score(), discriminator)


optimizers = adams((0.0, 0.999))  # no momentum: each of them follows the others


def sampler(s: Settings, net: Denoiser) -> Sampler:
    return Sampler("renoise", student_levels(net.path, 1, start_level(net, s.first_level)))


def step(nets: Nets, batch: Batch, s: Settings) -> Iterator[Update]:
    student_turn = batch.step % s.fake_score_updates == 0
    with torch.set_grad_enabled(student_turn):
        x = rollout(nets.student, sampler(s, nets.student), 0, batch.noise(), batch.cond, batch.generator)
    if student_turn:
        yield student_update(nets, x, batch, s)

    x = x.detach()
    t, noise = batch.times(), batch.noise()
    prediction = nets.fake_score(nets.fake_score.path.noised(x, noise, t), t, batch.cond)
    yield Update(nets.fake_score, {"fake_score": losses.denoising(prediction, x, noise)})

    real, real_cond = batch.real
    on_real, on_fake = (seen(nets, sample, cond, batch, s) for sample, cond in ((real, real_cond), (x, batch.cond)))
    terms = {"discriminator": losses.discriminator_logistic(on_real, on_fake)}
    yield Update(nets.discriminator, terms, losses.discriminator_metrics(on_real, on_fake))


def student_update(nets: Nets, x: Tensor, batch: Batch, s: Settings) -> Update:
    """Matching, each sample weighed by h(r) at the very noised sample where scores are compared, and the GAN term."""
    t = batch.times(s.lowest_time, s.highest_time)
    noised = nets.teacher.path.noised(x, batch.noise(), t)
    logits = nets.discriminator(nets.features.features(noised, t, batch.cond))
    with torch.no_grad():
        real, fake = nets.teacher(noised, t, batch.cond).x0, nets.fake_score(noised, t, batch.cond).x0
        normaliser = losses.sample_mean((x - real).abs().float()).clamp(min=losses.SMALLEST_NORMALISER)
        h = weights(nets, logits, t, s) if batch.step >= s.warm_up_steps else torch.ones_like(logits)
        gradient = per_sample(h, x) * (fake - real) / per_sample(normaliser, x)
    terms = {"matching": losses.pushed(x, gradient)}
    if s.gan_weight:
        terms["gan"] = s.gan_weight * losses.generator_logistic(logits)
    metrics = losses.matching_metrics(x, real, fake) | {"least_weight": h.min(), "largest_weight": h.max()}
    return Update(nets.student, terms, metrics, sample=x)


def weights(nets: Nets, logits: Tensor, t: Tensor, s: Settings) -> Tensor:
    """h(r) over its mean of the batch, (B,), whose mean is therefore 1."""
    ratio = logits.float().clamp(-LARGEST_LOGIT, LARGEST_LOGIT).exp().clamp(s.smallest_ratio, s.largest_ratio)
    place = ((t - s.lowest_time) / (s.highest_time - s.lowest_time)).to(ratio.dtype)
    h = WEIGHTS[s.divergence](nets.discriminator.evened(ratio, place, s.bin_decay))
    return h / h.mean()


def seen(nets: Nets, x: Tensor, cond: Condition, batch: Batch, s: Settings) -> Tensor:
    """The discriminator's view of samples (B, ...) at the noise at which it is asked for ratios, (B,)."""
    t = batch.times(s.lowest_time, s.highest_time)
    with torch.no_grad():
        maps = nets.features.features(nets.features.path.noised(x, batch.noise(), t), t, cond)
    return nets.discriminator(maps)  # type: ignore[no-any-return]


def cost(s: Settings) -> float:
    """Per step: rollout, fake score and half a teacher on real and on fake; the student's turn where it is."""
    guided = 2 if s.guidance_scale != 1 else 1
    student = 2 + guided + 1 + (1 if s.gan_weight else 0.5)
    return 1 + student / s.fake_score_updates + 3 + 1


METHOD = Method(
    title="f-divergences (f-distill)",
    paper="arXiv:2502.15681",
    family="distribution matching",
    summary="DMD2 with a choice of divergence, by which a discriminator on real data weighs each sample; for variety.",
    settings=Settings,
    build=build,
    optimizers=optimizers,
    step=step,
    sampler=sampler,
    cost=cost,
    needs=lambda s: ("real data",),
    accumulates=lambda s: False,  # each sample's weight is over the batch's mean
    training={"steps": 900, "batch_size": 48, "ema_decay": 0.99, "gradient_clip": 10.0, "preview_every": 100},
    presets={
        "one-step": Preset("Jensen-Shannon", "Bounded weights: steady, and between the two Kullback-Leiblers."),
        "covering": Preset(
            "Covering",
            "The forward Kullback-Leibler divergence: every mode counts, and single samples may weigh much.",
            {"divergence": "forward-kl"},
        ),
        "dmd2": Preset(
            "As DMD2",
            "The reverse Kullback-Leibler divergence, in which no sample counts more.",
            {"divergence": "reverse-kl"},
        ),
    },
    notes="The fake score learns at every step and the student at every so many; the paper's take turns. The mean "
    "ratio of a range of noise is kept with the discriminator, whose heads see the teacher's feature maps.",
)
