"""Steering a network away from a negative prompt inside its cross-attention, with one evaluation and no training.

NASA (SNOOPI, arXiv:2412.02687): in every cross-attention layer the queries attend to the prompt and, with the same
projections, to the negative prompt; the second result is subtracted from the first before the output projection:
Z = softmax(Q K+ᵀ/√d) V+ - a softmax(Q K-ᵀ/√d) V-. Networks in which pictures and prompts attend to each other in one
layer have no such place.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from backend.contract.recipe import RecipeError
from backend.networks.condition import Condition
from backend.networks.denoiser import Denoiser
from backend.networks.told import module_of
from backend.noise import per_sample

CROSS = ".attn2."
"""In the names of diffusers' networks: what attends to the prompt."""


class Steered:
    """A processor of diffusers' attention, around the one that is there.

    text: (L, D) the negative prompt's tokens, none of them padding; scale: (B,) a, for each sample.
    """

    def __init__(self, inner: Any, text: Tensor, scale: Tensor) -> None:
        self.inner, self.text, self.scale = inner, text, scale

    def __call__(self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Tensor, **rest: Any) -> Tensor:
        found: Tensor = self.inner(attn, hidden_states, encoder_hidden_states=encoder_hidden_states, **rest)
        negative = self.text.expand(len(hidden_states), *self.text.shape).to(encoder_hidden_states.dtype)
        unmasked = {**rest, "attention_mask": None}  # which tells the prompt's padding
        away: Tensor = self.inner(attn, hidden_states, encoder_hidden_states=negative, **unmasked)
        # The output projection is linear but for its bias, so that without it the order makes no difference.
        bias: Tensor = attn.to_out[0].bias
        return found - per_sample(self.scale, found) * (away - bias)


@contextmanager
def steering(network: Any, cond: Condition) -> Iterator[None]:
    """While inside, one of our networks that wraps diffusers' is steered as `cond` says; see `steer`."""
    scale = cond.parts.get("away")
    if scale is None:
        yield
        return
    module: Any = module_of(network)
    text: Tensor = network.away_text
    for name in ("caption_projection", "caption_norm"):  # through which a transformer's prompts go first
        through = getattr(module, name, None)
        text = text if through is None else through(text)
    processors: Mapping[str, Any] = module.attn_processors
    steered = {name: Steered(inner, text, scale) if CROSS in name else inner for name, inner in processors.items()}
    module.set_attn_processor(dict(steered))
    try:
        yield
    finally:
        module.set_attn_processor(dict(processors))


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
    """Raises `RecipeError` where it is no network of diffusers that attends to a prompt in layers of their own."""
    if not getattr(network, "steerable", False) or not any(
        CROSS in name for name in getattr(module_of(network), "attn_processors", {})
    ):
        raise RecipeError(
            "This teacher has no cross-attention that a negative prompt can be steered by; leave negative_prompt "
            "empty, or choose a teacher like Stable Diffusion 1, 2 or XL, PixArt or Sana."
        )
