"""diffusers' SD3Transformer2DModel, the flow transformer of Stable Diffusion 3 (MMDiT, arXiv:2403.03206)."""

from collections.abc import Mapping

from diffusers import SD3Transformer2DModel
from torch import Tensor, nn

from backend.networks.condition import Condition
from backend.networks.feature_maps import as_map, first_half
from backend.networks.text import PromptedNetwork


class SD3(PromptedNetwork):
    """Wraps `transformer`. Condition: `text` and `pooled`. shape: of one latent, (C, H, W)."""

    place = 1  # a block makes (text, picture)

    def __init__(self, transformer: SD3Transformer2DModel, shape: tuple[int, ...], null: Mapping[str, Tensor]) -> None:
        super().__init__(null)
        self.transformer, self.shape = transformer, shape

    def _output(self, x: Tensor, time: Tensor, cond: Condition) -> Tensor:
        cond = self._prompted(cond)
        return self.transformer(  # type: ignore[no-any-return]
            x,
            timestep=time,
            encoder_hidden_states=cond.part("text"),
            pooled_projections=cond.part("pooled"),
            return_dict=False,
        )[0]

    def _time_embeddings(self) -> list[nn.Module]:
        return [self.transformer.time_text_embed]

    def _width(self) -> int:
        return int(self.transformer.inner_dim)

    def _feature_blocks(self) -> list[nn.Module]:
        return first_half(self.transformer.transformer_blocks)

    def _map(self, h: Tensor, x: Tensor) -> Tensor:
        patch = self.transformer.config.patch_size
        return as_map(h, x.shape[-2] // patch, x.shape[-1] // patch)
