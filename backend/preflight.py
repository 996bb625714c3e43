"""The check before a run starts: will it work, will it fit, what will it cost."""

import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import torch

from backend import checkpoints
from backend.assembly import assemble, data_of, device_of, find_method
from backend.contract import settings
from backend.contract.errors import UserError
from backend.contract.project_file import ProjectFile
from backend.contract.recipe import Recipe, Training
from backend.datasets import ImageSet
from backend.memory import peak_bytes
from backend.methods import Method
from backend.teachers import Data, Teacher, load_teacher
from backend.train import NotFiniteError, Run, is_out_of_memory, train

POOR_ALPHA = 0.1
DRY_STEPS = 3

T = TypeVar("T")


@dataclass(frozen=True)
class Preflight:
    """What a run would be. `problems` must be mended before it can start; `warnings` should be read.

    evaluations_per_step: in forwards of the teacher per sample; a forward and backward of a trained network is 3.
    evaluations: the same for all samples of the whole run.
    disk: bytes of the checkpoints that stay. memory: bytes, of the device where it is a GPU, else all that the process
    of the dry run has needed; 0 where there was none.
    seconds: the whole run at the dry run's pace, without previews; None where there was none.
    """

    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    teacher: str = ""
    method: str = ""
    device: str = ""
    parameters: int = 0
    evaluations_per_step: float = 0.0
    evaluations: float = 0.0
    disk: int = 0
    memory: int = 0
    seconds: float | None = None

    @property
    def ok(self) -> bool:
        """Whether the run can start."""
        return not self.problems

    def to_json(self) -> dict[str, Any]:
        return {"ok": self.ok, **asdict(self)}


def preflight(recipe: Recipe, project: Path, dry_run: bool = True) -> Preflight:
    """Check a recipe for a project, and take a few steps of it whose results are thrown away.

    Never raises for what a person can mend: all that is wrong is in `problems`. The project is read and not written.
    """
    problems: list[str] = []

    def found(look: Callable[[], T]) -> T | None:
        try:
            return look()
        except UserError as error:
            problems.append(str(error))
            return None

    problems += _unavailable(recipe)
    method = found(lambda: find_method(recipe.method))
    device = found(lambda: device_of(recipe.training.device))
    teacher = found(lambda: load_teacher(recipe.teacher, recipe.training.seed))
    known = Preflight(
        problems,  # the list itself: what is found below is in it too
        teacher=teacher.title if teacher else "",
        method=method.title if method else "",
        device=str(device or ""),
        parameters=sum(p.numel() for p in teacher.denoiser.parameters()) if teacher else 0,
    )
    if method is None:
        return known
    problems += settings.problems(method.settings, recipe.settings)
    if teacher is None or device is None or problems:
        return known
    chosen = method.settings.model_validate(recipe.settings)
    cost = method.cost(chosen)
    known = replace(
        known,
        evaluations_per_step=cost,
        evaluations=cost * recipe.training.steps * recipe.training.batch_size,
    )
    data = found(lambda: data_of(recipe, method, chosen, teacher))
    if getattr(chosen, "guidance_scale", 1) != 1 and teacher.denoiser.null(teacher.each_condition(1)) is None:
        problems.append("This teacher has no unconditional mode; set guidance_scale to 1.")
    if problems:
        return known
    known.warnings.extend(_data_warnings(recipe, method.needs(chosen), data))
    known.warnings.extend(_start_warnings(method, chosen, teacher))

    def start() -> Run:
        # Without a dry run nothing needs the device, whose memory this process would hold for as long as it lives.
        where = device if dry_run else torch.device("cpu")
        with ProjectFile.open(project, readonly=True) as opened:
            return assemble(recipe, method, chosen, teacher, data, where, opened)

    try:
        run = found(start)
        if run is None:
            return known
        known = replace(known, disk=checkpoints.size(run) * _checkpoints_kept(recipe.training))
        if known.disk > shutil.disk_usage(project.absolute().parent).free:
            gigabytes = f"{known.disk / 2**30:.1f} GiB"
            problems.append(f"The disk has too little room for the checkpoints, {gigabytes}; free some space.")
        elif dry_run:
            seconds, memory = _try(run)
            known = replace(known, seconds=seconds, memory=memory)
    except NotFiniteError as error:
        problems.append(f"{error} Lower the learning rate, or check the teacher.")
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        problems.append("The device is out of memory; lower, in this order, the batch size or the student's steps.")
    return known


def _unavailable(recipe: Recipe) -> list[str]:
    """What a recipe can name and this version cannot do."""
    found = []
    if recipe.kind != "train":
        found.append(f"This version makes runs of kind train alone, not {recipe.kind}; change kind.")
    if recipe.training.precision != "float32":
        found.append(f"This version trains in float32 alone, not {recipe.training.precision}; change precision.")
    return found


def _data_warnings(recipe: Recipe, needs: tuple[str, ...], data: Data | None) -> list[str]:
    if recipe.data and "real data" not in needs:
        return [f"The data {recipe.data} is not used: the method needs none with these settings."]
    words = data.skipped_in_words() if isinstance(data, ImageSet) else ""
    return [f"Of {recipe.data}, {words}."] if words else []


def _start_warnings(method: Method[Any, Any], chosen: settings.Settings, teacher: Teacher) -> list[str]:
    net = teacher.denoiser
    if net.prediction_type != "epsilon" or not getattr(chosen, "first_level", 0):
        return []
    asked, suits = (method.sampler(s, net).levels[0] for s in (chosen, chosen.model_copy(update={"first_level": 0.0})))
    alpha = float(net.path.alpha(torch.tensor(asked, dtype=torch.float64)))
    if asked <= suits or alpha >= POOR_ALPHA:
        return []
    return [
        f"The teacher predicts epsilon and the student starts where alpha is {alpha:.4f}: its clean sample is the "
        "difference of two large numbers there; set first_level to 0, which starts it at "
        f"{suits:.2f}."
    ]


def _checkpoints_kept(training: Training) -> int:
    """How many checkpoints a finished run leaves at most: the newest, and the best preview's beside them."""
    every = training.checkpoint_every
    saves = (-(-training.steps // every) if every else 1) + (
        (training.steps - 1) // training.preview_every if training.preview_every else 0
    )
    has_best = bool(training.preview_every) and training.preview_every < training.steps
    return min(saves, training.keep_checkpoints + has_best)


def _try(run: Run) -> tuple[float, int]:
    """Seconds for the whole run and bytes of memory, from a few steps of it. The run is spoilt by that."""
    threads = torch.get_num_threads()
    torch.set_num_threads(run.training.threads or threads)
    if run.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(run.device)
    seconds: list[float] = []
    try:
        begun = time.perf_counter()
        for progress in train(run):
            for value in progress.metrics.values():
                float(value)  # type: ignore[arg-type]  # waits for the device
            seconds.append(time.perf_counter() - begun)
            if progress.step >= DRY_STEPS:
                break
            begun = time.perf_counter()
    finally:
        torch.set_num_threads(threads)
    memory = torch.cuda.max_memory_reserved(run.device) if run.device.type == "cuda" else peak_bytes()
    return min(seconds) * run.training.steps, memory
