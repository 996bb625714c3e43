"""A run's whole state to one safetensors file and back: networks, optimizers, random state, step. No pickles.

A file appears under its name complete or not at all. `load` after `save` continues bit-exactly on the same machine.
"""

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from backend import disk
from backend.contract.errors import UserError
from backend.networks.adapters import load_own_state, own_state
from backend.optimizers import state_bytes
from backend.train import Run

FORM = 1


class CheckpointError(UserError, RuntimeError):
    """A checkpoint that cannot be used; the message says what is wrong and what to do."""


NAME_BYTES = 110
"""About what the header of a safetensors file says of one tensor: of small adapters it is a good part."""


def save(run: Run, path: Path) -> None:
    """Write the state of `run` to `path`: to another name first, synchronised, then renamed.

    Raises `DiskError` where the disk does not take it; what was at `path` before is there still.
    """
    tensors = {
        f"net/{name}/{key}": value for name, net in run.modules().items() for key, value in own_state(net).items()
    }
    plain: dict[str, Any] = {}
    for name, optimizer in run.optimizers.items():
        for index, state in optimizer.state_dict()["state"].items():
            for key, value in state.items():
                place = f"optimizer/{name}/{index}/{key}"
                if isinstance(value, Tensor):
                    tensors[place] = value
                else:
                    plain[place] = value
    tensors["random/run"] = run.generator.get_state()
    tensors["random/torch"] = torch.get_rng_state()
    if run.device.type == "cuda":
        tensors["random/cuda"] = torch.cuda.get_rng_state(run.device)
    about = {"form": str(FORM), "step": str(run.step), "plain": json.dumps(plain)}
    try:
        _write({key: value.detach().cpu().contiguous() for key, value in tensors.items()}, about, path)
    except (OSError, SafetensorError) as error:
        raise disk.refusal(f"the checkpoint of step {run.step}", path.parent, size(run), error) from error


def unfinished(path: Path) -> Path:
    """Where a checkpoint lies that is not whole yet; a process that is killed leaves it there."""
    return path.with_name(f".{path.name}.unfinished")


def _write(tensors: dict[str, Tensor], about: dict[str, str], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        save_file(tensors, unfinished(path), about)
        with unfinished(path).open("rb") as file:
            os.fsync(file.fileno())
        unfinished(path).replace(path)
    finally:
        unfinished(path).unlink(missing_ok=True)
    if os.name == "posix":  # the rename itself must reach the disk before the project says it is there
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def size(run: Run) -> int:
    """Bytes of a checkpoint of `run`, once every optimizer has its moments for all that it trains."""
    kept = [tensor for net in run.modules().values() for tensor in own_state(net).values()]
    moments = [p for optimizer in run.optimizers.values() for group in optimizer.param_groups for p in group["params"]]
    named = NAME_BYTES * (len(kept) + 3 * len(moments)) + 2 * run.generator.get_state().numel()
    return named + sum(t.numel() * t.element_size() for t in kept) + sum(map(state_bytes, run.optimizers.values()))


def load(run: Run, path: Path) -> None:
    """Put the state in `path` into `run`, which must have been started from the same recipe.

    Raises `CheckpointError` where the file is damaged or of another run.
    """
    tensors, about = _read(path)
    step, plain = int(about["step"]), json.loads(about["plain"])
    try:
        for name, net in run.modules().items():
            load_own_state(net, _part(tensors, f"net/{name}/"))
        for name, optimizer in run.optimizers.items():
            state: dict[int, dict[str, Any]] = {}
            for source in (_part(tensors, f"optimizer/{name}/"), _part(plain, f"optimizer/{name}/")):
                for place, value in source.items():
                    index, key = place.split("/", 1)
                    state.setdefault(int(index), {})[key] = value
            optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
            _require_moments_of(optimizer)
    except (RuntimeError, KeyError, ValueError) as error:
        raise CheckpointError(
            f"{path.name} is a checkpoint of another recipe, or of an earlier version of its method; start a new run."
        ) from error
    run.generator.set_state(tensors["random/run"])
    torch.set_rng_state(tensors["random/torch"])
    if run.device.type == "cuda" and "random/cuda" in tensors:
        torch.cuda.set_rng_state(tensors["random/cuda"], run.device)
    run.step = step


def _require_moments_of(optimizer: Optimizer) -> None:
    """Raises ValueError where moments that were put into it are of parameters of other shapes: torch does not look."""
    for parameter, state in optimizer.state.items():
        for key in ("exp_avg", "exp_avg_sq"):
            if key in state and state[key].shape != parameter.shape:
                raise ValueError(f"{key} is of {tuple(state[key].shape)}, its parameter of {tuple(parameter.shape)}")


def load_network(net: nn.Module, path: Path, name: str = "average") -> int:
    """Put one network of the checkpoint (`average`, `student`, ...) into `net`; the checkpoint's step."""
    tensors, about = _read(path, f"net/{name}/")
    try:
        load_own_state(net, _part(tensors, f"net/{name}/"))
    except RuntimeError as error:
        raise CheckpointError(
            f"The {name} in {path.name} has another architecture; choose a run of this teacher."
        ) from error
    return int(about["step"])


def _part(values: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {key.removeprefix(prefix): value for key, value in values.items() if key.startswith(prefix)}


def _read(path: Path, prefix: str = "") -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys() if key.startswith(prefix)}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path.name} is missing or damaged; use an earlier checkpoint.") from error
    if about.get("form") != str(FORM):
        raise CheckpointError(f"{path.name} is no checkpoint of this program, or of a newer one; update to use it.")
    return tensors, about
