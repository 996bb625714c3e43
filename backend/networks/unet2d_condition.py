"""diffusers' UNet2DConditionModel: the latent, text-conditioned U-Net of Stable Diffusion 1, 2 and XL."""

from collections.abc import Mapping

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn

from backend.networks.condition import Condition
from backend.networks.steering import steering
from backend.networks.text import PromptedNetwork, rows


class UNet2DCondition(PromptedNetwork):
    """Wraps `unet`. Condition: `text`, and for SDXL `pooled` and `time_ids`, by default those of a whole picture.

    shape: of one latent, (C, H, W). picture: height and width of what it becomes, in pixels.
    """

    steerable = True

    def __init__(
        self, unet: UNet2DConditionModel, shape: tuple[int, ...], null: Mapping[str, Tensor], picture: tuple[int, int]
    ) -> None:
        super().__init__(null)
        self.unet, self.shape = unet, shape
        self.time_ids: Tensor
        # A picture of just this size, not cropped.
        ids = torch.tensor([*picture, 0, 0, *picture], dtype=torch.float32)
        self.register_buffer("time_ids", ids, persistent=False)

    def _output(self, x: Tensor, time: Tensor, cond: Condition) -> Tensor:
        cond = self._prompted(cond)
        added = None
        if self.unet.config.addition_embed_type == "text_time":
            ids = cond.parts.get("time_ids", rows(self.time_ids, len(x), x))
            added = {"text_embeds": cond.part("pooled"), "time_ids": ids}
        with steering(self, cond):
            return self.unet(  # type: ignore[no-any-return]
                x, time, encoder_hidden_states=cond.part("text"), added_cond_kwargs=added, return_dict=False
            )[0]

    def _time_embeddings(self) -> list[nn.Module]:
        return [self.unet.time_embedding]

    def _width(self) -> int:
        return int(self.unet.time_embedding.linear_2.out_features)

    def _feature_blocks(self) -> list[nn.Module]:
        """Every down block and the middle block."""
        middle = self.unet.mid_block
        return [*self.unet.down_blocks, *([] if middle is None else [middle])]
