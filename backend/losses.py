"""The terms that methods share: pure functions of tensors, each the formula of a paper.

Every mean is over all axes, batch included, unless said otherwise; per-sample means are over all axes but the batch.
"""

from collections.abc import Iterable, Sequence
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn import functional

from backend.networks import Condition, Prediction, random_features
from backend.noise import Level, per_sample, transition
from backend.pieces import Stretches

SMALLEST_NORMALISER = 1e-6


def sample_mean(x: Tensor) -> Tensor:
    """Mean of each sample, (B, ...) -> (B,)."""
    return x.flatten(1).mean(1)


def denoising(prediction: Prediction, x0: Tensor, noise: Tensor) -> Tensor:
    """Mean squared error of the network's own output: its training loss (Prediction.error says its weight in x0)."""
    return prediction.error(x0, noise).square().mean()


def distribution_matching(x: Tensor, x0_real: Tensor, x0_fake: Tensor, group_size: int = 1) -> Tensor:
    """Scalar whose gradient in `x` is the normalised score difference (DMD, arXiv:2311.18828, eq. 7 and 8).

    x: (B, ...) student samples, data units. x0_real, x0_fake: (B, ...) what the teacher and the fake score make of the
    same noised samples, without gradient. The gradient of each sample is (x0_fake - x0_real)/mean|x - x0_real|, divided
    by the number of elements of the batch. Its value is half the mean square of that and measures no progress.
    group_size: so many neighbours of equal noise share the mean of their divisors (R_dm, arXiv:2603.28460), so that one
    far from the teacher is not held back.
    """
    with torch.no_grad():
        normaliser = sample_mean((x - x0_real).abs().float()).clamp(min=SMALLEST_NORMALISER)
        if group_size > 1:
            normaliser = torch.cat([group.mean().expand(len(group)) for group in normaliser.split(group_size)])
        gradient = (x0_fake - x0_real) / per_sample(normaliser, x)
        target = x - gradient
    return 0.5 * functional.mse_loss(x, target)


def matching_metrics(x: Tensor, x0_real: Tensor, x0_fake: Tensor) -> dict[str, Tensor]:
    """What `distribution_matching` of the same hides: how far the scores differ, and by what that is divided."""
    return {
        "score_difference": (x0_fake - x0_real).abs().mean(),
        "score_normaliser": (x.detach() - x0_real).abs().mean(),
    }


def generator_logistic(fake_logits: Tensor) -> Tensor:
    """Non-saturating generator loss, mean softplus(-logit) (arXiv:1406.2661)."""
    return functional.softplus(-fake_logits.float()).mean()


def discriminator_logistic(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Logistic discriminator loss, mean softplus(logit of fake) + mean softplus(-logit of real)."""
    return functional.softplus(fake_logits.float()).mean() + functional.softplus(-real_logits.float()).mean()


def discriminator_metrics(real_logits: Tensor, fake_logits: Tensor) -> dict[str, Tensor]:
    """Share of real and of fake samples that the discriminator takes for what they are, each in [0, 1]."""
    return {
        "real_recognised": (real_logits.detach() > 0).float().mean(),
        "fake_recognised": (fake_logits.detach() < 0).float().mean(),
    }


def gradient_penalty(logits: Tensor, real: Sequence[Tensor]) -> Tensor:
    """R1: half the mean squared norm of the logit's gradient in the real sample (arXiv:1801.04406, eq. 9).

    real: what the logits were made of and require a gradient, each (B, ...): the samples, or all feature maps of them.
    """
    gradients = torch.autograd.grad(logits.sum(), real, create_graph=True)
    return 0.5 * torch.stack([g.square().flatten(1).sum(1) for g in gradients]).sum(0).mean()


def pseudo_huber(x: Tensor, y: Tensor, c: float) -> Tensor:
    """Mean over the batch of `pseudo_hubers`."""
    return pseudo_hubers(x, y, c).mean()


def pseudo_hubers(x: Tensor, y: Tensor, c: float) -> Tensor:
    """sqrt(|x - y|² + c²) - c, (B,), |.| the norm of a sample (arXiv:2310.14189, eq. 8)."""
    return ((x - y).square().flatten(1).sum(1) + c**2).sqrt().sub(c)


def truncated_snr(alpha: Tensor, sigma: Tensor) -> Tensor:
    """max(alpha²/sigma², 1), the weight of progressive distillation (arXiv:2202.00512, eq. 10)."""
    return (alpha**2 / sigma**2).clamp(min=1)


_held: "WeakKeyDictionary[nn.Module, tuple[list[Tensor], list[Tensor]]]" = WeakKeyDictionary()


def _tensors(net: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """Parameters and buffers, remembered: to walk through a network's modules takes longer than to average them."""
    if net not in _held:
        _held[net] = list(net.parameters()), list(net.buffers())
    return _held[net]


_apart: "WeakKeyDictionary[nn.Module, tuple[nn.Module, Stretches]]" = WeakKeyDictionary()
"""Of each average the network that it follows, and what they do not hold in common."""


@torch.no_grad()
def ema_update(average: nn.Module, net: nn.Module, decay: float) -> None:
    """average <- decay average + (1 - decay) net, parameter by parameter; buffers are copied."""
    (mine, my_buffers), (theirs, their_buffers) = _tensors(average), _tensors(net)
    followed, apart = _apart.get(average, (None, None))
    if apart is None or followed is not net or not apart.are_up_to_date:
        # What both hold in common, such as the base under adapters, must not even be written to.
        own = [(a, b) for a, b in zip(mine, theirs, strict=True) if a is not b]
        apart = Stretches([a for a, _ in own], [b for _, b in own])
        _apart[average] = net, apart
    torch._foreach_lerp_(apart.first, apart.second, 1 - decay)
    for buffer, other in zip(my_buffers, their_buffers, strict=True):
        buffer.copy_(other)


@torch.no_grad()
def copy_weights(target: nn.Module, source: nn.Module) -> None:
    """target <- source, parameters and buffers."""
    pairs: Iterable[tuple[Tensor, Tensor]] = zip(target.parameters(), source.parameters(), strict=True)
    for mine, theirs in [*pairs, *zip(target.buffers(), source.buffers(), strict=True)]:
        mine.copy_(theirs)


def score_identity(x: Tensor, x0_real: Tensor, x0_fake: Tensor, alpha: float, weight: Tensor) -> Tensor:
    """The Fisher divergence by the score identity: mean of weight d ((x0_fake - x) + (1 - alpha) d) over all axes.

    d = x0_real - x0_fake, what teacher and fake score make of the same noised `x`, all (B, ...); weight: (B,). The
    gradient is meant to pass through x and through both networks. May be negative. (SiD, arXiv:2404.04057, eq. 23.)
    """
    difference = x0_real - x0_fake
    return (per_sample(weight, x) * difference * ((x0_fake - x) + (1 - alpha) * difference)).mean()


def adaptive(squares: Tensor, power: float, offset: float) -> Tensor:
    """Mean of e / (e + offset)^power over the batch, the divisor without gradient (MeanFlow, arXiv:2505.13447, eq. 22).

    squares: e, the squared error of each sample summed over its elements, (B,). power 0 is the mean square; with 1
    every sample pulls about as hard.
    """
    return (squares / (squares.detach() + offset) ** power).mean()


def normalised(gradients: Tensor, offset: float) -> tuple[Tensor, Tensor]:
    """g / (|g| + offset), |g| the root mean square of each sample, and the share of samples that are no number.

    Those become 0. The mean in place of the sum makes `offset` mean the same for samples of any size (sCM,
    arXiv:2410.11081, sec. 4.2).
    """
    finite = gradients.flatten(1).isfinite().all(1)
    g = torch.where(per_sample(finite.double(), gradients).bool(), gradients, 0)
    size = sample_mean(g.square()).sqrt() + offset
    return g / per_sample(size, g), 1 - finite.double().mean()


def uncertainty(errors: Tensor, log_variance: Tensor) -> Tensor:
    """Mean of exp(-w) e + w, least where w is the log of the mean of e; both (B,) (sCM, sec. 4.1)."""
    return ((-log_variance).exp() * errors + log_variance).mean()


def interval_target(state: Tensor, s: Level, t: Level, noise: Tensor) -> tuple[Tensor, Tensor]:
    """What a denoiser learns of states that are noised on, x0 and noise, (B, ...) (arXiv:2510.27684).

    state: (B, ...) at levels s, of any distribution; noise: unit, with which it went from s to t (`noise.transition`).
    Their mean at a given noised state belongs to the score of the noised states, as the score is that of the one step's
    noise. With a clean state they are the state and the noise.
    """
    (alpha_s, sigma_s), (alpha_t, sigma_t) = s, t
    _, added = transition(s, t)
    added = added.clamp(min=SMALLEST_NORMALISER)
    back = per_sample(alpha_t * sigma_s**2 / (alpha_s**2 * added), noise)
    return state / per_sample(alpha_s, state) - back * noise, per_sample(sigma_t / added, noise) * noise


def mean_distance(made: Tensor, real: Tensor, labels: tuple[Tensor, Tensor] | None = None) -> Tensor:
    """Squared distance of the mean features, MMD with a linear kernel, over the real features' total variance.

    made: (B, F) of student samples, with gradient; real: (B', F). labels: the classes (B,) and (B',); then the means of
    each class that both have, weighed by its share of `made`. Of two batches of one distribution without classes its
    expectation is 1/B + 1/B', so that the value itself measures no progress.
    """
    scale = real.detach().var(0, correction=0).sum().clamp(min=SMALLEST_NORMALISER)
    if labels is None:
        return (made.mean(0) - real.mean(0)).square().sum() / scale
    # All classes at once: a mean each, one after the other, takes longer than a small random network.
    classes = labels[0].unique()
    (ours, own_counts), (theirs, counts) = (
        _class_sums(features, own, classes) for features, own in zip((made, real), labels, strict=True)
    )
    distances = (ours / own_counts[:, None] - theirs / counts.clamp(min=1)[:, None]).square().sum(1)
    return (own_counts / len(made) * (counts > 0) * distances).sum() / scale


def _class_sums(features: Tensor, labels: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """Sum of the features (B, F) and number of the samples of each class, (C, F) and (C,)."""
    member = (labels == classes[:, None]).to(features.dtype)
    return member @ features, member.sum(1)


EMBEDDINGS, EMBEDDING_WIDTH = 2, 64
"""Random networks for each step, and their units or channels."""


def embedding(x: Tensor, cond: Condition, real: Tensor, real_cond: Condition, generator: torch.Generator) -> Tensor:
    """Embedding Loss: `mean_distance` in the features of new random networks (arXiv:2604.22379).

    x: (B, ...) student samples; real: (B', ...) real ones; classes are compared where both conditions name them.
    """
    labels = None
    if cond.labels is not None and real_cond.labels is not None:
        labels = cond.labels, real_cond.labels
    terms = []
    for _ in range(EMBEDDINGS):
        features = random_features.random_features(tuple(x.shape[1:]), EMBEDDING_WIDTH, generator)
        terms.append(mean_distance(features(x.float()), features(real.float()), labels))
    return torch.stack(terms).mean()


def sample_moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance over the elements of each sample, (B, ...) -> (B,) twice."""
    flat = x.float().flatten(1)
    return flat.mean(1), flat.var(1, correction=0)


def moments(x: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """KL divergence of a normal with each sample's own moments from one of these, mean over the batch (2511.22677).

    x: (B, ...). mean, variance: of a sample's elements, scalars; 0 where every sample has them.
    """
    own_mean, own_variance = sample_moments(x)
    share = (own_variance / variance).clamp(min=SMALLEST_NORMALISER)
    return 0.5 * (share + (own_mean - mean).square() / variance - 1 - share.log()).mean()


def generator_hinge(fake_logits: Sequence[Tensor]) -> Tensor:
    """The generator's part of the hinge loss, minus the mean logit, averaged over discriminators, each (B, ...)."""
    return -_mean([logits.float().mean() for logits in fake_logits])


def discriminator_hinge(real_logits: Sequence[Tensor], fake_logits: Sequence[Tensor]) -> Tensor:
    """Hinge loss, mean relu(1 - logit of real) + mean relu(1 + logit of fake), averaged (arXiv:1705.02894)."""
    pairs = zip(real_logits, fake_logits, strict=True)
    return _mean([(1 - r.float()).relu().mean() + (1 + f.float()).relu().mean() for r, f in pairs])


def _mean(scalars: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(scalars)).mean() if len(scalars) > 1 else scalars[0]


def pushed(x: Tensor, gradient: Tensor) -> Tensor:
    """Scalar whose gradient in `x` is `gradient` (B, ...) divided by the number of elements; half its mean square."""
    return 0.5 * functional.mse_loss(x, (x - gradient).detach())


def flow_velocity(prediction: Prediction) -> Tensor:
    """`Prediction.flow_velocity`, as a function of the prediction."""
    return prediction.flow_velocity


def flow_velocity_error(prediction: Prediction, x0: Tensor, noise: Tensor) -> Tensor:
    """The error (B, ...) of `flow_velocity`, whose square is reflow's objective (arXiv:2209.03003, eq. 1).

    In x0 its weight is ((alpha + sigma)/sigma)².
    """
    return flow_velocity(prediction) - (noise - x0)
