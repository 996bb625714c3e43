"""diffusers' FluxTransformer2DModel, the flow transformer of FLUX.1, with its guidance embedded.

It takes latents packed: 2x2 places become the channels of one token. Outside of this file they are never packed.
"""

from collections.abc import Mapping

import torch
from diffusers import FluxTransformer2DModel
from torch import Tensor, nn

from backend.networks.condition import Condition
from backend.networks.feature_maps import as_map, first_half
from backend.networks.text import PromptedNetwork, rows

GUIDANCE_SCALE = 3.5  # what the network is told by default, as in diffusers' pipeline


class Flux(PromptedNetwork):
    """Wraps `transformer`. Condition: `text`, `pooled`, and for networks that embed it `guidance`.

    shape: of one latent, unpacked, (C, H, W), H and W even.
    """

    place = 1  # a block makes (text, picture)

    def __init__(self, transformer: FluxTransformer2DModel, shape: tuple[int, ...], null: Mapping[str, Tensor]) -> None:
        super().__init__(null)
        self.transformer, self.shape = transformer, shape
        self.native = ("guidance",) if transformer.config.guidance_embeds else ()

    def _output(self, x: Tensor, time: Tensor, cond: Condition) -> Tensor:
        cond = self._prompted(cond)
        height, width = x.shape[-2] // 2, x.shape[-1] // 2
        guidance = None
        if self.transformer.config.guidance_embeds:
            guidance = cond.parts.get("guidance", rows(GUIDANCE_SCALE, len(x), x))
        text = cond.part("text")
        packed = self.transformer(
            pack(x),
            timestep=time.to(x.dtype) / 1000,
            guidance=guidance,
            pooled_projections=cond.part("pooled"),
            encoder_hidden_states=text,
            txt_ids=torch.zeros(text.shape[1], 3, dtype=x.dtype, device=x.device),
            img_ids=places(height, width).to(x),
            return_dict=False,
        )[0]
        return unpack(packed, height, width)

    def _time_embeddings(self) -> list[nn.Module]:
        return [self.transformer.time_text_embed]

    def _width(self) -> int:
        return int(self.transformer.inner_dim)

    def _feature_blocks(self) -> list[nn.Module]:
        return first_half(self.transformer.transformer_blocks)

    def _map(self, h: Tensor, x: Tensor) -> Tensor:
        return as_map(h, x.shape[-2] // 2, x.shape[-1] // 2)


def pack(x: Tensor) -> Tensor:
    """(B, C, H, W) to (B, H/2 W/2, 4 C)."""
    batch, channels, height, width = x.shape
    patches = x.reshape(batch, channels, height // 2, 2, width // 2, 2)
    return patches.permute(0, 2, 4, 1, 3, 5).reshape(batch, -1, 4 * channels)


def unpack(tokens: Tensor, height: int, width: int) -> Tensor:
    """(B, height width, 4 C) to (B, C, 2 height, 2 width)."""
    patches = tokens.reshape(len(tokens), height, width, -1, 2, 2)
    return patches.permute(0, 3, 1, 4, 2, 5).reshape(len(tokens), -1, 2 * height, 2 * width)


def places(height: int, width: int) -> Tensor:
    """Each token's place as (0, row, column), (height width, 3)."""
    grid = torch.cartesian_prod(torch.arange(height), torch.arange(width))
    return torch.cat([torch.zeros(len(grid), 1), grid.float()], 1)
