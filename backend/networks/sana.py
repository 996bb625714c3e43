"""diffusers' SanaTransformer2DModel, the linear-attention flow transformer (Sana, arXiv:2410.10629)."""

from collections.abc import Mapping

from diffusers import SanaTransformer2DModel
from torch import Tensor, nn

from backend.networks.condition import Condition
from backend.networks.feature_maps import as_map, first_half
from backend.networks.steering import steering
from backend.networks.text import PromptedNetwork, rows

GUIDANCE_SCALE = 4.5  # what a network that is told its guidance is told by default, as in diffusers' pipelines


class Sana(PromptedNetwork):
    """Wraps `transformer`. Condition: `text` and `text_mask`, and for networks that embed it `guidance`."""

    steerable = True

    def __init__(self, transformer: SanaTransformer2DModel, shape: tuple[int, ...], null: Mapping[str, Tensor]) -> None:
        super().__init__(null)
        self.transformer, self.shape = transformer, shape

    def _output(self, x: Tensor, time: Tensor, cond: Condition) -> Tensor:
        cond, config = self._prompted(cond), self.transformer.config
        guidance = None
        if config.guidance_embeds:
            scale = cond.parts.get("guidance", rows(GUIDANCE_SCALE, len(x), x))
            guidance = scale * config.guidance_embeds_scale
        with steering(self, cond):
            output = self.transformer(
                x,
                timestep=time.to(x.dtype) * config.timestep_scale,
                encoder_hidden_states=cond.part("text"),
                encoder_attention_mask=cond.part("text_mask"),
                guidance=guidance,
                return_dict=False,
            )[0]
        return output[:, : x.shape[1]]  # type: ignore[no-any-return]

    def _time_embeddings(self) -> list[nn.Module]:
        return [getattr(self.transformer.time_embed, "emb", self.transformer.time_embed)]

    def _width(self) -> int:
        return int(self.transformer.scale_shift_table.shape[1])

    def _feature_blocks(self) -> list[nn.Module]:
        return first_half(self.transformer.transformer_blocks)

    def _map(self, h: Tensor, x: Tensor) -> Tensor:
        patch = self.transformer.config.patch_size
        return as_map(h, x.shape[-2] // patch, x.shape[-1] // patch)
