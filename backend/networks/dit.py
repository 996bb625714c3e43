"""diffusers' DiTTransformer2DModel, the class-conditional latent transformer (DiT, arXiv:2212.09748)."""

from collections.abc import Sequence

import torch
from diffusers import DiTTransformer2DModel
from torch import Tensor, nn

from backend.networks.condition import Condition
from backend.networks.feature_maps import as_map, first_half
from backend.networks.told import ToldNetwork


class DiT(ToldNetwork):
    """Wraps `transformer`. Condition: `labels`; the number after the last class stands for no class.

    Where it predicts a variance beside the noise, that second half of the channels is left out: no student uses it.
    """

    def __init__(self, transformer: DiTTransformer2DModel) -> None:
        super().__init__()
        self.transformer = transformer
        config = transformer.config
        self.shape = (int(config.in_channels), int(config.sample_size), int(config.sample_size))
        self.null_label = int(config.num_embeds_ada_norm)

    def extend(self, names: Sequence[str]) -> None:
        super().extend(names)
        for block in self.transformer.transformer_blocks:
            embeds = block.norm1.emb
            embeds.class_embedder = _LabelsAndNumbers(embeds.class_embedder.embedding_table)

    def _run(self, x: Tensor, time: Tensor, cond: Condition) -> Tensor:
        # Time is embedded in every block. What is computed again for gradients (checkpointing) is given its arguments
        # again and nothing else, so the numbers go along with the labels.
        return self._output(x, time, cond)

    def _output(self, x: Tensor, time: Tensor, cond: Condition) -> Tensor:
        labels = cond.labels
        if labels is None:
            labels = torch.full((len(x),), int(self.transformer.config.num_embeds_ada_norm), device=x.device)
        told = labels if self.numbers is None else (labels, self.numbers.added(cond.parts))
        output = self.transformer(x, timestep=time, class_labels=told, return_dict=False)[0]
        return output[:, : x.shape[1]]  # type: ignore[no-any-return]

    def _time_embeddings(self) -> list[nn.Module]:
        return [block.norm1.emb for block in self.transformer.transformer_blocks]

    def _width(self) -> int:
        return int(self.transformer.inner_dim)

    def _feature_blocks(self) -> list[nn.Module]:
        return first_half(self.transformer.transformer_blocks)

    def _map(self, h: Tensor, x: Tensor) -> Tensor:
        patch = self.transformer.config.patch_size
        return as_map(h, x.shape[-2] // patch, x.shape[-1] // patch)


class _LabelsAndNumbers(nn.Module):
    """Stands where diffusers embeds class labels, under whose name the labels' weights stay."""

    def __init__(self, table: nn.Embedding) -> None:
        super().__init__()
        self.embedding_table = table

    def forward(self, told: tuple[Tensor, Tensor] | Tensor) -> Tensor:
        labels, added = (told, 0.0) if isinstance(told, Tensor) else told
        return self.embedding_table(labels) + added  # type: ignore[no-any-return]
