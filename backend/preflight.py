"""The check before a run starts: will it work, will it fit, what will it cost."""

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import psutil
import torch

from backend import checkpoints, judge
from backend.assembly import (
    CPU,
    asked_for_captions,
    assemble,
    data_of,
    device_of,
    find_method,
    left_out,
    method_of,
    pair_source,
    teacher_of,
)
from backend.contract import settings
from backend.contract.checked import Finding, Preflight, Suggestion
from backend.contract.errors import UserError, about
from backend.contract.project_file import ProjectFile
from backend.contract.recipe import Recipe, Training
from backend.datasets import ImageSet, latents
from backend.memory import peak_bytes
from backend.methods import Method
from backend.progress import Report
from backend.samplers import teacher_sampler
from backend.savings import Footprint, at_least, less_memory, memory_of
from backend.stores import PairStore
from backend.stores import make as make_pairs
from backend.teachers import Data, Teacher
from backend.train import NotFiniteError, Run, is_out_of_memory, train
from backend.vitals import out_of_memory

POOR_ALPHA = 0.1
LONG_SECONDS = 6 * 3600.0
"""A run longer than this comes with suggestions how to make it shorter."""
ROOM = 0.9
"""Share of the memory that a run may take before it is said that it does not fit."""
DRY_STEPS = 3
FEW_PAIRS = 128

T = TypeVar("T")


@dataclass(frozen=True)
class _Looking:
    """Looks at parts of a recipe, one after the other; what is wrong with one is added to `problems`."""

    problems: list[Finding]

    def __call__(self, field: str, look: Callable[[], T]) -> T | None:
        """What `look` finds; None where it raises. field: what it is about where it does not say that closer."""
        try:
            with about(field):
                return look()
        except UserError as error:
            self.problems.append(Finding(error.field, str(error)))
            return None


def preflight(recipe: Recipe, project: Path, dry_run: bool = True, report: Report = lambda words: None) -> Preflight:
    """Check a recipe for a project, and take a few steps of it whose results are thrown away.

    Never raises for what a person can mend: all that is wrong is in `problems`. The project is read and not written.
    report: told what is being done where that takes long.
    """
    problems = _unavailable(recipe)
    found = _Looking(problems)
    method = found("method", lambda: find_method(recipe.method))
    device = found("training.device", lambda: device_of(recipe.training.device))
    # Without a dry run nothing needs the device, whose memory this process would hold for as long as it lives.
    where = device if device is not None and dry_run else CPU
    teacher = found("teacher", lambda: teacher_of(recipe, _reading(report), device=where))
    known = Preflight(
        problems,  # the list itself: what is found below is in it too
        teacher=teacher.title if teacher else "",
        method=method.title if method else "",
        device=str(device or ""),
        parameters=sum(p.numel() for p in teacher.denoiser.parameters()) if teacher else 0,
    )
    if method is None:
        return known
    wrong = settings.named_problems(method.settings, recipe.settings)
    problems += [Finding(f"settings.{name}" if name else "settings", words) for name, words in wrong]
    if teacher is None or device is None or problems:
        return known
    chosen = method.settings.model_validate(recipe.settings)
    cost = method.cost(chosen)
    known = replace(
        known,
        evaluations_per_step=cost,
        evaluations=cost * recipe.training.steps * recipe.training.samples_per_step
        + _pair_evaluations(recipe, method, chosen),
    )
    asked = (
        found("data", lambda: asked_for_captions(recipe, method, chosen, teacher, _reading(report), where)) or teacher
    )
    few = recipe.training.batch_size
    data = None if problems else found("data", lambda: data_of(recipe, method, chosen, asked, where, few))
    problems += guidance_problems(method, chosen, teacher)
    if problems:
        return known
    known.warnings.extend(_warnings(recipe, method, chosen, asked, data, project))

    def start() -> Run:
        with ProjectFile.open(project, readonly=True) as opened:
            pairs = _few_pairs(recipe, method, chosen, teacher, opened)
            return assemble(recipe, method, chosen, asked, data, where, opened, pairs)

    run = None
    try:
        run = found("settings", start)
        if run is None:
            return known
        known = replace(known, disk=checkpoints.size(run) * _checkpoints_kept(recipe.training))
        if known.disk > shutil.disk_usage(project.absolute().parent).free:
            gigabytes = f"{known.disk / 2**30:.1f} GiB"
            words = f"The disk has too little room for the checkpoints, {gigabytes}; free some space."
            problems.append(Finding("training.keep_checkpoints", words))
            known.suggestions.extend(fewer_checkpoints(recipe.training))
        elif dry_run:
            seconds, peaks = _try(run, report)
            peaks = peaks.with_more(_of_data_to_come(recipe, run))
            known = replace(known, seconds=seconds, memory=peaks.whole)
            _mind_size(known, recipe, method, chosen, run, peaks)
    except NotFiniteError as error:
        rate = "settings.learning_rate" if hasattr(chosen, "learning_rate") else "settings"
        problems.append(Finding(rate, f"{error} Lower the learning rate, or check the teacher."))
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        _say_it_is_too_large(known, recipe, method, chosen, run, where)
    return known


def _warnings(
    recipe: Recipe, method: Method[Any, Any], chosen: Any, teacher: Teacher, data: Data | None, project: Path
) -> Iterator[Finding]:
    yield from _unused(recipe, method.needs(chosen), teacher)
    yield from left_out(recipe, teacher, data)
    yield from _chain_warnings(recipe, method, chosen)
    yield from _start_warnings(method, chosen, teacher)
    yield from (Finding("prompts", words) for words in (teacher.notes if teacher.prompts else ()))
    yield from _guidance_warnings(method, chosen, teacher)
    yield from _other_guidance(recipe, method, chosen, project)  # of two about the guidance the last is beside it


def _say_it_is_too_large(
    known: Preflight, recipe: Recipe, method: Method[Any, Any], chosen: Any, run: Run | None, device: torch.device
) -> None:
    made_of = at_least(recipe, method, chosen, run, memory_of(device))
    known.suggestions.extend(less_memory(recipe, method, chosen, made_of, device))
    known.problems.append(Finding("training.batch_size", out_of_memory(device, known.suggestions)))


def _reading(report: Report) -> Callable[[int, int], None]:
    """Says how many prompts are encoded."""
    return lambda done, of: report(f"Encoded {done:,} of {of:,} prompts.")


def _few_pairs(
    recipe: Recipe, method: Method[Any, Any], chosen: Any, teacher: Teacher, project: ProjectFile
) -> PairStore | None:
    """Some pairs for the dry run, made quickly and badly; None where the method needs none."""
    if "pairs" not in method.needs(chosen):
        return None
    few = recipe.pairs.model_copy(update={"count": min(FEW_PAIRS, recipe.pairs.count), "steps": 2})
    return make_pairs(pair_source(recipe, method, chosen, teacher, project), few, torch.device("cpu"))


def _of_data_to_come(recipe: Recipe, run: Run) -> int:
    """Bytes of main memory that the run's pairs and latents take beyond the few of the dry run; 0 on a GPU."""
    if run.device.type == "cuda":
        return 0
    more = 0
    if run.pairs is not None:
        held = [run.pairs.noise, run.pairs.samples, *run.pairs.cond.parts.values()]
        more += sum(map(_bytes, held)) // len(run.pairs.noise) * max(0, recipe.pairs.count - len(run.pairs.noise))
    if isinstance(run.data, ImageSet) and run.data.encoded:
        where = recipe.data or run.teacher.data or ""
        with latents.source_of(where, run.teacher.data_shape, bool(run.teacher.prompts)) as source:
            more += _bytes(run.data.stored) // len(run.data) * max(0, len(source) - len(run.data))
    return more


def _bytes(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _pair_evaluations(recipe: Recipe, method: Method[Any, Any], chosen: Any) -> float:
    """Network evaluations that make the pairs, all of them, as if none were kept from an earlier run."""
    if "pairs" not in method.needs(chosen):
        return 0.0
    guided = 2 if getattr(chosen, "guidance_scale", 1) != 1 else 1
    return float(guided * (2 * recipe.pairs.steps - 1) * recipe.pairs.count)


@dataclass(frozen=True)
class Peaks:
    """Bytes of memory: what was there before the first step, the most of the steps, and the most of previews too."""

    resident: int
    training: int
    whole: int

    def with_more(self, held: int) -> "Peaks":
        """The same with so much more from the start."""
        return Peaks(self.resident + held, self.training + held, self.whole + held)


def _mind_size(known: Preflight, recipe: Recipe, method: Method[Any, Any], chosen: Any, run: Run, peaks: Peaks) -> None:
    """Warn of what the dry run showed to be too much for this machine, and say what would help."""
    has = memory_of(run.device)
    if known.memory > ROOM * has:
        words = (
            f"The run needs about {known.memory / 2**30:.1f} GiB of memory and this machine has {has / 2**30:.1f} GiB; "
            "make it smaller, or close other programs."
        )
        known.warnings.append(Finding("training.batch_size", words))
        made_of = Footprint.of(run, recipe.student.rank, peaks.resident, peaks.training, peaks.whole)
        known.suggestions.extend(less_memory(recipe, method, chosen, made_of, run.device, int(ROOM * has)))
    elif known.seconds is not None and known.seconds > LONG_SECONDS:
        words = (
            f"The run takes about {known.seconds / 3600:.0f} hours on this machine; make it shorter, or let it run on."
        )
        known.warnings.append(Finding("training.steps", words))
        known.suggestions.extend(less_time(recipe, method, chosen, known.seconds))


def less_time(recipe: Recipe, method: Method[Any, Any], chosen: Any, seconds: float) -> list[Suggestion]:
    """What shortens a run, by its own count of network evaluations."""
    training = recipe.training
    steps, batch = max(1, int(training.steps * LONG_SECONDS / seconds)), training.batch_size
    found = [
        Suggestion(
            f"Take {steps:,} steps instead of {training.steps:,}: about {LONG_SECONDS / 3600:.0f} hours",
            {"training.steps": steps},
            steps / training.steps,
        )
    ]
    if batch >= 2:
        found.append(
            Suggestion(f"Lower the batch size from {batch} to {batch // 2}", {"training.batch_size": batch // 2}, 0.5)
        )
    for name, value, words in (
        ("guidance_scale", 1.0, "Leave guidance out: the teacher is asked once instead of twice"),
        ("gan_weight", 0.0, "Leave the adversarial loss out"),
        ("student_steps", 1, "Make a student of one step"),
    ):
        if getattr(chosen, name, value) != value:
            left = method.cost(chosen.model_copy(update={name: value})) / method.cost(chosen)
            if left < 1:
                found.append(Suggestion(words, {f"settings.{name}": value}, left))
    return _ranked(found)


def fewer_checkpoints(training: Training) -> list[Suggestion]:
    """What leaves less on the disk."""
    now = _checkpoints_kept(training)
    asked = (
        ("Keep one checkpoint beside the best", {"keep_checkpoints": 1}),
        ("Save the last checkpoint alone", {"checkpoint_every": 0, "keep_checkpoints": 1, "preview_every": 0}),
    )
    found = []
    for words, change in asked:
        left = _checkpoints_kept(training.model_copy(update=change)) / now
        if left < 1:
            found.append(Suggestion(words, {f"training.{name}": value for name, value in change.items()}, left))
    return _ranked(found)


def _ranked(found: list[Suggestion]) -> list[Suggestion]:
    return sorted(found, key=lambda suggestion: suggestion.left)


def _unavailable(recipe: Recipe) -> list[Finding]:
    """What a recipe can name and this version cannot do."""
    if recipe.kind != "train":
        words = f"This version makes runs of kind train alone, not {recipe.kind}; change kind."
        return [Finding("kind", words)]
    return []


def guidance_problems(method: Method[Any, Any], chosen: Any, teacher: Teacher) -> list[Finding]:
    """Why a teacher cannot be guided where the settings ask for that; empty where they do not, or it can."""
    told = "guidance" in method.inputs(chosen)
    if getattr(chosen, "guidance_scale", 1) == 1 and not told:
        return []
    if teacher.denoiser.null(teacher.each_condition(1)) is not None:
        return []
    field, mend = "settings.guidance_scale", "set guidance_scale to 1"
    if told:
        field, mend = "teacher", "choose a teacher that takes classes or prompts"
    return [Finding(field, f"This teacher has no unconditional mode; {mend}.")]


def _unused(recipe: Recipe, needs: tuple[str, ...], teacher: Teacher) -> list[Finding]:
    """What the recipe names in vain."""
    found = []
    if recipe.data and "real data" not in needs:
        words = f"The data {recipe.data} is not used: the method needs none with these settings."
        found.append(Finding("data", words))
    if recipe.prompts and not teacher.prompts:
        found.append(Finding("prompts", f"The prompts {recipe.prompts} are not used: the teacher takes none."))
    return found


def _guidance_warnings(method: Method[Any, Any], chosen: Any, teacher: Teacher) -> list[Finding]:
    asked, meant = getattr(chosen, "guidance_scale", None), teacher.guidance_scale
    if asked != 1 or meant == 1 or "guidance" in method.inputs(chosen):
        return []
    words = (
        f"The teacher is meant to be sampled under guidance {meant:g}, and the student would learn from it without; "
        f"set guidance_scale to {meant:g}."
    )
    return [Finding("settings.guidance_scale", words)]


def _chain_warnings(recipe: Recipe, method: Method[Any, Any], chosen: Any) -> list[Finding]:
    """Whether a method that goes on from another run's student is left to start from the teacher."""
    wanted = method.meant_start(chosen)
    if not wanted or recipe.student.start is not None:
        return []
    words = (
        f"{method.title} with these settings is meant to start from {wanted}, and this run would start from the "
        "teacher; choose such a run as student.start."
    )
    return [Finding("student.start", words)]


def _other_guidance(recipe: Recipe, method: Method[Any, Any], chosen: Any, project: Path) -> list[Finding]:
    """Whether the student that a run starts from was distilled under another guidance than this run distils under."""
    start = recipe.student.start_checkpoint()
    from_start = "pairs" in method.needs(chosen) and recipe.pairs.source == "start"  # whose pairs are made unguided
    scale = None if from_start else _folded_in(method, chosen)
    if start is None or scale is None:
        return []
    run = start[0]
    try:
        with ProjectFile.open(project, readonly=True) as opened:
            before = _folded_in(*method_of(opened.recipe(run)))
    except UserError:  # said where the run is begun, which cannot be either
        return []
    if before is None or before == scale:
        return []
    words = (
        f"Run {run}, whose student this one starts from, was distilled under guidance {before:g}, and this run would "
        f"go on under {scale:g}; set guidance_scale to {before:g}, or start from a run under {scale:g}."
    )
    return [Finding("settings.guidance_scale", words)]


def _folded_in(method: Method[Any, Any], chosen: Any) -> float | None:
    """The one guidance that a student learns; None where the method knows none, or it is told to the student."""
    return None if "guidance" in method.inputs(chosen) else getattr(chosen, "guidance_scale", None)


def _start_warnings(method: Method[Any, Any], chosen: settings.Settings, teacher: Teacher) -> list[Finding]:
    net = teacher.denoiser
    converted = getattr(chosen, "conversion_share", 0)
    if net.prediction_type != "epsilon" or converted or not getattr(chosen, "first_level", 0):
        return []
    asked, suits = (method.sampler(s, net).levels[0] for s in (chosen, chosen.model_copy(update={"first_level": 0.0})))
    alpha = float(net.path.alpha(torch.tensor(asked, dtype=torch.float64)))
    if asked <= suits or alpha >= POOR_ALPHA:
        return []
    words = (
        f"The teacher predicts epsilon and the student starts where alpha is {alpha:.4f}: its clean sample is the "
        "difference of two large numbers there; set first_level to 0, which starts it at "
        f"{suits:.2f}."
    )
    return [Finding("settings.first_level", words)]


def _checkpoints_kept(training: Training) -> int:
    """How many checkpoints a finished run leaves at most: the newest, and the best preview's beside them."""
    every = training.checkpoint_every
    saves = (-(-training.steps // every) if every else 1) + (
        (training.steps - 1) // training.preview_every if training.preview_every else 0
    )
    has_best = bool(training.preview_every) and training.preview_every < training.steps
    return min(saves, training.keep_checkpoints + has_best)


def _draw(run: Run) -> None:
    """All of a preview and the teacher's samples beside it, each in one evaluation.

    For a small batch they are what needs most memory. A worker draws them between steps too, with all that these hold.
    """
    quick = replace(run.sampler, levels=run.sampler.levels[:1])
    judge.figures(run.exported, quick, run.teacher, judge.SCORED_SAMPLES)
    count = judge.preview_count(run.student.shape)
    for net, sampler in ((run.exported, quick), (run.teacher.guided, teacher_sampler(1))):
        judge.draw(net, sampler, run.teacher, run.teacher.each_condition(count).to(run.device), judge.PREVIEW_SEED)


def _try(run: Run, report: Report) -> tuple[float, Peaks]:
    """Seconds for the whole run and its memory, from a few steps of it. The run is spoilt by that."""
    is_gpu = run.device.type == "cuda"

    def peak() -> int:
        return torch.cuda.max_memory_reserved(run.device) if is_gpu else peak_bytes()

    report(f"Taking {DRY_STEPS} steps of the run.")
    threads = torch.get_num_threads()
    torch.set_num_threads(run.training.threads or threads)
    if is_gpu:
        torch.cuda.reset_peak_memory_stats(run.device)
    resident = torch.cuda.memory_allocated(run.device) if is_gpu else psutil.Process().memory_info().rss
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
        training = peak()
        _draw(run)
    finally:
        torch.set_num_threads(threads)
    return min(seconds) * run.training.steps, Peaks(resident, training, peak())
