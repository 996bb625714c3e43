"""Teachers: what a teacher is, and how one is found by its name or its folder. One source per file."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path as FilePath
from typing import Any, Protocol

import torch
from torch import Tensor

from backend.contract.errors import UserError
from backend.networks import Condition, Denoiser
from backend.networks.codec import Codec, Identity
from backend.resources import RESOURCES

BUNDLED = ("digits", "digits-eps", "digits-flow")


class TeacherError(UserError, ValueError):
    """The teacher cannot be used; the message says in one sentence what is wrong and what to do."""


class Data(Protocol):
    """Real samples: `draw(n, generator)` gives (n, ...) samples and (n,) labels and has no other random state."""

    @property
    def digest(self) -> str: ...

    def draw(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]: ...


@dataclass(frozen=True)
class Teacher:
    """A frozen denoiser, what is known about it, and a trainable network that starts as it.

    key: what it is called or where it lies. labels: names of its classes, empty where it has none.
    data: the real data it goes with by default, None where a person must bring some.
    trainable: makes a new network that starts as the teacher. digest: SHA-256 of what defines it.
    figures: its measured quality, NFE -> figures. draws: its own exact samples, where it can make them.
    codec: between data and the space in which it diffuses. auxiliary: as `trainable`, of the networks that learn beside
    the student, where these are of another kind.
    """

    key: str
    title: str
    denoiser: Denoiser
    trainable: Callable[[], Denoiser]
    digest: str
    labels: tuple[str, ...] = ()
    data: str | None = None
    licence: str = ""
    figures: Mapping[str, Any] = field(default_factory=dict)
    draws: Data | None = None
    codec: Codec = field(default_factory=Identity)
    auxiliary: Callable[[], Denoiser] | None = None

    def fake_score(self) -> Denoiser:
        """A new network that starts as the teacher and learns beside the student, whose kind it need not have."""
        return (self.auxiliary or self.trainable)()

    def feature_network(self) -> Denoiser:
        """The teacher as a source of feature maps, frozen; for a closed form a network fitted to it."""
        return self.denoiser if hasattr(self.denoiser.network, "features") else self.trainable().frozen()

    def conditions(self, n: int, generator: torch.Generator) -> Condition:
        """A batch of n conditions, classes drawn evenly."""
        if not self.labels:
            return Condition.none(n)
        labels = torch.randint(len(self.labels), (n,), generator=generator, device=generator.device)
        return Condition.of_labels(labels)

    def each_condition(self, n: int) -> Condition:
        """n conditions, the classes in turn: what previews show."""
        if not self.labels:
            return Condition.none(n)
        return Condition.of_labels(torch.arange(n) % len(self.labels))


def load_teacher(where: str, seed: int = 0) -> Teacher:
    """The bundled teacher of that name, or the diffusers folder of that path.

    `seed` starts the network that stands in for a closed-form teacher. Raises `TeacherError` where there is none.
    """
    # Imported here because diffusers takes seconds and the closed form needs none of it.
    if where == "mixture-2d" or where.startswith("mixture-2d:"):
        from backend.teachers import mixture_2d  # noqa: PLC0415

        return mixture_2d.load(where, seed)
    from backend.teachers import diffusers_folder  # noqa: PLC0415

    return diffusers_folder.load(folder_of(where), where)


def folder_of(where: str) -> FilePath:
    """The folder of a bundled teacher, or the one of that path. Raises `TeacherError` where there is neither."""
    if where in BUNDLED:
        return RESOURCES / "teachers" / where
    folder = FilePath(where).expanduser()
    if not folder.exists():
        names = ("mixture-2d", *BUNDLED)
        close = get_close_matches(where, names, n=1)
        advice = f"did you mean {close[0]}?" if close else f"name one of {', '.join(names)}, or a diffusers folder."
        raise TeacherError(f"The teacher {where} does not exist; {advice}")
    return folder
