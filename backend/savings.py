"""What a run's memory is made up of, and what of its recipe would lower it, in order of effect.

It predicts from sizes and from what a dry run measured; it takes no step and changes nothing.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, get_type_hints

import psutil
import torch
from torch import nn

from backend.contract import settings
from backend.contract.checked import Suggestion
from backend.contract.recipe import Recipe
from backend.methods import Method
from backend.networks import Denoiser
from backend.networks.adapters import adaptable, adapted
from backend.optimizers import state_bytes
from backend.train import Run

COMPUTED_AGAIN = 0.4
"""Share of the activations that is left where they are computed again: 0.25 to 0.45 for the bundled teachers."""
NARROW = 0.55
"""The same in bfloat16, in which products keep their inputs, and normalisations and losses do not."""
WITHOUT_GAN, ONE_STEP = 0.7, 0.9
"""The same without an adversarial loss, and of a student of one step; guesses, as they depend on the method."""
BATCHES = (2, 4, 8)
"""Into how many parts a batch may be divided."""
FLOAT = 4
_NOMINAL = 2**20


@dataclass(frozen=True)
class TrainedSize:
    """Bytes of a trained network. weights: of what is trained in it. moments: of its optimizer.

    factored: of Adafactor's moments, if these were its optimizer's. copies: how many of its weights are held, itself
    and averages of it. adapters: what adapters in place of its weights would train; 0 where there can be none, or are.
    """

    weights: int
    moments: int
    factored: int
    copies: int = 1
    adapters: int = 0

    @property
    def held(self) -> int:
        """What is there between two steps."""
        return self.copies * self.weights + self.moments

    def as_adapters(self) -> "TrainedSize":
        """The same network with adapters alone trained; its base is the teacher's."""
        share = self.adapters / self.weights
        return TrainedSize(self.adapters, round(share * self.moments), round(share * self.factored), self.copies)


@dataclass(frozen=True)
class Footprint:
    """Bytes of a run. fixed: all there is before the first step but what `nets` hold. nets: by name.

    activations: what a step needs beside weights, moments and one gradient, of however many batches that is the mean.
    drawing: the same of a preview. is_measured: whether activations are more than a guess. computes_again: whether the
    student's network can compute its activations again.
    """

    fixed: int
    nets: Mapping[str, TrainedSize]
    activations: int
    drawing: int = 0
    is_measured: bool = True
    computes_again: bool = True

    @classmethod
    def of(cls, run: Run, rank: int, resident: int, training: int, whole: int, is_measured: bool = True) -> "Footprint":
        """Of a run of which that many bytes were there before its first step, at most in a step, and at most ever.

        rank: of the adapters that its networks might have.
        """
        nets = dict(_trained(run, rank))
        bare = cls(
            fixed=max(0, resident - sum(net.copies * net.weights for net in nets.values())),
            nets=nets,
            activations=0,
            is_measured=is_measured,
            computes_again=any(getattr(m, "_supports_gradient_checkpointing", False) for m in run.student.modules()),
        )
        held = bare.fixed + bare.held
        drawing = whole - held if whole > training else 0
        return replace(bare, activations=max(0, training - bare.needed), drawing=max(0, drawing))

    @classmethod
    def nominal(cls, recipe: Recipe, method: Method[Any, Any], chosen: Any) -> "Footprint":
        """Of a run that could not even be put together: what is large beside what, in a network of no known size."""
        nets = [f.name for f in fields(get_type_hints(method.build)["return"])]
        size, small = _NOMINAL, _NOMINAL // 50
        full, lora = TrainedSize(size, 2 * size, small), TrainedSize(small, 2 * small, small)
        found = {}
        for name, kind in (("student", recipe.student.kind), ("fake_score", recipe.student.fake_score)):
            if name in nets:
                # Where the method's own settings say how large adapters are, it makes some whatever the recipe says.
                own = kind == "lora" or hasattr(chosen, "rank") or hasattr(chosen, "adapter_share")
                found[name] = lora if own else replace(full, copies=1 + (name == "student"), adapters=small)
        computes_again = not recipe.teacher.startswith("mixture-2d")
        return cls(size, found, 4 * size, 0, False, computes_again)

    @property
    def held(self) -> int:
        """Bytes of what is trained, between two steps."""
        return sum(net.held for net in self.nets.values())

    @property
    def needed(self) -> int:
        """The most that is needed at once."""
        largest = max((net.weights for net in self.nets.values()), default=0)
        return self.fixed + self.held + max(self.drawing, self.activations + largest)

    def keeping(self, share: float) -> "Footprint":
        """The same with that share of the activations."""
        return replace(self, activations=round(share * self.activations))

    def with_adapters(self, name: str) -> "Footprint":
        """The same with adapters alone trained in one network."""
        return replace(self, nets={**self.nets, name: self.nets[name].as_adapters()})

    def factored(self) -> "Footprint":
        """The same with Adafactor in place of every optimizer."""
        return replace(self, nets={name: replace(net, moments=net.factored) for name, net in self.nets.items()})


def memory_of(device: torch.device) -> int:
    """Bytes of a GPU, or of the machine."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return int(psutil.virtual_memory().total)


def at_least(recipe: Recipe, method: Method[Any, Any], chosen: Any, run: Run | None, has: int) -> Footprint:
    """Of a run for which a device that has so many bytes has too few. run: None where it was not even put together."""
    if run is None:
        return Footprint.nominal(recipe, method, chosen)
    return Footprint.of(run, recipe.student.rank, held_by(run), has, has, is_measured=False)


def held_by(run: Run) -> int:
    """Bytes of every network of a run before its first step."""
    modules = [*(getattr(run.nets, f.name) for f in fields(run.nets)), run.average, run.teacher.denoiser]
    found = [module for module in modules if isinstance(module, nn.Module)]
    tensors = {id(t): t for module in found for t in (*module.parameters(), *module.buffers())}
    return sum(t.numel() * t.element_size() for t in tensors.values())


def less_memory(
    recipe: Recipe, method: Method[Any, Any], chosen: Any, now: Footprint, device: torch.device, room: int = 0
) -> list[Suggestion]:
    """What would lower the memory of a run, the most first: what the method, its teacher and settings have.

    room: bytes that it may take; of how many parts a batch is made, the least with which it fits is proposed.
    """
    training, found = recipe.training, list[tuple[str, dict[str, Any], Footprint]]()
    if now.computes_again and not training.gradient_checkpointing:
        words = "Compute activations again where gradients need them (gradient checkpointing): a third more time"
        found.append((words, {"training.gradient_checkpointing": True}, now.keeping(COMPUTED_AGAIN)))
    found += _divided(recipe, method, chosen, now, room)
    if training.precision == "float32" and device.type == "cuda" and torch.cuda.is_bf16_supported():
        found.append(("Compute in bfloat16", {"training.precision": "bfloat16"}, now.keeping(NARROW)))
    if training.optimizer != "adafactor":
        words = "Train with Adafactor: its moments take a hundredth of Adam's memory"
        found.append((words, {"training.optimizer": "adafactor"}, now.factored()))
    for name, key, words in (
        ("student", "student.kind", "Train adapters (LoRA) instead of all the student's weights"),
        ("fake_score", "student.fake_score", "Train adapters (LoRA) instead of all weights of the fake score"),
    ):
        # A start of another kind would not fit adapters, and FlashDMD refuses them where it draws networks together.
        refused = (name == "student" and recipe.student.start) or getattr(chosen, "kept_share", 1) < 1
        if name in now.nets and now.nets[name].adapters and not refused:
            found.append((words, {key: "lora"}, now.with_adapters(name)))
    found += _lowered(recipe, method, chosen, now)
    ranked = sorted(found, key=lambda one: one[2].needed)
    return [
        Suggestion(words, change, then.needed / now.needed, then.needed if now.is_measured else 0)
        for words, change, then in ranked
        if then.needed < now.needed
    ]


def _divided(
    recipe: Recipe, method: Method[Any, Any], chosen: Any, now: Footprint, room: int
) -> list[tuple[str, dict[str, Any], Footprint]]:
    """The same batch as several smaller ones, whose gradients are averaged."""
    batch, parts = recipe.training.batch_size, recipe.training.accumulation
    ways = []
    for by in BATCHES:
        if method.accumulates(chosen) and batch % by == 0:
            words = f"Take {parts * by} batches of {batch // by} for a step, instead of {parts} of {batch}"
            ways.append(
                (words, {"training.batch_size": batch // by, "training.accumulation": parts * by}, now.keeping(1 / by))
            )
    fitting = [way for way in ways if way[2].needed <= room]
    return fitting[:1] or ways[-1:]


def _lowered(
    recipe: Recipe, method: Method[Any, Any], chosen: Any, now: Footprint
) -> Iterator[tuple[str, dict[str, Any], Footprint]]:
    """What makes another student of it: a smaller batch, no adversarial loss, one step."""
    batch = recipe.training.batch_size
    for part in (4, 2):
        if batch >= 2 * part:
            words = f"Lower the batch size from {batch} to {batch // part}"
            yield words, {"training.batch_size": batch // part}, now.keeping(batch // part / batch)
    if getattr(chosen, "gan_weight", 0) and _may_be(recipe, method, "gan_weight", 0.0):
        without = "real data" not in method.needs(chosen.model_copy(update={"gan_weight": 0.0}))
        words = "Leave the adversarial loss out: a discriminator less" + (", and no real data" if without else "")
        yield words, {"settings.gan_weight": 0.0}, now.keeping(WITHOUT_GAN)
    has_stages = hasattr(chosen, "start_steps")
    if getattr(chosen, "student_steps", 1) > 1 and not has_stages and _may_be(recipe, method, "student_steps", 1):
        words = "Make a student of one step: its training holds no longer rollout"
        yield words, {"settings.student_steps": 1}, now.keeping(ONE_STEP)


def _may_be(recipe: Recipe, method: Method[Any, Any], name: str, value: Any) -> bool:
    """Whether a setting may have that value, and the others as they are."""
    return not settings.problems(method.settings, {**recipe.settings, name: value})


def _trained(run: Run, rank: int) -> Iterator[tuple[str, TrainedSize]]:
    for name, optimizer in run.optimizers.items():
        net: nn.Module = getattr(run.nets, name)
        own = [p for p in net.parameters() if p.requires_grad]
        one = TrainedSize(
            weights=sum(p.numel() * p.element_size() for p in own),
            moments=state_bytes(optimizer),
            factored=sum(_factored(p) * p.element_size() for p in own),
        )
        if name == "student":
            one = replace(one, copies=2 + len(run.method.followers))
        if name in ("student", "fake_score") and isinstance(net, Denoiser) and not adapted(net):
            one = replace(one, adapters=_of_adapters(net, rank))
        yield name, one


def _factored(parameter: nn.Parameter) -> int:
    """How many moments Adafactor keeps of one: a row and a column of those that are held as matrices."""
    rows = len(parameter) if parameter.ndim > 1 else 0
    return rows + parameter.numel() // rows if rows else parameter.numel()


def _of_adapters(net: Denoiser, rank: int) -> int:
    """Bytes of adapters on all layers that can have some."""
    return sum(FLOAT * rank * (weight[0].numel() + len(weight)) for weight in adaptable(net, rank).values())
