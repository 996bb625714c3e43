"""GDD: Diffusion Models Are Innate One-Step Generators, arXiv:2405.20750.

A diffusion network can already make a sample in one step; it must only be told which. So there is no score and no pair
here: the student starts as the teacher and is trained by a GAN loss on real data alone. In GDD-I the convolutions
inside the blocks stay the teacher's, and what is trained merely steers them.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from backend import losses
from backend.contract.recipe import RecipeError
from backend.contract.settings import Settings as BaseSettings
from backend.contract.settings import setting
from backend.methods import Batch, FirstLevel, Method, Preset, Update
from backend.networks import Condition, Denoiser
from backend.networks.freezing import Frozen, freeze, frozen_share
from backend.networks.heads import Heads, example_features
from backend.optimizers import adams
from backend.samplers import Sampler, rollout, start_level, student_levels, times
from backend.teachers import Teacher

PENALTY_EVERY = 16
"""Steps between two gradient penalties, each of which then counts for all of them (arXiv:1912.04958, 4.1)."""


class Settings(BaseSettings):
    first_level: FirstLevel = 0.0
    frozen: Frozen = setting("none", "What the student keeps of the teacher; block convolutions is GDD-I")
    learning_rate: float = setting(1e-4, "Student's learning rate", low=1e-7, high=1e-2)
    discriminator_learning_rate: float = setting(1e-3, "Discriminator's learning rate", low=1e-7, high=1e-2)
    # The paper's 1e-4 is for pixels. At the heads' input 1 steadies the ring, and 1e-4 to 10 are alike on the digits.
    penalty_weight: float = setting(
        1.0, "Weight of the gradient penalty (R1) on real data; more is steadier, 0 leaves it out", low=0, high=100
    )
    embedding_weight: float = setting(
        0.0, "Weight of the mean difference from real data in random features; 0 leaves it out", low=0, high=1
    )
    noise_levels: int = setting(2, "At how many noise levels the discriminator looks at a sample", low=1, high=8)
    lowest_level: float = setting(0.1, "Time t of the least of them", low=0, high=1, advanced=True)
    highest_level: float = setting(0.4, "Time t of the most, where there are several", low=0, high=1, advanced=True)


@dataclass
class Nets:
    features: Denoiser  # the teacher, asked for its feature maps alone
    student: Denoiser
    discriminator: nn.ModuleList  # a Heads for each noise level


def build(teacher: Teacher, s: Settings) -> Nets:
    student, features = teacher.trainable(), teacher.feature_network()
    freeze(student, s.frozen)
    if s.frozen != "none" and not frozen_share(student):
        raise RecipeError("This teacher's network has no convolutions to freeze; set frozen to none.")
    example = example_features(features, teacher.each_condition(2))
    return Nets(features, student, nn.ModuleList(Heads(example) for _ in range(s.noise_levels)))


optimizers = adams((0.0, 0.99))


def sampler(s: Settings, net: Denoiser) -> Sampler:
    return Sampler("renoise", student_levels(net.path, 1, start_level(net, s.first_level)))


def step(nets: Nets, batch: Batch, s: Settings) -> Iterator[Update]:
    x = rollout(nets.student, sampler(s, nets.student), 0, batch.noise(), batch.cond, batch.generator)
    on_fake = logits(nets, views(nets, x, batch.cond, batch, s))
    wanted = {"gan": losses.generator_logistic(on_fake)}
    if s.embedding_weight:
        wanted["embedding"] = s.embedding_weight * losses.embedding(x, batch.cond, *batch.real, batch.generator)
    yield Update(nets.student, wanted, sample=x)

    with torch.no_grad():
        fake_views = views(nets, x, batch.cond, batch, s)
        real_views = views(nets, *batch.real, batch, s)
    penalty_turn = s.penalty_weight > 0 and batch.step % PENALTY_EVERY == 0
    if penalty_turn:
        real_views = [[maps.requires_grad_() for maps in view] for view in real_views]
    on_fake, on_real = logits(nets, fake_views), logits(nets, real_views)
    terms = {"discriminator": losses.discriminator_logistic(on_real, on_fake)}
    if penalty_turn:
        maps = [maps for view in real_views for maps in view]
        terms["penalty"] = PENALTY_EVERY * s.penalty_weight * losses.gradient_penalty(on_real, maps)
    yield Update(nets.discriminator, terms, losses.discriminator_metrics(on_real, on_fake))


def levels(s: Settings) -> list[float]:
    """The times at which the discriminator looks, evenly spaced."""
    return torch.linspace(s.lowest_level, s.highest_level, s.noise_levels).tolist()


def views(nets: Nets, x: Tensor, cond: Condition, batch: Batch, s: Settings) -> list[list[Tensor]]:
    """The teacher's feature maps of samples (B, ...) at each noise level."""
    noised = [(nets.features.path.noised(x, batch.noise(), times(level, x)), times(level, x)) for level in levels(s)]
    return [nets.features.features(state, t, cond) for state, t in noised]


def logits(nets: Nets, seen: list[list[Tensor]]) -> Tensor:
    """The discriminator's opinion at each noise level, (levels B,)."""
    return torch.cat([heads(maps) for heads, maps in zip(nets.discriminator, seen, strict=True)])


def cost(s: Settings) -> float:
    """The student, half the teacher forward and back for its turn, and half of it on fake and on real samples."""
    return 3 + 2 * s.noise_levels


METHOD = Method(
    title="Adversarial alone (GDD)",
    paper="arXiv:2405.20750",
    family="adversarial",
    summary="Real data and a discriminator make the teacher a one-step generator; the cheapest, and the least steady.",
    settings=Settings,
    build=build,
    optimizers=optimizers,
    step=step,
    sampler=sampler,
    cost=cost,
    needs=lambda s: ("real data",),
    accumulates=lambda s: not s.embedding_weight,  # means over the whole batch are compared
    training={"steps": 600, "batch_size": 48, "ema_decay": 0.99, "gradient_clip": 10.0},
    presets={
        "all": Preset("All weights", "Every weight of the student learns."),
        "frozen": Preset(
            "Frozen convolutions (GDD-I)",
            "The block convolutions stay the teacher's and the rest learns: how much the teacher knows already.",
            {"frozen": "block convolutions"},
        ),
        "steady": Preset(
            "More penalty", "A stronger gradient penalty, for a discriminator that wins.", {"penalty_weight": 10.0}
        ),
    },
    notes="The discriminator sees features of the teacher, not of two image classifiers, so that any data will do. "
    "Its gradient penalty is taken at the heads' input, as in arXiv:2311.17042, not at the pixels. Both networks "
    "learn from one rollout, and losses are averaged over the batch, not summed.",
)
