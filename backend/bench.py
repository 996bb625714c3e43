"""The project's own benchmark tables: what a step costs, what recording costs, how good each method's students are."""

import math
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from itertools import product
from pathlib import Path
from typing import Any, get_args

import platformdirs
import torch

from backend import equal_budget, faults, footprints, guided_students, judge, prompted_students, starts
from backend.acceleration import FASTER_DIFFUSION_NOISE, Acceleration, Kind
from backend.assembly import start_run
from backend.contract.project_file import ProjectFile
from backend.contract.recipe import Recipe
from backend.contract.recorder import BATCH_SECONDS, Recorder
from backend.evaluate import EvaluationError, rms_distance
from backend.methods import load_method, method_names
from backend.networks import Condition, random_features
from backend.networks.discriminators import DataDiscriminator, HeadPool, LatentAndPixel, LevelHeads
from backend.networks.heads import Heads
from backend.progress import Report
from backend.proofs import proof_names, prove
from backend.samplers import teacher_sampler
from backend.teachers import load_teacher
from backend.train import NotFiniteError, Run, train

CURVES = 10
ROWS_PER_SECOND = 2050  # a little more than is promised, because a step's pace is that of the one before


class Stopwatch:
    """Adds up the time inside the calls it wraps; of calls within calls, the outer one's."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._inside = False

    def timed(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **named: Any) -> Any:
            if self._inside:
                return call(*arguments, **named)
            begun, self._inside = time.perf_counter(), True
            try:
                return call(*arguments, **named)
            finally:
                self.seconds += time.perf_counter() - begun
                self._inside = False

        return wrapped


@contextmanager
def networks_timed(run: Run, watch: Stopwatch) -> Iterator[None]:
    """While inside, `watch` adds up every network's forward, also the random ones', and every backward of `run`."""
    grad, backward = torch.autograd.grad, torch.autograd.backward
    new_network = random_features.random_features
    inside = [m for f in fields(run.nets) for m in getattr(run.nets, f.name).modules()]
    heads = Heads | HeadPool | LevelHeads | DataDiscriminator | LatentAndPixel
    networks = {id(m): m for m in inside if isinstance(m, heads) or hasattr(m, "null_label")}
    for net in networks.values():
        net.forward = watch.timed(net.forward)
        for name in ("features", "with_features"):
            if hasattr(net, name):
                setattr(net, name, watch.timed(getattr(net, name)))
    torch.autograd.grad, torch.autograd.backward = watch.timed(grad), watch.timed(backward)
    random_features.random_features = lambda *asked: watch.timed(new_network(*asked))
    try:
        yield
    finally:
        torch.autograd.grad, torch.autograd.backward = grad, backward
        random_features.random_features = new_network
        for net in networks.values():
            for name in ("forward", "features", "with_features"):
                net.__dict__.pop(name, None)


def recipe(method: str, steps: int, batch_size: int) -> Recipe:
    """The method's defaults on the bundled digits; where it learns from pairs, from few and poor ones."""
    training = {**load_method(method).training, "steps": steps, "batch_size": batch_size, "preview_every": 0}
    pairs = {"count": 2 * batch_size, "steps": 2}
    return Recipe.from_values({"teacher": "digits", "method": method, "training": training, "pairs": pairs})


def step_overhead(method: str, steps: int = 30, warm_up: int = 5, batch_size: int = 64) -> dict[str, float]:
    """Seconds of a training step, and the share of it outside network forwards and backwards."""
    run = start_run(recipe(method, steps + warm_up, batch_size))
    watch, whole, inside = Stopwatch(), [], []
    with networks_timed(run, watch):
        begun = time.perf_counter()
        for _ in train(run):
            whole.append(time.perf_counter() - begun)
            inside.append(watch.seconds)
            watch.seconds, begun = 0.0, time.perf_counter()
    outside = [(w - i) / w for w, i in zip(whole[warm_up:], inside[warm_up:], strict=True)]
    return {
        "seconds_per_step": statistics.median(whole[warm_up:]),
        "share_outside_networks": statistics.median(outside),
    }


def recording_cost(pairs: int = 50, seconds: float = 1.5) -> dict[str, Any]:
    """How much longer a step takes while its worker records 2,000 metric rows a second.

    Blocks of a second and a half with and without recording take turns, so that what else the machine does falls on
    both alike; the medians of their mean steps are compared. `recorder_core_share` is what the recorder's thread took
    of one core while it recorded, a measure without that noise; None where the system does not tell it.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.distill"
        with ProjectFile.create(path) as project:
            run_id = project.add_run(recipe("dmd2", 1, 1))
            attempt = project.begin_attempt(run_id)
        run = start_run(recipe("dmd2", 10**6, 64))
        loop = train(run)
        for _ in range(5):
            next(loop)
        means: dict[bool, list[float]] = {True: [], False: []}
        calls, recorded, core, handing = 0, 0.0, 0.0, Stopwatch()
        with Recorder(path, run_id, attempt) as recorder:
            per_step, hand_over = 1, handing.timed(recorder.metrics)
            for block in range(2 * pairs):
                recording = (block + block // 2) % 2 == 0  # with, without, without, with: a drift cancels
                began, core_before = time.perf_counter(), _seconds_of_thread(recorder)
                settled: list[float] = []
                while (begun := time.perf_counter()) - began < seconds or not settled:
                    next(loop)
                    for _ in range(per_step if recording else 0):
                        calls += 1
                        hand_over(calls, {f"curve_{i}": 0.5 for i in range(CURVES)}, 0.0)
                    spent = time.perf_counter() - begun
                    if begun - began > BATCH_SECONDS:  # until then the last block's rows are written, or no rows yet
                        settled.append(spent)
                    # As many rows a step as make the promised rate at the pace seen.
                    per_step = math.ceil(ROWS_PER_SECOND * spent / CURVES)
                means[recording].append(statistics.mean(settled))
                if recording:
                    recorded += time.perf_counter() - began
                    core += _seconds_of_thread(recorder) - core_before
        with ProjectFile.open(path, readonly=True) as project:
            kept = sum(len(project.points(series).steps) for series in project.series(run_id))
    with_, without = (statistics.median(means[recording]) for recording in (True, False))
    return {
        "rows_per_second": calls * CURVES / recorded,
        "rows_recorded": calls * CURVES,
        "rows_kept": kept,
        "step_time_change": with_ / without - 1,
        "step_time_change_error": math.hypot(*(_error_of_median(means[recording]) for recording in (True, False))),
        "recorder_core_share": core / recorded if core else None,
        "calls_share": handing.seconds / recorded,
    }


def _seconds_of_thread(recorder: Recorder) -> float:
    """Seconds of processor that a recorder's thread has used; 0 where the system does not tell."""
    name = f"recorder-{recorder.attempt}"
    (ident,) = (thread.ident for thread in threading.enumerate() if thread.name == name)
    if not hasattr(time, "pthread_getcpuclockid") or ident is None:
        return 0.0
    return time.clock_gettime(time.pthread_getcpuclockid(ident))


def _error_of_median(values: list[float]) -> float:
    """The standard error of a median as a share of it, from the values' order (binomial, at one sigma)."""
    ordered, half, last = sorted(values), math.sqrt(len(values)) / 2, len(values) - 1
    low, high = (ordered[min(max(round(last / 2 + side * half), 0), last)] for side in (-1, 1))
    return (high - low) / 2 / statistics.median(values)


QUALITY_SAMPLES = 1000
QUALITY_TEACHERS = ("digits", "digits-eps", "digits-flow", "mixture-2d")


def quality(method: str, teacher_name: str, steps: int | None = None, seed: int = 0) -> dict[str, Any]:
    """A method's defaults from start to end on a bundled teacher; its student's figures beside the teacher's own.

    Nothing is picked by a figure: what is measured is the average after the last step. steps: fewer than the default.
    A run that fails has its `problem` in place of figures, so that one does not cost the rows of the others.
    """
    own = load_method(method)
    training = {**own.training, "seed": seed, "preview_every": 0, **({} if steps is None else {"steps": steps})}
    run = start_run(Recipe.from_values({"teacher": teacher_name, "method": method, "training": training}))
    teacher, nfe = run.teacher, run.last_sampler.nfe
    ways = {
        "student": (run.exported, run.last_sampler),
        "teacher_at_student_nfe": (teacher.denoiser, teacher_sampler(nfe)),
        "teacher": (teacher.denoiser, teacher_sampler(judge.TEACHER_NFE)),
    }
    row: dict[str, Any] = {"method": method, "on": teacher_name, "seed": seed, "nfe": nfe}
    row |= {"problem": "", **{way: {} for way in ways}}
    begun = time.perf_counter()
    try:
        for _ in train(run):
            pass
        row["seconds"] = time.perf_counter() - begun
        for way, (net, sampler) in ways.items():
            found = judge.figures(net, sampler, teacher, QUALITY_SAMPLES)
            row[way] = dict(found.values) if found else {}
    except (NotFiniteError, EvaluationError) as error:
        row["problem"] = str(error)
    return row | {"steps": run.step}


def acceleration(
    teacher_name: str, samples: int, nfe: int = judge.TEACHER_NFE, repeats: int = 3
) -> Iterator[dict[str, Any]]:
    """A bundled teacher in full and accelerated: seconds a picture, times faster, difference to the full pictures.

    Beside them the plain repeat of the last noise prediction, which by this sampler is a longer step. "alone": times
    faster of one picture, which fills no processor. The least seconds of some repeats count, of one picture's of more.
    Frechet distances of fewer samples are larger: compare within one table.
    """
    teacher = load_teacher(teacher_name)
    ways: list[tuple[str, int, Acceleration | None]] = [("in full", nfe, None)]
    quick = [Acceleration(kind, every) for kind in get_args(Kind) for every in (2, 3, 5)]
    quick += [Acceleration("deepcache", 3, branch=1), Acceleration("encoder", None)]
    quick += [Acceleration("encoder", None, noise=FASTER_DIFFUSION_NOISE), Acceleration("repeat", None)]
    ways += [(str(how), nfe, how) for how in quick]
    cond, asked = teacher.each_condition(samples), judge.asked_of(teacher, samples)

    def timed(cond: Condition, steps: int, how: Acceleration | None, often: int) -> tuple[torch.Tensor, float]:
        seconds, drawn = [], torch.empty(0)
        for _ in range(often):
            begun = time.perf_counter()
            drawn = judge.draw(teacher.guided, teacher_sampler(steps), teacher, cond, judge.EVALUATION_SEED, how)
            seconds.append(time.perf_counter() - begun)
        return drawn, min(seconds) / len(cond)

    first: tuple[torch.Tensor, float, float] | None = None
    for name, steps, how in ways:
        drawn, least = timed(cond, steps, how, repeats)
        _, alone = timed(cond[:1], steps, how, 5 * repeats)
        whole, longest, longest_alone = first = first or (drawn, least, alone)
        figures = judge.figures_of(drawn, asked, teacher, steps, judge.EVALUATION_SEED)
        assert figures is not None
        yield {
            "teacher": teacher_name,
            "name": name,
            "nfe": steps,
            "seconds_per_picture": least,
            "times_faster": longest / least,
            "times_faster_alone": longest_alone / alone,
            "rms": rms_distance(drawn, whole),
            "frechet": figures.values["frechet"],
        }


def kept_cells() -> Path:
    """Where finished cells of long tables are kept, so that a table goes on where it was."""
    return Path(platformdirs.user_cache_dir("distill-studio")) / "bench"


def bench(tables: Collection[str], quick: bool, report: Report) -> dict[str, Any]:
    """The tables asked for: `step` (by method), `recording`, and those of `ROWS`, as rows."""
    found: dict[str, Any] = {"threads": torch.get_num_threads()}
    if "step" in tables:
        report("measuring steps")
        how = {"steps": 2, "warm_up": 1, "batch_size": 4} if quick else {}
        found["step"] = {name: step_overhead(name, **how) for name in method_names()}
    if "recording" in tables:
        report("measuring what recording costs")
        found["recording"] = recording_cost(pairs=3 if quick else 50)
    return found | {name: list(rows(quick, report)) for name, rows in ROWS.items() if name in tables}


def _accelerated(quick: bool, report: Report) -> Iterator[dict[str, Any]]:
    for name, samples in {"digits": 100}.items() if quick else {"digits": 1000, "emoji": 60}.items():
        for row in acceleration(name, samples):
            report(f"{name} {row['name']}: {row['times_faster']:.2f} times faster")
            yield row


def _proved(quick: bool, report: Report) -> Iterator[dict[str, Any]]:
    for name in ["dmd2"] if quick else proof_names():
        report(f"proving {name}")
        yield prove(name, kept_cells())


def _started(quick: bool, report: Report) -> Iterator[dict[str, Any]]:
    for row in starts.rows(dict(list(starts.CASES.items())[: 1 if quick else None])):
        report(f"started with {row['with']}, cache {row['cache']}")
        yield row


def _remembered(quick: bool, report: Report) -> Iterator[dict[str, Any]]:
    for asked in list(footprints.cases())[: 1 if quick else None]:
        report(f"running {' '.join(str(part) for part in asked.values())}")
        yield footprints.row(kept_cells(), **asked)


def _watched(quick: bool, report: Report) -> Iterator[dict[str, Any]]:
    for case in faults.FAULTS[:1] if quick else (*faults.FAULTS, *faults.SOUND):
        report(f"training {case.key}")
        yield faults.row(case, kept_cells())


def _guided(quick: bool, report: Report) -> Iterator[dict[str, Any]]:
    for case in guided_students.CASES[: 1 if quick else None]:
        report(f"training {case.method} on {case.teacher}")
        yield guided_students.row(case, kept_cells())


def _prompted(quick: bool, report: Report) -> Iterator[dict[str, Any]]:
    for each in prompted_students.teacher_rows(20 if quick else prompted_students.NAMES):
        report(f"the teacher in {each['nfe']}")
        yield each
    for case in prompted_students.CASES[: 1 if quick else None]:
        report(f"training {case.method} on {prompted_students.TEACHER}")
        if quick:
            yield prompted_students.measure(case, budget=1, names=20)
        else:
            yield prompted_students.row(case, kept_cells())


def _judged(quick: bool, report: Report) -> Iterator[dict[str, Any]]:
    names, teachers = (["dmd2"], QUALITY_TEACHERS[:1]) if quick else (method_names(), QUALITY_TEACHERS)
    for name, teacher in product(names, teachers):
        report(f"training {name} on {teacher}")
        row = quality(name, teacher, steps=20 if quick else None)
        report(row["problem"] or str(row["student"]))
        yield row


def _equally_trained(quick: bool, report: Report) -> list[dict[str, Any]]:
    """Of `equal_budget`, those that are shipped or kept, and those that are missing, which are measured."""
    shipped, found = equal_budget.read_shipped(), equal_budget.teacher_rows()
    for cell in list(equal_budget.cells())[: 1 if quick else None]:
        report(f"{cell.method} in {cell.nfe}, seed {cell.seed}")
        found.append(equal_budget.row_of(cell, kept_cells() / "budget", shipped))
    return equal_budget.summary(found)


ROWS: Mapping[str, Callable[[bool, Report], Iterable[dict[str, Any]]]] = {
    "acceleration": _accelerated,
    "methods": _proved,
    "start": _started,
    "memory": _remembered,
    "health": _watched,
    "guidance": _guided,
    "prompts": _prompted,
    "quality": _judged,
    "budget": _equally_trained,
}
"""Tables that come row by row: whether it is a quick look, and who is told what is being done. `methods`, `guidance`,
`prompts`, `quality` and `budget` take up to hours."""
