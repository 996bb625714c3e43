"""What a person can do with a project, as functions: the command line parses and prints, these act.

Each opens the project for as long as it needs it. They raise `UserError` for what a person can mend. Torch is imported
only by those that need a network, because a list of runs must not take seconds.
"""

import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backend.contract import launch
from backend.contract.errors import UserError, unknown
from backend.contract.project_file import NotInProject, ProjectFile, files_folder
from backend.contract.recipe import Recipe, RecipeError, Training
from backend.contract.rows import VIEWS, Run, RunState, Verb
from backend.progress import Progress, Report

if TYPE_CHECKING:
    from backend.assembly import Student
    from backend.exports import Facts
    from backend.samplers import Denoises, Sampler
    from backend.teachers import Teacher

FOLLOW_SECONDS = 0.2
REPORT_SECONDS = 2.0
RESUME_SECONDS = 10.0
ANSWER_SECONDS = 60.0
EVALUATION_SAMPLES = 1000
LEAST_SAMPLES = 50
MOST_NFE = 250
TIMED_BATCH, TIMED_REPEATS = 32, 4
SECONDS_PER_IMAGE = "seconds_per_image"
"""Among the figures of an evaluation: how fast, beside how good."""
WEIGHTS = {"ema": "average", "raw": "student"}
"""What a person calls the two kinds of a student's weights -> the network of a checkpoint that holds them."""


class WorkFailed(RuntimeError):
    """What was asked was right and the work failed; the text says how."""


class Interrupted(RuntimeError):
    """The work was stopped because someone asked for that."""


def not_finished(run: int, state: RunState) -> WorkFailed | Interrupted:
    """What to raise for a run that ended otherwise."""
    words = f"Run {run} is {state.state}: {state.reason}"
    return Interrupted(words) if state.state == "stopped" else WorkFailed(words)


def project_path(text: str) -> Path:
    """The path of a project, with its suffix added where it was left out."""
    path = Path(text).expanduser()
    return path if path.suffix == ".distill" or path.exists() else path.with_name(path.name + ".distill")


def new(path: Path) -> None:
    """Make an empty project."""
    ProjectFile.create(path).close()


def require(path: Path) -> None:
    """Raises `ProjectFileError` where there is no project that can be opened: said before anything heavy is done."""
    ProjectFile.open(path).close()


def recipe_of(  # the whole of `distill run`'s request
    base: Path | None,
    teacher: str | None,
    method: str | None,
    data: str | None,
    settings: dict[str, Any],
    training: dict[str, Any],
) -> Recipe:
    """A recipe from a file, or else from a teacher and a method with the training values that suit it; changed by
    what is given beside it.

    `settings` may name training values too (`steps`, `batch_size`, ...), which every method has.
    """
    from backend.assembly import find_method  # noqa: PLC0415

    if base is not None:
        try:
            given = Recipe.from_json(base.read_bytes()).model_dump(mode="json")
        except OSError as error:
            raise RecipeError(f"The recipe {base} cannot be read ({error.strerror}); check its name.") from error
    elif teacher is None or method is None:
        raise RecipeError("Name a teacher and a method, or a recipe file that does.")
    else:
        given = {"settings": {}, "training": dict(find_method(method).training)}
    named = {"teacher": teacher, "method": method, "data": data}
    given |= {name: value for name, value in named.items() if value is not None}
    if settings:
        own = list(find_method(given["method"]).settings.model_fields)
        for name, value in settings.items():
            if name not in (*own, *Training.model_fields):
                raise RecipeError(unknown("setting", name, [*own, *Training.model_fields]))
            part = "settings" if name in own else "training"
            given[part] = {**given[part], name: value}
    given["training"] = {**given["training"], **training}
    return Recipe.from_values(given | {name: _from_here(given.get(name)) for name in ("teacher", "data")})


def _from_here(where: str | None) -> str | None:
    """A path in full, because the worker runs in the project's folder; the name of something bundled as it is."""
    from backend.datasets.digits import PARTS  # noqa: PLC0415
    from backend.teachers import BUNDLED  # noqa: PLC0415

    if not where or where in (*BUNDLED, *PARTS) or not Path(where).expanduser().exists():
        return where
    return str(Path(where).expanduser().absolute())


def start(
    path: Path, recipe: Recipe, name: str | None = None, report: Report | None = None, waits: bool = False
) -> int:
    """Check a recipe, add it to the project as a run and start its process; the run's id. Warnings are reported.

    waits: it goes to the end of the queue, and is started once those before it have ended.
    """
    from backend.assembly import find_method  # noqa: PLC0415
    from backend.preflight import preflight  # noqa: PLC0415

    require(path)
    if name is not None and (not name.strip() or name.isdecimal()):
        raise UserError(f"A run cannot be named {name!r}, because a bare number means the run of it; add a word.")
    found = preflight(recipe, path, dry_run=False)
    if not found.ok:
        raise RecipeError(" ".join(found.problems))
    if report is not None:
        for words in found.warnings:
            report(f"warning: {words}")
    settings = find_method(recipe.method).settings
    # Defaults too, so that the run stays what it was when a later version has others.
    whole = recipe.model_copy(update={"settings": settings.model_validate(recipe.settings).model_dump(mode="json")})
    with ProjectFile.open(path) as project:
        run = project.add_run(whole, name=name, declaration=settings.model_json_schema())
    if waits:
        launch.enqueue(path, run)
    else:
        launch.start_worker(path, run)
    return run


@dataclass(frozen=True)
class Watched:
    """A run at a moment: its state, its steps, and the newest value of every curve."""

    run: int
    state: RunState
    steps: int
    metrics: dict[str, tuple[int, float]]


def follow(path: Path, run: int) -> Iterator[Watched]:
    """The run again and again, until its process is gone."""
    state = launch.wait_for_start(path, run)
    with ProjectFile.open(path, readonly=True) as project:
        while True:
            state, steps = project.run_state(run), project.training(run).steps
            yield Watched(run, state, steps, project.latest_metrics(run))
            if not state.is_live:
                return
            time.sleep(FOLLOW_SECONDS)


def find(path: Path, text: str) -> Run:
    """The run with that id or name. Raises `ProjectFileError`, with the closest name, where there is none."""
    with ProjectFile.open(path, readonly=True) as project:
        try:
            return project.find_run(text)
        except NotInProject as error:
            close = get_close_matches(text, [run.name for run in project.runs()], n=1)
            if not close:
                raise
            raise NotInProject(f"There is no run {text} in {path.name}; did you mean {close[0]}?") from error


def resume(path: Path, run: int) -> RunState:
    """Let a run go on; its state once its process has taken over, or a paused one has woken."""
    launch.resume(path, run)
    state = launch.wait_for_start(path, run)
    deadline = time.monotonic() + RESUME_SECONDS
    while state.state == "paused" and time.monotonic() < deadline:
        time.sleep(FOLLOW_SECONDS)
        with ProjectFile.open(path, readonly=True) as project:
            state = project.run_state(run)
    return state


def runs(path: Path) -> list[dict[str, Any]]:
    """Every run with its state, step and last metrics."""
    with ProjectFile.open(path, readonly=True) as project:
        return [_row(project, run) for run in project.runs()]


def run_row(path: Path, run: int) -> dict[str, Any]:
    """One run as `runs` lists it."""
    with ProjectFile.open(path, readonly=True) as project:
        return _row(project, project.run(run))


def _row(project: ProjectFile, run: Run) -> dict[str, Any]:
    state = project.run_state(run.id)
    return {
        "run": run.id,
        "name": run.name,
        "method": run.recipe["method"],
        "teacher": run.recipe["teacher"],
        "state": state.state,
        "reason": state.reason,
        "step": state.step or 0,
        "steps": {**run.recipe["training"], **project.live_settings(run.id)}["steps"],
        "metrics": {name: value for name, (_, value) in project.latest_metrics(run.id).items()},
    }


def tell(path: Path, run: int, verb: Verb, arguments: Mapping[str, Any] | None = None) -> str:
    """Ask something of a live run and wait for what comes of it; its answer, empty where none came in time."""
    command = launch.ask(path, run, verb, arguments)
    deadline = time.monotonic() + ANSWER_SECONDS
    with ProjectFile.open(path, readonly=True) as project:
        while (asked := project.command(command)).finished is None and time.monotonic() < deadline:
            time.sleep(FOLLOW_SECONDS)
    return asked.result or ""


def queue(path: Path) -> list[dict[str, Any]]:
    """The runs that wait to be started, in their order, each as `runs` lists it."""
    with ProjectFile.open(path, readonly=True) as project:
        return [_row(project, run) for run in project.queue()]


def log(path: Path, run: int) -> list[dict[str, Any]]:
    """What happened in a run, oldest first."""
    with ProjectFile.open(path, readonly=True) as project:
        return [asdict(event) for event in project.events_after(run)]


def metrics(path: Path, run: int) -> dict[str, dict[str, list[float]]]:
    """Every curve of a run on its effective line: name -> {"step": [...], "value": [...]}."""
    with ProjectFile.open(path, readonly=True) as project:
        curves = {series.name: project.points(series) for series in project.series(run)}
    return {name: {"step": curve.steps.tolist(), "value": curve.values.tolist()} for name, curve in curves.items()}


def samples(path: Path, run: int, out: Path) -> list[Path]:
    """Write a run's pictures to a folder, one PNG for each and one sheet for each grid; the sheets."""
    from backend import pictures  # noqa: PLC0415

    grids: dict[tuple[str, int], dict[int, bytes]] = {}
    with ProjectFile.open(path, readonly=True) as project:
        for sample in project.samples_after(run):  # a run that was resumed may have drawn a grid twice: the last stays
            grids.setdefault((sample.kind, sample.step), {})[sample.position] = project.image(sample)
    if not grids:
        raise UserError(f"Run {run} has no pictures yet; let it train further.")
    sheets = []
    with _writing(out):
        out.mkdir(parents=True, exist_ok=True)
        for (kind, step), tiles in grids.items():
            place = out / f"{kind}-{step:08d}"
            for position, data in tiles.items():
                place.with_name(f"{place.name}-{position:03d}.png").write_bytes(data)
            sheets.append(place.with_suffix(".png"))
            images = [pictures.open_png(data) for _, data in sorted(tiles.items())]
            columns = 1 if kind in VIEWS else 10  # such a picture is a row already
            pictures.tile(images, columns, scale=pictures.scale_of(images[0])).save(sheets[-1])
    return sheets


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"{out} cannot be written ({error.strerror or error}); choose another place.") from error


def student_of(
    path: Path, run: int, which: str = "best", nfe: int | None = None, weights: str | None = None
) -> "Student":
    """The student of a run, at another number of evaluations than it was trained for where `nfe` says so.

    weights: a word of `WEIGHTS`; by default the average where one was kept.
    """
    from backend.assembly import load_student  # noqa: PLC0415

    if weights is not None and weights not in WEIGHTS:
        raise UserError(unknown("kind of weights", weights, list(WEIGHTS)))
    with ProjectFile.open(path, readonly=True) as project:
        if weights == "ema" and not project.recipe(run).training.ema_decay:
            raise UserError(f"Run {run} kept no average of its weights (its ema_decay is 0); choose the raw weights.")
        student = load_student(project, run, which, WEIGHTS[weights] if weights else "")
    if nfe is None or nfe == student.sampler.nfe:
        return student
    return replace(student, sampler=_at_nfe(student, nfe))


def _at_nfe(student: "Student", nfe: int) -> "Sampler":
    from backend.samplers import Sampler, even_levels, student_levels  # noqa: PLC0415

    kind, first = student.sampler.kind, student.sampler.levels[0]
    if not 1 <= nfe <= MOST_NFE:
        raise UserError(f"{nfe} network evaluations are not possible; choose between 1 and {MOST_NFE}.")
    if kind == "renoise":
        return Sampler(kind, student_levels(student.denoiser.path, nfe, first))
    return Sampler(kind, tuple(first * level for level in even_levels(nfe)))


def evaluate(
    path: Path,
    run: int,
    which: str = "best",
    nfe: int | None = None,
    count: int = EVALUATION_SAMPLES,
    report: Report = lambda words: None,
) -> dict[str, Any]:
    """Measure a student, its teacher at the same number of evaluations and in full, and keep the figures."""
    from backend import judge  # noqa: PLC0415
    from backend.samplers import teacher_sampler  # noqa: PLC0415

    require(path)
    if count < LEAST_SAMPLES:
        raise UserError(f"{count} samples are too few to measure; draw {LEAST_SAMPLES} or more.")
    student = student_of(path, run, which, nfe)
    teacher = student.teacher
    if not judge.can_measure(teacher):
        raise UserError(f"There is nothing to measure the samples of {teacher.title} against; compare them by eye.")
    seed, few, many = judge.EVALUATION_SEED, student.sampler.nfe, judge.TEACHER_NFE
    ways: dict[str, tuple[Denoises, Sampler]] = {
        "teacher": (teacher.denoiser, teacher_sampler(many)),
        "student": (student.denoiser, student.sampler),
        "teacher_at_student_nfe": (teacher.denoiser, teacher_sampler(few)),
    }
    timed = TIMED_BATCH * TIMED_REPEATS
    progress = Progress((many + 2 * few) * (count + timed), report)
    samples, seconds = {}, {}
    for who, (net, sampler) in ways.items():

        def drawn(some: int, words: str = who.replace("_", " "), each: int = sampler.nfe) -> None:
            progress.add(some * each)
            progress.say(f"drawing {count} samples: {words}")

        samples[who] = judge.draw_many(net, sampler, teacher, count, seed, drawn)
        seconds[who] = _seconds_per_image(net, sampler, teacher)
        progress.add(timed * sampler.nfe)
    labels, whole = teacher.each_condition(count).labels, samples["teacher"]
    found = {
        who: judge.figures_of(drawn, labels, teacher, ways[who][1].nfe, seed, whole if who == "student" else None)
        for who, drawn in samples.items()
    }
    answer: dict[str, Any] = {"run": run, "step": student.step, "samples": count}
    with ProjectFile.open(path) as project, project.transaction():
        for who, figures in found.items():
            assert figures is not None  # it can be measured
            recipe = {key: value for key, value in asdict(figures).items() if key != "values"} | {"of": who}
            kept = {**figures.values, SECONDS_PER_IMAGE: seconds[who]}
            project.add_evaluation(run, student.step, recipe, kept)
            answer[who] = {"nfe": figures.nfe, **kept}
            answer["measured_in"] = figures.measured_in
    return answer


def _seconds_per_image(net: "Denoises", sampler: "Sampler", teacher: "Teacher") -> float:
    """How long one picture takes on this machine, in batches of `TIMED_BATCH`."""
    from backend import judge  # noqa: PLC0415
    from backend.evaluate import latency  # noqa: PLC0415

    def make(size: int) -> object:
        return judge.draw(net, sampler, teacher, teacher.each_condition(size), judge.EVALUATION_SEED)

    return latency(make, [TIMED_BATCH], repeats=TIMED_REPEATS - 1, warm_up=1)[TIMED_BATCH]


def compare(path: Path, run: int, out: Path, which: str = "best") -> list[dict[str, Any]]:
    """Write teacher and student side by side to a PNG; name, NFE and seconds per image of each."""
    made: list[dict[str, Any]] = compare_all(path, [(run, which)], out=out)["sides"]
    return made


def compare_all(
    path: Path,
    chosen: Sequence[tuple[int, str]],
    *,
    out: Path | None = None,
    parts: Path | None = None,
    seed: int | None = None,
    teacher_nfe: int | None = None,
    report: Report = lambda words: None,
) -> dict[str, Any]:
    """Teacher and any students, each a run and one of its checkpoints, from the same noise: as one picture, as a
    folder of parts, or both. What is said of each side; see `backend.compare.describe`."""
    from backend import compare as comparison  # noqa: PLC0415
    from backend import judge, pictures  # noqa: PLC0415
    from backend.teachers import load_teacher  # noqa: PLC0415

    seed = judge.PREVIEW_SEED if seed is None else seed
    teacher_nfe = judge.TEACHER_NFE if teacher_nfe is None else teacher_nfe
    out, parts = (place and place.expanduser() for place in (out, parts))
    _refuse_comparison(out, parts, seed, teacher_nfe)
    with ProjectFile.open(path, readonly=True) as project:
        for run, which in chosen:  # all of them before the first is loaded, which takes seconds
            project.find_checkpoint(run, which)
        teachers = {project.recipe(run).teacher: project.run(run).name for run, _ in chosen}
    if len(teachers) > 1:
        comparison.refuse_other_kinds([(name, load_teacher(where)) for where, name in teachers.items()])
    students = [(f"run {run}", student_of(path, run, which)) for run, which in _reported(chosen, report)]
    if len(students) == 1:
        students = [("Student", students[0][1])]
    else:
        with ProjectFile.open(path, readonly=True) as project:
            students = [(f"{project.run(s.run).name} at {s.step}", s) for _, s in students]
    shown = comparison.sides(students, teacher_nfe, seed, report)
    with _writing(out or parts or path):
        if out is not None:
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_bytes(pictures.png(comparison.sheet(shown)))
        if parts is not None:
            comparison.write_parts(shown, students[0][1].teacher, seed, parts)
    return {"seed": seed, "teacher": students[0][1].teacher.title, "sides": comparison.describe(shown)}


def _reported(chosen: Sequence[tuple[int, str]], report: Report) -> Iterator[tuple[int, str]]:
    for number, (run, which) in enumerate(chosen, 1):
        report(f"loading run {run}, checkpoint {which} ({number} of {len(chosen)})")
        yield run, which


def _refuse_comparison(out: Path | None, parts: Path | None, seed: int, teacher_nfe: int) -> None:
    if out is None and parts is None:
        raise UserError("Name a picture to write with --out, or a folder with --parts.")
    if out is not None and out.suffix.lower() != ".png":
        raise UserError(f"The picture {out} would be a PNG; give it a name that ends in .png.")
    if out is not None and out.is_dir():
        raise UserError(f"{out} is a folder; name a picture in it.")
    if parts is not None and parts.exists() and not parts.is_dir():
        raise UserError(f"{parts} is a file; name a folder for the parts.")
    if not 1 <= teacher_nfe <= MOST_NFE:
        raise UserError(f"{teacher_nfe} network evaluations are not possible; choose between 1 and {MOST_NFE}.")
    if not 0 <= seed < 2**63:
        raise UserError(f"The seed {seed} is not possible; choose 0 or a whole number above it.")


def find_student(path: Path, text: str, which: str = "best") -> tuple[int, str]:
    """A run and one of its checkpoints, named as RUN or RUN@CHECKPOINT; `which` where no checkpoint is named."""
    name, at, checkpoint = text.rpartition("@")
    if not at or not checkpoint or not name:
        return find(path, text).id, which
    try:
        return find(path, text).id, which  # a name may hold the sign itself
    except NotInProject:
        return find(path, name).id, checkpoint


def export(  # the whole of `distill export`'s request
    path: Path,
    run: int,
    form: str,
    out: Path,
    which: str = "best",
    nfe: int | None = None,
    weights: str | None = None,
    report: Report = lambda words: None,
) -> dict[str, Any]:
    """Export a student, check it in a fresh process where the format has pictures, and keep the record.

    Both sheets of pictures, ours and the fresh process's, are kept in the project's folder of files and named in the
    record relative to it.
    """
    from backend import exports  # noqa: PLC0415
    from backend.exports import verify  # noqa: PLC0415

    if form not in exports.FORMATS:
        raise UserError(unknown("format", form, exports.FORMATS))
    with ProjectFile.open(path) as project:  # what can be refused at once is not begun
        project.find_checkpoint(run, which)
    report("loading the student")
    student = student_of(path, run, which, nfe, weights)
    report("writing the files and the preview's pictures")
    made = exports.export(
        form,
        student.denoiser,
        student.sampler,
        student.teacher.each_condition(40),
        facts_of(path, student),
        out.expanduser().absolute(),
    )
    answer: dict[str, Any] = {
        "run": run,
        "step": student.step,
        "nfe": student.sampler.nfe,
        "path": str(made.path),
        "format": form,
        "files": dict(made.hashes),
    }
    record: dict[str, Any] = {"step": student.step, "nfe": student.sampler.nfe, "weights": weights}
    problem = ""
    if form == "diffusers":
        report("loading the export in a fresh process with plain diffusers")
        folder = files_folder(path)
        sheets = folder / "exports" / f"run-{run}-{time.strftime('%Y%m%d-%H%M%S')}-{made.digest[:8]}"
        found = verify.verify(made.path, sheets)
        answer["max_abs_difference"] = None if math.isnan(found.difference) else found.difference
        answer["tolerance"] = verify.TOLERANCE
        kept = {name: sheets / file for name, file in verify.SHEETS.items() if (sheets / file).is_file()}
        answer["sheets"] = {name: str(file) for name, file in kept.items()}
        record |= {name: answer[name] for name in ("max_abs_difference", "tolerance")}
        record["sheets"] = {name: file.relative_to(folder).as_posix() for name, file in kept.items()}
        if not found.sound:
            record["problem"] = problem = f"The export was written to {made.path}, but {found.sentence}"
    with ProjectFile.open(path) as project:
        project.add_export(run, form, str(made.path), made.digest, record)
    if problem:  # recorded all the same: its pictures show what is wrong
        raise WorkFailed(problem)
    return answer


def facts_of(path: Path, student: "Student") -> "Facts":
    """What a student's model card says, with the newest figures of this checkpoint at these network evaluations."""
    from backend.exports import Facts, Measured  # noqa: PLC0415

    with ProjectFile.open(path, readonly=True) as project:
        rows = [row for row in project.evaluations(student.run) if row.step == student.step]
        name = project.run(student.run).name
    rows = [row for row in rows if row.recipe["of"] == "teacher" or row.recipe["nfe"] == student.sampler.nfe]
    counts = [row.recipe["count"] for row in rows if row.recipe["of"] == "student"]
    # Figures of other numbers of samples may not stand beside the student's.
    newest = {row.recipe["of"]: row for row in rows if counts and row.recipe["count"] == counts[-1]}
    words = {"student": "student", "teacher_at_student_nfe": "teacher", "teacher": "teacher"}
    measured = tuple(
        Measured(words[who], row.recipe["nfe"], {k: v for k, v in row.figures.items() if v is not None})
        for who, row in newest.items()
    )
    by = next((f"{row.recipe['measured_in']}, {row.recipe['count']} samples" for row in newest.values()), "")
    return Facts(
        title=name,
        recipe=student.recipe,
        method=student.method.title,
        paper=student.method.paper,
        step=student.step,
        teacher=student.teacher.title,
        teacher_digest=student.teacher.digest,
        licence=student.teacher.licence,
        labels=student.teacher.labels,
        measured=measured,
        measured_by=by,
    )


def check(path: Path) -> list[str]:
    """What is wrong with a project's database and files, one sentence each."""
    with ProjectFile.open(path, readonly=True) as project:
        return project.check()


def wait(path: Path, run: int, report: Report) -> RunState:
    """Follow a run to the end of its process, reporting a line every other second; its last state.

    Ctrl-C asks the run to stop and still waits for it to save its state; a second one leaves it to itself.
    """
    try:
        return _watch(path, run, report)
    except KeyboardInterrupt:
        report(f"Run {run} stops after its step; press Ctrl-C again not to wait for it.")
        with suppress(launch.LaunchError):  # it ended by itself in this moment
            launch.stop(path, run)
        state = _watch(path, run, report)
        if state.state == "stopped":
            report(f"`distill resume {path} {run}` goes on.")
        return state


def _watch(path: Path, run: int, report: Report) -> RunState:
    said = 0.0
    watched: Watched | None = None
    for watched in follow(path, run):
        if time.monotonic() - said > REPORT_SECONDS:
            said = time.monotonic()
            report(line(watched))
    assert watched is not None  # follow yields at least once
    report(line(watched))
    return watched.state


def line(watched: Watched) -> str:
    """A run in one line for a terminal."""
    words = f"run {watched.run} {watched.state.state}, step {watched.state.step or 0}/{watched.steps}"
    scores = [name for name in ("preview_frechet", "preview_sliced_wasserstein") if name in watched.metrics]
    words += "".join(f", {name.removeprefix('preview_')} {watched.metrics[name][1]:.3g}" for name in scores)
    return words + (f" ({watched.state.reason})" if watched.state.reason else "")


def free_name(folder: Path, stem: str) -> Path:
    """A project name that is not taken in `folder`: stem, stem-2, ..."""
    names = (folder / f"{stem}{'' if i == 1 else f'-{i}'}.distill" for i in range(1, 10_000))
    return next(name for name in names if not name.exists())


def is_writable(folder: Path) -> bool:
    """Whether files can be made in `folder`."""
    return os.access(folder, os.W_OK)
