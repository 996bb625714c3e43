"""diffusers' PixArtTransformer2DModel: PixArt-alpha (arXiv:2310.00426) and PixArt-Sigma (arXiv:2403.04692)."""

from collections.abc import Mapping

from diffusers import PixArtTransformer2DModel
from torch import Tensor, nn

from backend.networks.condition import Condition
from backend.networks.feature_maps import as_map, first_half
from backend.networks.steering import steering
from backend.networks.text import PromptedNetwork, rows


class PixArt(PromptedNetwork):
    """Wraps `transformer`. Condition: `text` and `text_mask`.

    shape: of one latent, (C, H, W). picture: height and width of what it becomes, in pixels, which the larger alpha
    models are told. The second half of the channels, a learned variance, is left out.
    """

    steerable = True

    def __init__(
        self,
        transformer: PixArtTransformer2DModel,
        shape: tuple[int, ...],
        null: Mapping[str, Tensor],
        picture: tuple[int, int],
    ) -> None:
        super().__init__(null)
        self.transformer, self.shape, self.picture = transformer, shape, picture

    def _output(self, x: Tensor, time: Tensor, cond: Condition) -> Tensor:
        cond = self._prompted(cond)
        added: dict[str, Tensor | None] = {"resolution": None, "aspect_ratio": None}
        if self.transformer.use_additional_conditions:
            height, width = self.picture
            added = {
                "resolution": rows([float(height), float(width)], len(x), x),
                "aspect_ratio": rows([height / width], len(x), x),
            }
        with steering(self, cond):
            output = self.transformer(
                x,
                timestep=time,
                encoder_hidden_states=cond.part("text"),
                encoder_attention_mask=cond.part("text_mask"),
                added_cond_kwargs=added,
                return_dict=False,
            )[0]
        return output[:, : x.shape[1]]  # type: ignore[no-any-return]

    def _time_embeddings(self) -> list[nn.Module]:
        return [self.transformer.adaln_single.emb]

    def _width(self) -> int:
        return int(self.transformer.inner_dim)

    def _feature_blocks(self) -> list[nn.Module]:
        return first_half(self.transformer.transformer_blocks)

    def _map(self, h: Tensor, x: Tensor) -> Tensor:
        patch = self.transformer.config.patch_size
        return as_map(h, x.shape[-2] // patch, x.shape[-1] // patch)
