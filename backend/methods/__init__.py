"""What a distillation method is. One method per file in this folder; listing the folder registers them.

A file holds, in the order of its paper: a docstring that names the paper, frozen `Settings`, the `Nets` it uses,
`build`, `optimizers`, `step`, `sampler`, and last `METHOD = Method(...)`. Nothing else is edited to add one. A
person's own methods may lie in folders named by the environment variable DISTILL_STUDIO_METHODS.

Between two steps a run is its networks, optimizers, random state and step number, and nothing else.
"""

import importlib
import os
import pkgutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Generic, Literal, TypeVar

import torch
from pydantic import AfterValidator
from torch import Tensor, nn
from torch.optim import Optimizer

from backend.contract.settings import Settings, setting
from backend.networks import Condition, Denoiser
from backend.noise import Path
from backend.samplers import Sampler, normal
from backend.teachers import Teacher

__path__.extend(folder for folder in os.environ.get("DISTILL_STUDIO_METHODS", "").split(os.pathsep) if folder)

Need = Literal["real data", "pairs"]


def _is_start_level(level: float) -> float:
    if 0 < level < 0.05:
        raise ValueError(f"first_level is {level:g}, too near the data to start from; give 0, or at least 0.05.")
    return level


StartLevel = Annotated[float, AfterValidator(_is_start_level)]
"""Time t at which a student starts, 0 or from 0.05 to 1. See `samplers.start_level`."""
_WORDS = "Time t at which the student starts; 0 is the highest that suits the teacher"
FirstLevel = Annotated[float, setting(0.0, _WORDS, low=0, high=1, advanced=True), AfterValidator(_is_start_level)]
"""The same with what forms say of it, the one setting that most methods have: `first_level: FirstLevel = 0.0`."""
S = TypeVar("S", bound=Settings)
N = TypeVar("N")


@dataclass(frozen=True)
class Update:
    """One optimizer step: the sum of `losses` is minimised in `net`, or in each of several nets, and nowhere else.

    losses: scalars by the name of their curve. metrics: what is plotted and not minimised.
    fresh: the optimizer first forgets its moments, as at the start of a stage. renewed: parts of `net` that have just
    started anew, of which it forgets them too; it must hold their parameters apart.
    sample: the student's samples, of which the losses were computed: now and then the loop plots how hard each loss
    pulls at them.
    """

    net: nn.Module | tuple[nn.Module, ...]
    losses: Mapping[str, Tensor]
    metrics: Mapping[str, Tensor] = field(default_factory=dict)
    fresh: bool = False
    sample: Tensor | None = None
    renewed: Sequence[nn.Module] = ()

    @property
    def nets(self) -> tuple[nn.Module, ...]:
        return self.net if isinstance(self.net, tuple) else (self.net,)


@dataclass(frozen=True)
class Batch:
    """What one step is given, and the only source of randomness it may use.

    step: from 0; total: steps of the whole run. cond: conditions of B samples.
    real, real_cond: B real samples and their conditions, where the run has real data.
    drawn_pairs: B noises, the samples to which the teacher's deterministic sampler leads from them, their conditions.
    held_out: B pairs that are never drawn, others at the next step; None where there are none.
    first: whether it is the first of the batches that the step accumulates: what a step does to a network by itself,
    such as an average between two updates, it does for the first alone. What follows the last update is done once.
    """

    step: int
    total: int
    cond: Condition
    shape: tuple[int, ...]
    generator: torch.Generator
    device: torch.device
    real_samples: Tensor | None = None
    real_cond: Condition | None = None
    drawn_pairs: tuple[Tensor, Tensor, Condition] | None = None
    held_out: Callable[[], tuple[Tensor, Tensor, Condition] | None] = lambda: None
    first: bool = True

    @property
    def real(self) -> tuple[Tensor, Condition]:
        """Real samples (B, ...) and their conditions. A method that asks must declare the need "real data"."""
        if self.real_samples is None or self.real_cond is None:
            raise ValueError("This method needs real data and the run has none.")
        return self.real_samples, self.real_cond

    @property
    def pairs(self) -> tuple[Tensor, Tensor, Condition]:
        """Unit normal noise (B, ...), the teacher's sample from each (B, ...), and their conditions.

        A method that asks must declare the need "pairs".
        """
        if self.drawn_pairs is None:
            raise ValueError("This method needs noise/image pairs and the run has none.")
        return self.drawn_pairs

    def noise(self) -> Tensor:
        """New unit normal noise, (B, ...)."""
        return normal((len(self.cond), *self.shape), self.generator, self.device)

    def times(self, low: float = 0.0, high: float = 1.0) -> Tensor:
        """New times, uniform in [low, high], (B,) float64."""
        dtype = torch.float32 if self.device.type == "mps" else torch.float64
        drawn = torch.rand(len(self.cond), generator=self.generator, device=self.generator.device, dtype=dtype)
        if (low, high) != (0, 1):
            drawn = low + (high - low) * drawn
        return drawn.to(self.device)

    def log_normal_times(self, path: Path, mean: float, spread: float, high: float) -> Tensor:
        """New times at which ln(sigma/alpha) is normal, none above `high`, (B,) float64."""
        z = normal((len(self.cond),), self.generator, self.device)
        z = z if self.device.type == "mps" else z.double()
        return path.t_of_ratio((mean + spread * z).exp()).clamp(max=high)

    def index(self, count: int) -> int:
        """One number in 0..count-1, the same for the whole batch."""
        return int(torch.randint(count, (), generator=self.generator, device=self.generator.device))

    def indices(self, count: int) -> Tensor:
        """A number in 0..count-1 for each sample, (B,)."""
        shape = (len(self.cond),)
        return torch.randint(count, shape, generator=self.generator, device=self.generator.device).to(self.device)


@dataclass(frozen=True)
class Preset:
    """Settings that go together, for a purpose. settings: what differs from the defaults. training: what differs from
    the method's own training values. student: of the recipe's student part, such as {"kind": "lora"}."""

    title: str
    words: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    student: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Method(Generic[S, N]):
    """A method's card. The file's name is its key.

    nets made by `build` are a dataclass of modules, one of them `student`, which starts as the teacher.
    needs: what a run must have, given its settings. cost: network evaluations per step and sample, in units of one
    forward of the teacher (a forward and backward of a trained network counts 3, to the input only 2).
    stage_sampler: of a method with stages, how the student is used as it stands after `step` of `total` steps; at the
    end it must be `sampler`. followers: the nets that start where the student starts: its
    averages, or what it was.
    accumulates: whether, given its settings, its losses are means over samples, so that batches may be averaged.
    meant_start: given its settings, the run whose student it is meant to start from, in words; "" where the teacher
    does.
    only_as_trained: whether, given its settings, its students are ruined by any other number of evaluations.
    pairs_from: the level at which the trajectories of its pairs start, by default where the student does.
    student: makes one that starts as the teacher, where it is more than the teacher's network (`new_student`).
    training: values of the recipe's training part that suit it. presets: by a short name. notes: departures from the
    paper. family: one of `catalogue.FAMILIES`, under which a person finds it.
    """

    title: str
    paper: str
    summary: str
    settings: type[S]
    build: Callable[[Teacher, S], N]
    optimizers: Callable[[N, S], Mapping[str, Optimizer]]
    step: Callable[[N, Batch, S], Iterator[Update]]
    sampler: Callable[[S, Denoiser], Sampler]
    cost: Callable[[S], float]
    needs: Callable[[S], tuple[Need, ...]] = lambda s: ()
    stage_sampler: Callable[[S, Denoiser, int, int], Sampler] | None = None
    followers: tuple[str, ...] = ()
    accumulates: Callable[[S], bool] = lambda s: True
    meant_start: Callable[[S], str] = lambda s: ""
    only_as_trained: Callable[[S], bool] = lambda s: False
    pairs_from: Callable[[S, Denoiser], float] | None = None
    student: Callable[[Teacher, S], Denoiser] | None = None
    inputs: Callable[[S], tuple[str, ...]] = lambda s: ()
    training: Mapping[str, Any] = field(default_factory=dict)
    presets: Mapping[str, Preset] = field(default_factory=dict)
    notes: str = ""
    family: str = ""

    def new_student(self, teacher: Teacher, settings: S) -> Denoiser:
        """A network of the student's architecture, which starts as the teacher."""
        if self.student is not None:
            return self.student(teacher, settings)
        inputs = self.inputs(settings)
        return teacher.trainable().extended(*inputs) if inputs else teacher.trainable()

    def pair_level(self, settings: S, net: Denoiser) -> float:
        """The level at which the trajectories of its pairs start."""
        return (self.pairs_from or (lambda s, net: self.sampler(s, net).levels[0]))(settings, net)

    def sampler_after(self, step: int, total: int, settings: S, net: Denoiser) -> Sampler:
        """How the student is used as it stands after `step` of `total` steps."""
        if self.stage_sampler is None:
            return self.sampler(settings, net)
        return self.stage_sampler(settings, net, step, total)


def method_names() -> list[str]:
    """The keys of all methods: the files of this folder."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))


def load_method(name: str) -> Method[Any, Any]:
    """The method of that key. Raises whatever importing its file raises."""
    method = importlib.import_module(f"{__name__}.{name}").METHOD
    if not isinstance(method, Method):
        raise TypeError(f"METHOD of {name} is no Method.")
    return method
