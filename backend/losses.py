"""The terms that methods share: pure functions of tensors, each the formula of a paper.

Every mean is over all axes, batch included, unless said otherwise; per-sample means are over all axes but the batch.
"""

from collections.abc import Iterable, Sequence
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn import functional

from backend.networks import Prediction
from backend.noise import per_sample

SMALLEST_NORMALISER = 1e-6


def sample_mean(x: Tensor) -> Tensor:
    """Mean of each sample, (B, ...) -> (B,)."""
    return x.flatten(1).mean(1)


def denoising(prediction: Prediction, x0: Tensor, noise: Tensor) -> Tensor:
    """Mean squared error of the network's own output: its training loss (Prediction.error says its weight in x0)."""
    return prediction.error(x0, noise).square().mean()


def distribution_matching(x: Tensor, x0_real: Tensor, x0_fake: Tensor) -> Tensor:
    """Scalar whose gradient in `x` is the normalised score difference (DMD, arXiv:2311.18828, eq. 7 and 8).

    x: (B, ...) student samples, data units. x0_real, x0_fake: (B, ...) what the teacher and the fake score make of the
    same noised samples, without gradient. The gradient of each sample is (x0_fake - x0_real)/mean|x - x0_real|, divided
    by the number of elements of the batch. Its value is half the mean square of that and measures no progress.
    """
    with torch.no_grad():
        normaliser = sample_mean((x - x0_real).abs().float()).clamp(min=SMALLEST_NORMALISER)
        gradient = (x0_fake - x0_real) / per_sample(normaliser, x)
        target = x - gradient
    return 0.5 * functional.mse_loss(x, target)


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
    """Mean over the batch of sqrt(|x - y|² + c²) - c, |.| the norm of a sample (arXiv:2310.14189, eq. 8)."""
    return ((x - y).square().flatten(1).sum(1) + c**2).sqrt().sub(c).mean()


def truncated_snr(alpha: Tensor, sigma: Tensor) -> Tensor:
    """max(alpha²/sigma², 1), the weight of progressive distillation (arXiv:2202.00512, eq. 10)."""
    return (alpha**2 / sigma**2).clamp(min=1)


_held: "WeakKeyDictionary[nn.Module, tuple[list[Tensor], list[Tensor]]]" = WeakKeyDictionary()


def _tensors(net: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """Parameters and buffers, remembered: to walk through a network's modules takes longer than to average them."""
    if net not in _held:
        _held[net] = list(net.parameters()), list(net.buffers())
    return _held[net]


@torch.no_grad()
def ema_update(average: nn.Module, net: nn.Module, decay: float) -> None:
    """average <- decay average + (1 - decay) net, parameter by parameter; buffers are copied."""
    (mine, my_buffers), (theirs, their_buffers) = _tensors(average), _tensors(net)
    # What both hold in common, such as the base under adapters, must not even be written to.
    apart = [(a, b) for a, b in zip(mine, theirs, strict=True) if a is not b]
    torch._foreach_lerp_([a for a, _ in apart], [b for _, b in apart], 1 - decay)
    for buffer, other in zip(my_buffers, their_buffers, strict=True):
        buffer.copy_(other)


@torch.no_grad()
def copy_weights(target: nn.Module, source: nn.Module) -> None:
    """target <- source, parameters and buffers."""
    pairs: Iterable[tuple[Tensor, Tensor]] = zip(target.parameters(), source.parameters(), strict=True)
    for mine, theirs in [*pairs, *zip(target.buffers(), source.buffers(), strict=True)]:
        mine.copy_(theirs)
