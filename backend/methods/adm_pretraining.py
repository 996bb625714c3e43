"""Adversarial pre-training: the first stage of DMDX, arXiv:2507.18569, on noise/sample pairs of the teacher.

The student denoises, in one step, mixtures of a pair's noise and sample, mostly near pure noise. Two discriminators
compare what it makes with the teacher's samples: one on the teacher's features of both noised anew, one on the decoded
data. Softer than regression, it gives a start from which adversarial distribution matching is stable.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from backend import losses
from backend.contract.settings import Settings as BaseSettings
from backend.contract.settings import setting
from backend.methods import Batch, FirstLevel, Method, Preset, Update
from backend.networks import Condition, Denoiser
from backend.networks.discriminators import DataDiscriminator, LatentAndPixel
from backend.networks.heads import Heads, example_features
from backend.optimizers import adams
from backend.samplers import Sampler, start_level, student_levels
from backend.teachers import Teacher


class Settings(BaseSettings):
    pixel_weight: float = setting(
        0.15, "Share of the discriminator on decoded data; the rest is that on the teacher's features", low=0, high=1
    )
    learning_rate: float = setting(1e-4, "Student's learning rate", low=1e-7, high=1e-2)
    discriminator_learning_rate: float = setting(1e-3, "Discriminators' learning rate", low=1e-7, high=1e-2)
    guidance_scale: float = setting(1.0, "Guidance under which the pairs are made; 1 is none", low=1, high=20)
    first_level: FirstLevel = 0.0


@dataclass
class Nets:
    features: Denoiser  # the teacher, asked for its feature maps alone
    student: Denoiser
    discriminator: LatentAndPixel


def build(teacher: Teacher, s: Settings) -> Nets:
    features = teacher.feature_network()
    heads = Heads(example_features(features, teacher.each_condition(2)))
    pixel = DataDiscriminator(teacher.codec, teacher.data_shape)
    return Nets(features, teacher.trainable(), LatentAndPixel(heads, pixel))


optimizers = adams((0.0, 0.99))


def sampler(s: Settings, net: Denoiser) -> Sampler:
    return Sampler("renoise", student_levels(net.path, 1, start_level(net, s.first_level)))


def step(nets: Nets, batch: Batch, s: Settings) -> Iterator[Update]:
    noise, real, cond = batch.pairs
    # Towards pure noise: t = 1 - u³ of the start level, where half of all draws are above 0.87.
    t = sampler(s, nets.student).levels[0] * (1 - batch.times() ** 3)
    x = nets.student(nets.student.path.noised(real, noise, t), t, cond).x0

    # For real and made samples and both turns, so that like is compared with like; the first two in one call.
    t, noise = batch.times(), batch.noise()
    both = torch.cat([real, x.detach()]), torch.cat([noise] * 2), torch.cat([t] * 2), Condition.join([cond] * 2)
    latent, pixel = (found.chunk(2) for found in logits(nets, *both))
    terms = {
        "latent_discriminator": losses.discriminator_hinge(latent[:1], latent[1:]),
        "pixel_discriminator": losses.discriminator_hinge(pixel[:1], pixel[1:]),
    }
    yield Update(nets.discriminator, terms, losses.discriminator_metrics(*latent))

    on_latent, on_pixel = logits(nets, x, noise, t, cond)
    wanted = {
        "latent_gan": (1 - s.pixel_weight) * losses.generator_hinge([on_latent]),
        "pixel_gan": s.pixel_weight * losses.generator_hinge([on_pixel]),
    }
    yield Update(nets.student, wanted, {"distance_to_pair": (x - real).square().mean()}, sample=x)


def logits(nets: Nets, x: Tensor, noise: Tensor, t: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
    """Both discriminators' opinions of samples (B, ...), (B,) each; on features of them with `noise` at `t`."""
    with torch.set_grad_enabled(x.requires_grad):
        maps = nets.features.features(nets.features.path.noised(x, noise, t), t, cond)
    return nets.discriminator(maps, x)  # type: ignore[no-any-return]


def cost(s: Settings) -> float:
    """The student; half the teacher for real and for made samples, and forth and back for the student's turn."""
    return 3 + 1 + 1


METHOD = Method(
    title="Adversarial pre-training (ADP)",
    paper="arXiv:2507.18569",
    family="adversarial",
    summary="A start for adversarial distribution matching: one step on the teacher's pairs, by two discriminators.",
    settings=Settings,
    build=build,
    optimizers=optimizers,
    step=step,
    sampler=sampler,
    cost=cost,
    needs=lambda s: ("pairs",),
    training={"steps": 600, "batch_size": 48, "ema_decay": 0.99, "gradient_clip": 10.0},
    presets={
        "dmdx": Preset("First stage of DMDX", "One step, then adversarial distribution matching from there."),
        "after-seedream": Preset(
            "After Seedream 4.0, first stage",
            "Discriminators on latents and on decoded data; adversarial distribution matching is the second stage.",
        ),
        "features": Preset("Features alone", "No discriminator on decoded data.", {"pixel_weight": 0.0}),
    },
    notes="The discriminator on data is a small convolutional network that learns, not heads on a frozen SAM encoder. "
    "The law by which times are drawn is our reading of a cubic schedule.",
)
