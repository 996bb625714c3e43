"""diffusers' SD3Transformer2DModel, the flow transformer of Stable Diffusion 3 (MMDiT, arXiv:2403.03206)."""

from collections.abc import Mapping

from diffusers import SD3Transformer2DModel
from torch import Tensor, nn

from backend.networks.condition import Condition
from backend.networks.feature_maps import as_map, first_half, outputs_of
from backend.networks.text import PromptedNetwork


class SD3(PromptedNetwork):
    """Wraps `transformer`. Condition: `text` and `pooled`. shape: of one latent, (C, H, W)."""

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

    def features(self, x: Tensor, time: Tensor, cond: Condition) -> list[Tensor]:
        """The picture's tokens after blocks up to the middle, as maps (B, C, H, W)."""
        patch = self.transformer.config.patch_size
        blocks = first_half(self.transformer.transformer_blocks)
        maps = outputs_of(blocks, lambda: self._run(x, time, cond), place=1)  # a block makes (text, picture)
        return [as_map(h, x.shape[-2] // patch, x.shape[-1] // patch) for h in maps]
