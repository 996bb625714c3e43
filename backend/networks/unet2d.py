"""diffusers' UNet2DModel, the pixel U-Net of DDPM, ADM and EDM, as one of our networks."""

import torch
from diffusers import UNet2DModel
from torch import Tensor, nn

from backend.networks.condition import Condition
from backend.networks.told import ToldNetwork


class UNet2D(ToldNetwork):
    """Wraps `unet`; `null_label` is the class embedding that stands for no class, None where it has none.

    picture_channels: of its input, how many are the condition's part `picture`, after those of the noised sample.
    """

    def __init__(self, unet: UNet2DModel, null_label: int | None = None, picture_channels: int = 0) -> None:
        super().__init__()
        self.unet, self.null_label, self.picture_channels = unet, null_label, picture_channels
        size = unet.config.sample_size
        height, width = (size, size) if isinstance(size, int) else tuple(size)
        self.shape = (int(unet.config.in_channels) - picture_channels, height, width)

    def _seen(self, x: Tensor, cond: Condition) -> Tensor:
        """The network's input: the noised sample, and where it takes one the picture beside it."""
        return torch.cat([x, cond.part("picture").to(x.dtype)], 1) if self.picture_channels else x

    def _labels(self, cond: Condition) -> Tensor | None:
        if self.unet.class_embedding is None:
            return None
        if cond.labels is not None:
            return cond.labels
        if self.null_label is None:
            raise ValueError("This network needs a class label for each sample.")
        return torch.full((len(cond),), self.null_label, device=self.unet.device)

    def _output(self, x: Tensor, time: Tensor, cond: Condition) -> Tensor:
        x = self._seen(x, cond)
        return self.unet(x, time, class_labels=self._labels(cond), return_dict=False)[0]  # type: ignore[no-any-return]

    def _time_embeddings(self) -> list[nn.Module]:
        return [self.unet.time_embedding]

    def _width(self) -> int:
        return int(self.unet.time_embedding.linear_2.out_features)

    def _feature_blocks(self) -> list[nn.Module]:
        """Every down block and the middle block."""
        middle = self.unet.mid_block
        return [*self.unet.down_blocks, *([] if middle is None else [middle])]

    def fixed(self) -> list[nn.Parameter]:
        """The first layer of the time embedding, where it ignores some frequencies.

        Its zero columns are what lets an export move them to another clock (`exports.consistency_time`), so that
        no student may fill them.
        """
        weight = self.unet.time_embedding.linear_1.weight
        return [weight] if bool((weight == 0).all(0).any()) else []
