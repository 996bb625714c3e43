"""Steering a network away from a negative prompt inside its cross-attention, with one evaluation and no training.

NASA (SNOOPI, arXiv:2412.02687): in every cross-attention layer the queries attend to the prompt and, with the same
projections, to the negative prompt; the second result is subtracted from the first before the output projection:
Z = softmax(Q K+ᵀ/√d) V+ - a softmax(Q K-ᵀ/√d) V-.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from backend.contract.recipe import RecipeError
from backend.networks.denoiser import Denoiser
from backend.noise import per_sample

CROSS = ".attn2."
"""In the names of diffusers' U-Nets: what attends to the prompt."""


class Steered:
    """A processor of diffusers' attention, around the one that is there.

    text: (L, D) the negative prompt's tokens; scale: (B,) a, for each sample.
    """

    def __init__(self, inner: Any, text: Tensor, scale: Tensor) -> None:
        self.inner, self.text, self.scale = inner, text, scale

    def __call__(self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Tensor, **rest: Any) -> Tensor:
        found: Tensor = self.inner(attn, hidden_states, encoder_hidden_states=encoder_hidden_states, **rest)
        negative = self.text.expand(len(hidden_states), *self.text.shape).to(encoder_hidden_states.dtype)
        away: Tensor = self.inner(attn, hidden_states, encoder_hidden_states=negative, **rest)
        # The output projection is linear but for its bias, so that without it the order makes no difference.
        bias: Tensor = attn.to_out[0].bias
        return found - per_sample(self.scale, found) * (away - bias)


@contextmanager
def steering(unet: Any, text: Tensor, scale: Tensor) -> Iterator[None]:
    """While inside, this U-Net of diffusers is steered away from a negative prompt; see `Steered`."""
    processors: Mapping[str, Any] = unet.attn_processors
    steered = {name: Steered(inner, text, scale) if CROSS in name else inner for name, inner in processors.items()}
    unet.set_attn_processor(dict(steered))
    try:
        yield
    finally:
        unet.set_attn_processor(dict(processors))


def steer(net: Denoiser, prompt: str, text: Tensor) -> Denoiser:
    """Itself, from now on steered away from a negative prompt, whose tokens are `text` (L, D), wherever its condition
    says how strongly (the part `away`). Raises `RecipeError` like `refuse_unsteerable`.
    """
    refuse_unsteerable(net.network)
    net.network.away_prompt = prompt  # type: ignore[assignment]
    net.network.register_buffer("away_text", text.detach().clone(), persistent=False)
    return net


def negative_prompt(net: Denoiser) -> str:
    """What the network is steered away from; empty where it is not."""
    return getattr(net.network, "away_prompt", "")


def refuse_unsteerable(network: nn.Module) -> None:
    """Raises `RecipeError` where it is no U-Net of diffusers that attends to a prompt."""
    if not any(CROSS in name for name in getattr(getattr(network, "unet", None), "attn_processors", {})):
        raise RecipeError(
            "This teacher has no cross-attention that a negative prompt can be steered by; leave negative_prompt "
            "empty, or choose a teacher like Stable Diffusion 1, 2 or XL."
        )
