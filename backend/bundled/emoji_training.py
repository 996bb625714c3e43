"""Training that goes on after a kill at any time, bit for bit, as the scripts of the emoji teachers need it.

What is drawn at a step depends on the seed and the step alone, and the learning rate on the step and the length, so the
networks, their moving averages, the optimizer and the step number are the whole state. It knows no model and no data.
"""

import copy
import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from backend.networks.denoiser import mixed_precision


@dataclass(frozen=True)
class Plan:
    """How long and how fast: `steps` of `batch`, warm-up over `warm_up` steps, a linear decay over the last share.

    A run whose rate is still constant can be made longer by resuming with more steps. seconds between two saves.
    """

    steps: int
    batch: int
    rate: float
    warm_up: int = 200
    decay: float = 0.25
    weight_decay: float = 0.01
    ema_decay: float = 0.999
    clip: float = 1.0
    seed: int = 0
    save_every: float = 60.0
    report_every: int = 100

    def rate_at(self, step: int) -> float:
        """The learning rate at `step`, from 0."""
        left = (self.steps - step) / max(1.0, self.decay * self.steps)
        return self.rate * min(1.0, (step + 1) / max(1, self.warm_up), left)


def generator_at(seed: int, step: int) -> torch.Generator:
    """All the randomness of a step."""
    return torch.Generator().manual_seed(seed * 1_000_000_007 + step)


def rows_at(plan: Plan, step: int, count: int) -> Tensor:
    """(batch,) int64: which of `count` samples a step sees; each comes once before any comes again."""
    places = torch.arange(step * plan.batch, (step + 1) * plan.batch)
    orders = {
        int(epoch): torch.randperm(count, generator=generator_at(plan.seed + 1, int(epoch)))
        for epoch in (places // count).unique()
    }
    return torch.stack([orders[int(place // count)][place % count] for place in places])


def in_bfloat16(device: torch.device) -> AbstractContextManager[object]:
    """bfloat16 where it is fast: on accelerators, and on processors that multiply matrices in it."""
    if device.type == "cpu" and not torch.cpu._is_amx_tile_supported():
        return nullcontext()
    return mixed_precision(device, torch.bfloat16)


def write_state(state: dict[str, object], path: Path) -> None:
    """Write `state` so that a kill at any time leaves the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def train(
    net: nn.Module,
    loss: Callable[[int, torch.Generator], Tensor],
    plan: Plan,
    state: Path,
    told: Callable[[int, nn.Module], object] = lambda step, average: None,
    stop_at: int | None = None,
) -> nn.Module:
    """The moving average of `net` after plan.steps steps on `loss(step, generator)`; goes on from `state` if it exists.

    told: called after every `report_every` steps, with the average. stop_at: leave off earlier, state written, as
    a kill would. The moving average is not the network's: what it is called on must not change it.
    """
    average = copy.deepcopy(net).requires_grad_(False).eval()
    parameters: list[Tensor] = [p for p in net.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, plan.rate, betas=(0.9, 0.99), weight_decay=plan.weight_decay)
    first = _restore(state, net, average, optimizer)
    followed: list[Tensor] = [a for a, p in zip(average.parameters(), net.parameters(), strict=True) if p.requires_grad]
    saved, last = time.monotonic(), min(plan.steps, stop_at if stop_at is not None else plan.steps)
    started, running = time.monotonic(), 0.0
    for step in range(first, last):
        for group in optimizer.param_groups:
            group["lr"] = plan.rate_at(step)
        value = loss(step, generator_at(plan.seed, step))
        optimizer.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(parameters, plan.clip)
        optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(followed, parameters, 1 - min(plan.ema_decay, (1 + step) / (10 + step)))
        running += (value.item() - running) * (0.01 if step > first else 1.0)
        if (step + 1) % plan.report_every == 0:
            pace = (time.monotonic() - started) / (step + 1 - first)
            print(f"{state.stem}: step {step + 1}/{plan.steps}, loss {running:.4f}, {pace:.3f} s a step", flush=True)
            told(step + 1, average)
        if time.monotonic() - saved > plan.save_every or step + 1 == last:
            write_state(_state(step + 1, net, average, optimizer), state)
            saved = time.monotonic()
    return average


def _state(step: int, net: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, object]:
    weights = {"net": net.state_dict(), "average": average.state_dict()}
    return {"step": step, **weights, "optimizer": optimizer.state_dict()}


def _restore(path: Path, net: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Put the state of the file into its places, and how many steps it has; 0 where there is no file."""
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True, map_location="cpu")
    net.load_state_dict(state["net"])
    average.load_state_dict(state["average"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"])
