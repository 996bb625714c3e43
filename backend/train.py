"""The training loop: networks and data in, events out. It knows no files, no projects and no methods by name."""

import copy
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial, reduce
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from backend import losses
from backend.contract.events import Progress
from backend.contract.recipe import RecipeError, Training
from backend.contract.settings import Settings
from backend.methods import Batch, Method, Need, Update
from backend.networks import Denoiser
from backend.networks.adapters import adapted
from backend.networks.denoiser import computing_in
from backend.optimizers import factored
from backend.pieces import put_end_to_end
from backend.samplers import Sampler
from backend.stores import PairStore
from backend.teachers import Data, Teacher
from backend.trained import Trained, Trainees

LOOKED_AT_EVERY = 20
"""Steps of which one is looked at more closely; its number divides by 2, 4, 5 and 10, and so all networks have their
turn in it."""


class NotFiniteError(RuntimeError):
    """A loss or gradient was infinite or not a number; nothing was applied to the networks after it."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the device, or for the CPU this process, could not get the memory it asked for."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)  # what torch raises on the CPU


@dataclass
class Run:
    """A run between two steps: its networks, optimizers, random state and step number, and nothing else."""

    method: Method[Any, Any]
    settings: Settings
    training: Training
    teacher: Teacher
    data: Data | None
    nets: Any
    optimizers: Mapping[str, Optimizer]
    average: Denoiser
    generator: torch.Generator
    device: torch.device
    step: int = 0
    pairs: PairStore | None = None

    @property
    def student(self) -> Denoiser:
        """The network being trained, raw."""
        return self.nets.student  # type: ignore[no-any-return]

    @property
    def exported(self) -> Denoiser:
        """The student as it is shown and exported: its moving average, or the raw one where none is kept."""
        return self.average if self.training.ema_decay else self.student

    @property
    def sampler(self) -> Sampler:
        """How the student is used as it stands now."""
        return self.method.sampler_after(self.step, self.training.steps, self.settings, self.student)

    @property
    def last_sampler(self) -> Sampler:
        """How the finished student is used."""
        return self.method.sampler(self.settings, self.student)

    def modules(self) -> dict[str, nn.Module]:
        """Every network that changes during the run, by name."""
        own = {f.name: getattr(self.nets, f.name) for f in fields(self.nets)}
        if "average" in own:
            raise TypeError("A method's Nets must not be called average: that is the run's own.")
        fixed = {id(p) for p in self.teacher.denoiser.parameters()}
        changing = {name: net for name, net in own.items() if any(id(p) not in fixed for p in net.parameters())}
        return {**changing, "average": self.average}


def average_of(net: Denoiser) -> Denoiser:
    """A copy of `net` without gradient; the base under adapters is shared with it."""
    base = [p for p in net.parameters() if not p.requires_grad] if adapted(net) else []
    return copy.deepcopy(net, {id(p): p for p in base}).requires_grad_(False)


def start(
    method: Method[Any, Any],
    settings: Settings,
    training: Training,
    teacher: Teacher,
    data: Data | None,
    device: torch.device,
    pairs: PairStore | None = None,
) -> Run:
    """A run before its first step. Its networks depend on the seed alone.

    Raises `RecipeError` where the method, the networks or the device cannot do what `training` asks for.
    """
    _require(method, settings, training, device)
    torch.manual_seed(training.seed)
    nets = method.build(teacher, settings)
    for f in fields(nets):
        getattr(nets, f.name).to(device)
    generator = torch.Generator(device if device.type == "cuda" else "cpu").manual_seed(training.seed)
    average = average_of(nets.student)
    if training.gradient_checkpointing:
        _keep_few_activations(nets)
    optimizers = method.optimizers(nets, settings)
    if training.optimizer == "adafactor":
        optimizers = {name: factored(optimizer, getattr(nets, name)) for name, optimizer in optimizers.items()}
    put_end_to_end([average, *(getattr(nets, f.name) for f in fields(nets))], teacher.denoiser)
    return Run(method, settings, training, teacher, data, nets, optimizers, average, generator, device, pairs=pairs)


def _require(method: Method[Any, Any], settings: Settings, training: Training, device: torch.device) -> None:
    """Raise `RecipeError` where what `training` asks for cannot be done."""
    if training.accumulation > 1 and not method.accumulates(settings):
        raise RecipeError(f"{method.title} needs its whole batch at once with these settings; set accumulation to 1.")
    narrow = {"cpu": lambda: True, "cuda": torch.cuda.is_bf16_supported}.get(device.type)
    if training.precision == "bfloat16" and not (narrow and narrow()):
        raise RecipeError(f"This {device.type} device does not compute in bfloat16; set precision to float32.")


def _keep_few_activations(nets: Any) -> None:
    """Have every trained network that knows how compute its activations again in the backward pass.

    Raises `RecipeError` where the student does not.
    """
    for f in fields(nets):
        net: nn.Module = getattr(nets, f.name)
        able = [module for module in net.modules() if getattr(module, "_supports_gradient_checkpointing", False)]
        if any(p.requires_grad for p in net.parameters()):
            for module in able:
                module.enable_gradient_checkpointing()  # type: ignore[operator]
        if f.name == "student" and not able:
            raise RecipeError("This teacher's network keeps all its activations; set gradient_checkpointing to false.")


def learning_rate_factor(step: int, training: Training) -> float:
    """What every learning rate is multiplied by at `step` (from 0): warm-up, then the schedule, times a factor."""
    whole = training.learning_rate_factor
    if step < training.warmup_steps:
        return whole * (step + 1) / training.warmup_steps
    if training.learning_rate_schedule == "constant":
        return whole
    rest = training.steps - training.warmup_steps
    return whole * 0.5 * (1 + math.cos(math.pi * (step - training.warmup_steps) / rest))


def ema_decay(step: int, training: Training) -> float:
    """Share of the average kept at `step` (from 0): it rises to the recipe's.

    On the way the average is over about the last third of the steps, so that the start is soon forgotten.
    """
    return min(training.ema_decay, (1 + step) / (4 + step))


def train(run: Run) -> Iterator[Progress]:
    """Runs the remaining steps and reports each. Metrics are 0-d tensors on the device: reading one may wait for it.

    Between two reports the run is complete: it can be saved, sampled and left for ever. Raises `NotFiniteError`
    before the step that would have spoiled the networks.
    """
    own = {f.name: getattr(run.nets, f.name) for f in fields(run.nets)}
    trainees = Trainees(own, run.optimizers)
    needs = run.method.needs(run.settings)
    cost = run.method.cost(run.settings)
    precision = getattr(torch, run.training.precision)
    denoisers = [module for net in own.values() for module in net.modules() if isinstance(module, Denoiser)]
    try:
        while run.step < run.training.steps:
            factor = learning_rate_factor(run.step, run.training)
            for optimizer in run.optimizers.values():
                for group in optimizer.param_groups:
                    group["lr"] = group.setdefault("initial_lr", group["lr"]) * factor
            with computing_in(precision, denoisers):
                metrics = _step(run, needs, trainees)
            run.step += 1
            images = run.step * run.training.samples_per_step
            yield Progress(run.step, metrics, images, round(images * cost))
    finally:
        trainees.forget_gradients()


def _step(run: Run, needs: Collection[Need], trainees: Trainees) -> dict[str, object]:
    """All updates of one step, each averaged over the batches that the recipe accumulates; their metrics."""
    batches = [replace(_batch(run, needs), first=number == 0) for number in range(run.training.accumulation)]
    parts = [run.method.step(run.nets, batch, run.settings) for batch in batches]
    metrics: dict[str, object] = {}
    while update := _mean_update(parts, trainees, run.step % LOOKED_AT_EVERY == 0):
        metrics |= _apply(run, update, run.step % LOOKED_AT_EVERY == 0)
        if run.training.ema_decay and any(net.name == "student" for net in update.nets):
            # A new stage begins a new average: the last stage's student had another task.
            decay = 0.0 if update.fresh else ema_decay(run.step, run.training)
            losses.ema_update(run.average, run.student, decay)
    return metrics


def _batch(run: Run, needs: Collection[Need]) -> Batch:
    size, generator, device = run.training.batch_size, run.generator, run.device
    real, real_cond = None, None
    if "real data" in needs and run.data is not None:
        samples, labels = run.data.draw(size, generator)
        real = samples.to(device) if run.data.encoded else run.teacher.codec.encode(samples.to(device))
        real_cond = run.teacher.condition_of(labels).to(device)
    pairs = run.pairs.draw(size, generator, device) if "pairs" in needs and run.pairs is not None else None
    cond = run.teacher.conditions(size, generator).to(device)
    held_out = partial(run.pairs.held_out_lot, size, run.step, device) if run.pairs is not None else lambda: None
    shape, total = run.student.shape, run.training.steps
    return Batch(run.step, total, cond, shape, generator, device, real, real_cond, pairs, held_out)


@dataclass
class _MeanUpdate:
    """An update that is ready to be applied: the mean of one that several batches gave.

    Its gradient is in `nets`. total: of the losses. values: of each curve what the batches gave that have it, such as
    of a term that only some of them have.
    """

    nets: list[Trained]
    total: Tensor
    values: dict[str, list[Tensor]]
    fresh: bool
    renewed: Sequence[nn.Module]

    @property
    def curves(self) -> dict[str, Tensor]:
        """Each curve's mean over the batches that have it."""
        return {name: torch.stack(found).mean(0) if len(found) > 1 else found[0] for name, found in self.values.items()}

    def add(self, other: "_MeanUpdate") -> None:
        if [net.name for net in self.nets] != [net.name for net in other.nets]:
            raise ValueError("A method must update the same networks in the same order for every batch of a step.")
        self.total = self.total + other.total
        for name, found in other.values.items():
            self.values.setdefault(name, []).extend(found)


def _mean_update(parts: Sequence[Iterator[Update]], trainees: Trainees, looked_at: bool) -> _MeanUpdate | None:
    """The next update of every batch's step, averaged; None after the last.

    Each batch's gradient is taken before the next batch is computed, so that one graph alone is in memory. looked_at:
    whether the gradient of each term on the sample is wanted too.
    """
    mean: _MeanUpdate | None = None
    for part in parts:
        update = next(part, None)
        if update is None:
            return None
        nets = trainees.of(update.nets)
        if mean is None:
            trainees.begin_gradients(nets)
        one = _differentiated(update, nets, 1 / len(parts), looked_at)
        if mean is None:
            mean = one
        else:
            mean.add(one)
    return mean


def _differentiated(update: Update, nets: list[Trained], weight: float, looked_at: bool) -> _MeanUpdate:
    """`weight` times an update; its gradient is added to that of the networks that it names and of no other."""
    on_sample = _on_sample(update) if looked_at else {}
    total = reduce(torch.add, [term.float() for term in update.losses.values()])
    torch.autograd.backward(total, torch.full_like(total, weight), inputs=[p for net in nets for p in net.parameters])
    shown = {**update.losses, **update.metrics, **on_sample}
    values = {name: [value.detach()] for name, value in shown.items()}
    return _MeanUpdate(nets, total.detach(), values, update.fresh, update.renewed)


def _on_sample(update: Update) -> dict[str, Tensor]:
    """TERM_on_sample: root mean square of a loss's gradient in the student's samples, without the mean over elements.

    So it does not depend on the batch or the picture's size, and terms can be compared, also between methods.
    """
    x, found = update.sample, {}
    for name, term in update.losses.items() if x is not None and x.requires_grad else ():
        if not term.requires_grad:  # such as of classes that none of the real samples has
            continue
        (gradient,) = torch.autograd.grad(term, x, retain_graph=True, allow_unused=True)  # type: ignore[arg-type]
        if gradient is not None:
            found[f"{name}_on_sample"] = gradient.detach().norm() * gradient.numel() ** 0.5
    return found


def _not_finite(run: Run, update: _MeanUpdate, names: list[str]) -> str:
    """What was not finite, and where it was so first: a term of the loss, else the gradient of a parameter."""
    who, when = " and ".join(names), f"was not finite at step {run.step + 1}"
    for name, value in update.curves.items():
        if not value.isfinite().all():
            return f"The loss of {who} {when}, first its {name}."
    for net in update.nets:
        places = {id(parameter): place for place, parameter in getattr(run.nets, net.name).named_parameters()}
        for parameter in net.parameters:
            if parameter.grad is not None and not parameter.grad.isfinite().all():
                return f"The gradient of {who} {when}, first that of {places[id(parameter)]} of {net.name}."
    return f"The gradient of {who} {when}: its norm is too large to be held."


def _apply(run: Run, update: _MeanUpdate, looked_at: bool) -> dict[str, object]:
    """One optimizer step for the networks the update names. Its metrics.

    looked_at: whether NET_step is among them, by which share of its weights' size a network moved.
    """
    names = [net.name for net in update.nets]
    gradients = [gradient for net in update.nets for gradient in net.gradient()]
    norms = torch._foreach_norm(gradients)
    norm = torch.linalg.vector_norm(torch.stack(norms)) if len(norms) > 1 else norms[0]
    # The device is read from once for each update, so that nothing is applied after a loss that is not finite.
    size, loss = torch.stack((norm, update.total)).tolist()
    if not math.isfinite(size + loss):
        raise NotFiniteError(_not_finite(run, update, names))
    if run.training.gradient_clip and size > run.training.gradient_clip:
        torch._foreach_mul_(gradients, run.training.gradient_clip / size)
    before = {net.name: net.some_weights() for net in update.nets} if looked_at else {}
    for net in update.nets:
        optimizer = run.optimizers[net.name]
        if update.fresh:
            optimizer.state.clear()
        for parameter in net.held_of(update.renewed):
            optimizer.state.pop(parameter, None)
        optimizer.step()
        if not net.is_flat:
            net.forget_gradient()
    moved = {
        net.sizes: (net.some_weights() - before[net.name]).norm() / before[net.name].norm().clamp(min=1e-12)
        for net in update.nets
        if looked_at
    }
    return {**update.curves, f"{names[0]}_gradient_norm": norm.detach(), **moved}
