"""Several networks as one, each for a part of the conditions: what a student is that was made of several students.

Which of them answers is decided by the condition alone, so that whoever has the whole need not know of the parts.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from backend.contract.recipe import RecipeError
from backend.networks.condition import Condition
from backend.networks.denoiser import Denoiser

if TYPE_CHECKING:
    from backend.teachers import Teacher

CLUSTERING_ROUNDS = 50


class Partition(nn.Module):
    """Which of `count` networks is for which condition: a class by a table, a prompt by the nearest of some centres.

    table: (classes,) numbers from 0 to count - 1. centres: (count, D), in the space of `prompt_vectors`. One of both.
    They are buffers, so that the weights say by themselves who is for what.
    """

    table: Tensor | None
    centres: Tensor | None

    def __init__(self, count: int, table: Tensor | None = None, centres: Tensor | None = None) -> None:
        super().__init__()
        self.count = count
        self.register_buffer("table", table)
        self.register_buffer("centres", centres)

    def forward(self, cond: Condition) -> Tensor:
        """The network of each condition, (B,). The condition's part `student` says it where there is one.

        Raises ValueError for a class that is in no part, and for a batch of neither classes nor prompts.
        """
        told = cond.parts.get("student")
        if told is not None:
            return told
        if self.table is not None and cond.labels is not None:
            strange = (cond.labels < 0) | (cond.labels >= len(self.table))
            if strange.any():
                raise ValueError(f"Class {int(cond.labels[strange][0])} is in no student's part.")
            return self.table[cond.labels]
        if self.centres is not None and "text" in cond.parts:
            return torch.cdist(prompt_vectors(cond), self.centres).argmin(1)
        raise ValueError("Without its class or prompt no student is found for a sample.")


def prompt_vectors(cond: Condition) -> Tensor:
    """Each prompt as one vector, (B, D) float32: the mean of its tokens."""
    text = cond.part("text").float()
    mask = cond.parts.get("text_mask")
    if mask is None:
        return text.mean(1)
    share = mask.to(text) / mask.to(text).sum(1, keepdim=True).clamp(min=1)
    return (share[..., None] * text).sum(1)


def partition_of(teacher: "Teacher", count: int) -> Partition:
    """The teacher's classes in `count` runs of about the same length, or its prompts in as many clusters.

    Raises `RecipeError` for a teacher that has neither, or fewer than that.
    """
    kinds, what = len(teacher.prompts or teacher.labels), "prompts" if teacher.prompts else "classes"
    if not kinds:
        raise RecipeError(
            "Classes or prompts are shared out among students, and this teacher takes neither; choose a teacher that "
            "does, or another method."
        )
    if kinds < count:
        raise RecipeError(f"The teacher has {kinds} {what}, too few for {count} students; lower students.")
    if teacher.embedded is not None:
        return Partition(count, centres=clusters(prompt_vectors(teacher.embedded), count))
    classes = len(teacher.labels)
    return Partition(count, table=torch.arange(classes) * count // classes)


def clusters(vectors: Tensor, count: int) -> Tensor:
    """Centres (count, D) of vectors (N, D) by k-means, begun with vectors far apart; the same for the same vectors."""
    chosen = [int((vectors - vectors.mean(0)).norm(dim=1).argmax())]
    while len(chosen) < count:
        chosen.append(int(torch.cdist(vectors, vectors[chosen]).min(1).values.argmax()))
    centres = vectors[chosen].clone()
    for _ in range(CLUSTERING_ROUNDS):
        nearest = torch.cdist(vectors, centres).argmin(1)
        held = [vectors[nearest == k] for k in range(count)]
        moved = torch.stack([own.mean(0) if len(own) else centres[k] for k, own in enumerate(held)])
        if torch.equal(moved, centres):
            break
        centres = moved
    return centres


def split(own: Tensor, given: Sequence[Tensor | Condition], answer: Callable[..., Sequence[Tensor]]) -> list[Tensor]:
    """What `answer` gives for the rows of each network that some row of `own` (B,) names, in the batch's order.

    given: each (B, ...), of which answer(k, *own rows) gets those of network k, (n, ...). Its answers are (n, ...) too.
    """
    order = own.argsort(stable=True)  # one gathering for all networks, whose rows then lie next to each other
    gathered, answers, begin = [part[order] for part in given], list[Sequence[Tensor]](), 0
    for k, count in enumerate(own.bincount().tolist()):
        if count:
            answers.append(answer(k, *(part[begin : begin + count] for part in gathered)))
        begin += count
    back = order.argsort()
    return [torch.cat(parts)[back] for parts in zip(*answers, strict=True)]


class Routed(nn.Module):
    """Networks of one architecture, each for its part of the conditions."""

    def __init__(self, networks: Sequence[nn.Module], partition: Partition) -> None:
        super().__init__()
        if len(networks) != partition.count:
            raise ValueError("Every part of the conditions needs a network.")
        self.students, self.partition = nn.ModuleList(networks), partition
        self.shape: tuple[int, ...] = tuple(networks[0].shape)  # type: ignore[arg-type]

    def forward(self, x: Tensor, time: Tensor, cond: Condition) -> Tensor:
        """Each sample's own network's answer; every network is given its own samples alone."""
        (answer,) = split(self.partition(cond), (x, time, cond), lambda k, *own: [self.students[k](*own)])
        return answer

    def features(self, x: Tensor, time: Tensor, cond: Condition) -> list[Tensor]:
        return split(self.partition(cond), (x, time, cond), lambda k, *own: self.students[k].features(*own))

    def with_features(
        self, x: Tensor, time: Tensor, cond: Condition, *, result_in_graph: bool = True
    ) -> tuple[Tensor, list[Tensor]]:

        def both(k: int, *own: Tensor | Condition) -> list[Tensor]:
            made, maps = self.students[k].with_features(*own, result_in_graph=result_in_graph)  # type: ignore[operator]
            return [made, *maps]

        made, *maps = split(self.partition(cond), (x, time, cond), both)
        return made, maps

    def fixed(self) -> list[nn.Parameter]:
        return [parameter for student in self.students for parameter in student.fixed()]  # type: ignore[operator]


class RoutedDenoiser(Denoiser):
    """Several denoisers, alike but for their weights, as one. Without a condition it answers nothing."""

    network: Routed

    def __init__(self, denoisers: Sequence[Denoiser], partition: Partition) -> None:
        first = denoisers[0]
        network = Routed([denoiser.network for denoiser in denoisers], partition)
        super().__init__(network, first.path, first.prediction_type, first.sigma_data)

    def null(self, cond: Condition) -> Condition | None:
        return None

    def one(self, k: int) -> Denoiser:
        """The denoiser of one part, with the very weights."""
        return Denoiser(self.network.students[k], self.path, self.prediction_type, self.sigma_data)


class RoutedHeads(nn.Module):
    """A discriminator for each network."""

    def __init__(self, heads: Sequence[nn.Module]) -> None:
        super().__init__()
        self.heads = nn.ModuleList(heads)

    def forward(self, features: Sequence[Tensor], own: Tensor) -> Tensor:
        """(B,) logits of feature maps (B, ...), those of each row by the discriminator that `own` (B,) names."""
        (logits,) = split(own, features, lambda k, *maps: [self.heads[k](maps)])
        return logits
