"""Steering where its answer is known: of equal modes on a circle, the exact denoiser is one layer of cross-attention.

The clean sample's posterior mean under modes mu_k of one weight, one distance from 0 and standard deviation s is

    (alpha s² / v) x + (sigma² / v) sum_k softmax_k(alpha x·mu_k / v) mu_k,    v = alpha² s² + sigma²,

whose sum is attention of x to the modes as tokens, so that a prompt is a set of modes, and so is a negative prompt.
"""

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers.models.attention import AttentionMixin
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn

from backend.networks import Condition, Denoiser
from backend.networks.steering import steer
from backend.networks.unet2d_condition import UNet2DCondition
from backend.noise import FlowMatching, Path
from backend.samplers import Sampler, even_levels, sample
from backend.teachers.mixture_2d import ClosedFormDenoiser, ring

MODES, STD = 8, 0.04
MIXTURE = ring(0.7, STD, (1 / MODES,) * MODES)


class Exact(nn.Module, AttentionMixin):  # type: ignore[misc]  # diffusers has no types
    """In the place of a U-Net of diffusers: the exact denoiser of as many modes as the prompt has tokens."""

    config = SimpleNamespace(addition_embed_type=None)

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        attention: Any = Attention(query_dim=2, cross_attention_dim=2, heads=1, dim_head=2).double()
        for layer in (attention.to_q, attention.to_k, attention.to_v, attention.to_out[0]):
            nn.init.eye_(layer.weight)
        nn.init.zeros_(attention.to_out[0].bias)
        self.block = nn.ModuleDict({"attn2": attention})

    def forward(self, x: Tensor, time: Tensor, *, encoder_hidden_states: Tensor, **rest: object) -> tuple[Tensor]:
        t = self.path.t_of_network_time(time)[:, None]
        alpha, sigma = self.path.alpha(t), self.path.sigma(t)
        variance = alpha**2 * STD**2 + sigma**2
        attention: Any = self.block["attn2"]
        query = x * alpha / variance / attention.scale
        (seen,) = attention(query[:, None], encoder_hidden_states=encoder_hidden_states).unbind(1)
        return ((alpha * STD**2 * x + sigma**2 * seen) / variance,)


def denoiser(negative: list[int] | None = None) -> Denoiser:
    """It takes modes as its prompt, and is steered away from those that are `negative`."""
    network = UNet2DCondition(Exact(FlowMatching()), (2,), {}, (1, 1))
    net = Denoiser(network, FlowMatching(), "sample").frozen()
    return net if negative is None else steer(net, "modes", MIXTURE.means[negative])


def made(prompt: list[int], negative: list[int] | None, away: float, steps: int = 1, count: int = 64) -> Tensor:
    """Samples (count, 2) for a prompt of these modes."""
    noise = torch.randn(count, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    cond = Condition(count, {"text": MIXTURE.means[prompt].expand(count, -1, -1)})
    sampler = Sampler("renoise", even_levels(steps), away=away)
    return sample(denoiser(negative), sampler, noise, cond, torch.Generator().manual_seed(1))


ALL = list(range(MODES))


def test_with_every_mode_as_its_prompt_it_is_the_exact_denoiser() -> None:
    x, _ = MIXTURE.draw(2000, torch.Generator().manual_seed(0))
    t = torch.linspace(0.02, 1, 2000, dtype=torch.float64)
    noised = FlowMatching().noised(x.double(), torch.randn(x.shape, generator=torch.Generator().manual_seed(1)), t)
    cond = Condition(2000, {"text": MIXTURE.means.expand(2000, -1, -1)})
    exact = ClosedFormDenoiser(MIXTURE, FlowMatching(), "sample")
    torch.testing.assert_close(denoiser()(noised, t, cond).x0, exact(noised, t, cond).x0, rtol=0, atol=1e-9)


@pytest.mark.parametrize("away", [0.1, 0.5, 1.0])
@pytest.mark.parametrize(("prompt", "negative"), [(ALL, [2]), ([0, 1, 2], [4, 5]), ([3, 4], [3, 4])])
def test_from_pure_noise_one_step_leads_to_the_prompts_mean_less_the_negative_ones(
    prompt: list[int], negative: list[int], away: float
) -> None:
    expected = MIXTURE.means[prompt].mean(0) - away * MIXTURE.means[negative].mean(0)
    found = made(prompt, negative, away)
    torch.testing.assert_close(found, expected.expand_as(found), rtol=0, atol=1e-12)


def test_of_every_mode_what_is_left_points_away_from_the_negative_one() -> None:
    found = made(ALL, [2], 0.5)
    torch.testing.assert_close(found, (-0.5 * MIXTURE.means[2]).expand_as(found), rtol=0, atol=1e-12)


def test_no_strength_changes_no_bit() -> None:
    assert torch.equal(made(ALL, [2], 0.0, steps=4), made(ALL, None, 0.0, steps=4))
    noised, t = torch.randn(64, 2, generator=torch.Generator().manual_seed(2)).double(), torch.linspace(0.1, 1, 64)
    cond = Condition(64, {"text": MIXTURE.means.expand(64, -1, -1)})
    told = cond.with_part("away", torch.zeros(64))
    assert torch.equal(denoiser([2])(noised, t.double(), told).x0, denoiser()(noised, t.double(), cond).x0)


def share_of(mode: int, away: float) -> float:
    """The share of samples whose nearest mode it is, after four steps with every mode as the prompt."""
    found = made(ALL, [mode], away, steps=4, count=4096)
    return float((torch.cdist(found, MIXTURE.means).argmin(1) == mode).double().mean())


@pytest.mark.parametrize("mode", [0, 3])
def test_the_stronger_the_fewer_samples_are_of_the_negative_mode_and_turned_round_the_more(mode: int) -> None:
    shares = [share_of(mode, away) for away in (-0.2, -0.1, 0.0, 0.1, 0.2, 0.5)]
    assert shares[2] == pytest.approx(1 / MODES, abs=0.02)  # four standard errors
    assert all(before > after for before, after in pairwise(shares))
