"""Teachers: what a teacher is, and how one is found by its name or its folder. One source per file.

Importing this loads no torch, so that what a folder holds can be said at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any, Protocol

from backend.contract.errors import UserError
from backend.importing import uncollected
from backend.resources import RESOURCES

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from backend.networks import Condition, Denoiser, Guided
    from backend.networks.codec import Codec

BUNDLED = ("digits", "digits-eps", "digits-flow", "emoji", "emoji-flow")


class TeacherError(UserError, ValueError):
    """The teacher cannot be used; the message says in one sentence what is wrong and what to do."""


class Data(Protocol):
    """Real samples: `draw(n, generator)` gives (n, ...) samples and (n,) labels and has no other random state.

    encoded: whether they are in the space in which the teacher diffuses, so that its codec has nothing left to do.
    """

    @property
    def digest(self) -> str: ...

    @property
    def encoded(self) -> bool: ...

    def draw(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]: ...


def _identity() -> Codec:
    from backend.networks.codec import Identity  # noqa: PLC0415

    return Identity()


@dataclass(frozen=True)
class Teacher:
    """A frozen denoiser, what is known about it, and a trainable network that starts as it.

    key: what it is called or where it lies. labels: names of its classes, empty where it has none.
    data: the real data it goes with by default, None where a person must bring some.
    trainable: makes a new network that starts as the teacher. digest: SHA-256 of what defines it.
    figures: its measured quality, NFE -> figures. draws: its own exact samples, where it can make them.
    codec: between data and the space in which it diffuses. auxiliary: as `trainable`, of the networks that learn beside
    the student, where these are of another kind.
    prompts: what it is asked for; embedded: their conditions, in the same order; empty and None where it takes none.
    guidance_scale: at which it is meant to be sampled, 1 for none. folder: the diffusers folder it comes from, if any.
    notes: sentences a person should know before choosing it.
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
    codec: Codec = field(default_factory=_identity)
    auxiliary: Callable[[], Denoiser] | None = None
    prompts: tuple[str, ...] = ()
    embedded: Condition | None = None
    guidance_scale: float = 1.0
    folder: FilePath | None = None
    notes: tuple[str, ...] = ()

    @property
    def data_shape(self) -> tuple[int, ...]:
        """Shape of one datum, which the codec makes a sample of; without the batch."""
        return self.codec.data_shape(self.denoiser.shape)

    @property
    def guided(self) -> Denoiser | Guided:
        """The denoiser as it is meant to be sampled."""
        from backend.networks import Guided  # noqa: PLC0415

        return self.denoiser if self.guidance_scale == 1 else Guided(self.denoiser, self.guidance_scale)

    def fake_score(self) -> Denoiser:
        """A new network that starts as the teacher and learns beside the student, whose kind it need not have."""
        return (self.auxiliary or self.trainable)()

    def feature_network(self) -> Denoiser:
        """The teacher as a source of feature maps, frozen; for a closed form a network fitted to it."""
        return self.denoiser if hasattr(self.denoiser.network, "features") else self.trainable().frozen()

    def conditions(self, n: int, generator: torch.Generator) -> Condition:
        """A batch of n conditions, classes or prompts drawn evenly."""
        import torch  # noqa: PLC0415

        kinds = len(self.prompts or self.labels)
        if not kinds:
            return self.condition_of(torch.zeros(n, dtype=torch.long))
        return self.condition_of(torch.randint(kinds, (n,), generator=generator, device=generator.device))

    def each_condition(self, n: int) -> Condition:
        """n conditions, the classes or prompts in turn: what previews show."""
        import torch  # noqa: PLC0415

        return self.condition_of(torch.arange(n) % max(len(self.prompts or self.labels), 1))

    def each_exact_condition(self, n: int) -> Condition:
        """`each_condition`, of prompts as encoders in float32 have them: what any other program makes of the same."""
        if self.embedded is None or self.folder is None:
            return self.each_condition(n)
        from backend.teachers.layouts import layout  # noqa: PLC0415
        from backend.teachers.prompts import embed  # noqa: PLC0415

        return embed(layout(self.folder), self.each_prompt(n)).cond

    def each_prompt(self, n: int) -> tuple[str, ...]:
        """The prompts of `each_condition(n)`; empty where it takes none."""
        return tuple(self.prompts[i % len(self.prompts)] for i in range(n)) if self.prompts else ()

    def condition_of(self, numbers: Tensor) -> Condition:
        """The conditions of the classes or prompts of these numbers, (n,)."""
        from backend.networks import Condition  # noqa: PLC0415

        if self.embedded is not None:
            return self.embedded[numbers.cpu()]
        return Condition.of_labels(numbers) if self.labels else Condition.none(len(numbers))


def load_teacher(
    where: str,
    seed: int = 0,
    prompts: Sequence[str] | None = None,
    report: Callable[[int, int], object] = lambda done, of: None,
    device: torch.device | None = None,
) -> Teacher:
    """The bundled teacher of that name, or the one in the diffusers folder or safetensors file of that path.

    `seed` starts the network that stands in for a closed-form teacher. prompts: what a teacher that takes prompts is
    asked for; None for those that come with it. report: told how many of them are encoded. device: by which,
    None for the processor. Raises `TeacherError` where there is no such teacher.
    """
    # Imported here because diffusers takes seconds and the closed form needs none of it.
    if where == "mixture-2d" or where.startswith("mixture-2d:"):
        from backend.teachers import mixture_2d  # noqa: PLC0415

        return mixture_2d.load(where, seed)
    with uncollected():
        from backend.teachers import diffusers_folder, single_file  # noqa: PLC0415

    folder = folder_of(where, fetch=True)
    folder = single_file.converted(folder) if folder.is_file() else folder
    return diffusers_folder.load(folder, where, prompts, report, device)


def folder_of(where: str, fetch: bool = False) -> FilePath:
    """The folder of a bundled teacher, the folder or file of that path, or the folder of a model of the hub of that id.

    fetch: whether a model of the hub may be downloaded. Raises `TeacherError` where there is none of these.
    """
    if where in BUNDLED:
        return RESOURCES / "teachers" / where
    folder = FilePath(where).expanduser()
    if not folder.exists() and not folder.parent.is_dir():
        from backend.teachers import hub  # noqa: PLC0415

        if hub.is_id(where):
            return hub.folder_of(where, fetch)
    if not folder.exists():
        names = ("mixture-2d", *BUNDLED)
        close = get_close_matches(where, names, n=1)
        advice = f"did you mean {close[0]}?" if close else f"name one of {', '.join(names)}, or a diffusers folder."
        raise TeacherError(f"The teacher {where} does not exist; {advice}")
    return folder
