"""diffusers' UNet2DModel, the pixel U-Net of DDPM, ADM and EDM, as one of our networks."""

from collections.abc import Mapping, Sequence

import torch
from diffusers import UNet2DModel
from torch import Tensor, nn

from backend.networks.condition import Condition
from backend.networks.inputs import NumberEmbeddings

Told = tuple[Tensor | None, Mapping[str, Tensor]]


class LabelsAndNumbers(nn.Module):
    """Stands where diffusers keeps the class embedding, under whose name the labels' weights stay.

    Takes what `UNet2D` passes as class labels: labels (B,), None where there are none, and the condition's parts.
    """

    def __init__(self, labels: nn.Embedding | None, numbers: NumberEmbeddings) -> None:
        super().__init__()
        self.weight: nn.Parameter | None
        # Under adapters it is the base's and stays frozen, which a new parameter would not by itself.
        weight = None if labels is None else nn.Parameter(labels.weight, labels.weight.requires_grad)
        self.register_parameter("weight", weight)
        self.numbers = numbers

    def forward(self, told: Told) -> Tensor:
        labels, parts = told
        added = self.numbers.added(parts)
        if labels is None or self.weight is None:
            return added
        return added + nn.functional.embedding(labels, self.weight)


class UNet2D(nn.Module):
    """Wraps `unet`; `null_label` is the class embedding that stands for no class, None where it has none."""

    def __init__(self, unet: UNet2DModel, null_label: int | None = None) -> None:
        super().__init__()
        self.unet, self.null_label = unet, null_label
        size = unet.config.sample_size
        height, width = (size, size) if isinstance(size, int) else tuple(size)
        self.shape = (int(unet.config.in_channels), height, width)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The numbers it takes beside the time."""
        embedding = self.unet.class_embedding
        return tuple(embedding.numbers) if isinstance(embedding, LabelsAndNumbers) else ()

    def extend(self, names: Sequence[str]) -> None:
        """From now on the network takes these numbers too (`inputs.INPUTS`), and so far ignores them."""
        width = self.unet.time_embedding.linear_2.out_features
        numbers = NumberEmbeddings(names, width).to(self.unet.device)
        self.unet.class_embedding = LabelsAndNumbers(self.unet.class_embedding, numbers)

    def _told(self, cond: Condition) -> Tensor | Told | None:
        """What diffusers calls class labels."""
        embedding = self.unet.class_embedding
        if not isinstance(embedding, LabelsAndNumbers):
            return None if embedding is None else self._labels(cond)
        return (None if embedding.weight is None else self._labels(cond)), cond.parts

    def _labels(self, cond: Condition) -> Tensor:
        if cond.labels is not None:
            return cond.labels
        if self.null_label is None:
            raise ValueError("This network needs a class label for each sample.")
        return torch.full((len(cond),), self.null_label, device=self.unet.device)

    def forward(self, x: Tensor, time: Tensor, cond: Condition) -> Tensor:
        return self.unet(x, time, class_labels=self._told(cond), return_dict=False)[0]  # type: ignore[no-any-return]

    def features(self, x: Tensor, time: Tensor, cond: Condition) -> list[Tensor]:
        """The output of every down block and of the middle block, (B, C, H, W), finest first."""
        unet = self.unet
        emb = unet.time_embedding(unet.time_proj(time).to(x.dtype))
        told = self._told(cond)
        if told is not None:
            emb = emb + unet.class_embedding(told)
        if unet.config.center_input_sample:
            x = 2 * x - 1
        h, skip = unet.conv_in(x), x
        maps = []
        for block in unet.down_blocks:
            if hasattr(block, "skip_conv"):  # the blocks that carry a shrunken input along
                h, _, skip = block(hidden_states=h, temb=emb, skip_sample=skip)
            else:
                h = block(hidden_states=h, temb=emb)[0]
            maps.append(h)
        if unet.mid_block is not None:
            maps.append(unet.mid_block(h, emb))
        return maps

    def fixed(self) -> list[nn.Parameter]:
        """The first layer of the time embedding, where it ignores some frequencies.

        Its zero columns are what lets an export move them to another clock (`exports.consistency_time`), so that
        no student may fill them.
        """
        weight = self.unet.time_embedding.linear_1.weight
        return [weight] if bool((weight == 0).all(0).any()) else []
